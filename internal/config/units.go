package config

import (
	"slices"
	"strconv"
	"time"
)

// A Unit is a broker setting that says in a coarser unit what another one says in ms. The finer wins when both are set.
type Unit struct {
	Name string
	Ms   int64 // of one
}

// units are Kafka's settings with a coarser form, by the name of the one in ms; of several, the finest first.
var units = map[string][]Unit{
	"log.retention.ms":   {{"log.retention.minutes", time.Minute.Milliseconds()}, {"log.retention.hours", time.Hour.Milliseconds()}},
	"log.roll.ms":        {{"log.roll.hours", time.Hour.Milliseconds()}},
	"log.roll.jitter.ms": {{"log.roll.jitter.hours", time.Hour.Milliseconds()}},
}

// Units lists the coarser forms of a broker setting in ms. The caller must not change the slice.
func Units(name string) []Unit { return units[name] }

// unitTable defines the coarser forms.
func unitTable() []Def {
	const hours = 1<<31 - 1
	return []Def{
		brokerNumber("log.retention.minutes", Int, "", false, -1, hours, "log.retention.ms in minutes."),
		brokerNumber("log.retention.hours", Int, "168", false, -1, hours, "log.retention.ms in hours; log.retention.minutes goes before it."),
		brokerNumber("log.roll.hours", Int, "168", false, 1, hours, "log.roll.ms in hours."),
		brokerNumber("log.roll.jitter.hours", Int, "0", false, 0, hours, "log.roll.jitter.ms in hours."),
	}
}

// inMs is the value of a broker setting, or what its coarser forms say in ms when they are set and it is not; empty: nothing is set, and it has
// no default.
func (b *Broker) inMs(name string) string {
	v, set := b.Value(name)
	if set {
		return v
	}
	i := slices.IndexFunc(units[name], func(u Unit) bool { _, set := b.Value(u.Name); return set })
	if i < 0 {
		return v
	}
	u := units[name][i]
	coarse, _ := b.Value(u.Name)
	n, err := strconv.ParseInt(coarse, 10, 64)
	if err != nil {
		return v
	}
	return strconv.FormatInt(max(n*u.Ms, -1), 10)
}
