#!/usr/bin/env bash
# Runs the reference Apache Kafka: combined brokers and controllers on the loopback
# interface, straight from the jars that Maven resolves.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${KAFKA_HOME:-$HOME/.cache/varve-reference-kafka}
heap=${KAFKA_HEAP:-1g}
tool_heap=${KAFKA_TOOL_HEAP:-512m}
host=127.0.0.1

die() { echo "kafka.sh: $*" >&2; exit 1; }

usage() {
  cat >&2 <<'USAGE'
usage: kafka.sh install [maven options]         resolve the jars into the cache
       kafka.sh start [options] [key=value ...] format if new, start, wait, print the bootstrap address
         --dir D       everything the node writes (default: a folder "default" in the cache)
         --port P      client port; the controller takes P+1 (default 9092; 0: first free pair from 19092)
         --node-id N   default 1
         --join D2     broker only, in the cluster whose first node runs in D2 (give --node-id and --port)
         --voters V    one of several combined nodes, V their controllers: 1@127.0.0.1:9093,2@127.0.0.1:9193,...; the same V
                       and the same KAFKA_CLUSTER_ID for all, each with --node-id and --port; none answers before a majority runs
         --tiered      tiered storage into D/tier with Kafka's own LocalTieredStorage
         key=value     any broker property; it wins over the ones set here
       kafka.sh stop [--dir D]                  clean shutdown
       kafka.sh kill [--dir D]                  kill -9, for crash tests
       kafka.sh run CLASS [args ...]            run a tool class
       kafka.sh classpath                       print the class path
       kafka.sh version                         print the version of the jars
USAGE
  exit 2
}

# --- jars --------------------------------------------------------------------------------

