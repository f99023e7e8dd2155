package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkRoundTrip is what the server itself costs for one small produce of 1 KiB: a frame from a pool, decoding, an answer that comes
// at once or later. The client half does not allocate.
func BenchmarkRoundTrip(b *testing.B) {
	resp := kmsg.NewPtrProduceResponse()
	rt := kmsg.NewProduceResponseTopic()
	rt.Topic = "wire"
	rt.Partitions = append(rt.Partitions, kmsg.NewProduceResponseTopicPartition())
	resp.Topics = append(resp.Topics, rt)
	for name, r := range map[string]reply{
		"now":   answer(resp),
		"later": later(func(context.Context) reply { return answer(resp) }),
	} {
		b.Run(name, func(b *testing.B) {
			swapProduce(b, func(context.Context, *Server, *request) reply { return r })
			_, addr := startServer(b, Config{})
			frame := encode(produceOf("wire", 1<<10), 1)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			buf := make([]byte, 4<<10)
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if _, err := c.Write(frame); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf[:4]); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf[:binary.BigEndian.Uint32(buf)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// swapProduce serves Produce with handle, whether or not its own file is there.
func swapProduce(b testing.TB, handle func(context.Context, *Server, *request) reply) {
	key := int16(kmsg.Produce)
	old := registry[key]
	registry[key] = &api{key: kmsg.Produce, min: 0, max: 12, served: 3, alias: true, handle: handle}
	b.Cleanup(func() {
		if registry[key] = old; old == nil {
			delete(registry, key)
		}
	})
}

func produceOf(topic string, size int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 9, -1
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = make([]byte, size)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}
