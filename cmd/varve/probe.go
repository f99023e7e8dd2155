package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"

	"varve/metadata"
	"varve/replica/transport"
)

// probe looks whether a broker answers the simplest request. A refused connection is death; whatever else goes wrong is silence.
func probe(ctx context.Context, b *metadata.Broker) metadata.Vital {
	conn, err := transport.Dialer{}.Dial(ctx, b, "probe")
	if errors.Is(err, syscall.ECONNREFUSED) {
		return metadata.Dead
	}
	if err != nil {
		return metadata.Silent
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends what waits
	defer func() {
		if stop() {
			_ = conn.Close()
		}
	}()
	if conn.Send(kmsg.NewPtrApiVersionsRequest()) != nil {
		return metadata.Silent
	}
	if _, err := conn.Receive(); err != nil {
		return metadata.Silent
	}
	return metadata.Alive
}
