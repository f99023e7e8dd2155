package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client is one connection to a broker that speaks frames built beforehand. Not safe for concurrent use,
// but sending and receiving may run on one goroutine each.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte // of the last answer, reused
}

func dial(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *client {
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 1<<20)}
}

func (c *client) Close() { c.conn.Close() }

// frame encodes req as a frame with its size and header; the correlation id is at [8, 12).
func frame(req kmsg.Request) []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))
	return f.AppendRequest(nil, req, 0)
}

// setCorrelation writes the correlation id into a built frame.
func setCorrelation(f []byte, id int32) { binary.BigEndian.PutUint32(f[8:12], uint32(id)) }

// receive reads one answer and returns its correlation id and what follows it. The bytes are valid until the next call.
func (c *client) receive() (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if cap(c.body) < n {
		c.body = make([]byte, n)
	}
	c.body = c.body[:n]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(c.body)), c.body[4:], nil
}

// call sends req and decodes the answer.
func (c *client) call(req kmsg.Request) (kmsg.Response, error) {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	defer c.conn.SetDeadline(time.Time{})
	if _, err := c.conn.Write(frame(req)); err != nil {
		return nil, err
	}
	_, body, err := c.receive()
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		body = body[1:] // empty tags of the response header
	}
	return resp, resp.ReadFrom(body)
}

// produceFrame is a Produce v9 with one batch for one partition.
func produceFrame(topic string, partition int32, batch []byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	req.Acks = -1
	req.TimeoutMillis = 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition = partition
	p.Records = batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return frame(req)
}

// produceError returns the error of a Produce v9 answer with one partition, without decoding the rest: correlation id is gone,
// then header tags, topics (compact 2), name (compact), partitions (compact 2), index int32, error int16.
func produceError(body []byte) error {
	at := 1 + 1
	n := int(body[at]) - 1
	at += 1 + n + 1 + 4
	return kerr.ErrorForCode(int16(binary.BigEndian.Uint16(body[at:])))
}

// offsets answers ListOffsets for every partition of a topic: -2 earliest, -1 latest, -4 earliest local, -5 latest tiered.
func (c *client) offsets(topic string, partitions int, timestamp int64) ([]int64, error) {
	of, err := c.offsetsOf(topic, alone("", partitions)[0].partitions, timestamp)
	if err != nil {
		return nil, err
	}
	out := make([]int64, partitions)
	for p, offset := range of {
		out[p] = offset
	}
	return out, nil
}

// offsetsOf is offsets for some partitions.
func (c *client) offsetsOf(topic string, partitions []int32, timestamp int64) (map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = 9
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for _, index := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition = index
		p.Timestamp = timestamp
		p.CurrentLeaderEpoch = -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.call(req)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]int64, len(partitions))
	for _, p := range resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, fmt.Errorf("ListOffsets %s-%d: %w", topic, p.Partition, err)
		}
		out[p.Partition] = p.Offset
	}
	return out, nil
}

// metadata answers Metadata for the topics, or for all.
func (c *client) metadata(topics ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := c.call(req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}