install() {
  local version=()
  [[ -n ${KAFKA_VERSION:-} ]] && version=("-Dkafka.version=$KAFKA_VERSION")
  mkdir -p "$home"
  rm -rf "$home/libs.new"
  mvn -q -B -f "$here/pom.xml" "${version[@]}" "$@" dependency:copy-dependencies \
    -DoutputDirectory="$home/libs.new" -DincludeScope=runtime
  # The test jars only serve LocalTieredStorage: keep them off the main class path.
  mkdir -p "$home/libs.new/test"
  mv "$home"/libs.new/*-test.jar "$home/libs.new/test/"
  # The same jars stay where they are: a broker may be running from them.
  if [[ $(cd "$home/libs.new" && find . | sort) == $(cd "$home/libs" 2>/dev/null && find . | sort) ]]; then
    rm -rf "$home/libs.new"
  else
    rm -rf "$home/libs"
    mv "$home/libs.new" "$home/libs"
  fi
  echo "installed Kafka $(version) in $home"
}

installed() { [[ -d $home/libs ]] || die "no jars in $home: run 'kafka.sh install' first"; }

version() { basename "$home"/libs/kafka-server-common-*.jar .jar | sed 's/^kafka-server-common-//'; }

java_tool() {
  # shellcheck disable=SC2086
  java -Xmx"$tool_heap" -Dlog4j2.configurationFile="file:$here/log4j2.properties" \
    ${KAFKA_TOOL_OPTS:-} -cp "$home/libs/*" "$@"
}

# --- ports and readiness -------------------------------------------------------------------

listening() { (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null; }

free_pair() {
  local p=19092
  while listening "$p" || listening $((p + 1)); do p=$((p + 2)); done
  echo "$p"
}

# A broker accepts connections only once it is unfenced: an answer to ApiVersions v0 means ready.
answers() {
  local n
  n=$( { exec 3<>"/dev/tcp/$host/$1"
         printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3
         timeout 2 head -c 4 <&3 | wc -c; } 2>/dev/null ) || return 1
  [[ $n == 4 ]]
}

# --- start and stop --------------------------------------------------------------------------

property() { sed -n "s/^$1=//p" "$2" | tail -1; }

write_properties() { # dir port node join voters tiered key=value...
  local dir=$1 port=$2 node=$3 join=$4 voters=$5 tiered=$6 controller=$(($2 + 1))
  shift 6
  {
    echo "node.id=$node"
    if [[ -n $join ]]; then
      echo "process.roles=broker"
      echo "controller.quorum.bootstrap.servers=$(property controller.quorum.bootstrap.servers "$join/server.properties")"
      echo "listeners=PLAINTEXT://$host:$port"
    else
      echo "process.roles=broker,controller"
      if [[ -n $voters ]]; then
        echo "controller.quorum.voters=$voters"
      else
        echo "controller.quorum.bootstrap.servers=$host:$controller"
      fi
      echo "listeners=PLAINTEXT://$host:$port,CONTROLLER://$host:$controller"
    fi
    cat <<PROPERTIES
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
metadata.log.dir=$dir/metadata
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
PROPERTIES
    if [[ $tiered == yes ]]; then
      cat <<PROPERTIES
remote.log.storage.system.enable=true
remote.log.storage.manager.class.name=org.apache.kafka.server.log.remote.storage.LocalTieredStorage
remote.log.storage.manager.class.path=$(echo "$home"/libs/test/*.jar | tr ' ' ':')
remote.log.metadata.manager.listener.name=PLAINTEXT
remote.log.manager.task.interval.ms=1000
log.retention.check.interval.ms=1000
rsm.config.dir=$dir/tier
rlmm.config.remote.log.metadata.topic.replication.factor=1
rlmm.config.remote.log.metadata.topic.num.partitions=4
PROPERTIES
    fi
    local kv
    for kv in "$@"; do echo "$kv"; done
  } > "$dir/server.properties"
}

format_storage() { # dir join voters
  local dir=$1 join=$2 voters=$3 id
  if [[ -n $join ]]; then
    id=$(property cluster.id "$join/data/meta.properties")
    java_tool kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" > "$dir/format.log" 2>&1
  elif [[ -n $voters ]]; then
    [[ -n ${KAFKA_CLUSTER_ID:-} ]] || die "--voters needs KAFKA_CLUSTER_ID"
    java_tool kafka.tools.StorageTool format -t "$KAFKA_CLUSTER_ID" -c "$dir/server.properties" > "$dir/format.log" 2>&1
  else
    id=${KAFKA_CLUSTER_ID:-$(java_tool kafka.tools.StorageTool random-uuid)}
    java_tool kafka.tools.StorageTool format --standalone -t "$id" -c "$dir/server.properties" > "$dir/format.log" 2>&1
  fi || { cat "$dir/format.log" >&2; die "could not format $dir"; }
}

start() {
  local dir=$home/default port=9092 node=1 join="" voters="" tiered=no props=()
  while (($#)); do
    case $1 in
      --dir) dir=$2; shift 2 ;;
      --port) port=$2; shift 2 ;;
      --node-id) node=$2; shift 2 ;;
      --join) join=$(cd "$2" && pwd); shift 2 ;;
      --voters) voters=$2; shift 2 ;;
      --tiered) tiered=yes; shift ;;
      *=*) props+=("$1"); shift ;;
      *) usage ;;
    esac
  done
  installed
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  running "$dir" && die "already running in $dir with pid $(<"$dir/pid")"
  [[ $port == 0 ]] && port=$(free_pair)
  listening "$port" && die "port $port is taken"

  write_properties "$dir" "$port" "$node" "$join" "$voters" "$tiered" "${props[@]}"
  [[ $tiered == yes ]] && mkdir -p "$dir/tier"
  [[ -f $dir/metadata/meta.properties || -f $dir/data/meta.properties ]] || format_storage "$dir" "$join" "$voters"

  # shellcheck disable=SC2086
  nohup java -Xms"$heap" -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
    -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="file:$here/log4j2.properties" ${KAFKA_JVM_OPTS:-} \
    -cp "$home/libs/*" kafka.Kafka "$dir/server.properties" >> "$dir/server.log" 2>&1 < /dev/null &
  echo $! > "$dir/pid"

  local deadline=$((SECONDS + ${KAFKA_START_TIMEOUT:-90}))
  until answers "$port"; do
    running "$dir" || { tail -20 "$dir/server.log" >&2; die "the broker ended: see $dir/server.log"; }
    ((SECONDS < deadline)) || die "no answer on $host:$port: see $dir/server.log"
    sleep 0.2
  done
  echo "$host:$port"
}

running() { [[ -f $1/pid ]] && kill -0 "$(<"$1/pid")" 2>/dev/null; }

stop() { # signal [--dir D]
  local signal=$1 dir=$home/default pid
  shift
  [[ ${1:-} == --dir ]] && { dir=$2; shift 2; }
  (($# == 0)) || usage
  [[ -f $dir/pid ]] || die "no pid file in $dir"
  pid=$(<"$dir/pid")
  kill -"$signal" "$pid" 2>/dev/null || true
  local deadline=$((SECONDS + ${KAFKA_STOP_TIMEOUT:-60}))
  while kill -0 "$pid" 2>/dev/null; do
    ((SECONDS < deadline)) || die "pid $pid is still running after SIG$signal"
    sleep 0.1
  done
  rm -f "$dir/pid"
}

case ${1:-} in
  install) shift; install "$@" ;;
  start) shift; start "$@" ;;
  stop) shift; stop TERM "$@" ;;
  kill) shift; stop KILL "$@" ;;
  run) shift; installed; (($#)) || usage; java_tool "$@" ;;
  classpath) installed; echo "$home/libs/*" ;;
  version) installed; version ;;
  *) usage ;;
esac
