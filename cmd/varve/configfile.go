package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/viper"

	"varve/internal/config"
)

// keyDelimiter is none that a setting's name contains: viper's own, the dot, is part of Kafka's names.
const keyDelimiter = "\x00"

// loadSettings reads a configuration file (YAML or .properties, Kafka's names as they are) and lays the environment over it. An empty path: the
// environment alone.
func loadSettings(path string) (map[string]string, error) {
	set := map[string]string{}
	if path != "" {
		v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
		v.SetConfigFile(path)
		if strings.HasSuffix(path, ".properties") {
			if err := readProperties(path, set); err != nil {
				return nil, err
			}
		} else {
			if err := v.ReadInConfig(); err != nil {
				return nil, fmt.Errorf("--config %s: %w", path, err)
			}
			for _, key := range v.AllKeys() {
				if section, _, nested := strings.Cut(key, keyDelimiter); nested {
					return nil, fmt.Errorf("--config %s: %s is a section: write settings flat, as in log.dirs: /data", path, section)
				}
				set[key] = textOf(v.Get(key))
			}
		}
	}
	for _, d := range config.BrokerDefs() {
		if value, ok := os.LookupEnv(envName(d.Name)); ok {
			set[d.Name] = value
		}
	}
	return set, nil
}

// textOf makes a YAML value what a properties file would say: lists are joined by commas.
func textOf(value any) string {
	if list, ok := value.([]any); ok {
		parts := make([]string, len(list))
		for i := range list {
			parts[i] = fmt.Sprint(list[i])
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(value)
}

// envName is the environment variable of a setting: VARVE_ and the name in capitals, dots as underscores; varve's own prefix is not said twice.
func envName(setting string) string {
	return "VARVE_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(setting, "varve."), ".", "_"))
}

// readProperties reads Kafka's own format: name=value a line, # begins a comment line, a backslash at the end goes on in the next line.
func readProperties(path string, set map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config %w", err)
	}
	text = []byte(strings.ReplaceAll(strings.ReplaceAll(string(text), "\r\n", "\n"), "\\\n", ""))
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("--config %s: line %d is not name=value", path, number)
		}
		set[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return nil
}
