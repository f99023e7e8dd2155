package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ThrottledReplicas are the replicas of one topic that a replication throttle is for: ",0:1,2:3," or "*". Two are equal when they were set
// equally, so that a Topic can be compared.
type ThrottledReplicas string

// Has reports whether the replica of a partition on a broker is among them.
func (r ThrottledReplicas) Has(partition, broker int32) bool {
	if r == "" || r == "*" {
		return r == "*"
	}
	return strings.Contains(string(r), ","+item(partition, broker)+",")
}

func item(partition, broker int32) string {
	return strconv.FormatInt(int64(partition), 10) + ":" + strconv.FormatInt(int64(broker), 10)
}

// throttledItem is one replica: partition and broker.
var throttledItem = regexp.MustCompile(`^([0-9]+):([0-9]+)$`)

// throttledReplicas makes a check for the list of throttled replicas, in Kafka's words.
func throttledReplicas(name string) func(string) error {
	return func(value string) error {
		items := throttledItems(value)
		if len(items) == 1 && items[0] == "*" {
			return nil
		}
		for _, text := range items {
			if _, _, ok := parseReplica(text); !ok {
				return &InvalidValueError{name, "[" + strings.Join(items, ", ") + "]", fmt.Sprintf(
					"%s must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...", name)}
			}
		}
		return nil
	}
}

// throttledItems splits a list as Kafka does: a comma at the end is no item.
func throttledItems(value string) []string {
	return splitList(strings.TrimSuffix(strings.TrimSpace(value), ","))
}

func parseReplica(text string) (partition, broker int32, ok bool) {
	m := throttledItem.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	p, err := strconv.ParseInt(m[1], 10, 32)
	b, err2 := strconv.ParseInt(m[2], 10, 32)
	return int32(p), int32(b), err == nil && err2 == nil
}

// parseThrottled parses a value that is checked.
func parseThrottled(value string) ThrottledReplicas {
	out := ""
	for _, text := range throttledItems(value) {
		if text == "*" {
			return "*"
		}
		if partition, broker, ok := parseReplica(text); ok {
			out += "," + item(partition, broker)
		}
	}
	if out != "" {
		out += ","
	}
	return ThrottledReplicas(out)
}
