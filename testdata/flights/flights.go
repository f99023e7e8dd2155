// Package flights holds a real data set of timestamped events: see README.md.
package flights

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed" // the data set
	"fmt"
	"iter"
	"strings"
	"time"
)

//go:embed flights.csv.gz
var packed []byte

// Count is the number of events.
const Count = 336776

// Event is one flight.
type Event struct {
	Time time.Time // scheduled departure, UTC
	Key  string    // tail number, or the carrier when it is not known
	Line string    // the whole row
}

// All yields the events in the order of their hour.
func All() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			yield(Event{}, err)
			return
		}
		lines := bufio.NewScanner(z)
		for lines.Scan() && strings.HasPrefix(lines.Text(), "scheduled_hour") {
		}
		for ok := lines.Text() != ""; ok; ok = lines.Scan() {
			if e, err := parse(lines.Text()); !yield(e, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, err)
		}
	}
}

func parse(line string) (Event, error) {
	f := strings.Split(line, ",")
	if len(f) != 9 {
		return Event{}, fmt.Errorf("flights: %d fields in %q", len(f), line)
	}
	at, err := time.Parse("2006-01-02T15:04", f[0]+":"+fmt.Sprintf("%02s", f[1]))
	if err != nil {
		return Event{}, fmt.Errorf("flights: %w", err)
	}
	key := f[4]
	if key == "" {
		key = f[2]
	}
	return Event{at, key, line}, nil
}
