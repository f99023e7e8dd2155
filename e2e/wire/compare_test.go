//go:build e2e

package wire

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
)

// A difference is one field in which the broker's answer is not Kafka's.
type difference struct{ field, kafka, broker string }

func (d difference) String() string {
	return fmt.Sprintf("%s: Kafka %s, here %s", d.field, d.kafka, d.broker)
}

// blank are the fields whose content is free.
var blank = []string{"ThrottleMillis", "Host", "Port", "ClusterID", "ErrorMessage", "Dir", "TotalBytes", "UsableBytes"}

// roughly are numbers of which only "none" (negative) or "some" is compared.
var roughly = []string{"LeaderEpoch", "LogAppendTime", "StartTimestamp", "LastTimestamp", "CoordinatorEpoch", "FinalizedFeaturesEpoch"}

// unordered are lists in which a broker may choose the order.
var unordered = []string{"Topics", "Brokers", "ApiKeys", "Configs", "Groups", "SupportedFeatures", "FinalizedFeatures"}

// comparison walks Kafka's answer and the broker's side by side.
type comparison struct {
	ids   *ids
	found []difference
}

func (c *comparison) differ(path string, kafka, broker any) {
	c.found = append(c.found, difference{path, short(kafka), short(broker)})
}

func short(v any) string {
	text := fmt.Sprintf("%v", v)
	if s, ok := v.(string); ok {
		text = fmt.Sprintf("%q", s)
	}
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

func (c *comparison) values(path, field string, want, got reflect.Value) {
	switch {
	case slices.Contains(blank, field):
	case want.Kind() == reflect.Pointer:
		if want.IsNil() || got.IsNil() {
			if want.IsNil() != got.IsNil() {
				c.differ(path, show(want), show(got))
			}
			return
		}
		c.values(path, field, want.Elem(), got.Elem())
	case want.Kind() == reflect.Struct:
		for i := range want.NumField() {
			f := want.Type().Field(i)
			if !f.IsExported() || f.Name == "Version" || f.Name == "UnknownTags" {
				continue
			}
			at := f.Name
			if path != "" {
				at = path + "." + f.Name
			}
			c.values(at, f.Name, want.Field(i), got.Field(i))
		}
	case want.Kind() == reflect.Slice && want.Type().Elem().Kind() == reflect.Uint8:
		c.bytes(path, field, want.Bytes(), got.Bytes())
	case want.Kind() == reflect.Slice:
		c.lists(path, field, want, got)
	default:
		c.scalars(path, field, want.Interface(), got.Interface())
	}
}

func show(v reflect.Value) any {
	if v.IsNil() {
		return "null"
	}
	return v.Elem().Interface()
}

func (c *comparison) scalars(path, field string, want, got any) {
	if kind := idKind(field); kind != "" {
		if !c.ids.same(kind, want, got) {
			c.differ(path, fmt.Sprintf("%v (here bound to %v)", want, c.ids.of(kind, want)), got)
		}
		return
	}
	if slices.Contains(roughly, field) {
		w, g := reflect.ValueOf(want).Int(), reflect.ValueOf(got).Int()
		if (w < 0) != (g < 0) {
			c.differ(path, want, got)
		}
		return
	}
	if want != got {
		c.differ(path, want, got)
	}
}

func (c *comparison) bytes(path, field string, want, got []byte) {
	if (want == nil) != (got == nil) {
		c.differ(path, fmt.Sprintf("null: %t", want == nil), fmt.Sprintf("null: %t", got == nil))
		return
	}
	if field == "RecordBatches" {
		w, g := c.ids.batches(want, true), c.ids.batches(got, false)
		if len(w) != len(g) {
			c.differ(path, fmt.Sprintf("%d batches", len(w)), fmt.Sprintf("%d batches", len(g)))
			return
		}
		for i := range w {
			if w[i] != g[i] {
				c.differ(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])
			}
		}
		return
	}
	if string(want) != string(got) {
		c.differ(path, hex.EncodeToString(want), hex.EncodeToString(got))
	}
}

func (c *comparison) lists(path, field string, want, got reflect.Value) {
	if want.IsNil() != got.IsNil() {
		c.differ(path, fmt.Sprintf("null: %t", want.IsNil()), fmt.Sprintf("null: %t", got.IsNil()))
		return
	}
	if !slices.Contains(unordered, field) {
		if want.Len() != got.Len() {
			c.differ(path, fmt.Sprintf("%d elements", want.Len()), fmt.Sprintf("%d elements", got.Len()))
			return
		}
		for i := range want.Len() {
			c.values(fmt.Sprintf("%s[%s]", path, c.index(want.Index(i), i)), field, want.Index(i), got.Index(i))
		}
		return
	}
	wants, order := c.keyed(want, true)
	gots, extra := c.keyed(got, false)
	for _, key := range order {
		at := fmt.Sprintf("%s[%s]", path, key)
		if g, ok := gots[key]; ok {
			c.values(at, field, wants[key], g)
		} else {
			c.differ(at, "has it", "absent")
		}
	}
	for _, key := range extra {
		if _, ok := wants[key]; !ok {
			c.differ(fmt.Sprintf("%s[%s]", path, key), "absent", "has it")
		}
	}
}

// index names an element of an ordered list: partitions by their number, others by their place.
func (c *comparison) index(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct {
		if p := v.FieldByName("Partition"); p.IsValid() {
			return fmt.Sprint(p.Interface())
		}
	}
	return fmt.Sprint(i)
}

// keyed puts a list's elements under the first of their names.
func (c *comparison) keyed(list reflect.Value, kafkas bool) (map[string]reflect.Value, []string) {
	all := map[string]reflect.Value{}
	var order []string
	for i := range list.Len() {
		key := c.name(list.Index(i), kafkas)
		for n := 2; all[key].IsValid(); n++ {
			key = fmt.Sprintf("%s#%d", key, n)
		}
		all[key] = list.Index(i)
		order = append(order, key)
	}
	return all, order
}

func (c *comparison) name(v reflect.Value, kafkas bool) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(v.Interface())
	}
	for _, field := range []string{"Topic", "Name", "Group", "ApiKey", "NodeID"} {
		f := v.FieldByName(field)
		if !f.IsValid() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		if f.Kind() == reflect.String && f.String() == "" && v.FieldByName("TopicID").IsValid() {
			continue
		}
		return fmt.Sprint(f.Interface())
	}
	if f := v.FieldByName("TopicID"); f.IsValid() {
		id := f.Interface()
		if kafkas {
			id = c.ids.of("topic", id)
		}
		return fmt.Sprintf("%x", id)
	}
	return "?"
}
