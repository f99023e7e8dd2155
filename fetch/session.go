package fetch

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

const (
	// sessionIdle is how long a session must have been unused before another may take its slot (KIP-227's 120 s).
	sessionIdle = 2 * time.Minute
	// maxSessionPartitions bounds the memory of one session; a reader of more goes on without one.
	maxSessionPartitions = 100_000
)

// Sessions is the cache of fetch sessions (KIP-227). The zero value is ready. Safe for concurrent use.
type Sessions struct {
	mu struct {
		sync.Mutex
		byID map[int32]*Session
	}
}

// A Session remembers what a reader follows, so that a request and its answer name only what changed.
type Session struct {
	ID      int32
	byTopic bool // topics are named by id
	used    time.Time
	mu      struct {
		sync.Mutex
		epoch   int32 // of the next request
		entries []SessionEntry
	}
}

// SessionEntry is one partition of a session, as it was asked for. Topic must not alias a request.
type SessionEntry struct {
	Topic                 string
	AskedID               metadata.TopicID
	Request               PartitionRequest
	highWatermark, starts int64 // as last told, -1: never
}

// Open makes a session of entries. nil: there is no slot, or nothing to remember; the reader goes on without one.
func (c *Sessions) Open(entries []SessionEntry, byTopicID bool, slots int, now time.Time) *Session {
	if len(entries) == 0 || len(entries) > maxSessionPartitions {
		return nil
	}
	s := &Session{byTopic: byTopicID, used: now}
	s.mu.epoch, s.mu.entries = 1, entries
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.byID) >= slots && !c.evictLocked(now) {
		return nil
	}
	if c.mu.byID == nil {
		c.mu.byID = map[int32]*Session{}
	}
	for s.ID == 0 || c.mu.byID[s.ID] != nil {
		s.ID = 1 + rand.Int32N(math.MaxInt32-1)
	}
	c.mu.byID[s.ID] = s
	return s
}

// evictLocked frees the slot of a session that nobody has used for long.
func (c *Sessions) evictLocked(now time.Time) bool {
	for id, s := range c.mu.byID {
		if now.Sub(s.used) > sessionIdle {
			delete(c.mu.byID, id)
			return true
		}
	}
	return false
}

// Close ends a session.
func (c *Sessions) Close(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.byID, id)
}

// Next takes the incremental request of epoch: changed and added partitions, and forgotten ones. It returns what the session follows now; nothing
// left ends the session. FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
func (c *Sessions) Next(id, epoch int32, byTopicID bool, changed, forgotten []SessionEntry, now time.Time) (*Session, []SessionEntry, error) {
	c.mu.Lock()
	s := c.mu.byID[id]
	if s != nil {
		s.used = now
	}
	c.mu.Unlock()
	if s == nil {
		return nil, nil, kerr.FetchSessionIDNotFound
	}
	if s.byTopic != byTopicID {
		return nil, nil, kerr.FetchSessionTopicIDError
	}
	entries, err := s.next(epoch, changed, forgotten)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) == 0 || len(entries) > maxSessionPartitions {
		c.Close(id)
		return nil, entries, nil
	}
	return s, entries, nil
}

func (s *Session) next(epoch int32, changed, forgotten []SessionEntry) ([]SessionEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.mu.epoch {
		return nil, kerr.InvalidFetchSessionEpoch
	}
	if s.mu.epoch++; s.mu.epoch <= 0 {
		s.mu.epoch = 1
	}
	type key struct {
		topic     string
		id        metadata.TopicID
		partition int32
	}
	index := make(map[key]int, len(changed)+len(forgotten))
	const forget = -1
	for i := range changed {
		index[key{changed[i].Topic, changed[i].AskedID, changed[i].Request.TopicPartition.Partition}] = i
	}
	for i := range forgotten {
		index[key{forgotten[i].Topic, forgotten[i].AskedID, forgotten[i].Request.TopicPartition.Partition}] = forget
	}
	kept := s.mu.entries[:0]
	for _, e := range s.mu.entries {
		k := key{e.Topic, e.AskedID, e.Request.TopicPartition.Partition}
		if i, ok := index[k]; ok {
			delete(index, k)
			if i == forget {
				continue
			}
			e.Request = changed[i].Request
		}
		kept = append(kept, e)
	}
	for i := range changed {
		if _, added := index[key{changed[i].Topic, changed[i].AskedID, changed[i].Request.TopicPartition.Partition}]; added {
			kept = append(kept, changed[i])
		}
	}
	s.mu.entries = kept
	return append([]SessionEntry(nil), kept...), nil
}

// Tell records what the reader is told of the partitions it was given and reports which of them an incremental answer names: those with records,
// an error, a divergence, or offsets that moved. Partitions with records go last next time, so that all get their turn.
func (s *Session) Tell(given []SessionEntry, results []PartitionResult) (named []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	named = make([]bool, len(given))
	var first, last []SessionEntry
	for i := range given {
		e, r := given[i], &results[i]
		named[i] = r.Records.Bytes > 0 || r.Err != nil || r.Diverging != nil || e.highWatermark != r.HighWatermark || e.starts != r.LogStart
		e.highWatermark, e.starts = r.HighWatermark, r.LogStart
		if r.Records.Bytes > 0 {
			last = append(last, e)
		} else {
			first = append(first, e)
		}
	}
	if len(s.mu.entries) == len(given) { // else another request of the session was started meanwhile
		s.mu.entries = append(first, last...)
	}
	return named
}

// NewEntry returns the entry of a partition that has not been told of.
func NewEntry(topic string, asked metadata.TopicID, r PartitionRequest) SessionEntry {
	return SessionEntry{Topic: topic, AskedID: asked, Request: r, highWatermark: -1, starts: -1}
}
