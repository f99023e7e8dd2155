//go:build e2e

package wire

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// An intended difference: where Varve answers otherwise on purpose.
type intended struct {
	line          string
	cases, fields *regexp.Regexp
	reached, used bool
}

// readDifferences reads testdata/wire/differences.txt: `case | field | reason`, * for any text.
func readDifferences(t *testing.T, path string) []*intended {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []*intended
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, "|", 3)
		if len(parts) != 3 || strings.TrimSpace(parts[2]) == "" {
			t.Fatalf("%s: want `case | field | reason`, have %q", path, line)
		}
		all = append(all, &intended{line: line, cases: wildcard(parts[0]), fields: wildcard(parts[1])})
	}
	return all
}

func wildcard(pattern string) *regexp.Regexp {
	parts := strings.Split(strings.TrimSpace(pattern), "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// unexpected drops the intended differences of a case and marks what was used.
func unexpected(all []*intended, name string, found []difference) []difference {
	var left []difference
	for _, in := range all {
		in.reached = in.reached || in.cases.MatchString(name)
	}
	for _, d := range found {
		expected := false
		for _, in := range all {
			if in.cases.MatchString(name) && in.fields.MatchString(d.field) {
				expected, in.used = true, true
			}
		}
		if !expected {
			left = append(left, d)
		}
	}
	return left
}
