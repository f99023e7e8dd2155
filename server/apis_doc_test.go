package server

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var update = flag.Bool("update", false, "write generated files anew")

const apisDoc = "../docs/apis.md"

// TestAPIDocs keeps docs/apis.md equal to the registry.
func TestAPIDocs(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Kafka APIs that Varve serves\n\n")
	b.WriteString("Generated from the registry of package server: `go test ./server -run TestAPIDocs -update`.\n\n")
	b.WriteString("Versions are what ApiVersions advertises. Where it says \"from\", older versions are advertised for the sake of old clients\n")
	b.WriteString("(librdkafka before 2.11.1 stops compressing when Produce 0 is missing) and close the connection when they are used.\n\n")
	b.WriteString("| Key | API | Versions | |\n|---|---|---|---|\n")
	for _, key := range slices.Sorted(maps.Keys(registry)) {
		a := registry[key]
		note := ""
		if a.served > a.min {
			note = fmt.Sprintf("served from %d", a.served)
		}
		fmt.Fprintf(&b, "| %d | %s | %d–%d | %s |\n", key, kmsg.NameForKey(key), a.min, a.max, note)
	}
	if *update {
		if err := os.WriteFile(apisDoc, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(apisDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s does not show the registry: run go test ./server -run TestAPIDocs -update", apisDoc)
	}
}
