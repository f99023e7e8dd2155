package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An InvalidValueError says which setting cannot take which value and why, in Kafka's words.
type InvalidValueError struct{ Name, Value, Reason string }

func (e *InvalidValueError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("Invalid value %s for configuration %s", e.Value, e.Name)
	}
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Name, e.Reason)
}

// parses checks that value has the type of d.
func (d Def) parses(value string) error {
	var err error
	switch d.Type {
	case Boolean:
		if value != "true" && value != "false" {
			return &InvalidValueError{d.Name, value, "Expected value to be either true or false"}
		}
	case Short:
		_, err = strconv.ParseInt(value, 10, 16)
	case Int:
		_, err = strconv.ParseInt(value, 10, 32)
	case Long:
		_, err = strconv.ParseInt(value, 10, 64)
	case Double:
		_, err = strconv.ParseFloat(value, 64)
	}
	if err != nil {
		return &InvalidValueError{d.Name, value, "Not a number of type " + [...]string{Int: "INT", Short: "SHORT", Long: "LONG", Double: "DOUBLE"}[d.Type]}
	}
	return nil
}

// numbers makes a check of bounds [low, high] for a whole number.
func numbers(name string, t Type, low, high int64) func(string) error {
	return func(value string) error {
		if err := (Def{Name: name, Type: t}).parses(value); err != nil {
			return err
		}
		switch n, _ := strconv.ParseInt(value, 10, 64); {
		case n < low:
			return &InvalidValueError{name, value, fmt.Sprintf("Value must be at least %d", low)}
		case n > high:
			return &InvalidValueError{name, value, fmt.Sprintf("Value must be no more than %d", high)}
		}
		return nil
	}
}

// oneOf makes a check for an enumeration; with list, for a comma-separated list of its members.
func oneOf(name string, list bool, allowed ...string) func(string) error {
	return func(value string) error {
		values := []string{value}
		if list {
			values = splitList(value)
		}
		for _, v := range values {
			if !slices.Contains(allowed, v) {
				return &InvalidValueError{name, v, "String must be one of: " + strings.Join(allowed, ", ")}
			}
		}
		return nil
	}
}

// ratio makes a check for a share of [0, 1].
func ratio(name string) func(string) error {
	return decimal(name, "Value must be in [0, 1]", func(f float64) bool { return f >= 0 && f <= 1 })
}

// positive makes a check for a number above 0.
func positive(name string) func(string) error {
	return decimal(name, "Value must be more than 0", func(f float64) bool { return f > 0 })
}

func decimal(name, want string, accept func(float64) bool) func(string) error {
	return func(value string) error {
		if err := (Def{Name: name, Type: Double}).parses(value); err != nil {
			return err
		}
		if f, _ := strconv.ParseFloat(value, 64); !accept(f) {
			return &InvalidValueError{name, value, want}
		}
		return nil
	}
}

// splitList splits a comma-separated list and drops blanks around its members; the empty string is the empty list.
func splitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
