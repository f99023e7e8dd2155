package commitlog

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
)

// rememberedBatches is how many batches of a producer are recognised when they are sent again (max.in.flight.requests is at most 5).
const rememberedBatches = 5

// batchMeta is a batch that an idempotent producer sent.
type batchMeta struct {
	lastSequence int32
	offsetDelta  int32 // last - base offset, and so last - first sequence
	lastOffset   int64
	timestamp    int64 // the batch's max timestamp, ms
}

// producer is what the log knows of one producer id.
type producer struct {
	epoch            int16
	n                int8  // batches in use, oldest first
	coordinatorEpoch int32 // of the last marker, -1: none
	lastTimestamp    int64
	txnStart         int64 // first offset of the open transaction, -1: none
	batches          [rememberedBatches]batchMeta
}

func (p *producer) last() (batchMeta, bool) {
	if p.n == 0 {
		return batchMeta{lastSequence: -1, lastOffset: -1}, false
	}
	return p.batches[p.n-1], true
}

func (p *producer) push(b batchMeta) {
	if p.n == rememberedBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = b
	p.n++
}

func (p *producer) setEpoch(epoch int16) {
	if p.epoch != epoch {
		p.epoch, p.n = epoch, 0
	}
}

// openTxn is a transaction without a marker yet.
type openTxn struct{ producerID, first int64 }

// producers is Kafka's ProducerStateManager, the rules without files. The writer changes it; the mutex, a leaf, lets others look.
type producers struct {
	mu struct {
		sync.Mutex
		byID map[int64]*producer
		open []openTxn // by first offset
	}
}

