package config

import (
	"fmt"
	"strings"
)

// Markdown is docs/configuration.md: every setting with its type, default and meaning.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\nMade from the table in `internal/config` (`go test ./internal/config -update`). Settings have Kafka's names; Varve's own begin with `varve.`.\n" +
		"A broker reads a YAML or .properties file and the environment, which wins: `VARVE_` and the name in capitals with `_` for each dot, without a second `varve`.\n")
	section(&b, "Broker settings", "*dynamic* ones can be changed while the broker runs (`kafka-configs --entity-type brokers`).", BrokerDefs())
	section(&b, "Topic settings", "Without a value of its own a topic takes that of the broker setting named under *behind*.", TopicDefs())
	return b.String()
}

var typeNames = [...]string{Boolean: "boolean", String: "string", Int: "int", Short: "short", Long: "long", Double: "double", List: "list", Class: "class", Password: "password"}

func section(b *strings.Builder, title, about string, defs []Def) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| setting | type | default | dynamic | behind | meaning |\n|---|---|---|---|---|---|\n", title, about)
	for _, d := range defs {
		dynamic := ""
		if d.Dynamic {
			dynamic = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", d.Name, typeNames[d.Type], d.Default, dynamic, d.TopicOf, strings.ReplaceAll(d.Doc, "|", "\\|"))
	}
}
