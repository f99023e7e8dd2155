package commitlog

import (
	"cmp"
	"slices"

	"varve/commitlog/record"
)

// cleanTxns follows the transactions in a log that is read from its beginning: which batches were aborted, and which markers end a transaction of which
// nothing is left (Kafka's CleanedTransactionMetadata).
type cleanTxns struct {
	aborted   []AbortedTxn           // not reached yet, by first offset
	aborting  map[int64]*abortingTxn // by producer id
	committed map[int64]bool         // producers with data since their last marker that was not aborted
}

type abortingTxn struct {
	txn      AbortedTxn
	observed bool // some of its data is still there
}

func newCleanTxns(aborted []AbortedTxn) *cleanTxns {
	aborted = slices.Clone(aborted)
	slices.SortFunc(aborted, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &cleanTxns{aborted: aborted, aborting: map[int64]*abortingTxn{}, committed: map[int64]bool{}}
}

func (t *cleanTxns) advance(b record.Batch) {
	for len(t.aborted) > 0 && t.aborted[0].FirstOffset <= b.LastOffset() {
		t.aborting[t.aborted[0].ProducerID] = &abortingTxn{txn: t.aborted[0]}
		t.aborted = t.aborted[1:]
	}
}

// data takes a batch of records and reports whether its transaction was aborted.
func (t *cleanTxns) data(b record.Batch) bool {
	t.advance(b)
	if !b.Transactional() {
		return false
	}
	if txn := t.aborting[b.ProducerID()]; txn != nil {
		txn.observed = true
		return true
	}
	t.committed[b.ProducerID()] = true
	return false
}

// marker takes a control batch. empty: nothing of its transaction is left, so that it may go. Else aborted is what the transaction index must go on to say,
// nil for nothing.
func (t *cleanTxns) marker(b record.Batch) (empty bool, aborted *AbortedTxn, err error) {
	t.advance(b)
	if b.Count() == 0 {
		return true, nil, nil
	}
	m, ok, err := record.ParseMarker(b)
	if err != nil || !ok {
		return false, nil, err
	}
	if m.Commit {
		had := t.committed[b.ProducerID()]
		delete(t.committed, b.ProducerID())
		return !had, nil, nil
	}
	txn := t.aborting[b.ProducerID()]
	delete(t.aborting, b.ProducerID())
	if txn == nil || !txn.observed {
		return true, nil, nil
	}
	return false, &txn.txn, nil
}
