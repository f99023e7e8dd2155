package pgserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Without user namespaces root gives the directory to nobody, if nobody can get there.
func TestGiveTo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	base, err := os.MkdirTemp("/tmp", "pgserver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	uid, gid := nobody()
	dir := filepath.Join(base, "pg")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := giveTo(dir, uid, gid); err == nil {
		t.Error("a directory below one of mode 0700 cannot be reached")
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := giveTo(dir, uid, gid); err != nil {
		t.Error(err)
	}
}

// In the namespace we are somebody else, and the files we make are still our own outside.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 || !namespacesWork() {
		t.Skip("needs root and user namespaces")
	}
	path := filepath.Join(t.TempDir(), "made")
	cmd := exec.Command("sh", "-c", `touch "$0" && id -u`, path)
	cmd.SysProcAttr = userNamespace()
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) == "0\n" {
		t.Fatalf("%s %v", out, err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}
