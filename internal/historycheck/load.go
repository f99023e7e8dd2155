package historycheck

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

// metadataMinAge is how often a client asks at most who leads.
const metadataMinAge = 50 * time.Millisecond

// maxBuffered is how many records of one producer may wait for an acknowledgement, all partitions together.
const maxBuffered = 2000

// LoadConfig describes producers.
type LoadConfig struct {
	Addr       string // of any brokers of the cluster: host:port, comma-separated
	Topic      string
	Partitions int32
	Producers  int
	PerSecond  int // records of all producers together
	Size       int // bytes of a value, about
	Seed       uint64
	Prefix     string // of the producers' names; two loads of one history need two
}

// A Load is idempotent producers (acks=all) that send to every partition until they are stopped, through any fault, and enter each
// acknowledgement into a history.
type Load struct {
	history *History
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	clients []*kgo.Client
}

// StartLoad starts the producers.
func StartLoad(h *History, cfg LoadConfig) (*Load, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{history: h, cancel: cancel}
	for i := range cfg.Producers {
		cl, err := kgo.NewClient(
			kgo.SeedBrokers(strings.Split(cfg.Addr, ",")...), kgo.DefaultProduceTopic(cfg.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()), kgo.StopProducerOnDataLossDetected(), kgo.MaxBufferedRecords(maxBuffered),
			kgo.ProducerLinger(5*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
			kgo.DialTimeout(2*time.Second), kgo.UnknownTopicRetries(-1),
			// A leader that is silent is given up soon, and the next one looked for at once: what is measured is the cluster.
			kgo.MetadataMinAge(metadataMinAge), kgo.ProduceRequestTimeout(3*time.Second), kgo.RequestTimeoutOverhead(2*time.Second),
		)
		if err != nil {
			_ = l.Stop(0)
			return nil, err
		}
		l.clients = append(l.clients, cl)
		l.wg.Add(1)
		go l.produce(ctx, cl, fmt.Sprintf("%s%d", cfg.Prefix, i), cfg, rand.New(rand.NewPCG(cfg.Seed, uint64(i))))
	}
	return l, nil
}

func (l *Load) produce(ctx context.Context, cl *kgo.Client, name string, cfg LoadConfig, random *rand.Rand) {
	defer l.wg.Done()
	limit := rate.NewLimiter(rate.Limit(cfg.PerSecond)/rate.Limit(cfg.Producers), 100)
	seqs := make([]int64, cfg.Partitions)
	waiting := make([]atomic.Int64, cfg.Partitions) // for an acknowledgement
	room := max(maxBuffered/int64(cfg.Partitions), 1)
	for ctx.Err() == nil {
		if limit.Wait(ctx) != nil {
			return
		}
		p := int32(random.IntN(int(cfg.Partitions)))
		if waiting[p].Load() >= room {
			continue // a partition that does not acknowledge must not take the room of the others
		}
		waiting[p].Add(1)
		value := Encode(name, seqs[p], cfg.Size, random)
		seqs[p]++
		// Not ctx: a record that was begun is sent, so that a stream has no holes.
		cl.Produce(context.Background(), &kgo.Record{Partition: p, Value: value}, func(r *kgo.Record, err error) {
			waiting[p].Add(-1)
			if err != nil {
				if !errors.Is(err, kgo.ErrClientClosed) {
					l.history.Violation("partition %d: a record of %s was refused: %v", p, name, err)
				}
				return
			}
			m, err := Decode(r.Value)
			if err != nil {
				l.history.Violation("partition %d: %v", p, err)
				return
			}
			l.history.Acked(r.Partition, r.Offset, m)
		})
	}
}

// Stop ends the producers after everything they sent was acknowledged, or says that it was not within the time.
func (l *Load) Stop(within time.Duration) error {
	l.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done(): // a producer waits for room in its client
	}
	var all error
	for _, cl := range l.clients {
		if err := cl.Flush(ctx); err != nil {
			all = fmt.Errorf("%d records without an acknowledgement: %w", cl.BufferedProduceRecords(), err)
		}
	}
	for _, cl := range l.clients {
		cl.Close()
	}
	<-done
	return all
}