// duplicate finds the batch among the remembered ones. Kafka asks this before anything else.
func (s *producers) duplicate(b record.Batch) (batchMeta, bool) {
	if b.ProducerID() < 0 || b.Control() {
		return batchMeta{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.byID[b.ProducerID()]
	if p == nil || p.epoch != b.ProducerEpoch() {
		return batchMeta{}, false
	}
	for _, m := range p.batches[:p.n] {
		if m.lastSequence == b.LastSequence() && record.SubSequence(m.lastSequence, m.offsetDelta) == b.BaseSequence() {
			return m, true
		}
	}
	return batchMeta{}, false
}

// check decides whether a leader may append b, by Kafka's rules for batches of clients and of coordinators (markers).
func (s *producers) check(b record.Batch) error {
	if b.ProducerID() < 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.byID[b.ProducerID()]
	if p == nil {
		return nil // never seen, expired, or all its data removed: any sequence is right
	}
	if b.ProducerEpoch() < p.epoch {
		return fmt.Errorf("%w: epoch %d of producer %d, the log has seen %d", kerr.InvalidProducerEpoch, b.ProducerEpoch(), b.ProducerID(), p.epoch)
	}
	if b.Control() {
		return checkMarker(p, b)
	}
	if err := checkSequence(p, b); err != nil {
		return err
	}
	if p.txnStart >= 0 && !b.Transactional() {
		return fmt.Errorf("%w: producer %d has a transaction open since offset %d", kerr.InvalidTxnState, b.ProducerID(), p.txnStart)
	}
	return nil
}

func checkMarker(p *producer, b record.Batch) error {
	m, ok, err := record.ParseMarker(b)
	if err != nil || !ok {
		return err
	}
	if m.CoordinatorEpoch < p.coordinatorEpoch {
		return fmt.Errorf("%w: marker of coordinator epoch %d for producer %d, the log has seen %d",
			kerr.TransactionCoordinatorFenced, m.CoordinatorEpoch, b.ProducerID(), p.coordinatorEpoch)
	}
	return nil
}

func checkSequence(p *producer, b record.Batch) error {
	first := b.BaseSequence()
	if b.ProducerEpoch() != p.epoch {
		if first == 0 || p.epoch < 0 {
			return nil
		}
		return outOfOrder(b, "a new epoch must begin with 0")
	}
	last, _ := p.last()
	if int64(first) == int64(last.lastSequence)+1 || first == 0 && last.lastSequence == math.MaxInt32 {
		return nil
	}
	return outOfOrder(b, fmt.Sprintf("the last one was %d", last.lastSequence))
}

func outOfOrder(b record.Batch, why string) error {
	return fmt.Errorf("%w: sequence %d of producer %d, epoch %d: %s",
		kerr.OutOfOrderSequenceNumber, b.BaseSequence(), b.ProducerID(), b.ProducerEpoch(), why)
}

// aborts returns the transaction index entry that the marker b, with its offset stamped, will make; ok false: none.
func (s *producers) aborts(b record.Batch) (txn AbortedTxn, ok bool, err error) {
	m, real, err := record.ParseMarker(b)
	if err != nil || !real || m.Commit {
		return txn, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.byID[b.ProducerID()]
	if p == nil || p.txnStart < 0 {
		return txn, false, nil // nothing was open: the marker changes only epoch and timestamp
	}
	txn = AbortedTxn{ProducerID: b.ProducerID(), FirstOffset: p.txnStart, LastOffset: b.LastOffset(), LastStableOffset: b.LastOffset() + 1}
	for _, o := range s.mu.open {
		if o.producerID != b.ProducerID() {
			txn.LastStableOffset = o.first
			break
		}
	}
	return txn, true, nil
}

// update takes in a batch that is in the log, with its offsets.
func (s *producers) update(b record.Batch) error {
	if b.ProducerID() < 0 {
		return nil
	}
	var marker record.Marker
	if b.Control() {
		m, real, err := record.ParseMarker(b)
		if err != nil || !real { // an emptied marker: compaction removed the whole transaction
			return err
		}
		marker = m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.mu.byID[b.ProducerID()]
	if p == nil {
		if s.mu.byID == nil {
			s.mu.byID = map[int64]*producer{}
		}
		p = &producer{epoch: b.ProducerEpoch(), coordinatorEpoch: -1, txnStart: -1}
		s.mu.byID[b.ProducerID()] = p
	}
	p.setEpoch(b.ProducerEpoch())
	p.lastTimestamp = b.MaxTimestamp()
	if b.Control() {
		p.coordinatorEpoch, p.txnStart = marker.CoordinatorEpoch, -1
		s.mu.open = slices.DeleteFunc(s.mu.open, func(o openTxn) bool { return o.producerID == b.ProducerID() })
		return nil
	}
	p.push(batchMeta{lastSequence: b.LastSequence(), offsetDelta: b.LastOffsetDelta(), lastOffset: b.LastOffset(), timestamp: b.MaxTimestamp()})
	if b.Transactional() && p.txnStart < 0 {
		p.txnStart = b.BaseOffset()
		s.mu.open = append(s.mu.open, openTxn{b.ProducerID(), p.txnStart})
	}
	return nil
}

// firstOpen returns the first offset of the oldest open transaction, -1 without one.
func (s *producers) firstOpen() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.open) == 0 {
		return -1
	}
	return s.mu.open[0].first
}

// expire forgets producers without an open transaction whose last batch's timestamp is older than age.
func (s *producers) expire(now time.Time, age time.Duration) {
	limit := now.UnixMilli() - age.Milliseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.mu.byID {
		if p.txnStart < 0 && p.lastTimestamp <= limit {
			delete(s.mu.byID, id)
		}
	}
}

// replace takes over the state of o, which nobody else uses.
func (s *producers) replace(o *producers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.byID, s.mu.open = o.mu.byID, o.mu.open
}

// ProducerInfo describes one active producer (DescribeProducers).
type ProducerInfo struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1: unknown
	LastTimestamp    int64 // ms
	CoordinatorEpoch int32 // -1: no marker yet
	TxnStartOffset   int64 // -1: none open
}

// info lists all producers by id.
func (s *producers) info() []ProducerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]ProducerInfo, 0, len(s.mu.byID))
	for id, p := range s.mu.byID {
		last, _ := p.last()
		infos = append(infos, ProducerInfo{id, p.epoch, last.lastSequence, p.lastTimestamp, p.coordinatorEpoch, p.txnStart})
	}
	slices.SortFunc(infos, func(a, b ProducerInfo) int {
		if a.ProducerID < b.ProducerID {
			return -1
		}
		return 1
	})
	return infos
}
