"""A Python client (confluent-kafka) for e2e/clients.

    client.py produce ADDR TOPIC CODEC         one record a line of standard input; ends when all are acknowledged
    client.py consume ADDR TOPIC N             prints N values from the beginning
    client.py group   ADDR TOPIC GROUP N [P]   prints N values as a member of GROUP, then commits and leaves; P is the
                                               group protocol: classic or consumer
"""
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

PATIENCE = 45  # seconds


def produce(addr, topic, codec):
    failed = []

    def delivered(err, msg):
        if err is not None:
            failed.append(err)

    producer = Producer({"bootstrap.servers": addr, "enable.idempotence": True, "compression.type": codec, "linger.ms": 50})
    for line in sys.stdin.buffer:
        line = line.rstrip(b"\n")
        producer.produce(topic, value=line, key=line.split(b" ", 1)[0], on_delivery=delivered)
    left = producer.flush(PATIENCE)
    if left or failed:
        sys.exit(f"{left} records without an answer, {len(failed)} refused: {failed[:3]}")


def consume(addr, topic, group, count, commit, protocol="classic"):
    consumer = Consumer({"bootstrap.servers": addr, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "enable.auto.offset.store": False, "group.protocol": protocol})
    consumer.subscribe([topic])
    deadline = time.monotonic() + PATIENCE
    seen = 0
    while seen < count:
        if time.monotonic() > deadline:
            sys.exit(f"{seen} of {count} records within {PATIENCE} s")
        msg = consumer.poll(1.0)
        if msg is None:
            continue
        if msg.error():
            if msg.error().code() == KafkaError._PARTITION_EOF or msg.error().retriable():
                continue
            raise KafkaException(msg.error())
        sys.stdout.buffer.write(msg.value() + b"\n")
        consumer.store_offsets(msg)
        seen += 1
    if commit:
        for part in consumer.commit(asynchronous=False):
            if part.error:
                sys.exit(f"commit: {part}")
    consumer.close()


if __name__ == "__main__":
    command, args = sys.argv[1], sys.argv[2:]
    if command == "produce":
        produce(*args)
    elif command == "consume":
        consume(args[0], args[1], "python-once", int(args[2]), False)
    elif command == "group":
        consume(args[0], args[1], args[2], int(args[3]), True, *args[4:])
    else:
        sys.exit(__doc__)
