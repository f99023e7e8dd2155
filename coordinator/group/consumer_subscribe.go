package group

import (
	"errors"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// firstEpoch is the epoch of a new group, as in Kafka.
const firstEpoch = 2

// pattern is a regular expression that members subscribe to, with the topics that match it in the image of the last
// resolve. Kafka resolves patterns in the background, every ten minutes at most; here they follow the image.
type pattern struct {
	expression *regexp.Regexp // anchored: the whole name must match
	topics     []string
}

// pattern compiles a regular expression, or finds it.
func (m *consumer) pattern(regex string) (*pattern, error) {
	if p := m.patterns[regex]; p != nil {
		return p, nil
	}
	if _, err := regexp.Compile(regex); err != nil {
		return nil, err
	}
	expression, err := regexp.Compile(`\A(?:` + regex + `)\z`)
	if err != nil {
		return nil, err
	}
	p := &pattern{expression: expression}
	p.resolve(m.image)
	m.patterns[regex] = p
	return p, nil
}

func (p *pattern) resolve(image *metadata.Image) {
	p.topics = nil
	for name := range image.ByName {
		if p.expression.MatchString(name) {
			p.topics = append(p.topics, name)
		}
	}
	slices.Sort(p.topics)
}

// refusesPattern answers a heartbeat whose regular expression is none, and reports that.
func (m *consumer) refusesPattern(e beatEvent) bool {
	if e.regex == nil || *e.regex == "" {
		return false
	}
	_, err := m.pattern(*e.regex)
	if err == nil {
		return false
	}
	why := err.Error()
	if wrong, ok := errors.AsType[*syntax.Error](err); ok {
		why = wrong.Code.String() // as RE2/J says it, which Kafka uses
	}
	m.refuseBeat(e.from, kerr.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", *e.regex, why)
	return true
}

// forgetPatterns drops what no member subscribes to any more.
func (m *consumer) forgetPatterns() {
	used := map[string]bool{}
	for _, x := range m.members {
		used[x.Regex] = true
	}
	for regex := range m.patterns {
		if !used[regex] {
			delete(m.patterns, regex)
		}
	}
}

// subscription is what a member subscribes to: names of topics that exist, in order.
func (m *consumer) subscription(x *consumerMember) []string {
	var out []string
	for _, name := range x.Topics {
		if m.image.ByName[name] != nil {
			out = append(out, name)
		}
	}
	if x.Regex != "" {
		if p, err := m.pattern(x.Regex); err == nil {
			for _, name := range p.topics {
				if m.image.ByName[name] != nil {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// subscribed are all topics that members subscribe to, and their numbers of partitions.
func (m *consumer) subscribed() map[metadata.TopicID]int32 {
	out := map[metadata.TopicID]int32{}
	for _, x := range m.members {
		for _, name := range m.subscription(x) {
			t := m.image.ByName[name]
			out[t.ID] = int32(len(t.Partitions))
		}
	}
	return out
}

// refresh begins a new group epoch if the subscription of a member or the subscribed topics have changed.
func (m *consumer) refresh(subscription bool) {
	if m.stale {
		for _, p := range m.patterns {
			p.resolve(m.image)
		}
		m.stale = false
	}
	topics := m.subscribed()
	if subscription || m.epoch == 0 || !maps.Equal(topics, m.topics) {
		m.topics = topics
		m.epoch++
		if m.epoch == 1 {
			m.epoch = firstEpoch
		}
		m.changed(nil)
	}
}
