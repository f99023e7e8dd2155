package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/commitlog/record"
)

// finding is a kind of disagreement that Kafka's tool reports at its end, in this order.
type finding int

const (
	mismatch   finding = iota // an offset index points to another batch
	wrongTime                 // a time index has another timestamp than the batch
	outOfTime                 // timestamps of a time index run backwards
	notIndexed                // a time index has an offset that ends no batch
	gap                       // offsets of records that do not follow each other
	findings
)

var findingTexts = [findings]struct {
	title string // the path follows
	line  string
}{
	{"Mismatches in :", "  Index offset: %d, log offset: %d\n"},
	{"Found timestamp mismatch in :", "  Index timestamp: %d, log timestamp: %d\n"},
	{"Found out of order timestamp in :", "  Index timestamp: %d, Previously indexed timestamp: %d\n"},
	{"The following indexed offsets are not found in :", "Indexed offset: %d, found log offset: %d\n"},
	{"Non-consecutive offsets in ", "  %d is followed by %d\n"},
}

// dumpReport collects findings by kind and file. Files keep the order in which they were dumped; Kafka's tool has them in that of a hash map.
type dumpReport struct {
	path  string // of the current file, absolute, as Kafka prints it
	files [findings][]fileFindings
}

type fileFindings struct {
	path  string
	pairs [][2]int64
}

func (r *dumpReport) begin(path string) {
	r.path = path
	if abs, err := filepath.Abs(path); err == nil {
		r.path = abs
	}
}

func (r *dumpReport) add(kind finding, a, b int64) {
	files := r.files[kind]
	if n := len(files); n == 0 || files[n-1].path != r.path {
		files = append(files, fileFindings{path: r.path})
	}
	last := &files[len(files)-1]
	last.pairs = append(last.pairs, [2]int64{a, b})
	r.files[kind] = files
}

func (r *dumpReport) print(w io.Writer) error {
	var b strings.Builder
	for kind := range findings {
		text := findingTexts[kind]
		for _, f := range r.files[kind] {
			b.WriteString(text.title + f.path + "\n")
			for _, p := range sortedPairs(kind, f.pairs) {
				fmt.Fprintf(&b, text.line, p[0], p[1])
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sortedPairs orders pairs as Kafka's tool does: it keeps gaps and mismatches in sorted maps, mismatches from the end, the last of equal ones.
func sortedPairs(kind finding, pairs [][2]int64) [][2]int64 {
	if kind != gap && kind != mismatch {
		return pairs
	}
	slices.Reverse(pairs) // so that the last of equal ones comes first
	slices.SortStableFunc(pairs, func(a, b [2]int64) int {
		if kind == mismatch {
			a, b = b, a
		}
		return cmp.Compare(a[0], b[0])
	})
	return slices.CompactFunc(pairs, func(a, b [2]int64) bool { return a[0] == b[0] })
}

// reason is what err says of the bytes, without the text that a Kafka error has for clients.
func reason(err error) string {
	text := err.Error()
	if k := (*kerr.Error)(nil); errors.As(err, &k) {
		text = strings.ReplaceAll(text, k.Error()+": ", "")
	}
	return text
}

// optional prints a number as Java's OptionalLong.
func optional(v int64, present bool) string {
	if !present {
		return "OptionalLong.empty"
	}
	return fmt.Sprintf("OptionalLong[%d]", v)
}

func timeType(b record.Batch) string {
	if b.LogAppendTime() {
		return "LogAppendTime"
	}
	return "CreateTime"
}

func markerName(m record.Marker) string {
	if m.Commit {
		return "COMMIT"
	}
	return "ABORT"
}

// sizeOf is the size of a key or value, -1 for null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

func headerKeys(r *record.Record) string {
	headers, _ := record.ParseHeaders(r) // the walk has seen that they parse
	keys := make([]string, len(headers))
	for i, h := range headers {
		keys[i] = javaText([]byte(h.Key))
	}
	return strings.Join(keys, ",")
}

// javaText is the text that Java reads from UTF-8 bytes. Of bytes that are none it makes one replacement character for each longest beginning
// of a character, where Go makes one for each byte; and a surrogate counts as one character.
func javaText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var text strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			for n < len(b) && begins(b[:n+1]) {
				n++
			}
		}
		text.WriteRune(r)
		b = b[n:]
	}
	return text.String()
}

// begins reports whether more bytes could make b a character, or b is a surrogate.
func begins(b []byte) bool {
	if !utf8.FullRune(b) {
		return true
	}
	return b[0] == 0xED && len(b) <= 3 && !slices.ContainsFunc(b[1:], func(c byte) bool { return c&0xC0 != 0x80 })
}
