package pgserver

import (
	"strings"
	"testing"
)

// Without a Postgres and without a repository the error says what to do.
func TestNothingInstalledNothingFetched(t *testing.T) {
	places := searched
	searched = nil
	t.Cleanup(func() { searched = places })
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv(mavenURLVariable, "http://127.0.0.1:1")
	_, err := Start(t.Context(), Options{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "install Postgres") || !strings.Contains(err.Error(), mavenURLVariable) {
		t.Error(err)
	}
}
