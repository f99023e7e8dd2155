package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRepositoryKeepsTheArchitecture(t *testing.T) {
	root := "../.."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	found, err := Check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// Every rule catches what it is there for, and gives its reason.
func TestViolationsAreCaught(t *testing.T) {
	for _, c := range []struct {
		name, file, src string
		what, why       string // "": allowed
	}{
		{"upwards", "commitlog/x.go", `import "varve/replica"`, "imports replica", whyLayers},
		{"siblings", "ingest/x.go", `import "varve/fetch"`, "imports fetch", whyLayers},
		{"the log knows no topics", "commitlog/x.go", `import "varve/metadata"`, "imports metadata", whyLayers},
		{"a leaf room", "internal/vfs/x.go", `import "varve/commitlog"`, "imports commitlog", whyLayers},
		{"record below the log", "commitlog/record/x.go", `import "varve/commitlog"`, "imports commitlog", whyLayers},
		{"downwards", "server/x.go", `import "varve/ingest"`, "", ""},
		{"the own room", "coordinator/group/x.go", `import "varve/coordinator"`, "", ""},
		{"a driver", "server/x.go", `import "varve/metadata/postgres"`, "imports metadata/postgres", whyLeaves},
		{"a driver in cmd", "cmd/varve/x.go", `import "varve/metadata/postgres"`, "", ""},
		{"a driver in a test", "server/x_test.go", `import "varve/metadata/postgres"`, "", ""},
		{"a test helper", "server/x.go", `import "varve/internal/testpg"`, "imports internal/testpg", whyFree},
		{"an unknown room", "newroom/x.go", `import "varve/metadata"`, "unknown", "every room has its place"},
		{"pgx", "coordinator/x.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5", "SQL lives in one place"},
		{"pgx in a test", "coordinator/x_test.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5", "SQL lives in one place"},
		{"an SDK", "tiering/x.go", `import "github.com/aws/aws-sdk-go-v2/service/s3"`, "imports github.com/aws", "SDK stays in its driver"},
		{"an SDK in its driver", "tiering/s3/x.go", `import "github.com/aws/aws-sdk-go-v2/service/s3"`, "", ""},
		{"viper", "internal/config/x.go", `import "github.com/spf13/viper"`, "imports github.com/spf13/viper", "read once"},
		{"net", "fetch/x.go", `import "net"`, "imports net", "belong to the server"},
		{"net/url is no connection", "fetch/x.go", `import "net/url"`, "", ""},
		{"log", "server/x.go", `import "log"`, "imports log", "slog"},
		{"slog", "server/x.go", `import "log/slog"`, "", ""},
		{"files", "commitlog/x.go", "import \"os\"\nvar _, _ = os.Open(\"x\")", "uses os.Open", whyFiles},
		{"files by another name", "commitlog/x.go", "import sys \"os\"\nvar _ = sys.Remove(\"x\")", "uses os.Remove", whyFiles},
		{"no file", "commitlog/x.go", "import \"os\"\nvar _ = os.Getpid()", "", ""},
		{"the clock", "metadata/election.go", "import \"time\"\nvar _ = time.Now()", "uses time.Now", whyPure},
		{"a duration", "metadata/election.go", "import \"time\"\nvar _ = time.Second", "", ""},
		{"testdata is not ours", "server/testdata/x.go", `import "log"`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for _, name := range pure {
				fsys[name] = &fstest.MapFile{Data: []byte("package p\n")}
			}
			fsys[c.file] = &fstest.MapFile{Data: []byte("package p\n" + c.src + "\n")}
			found, err := Check(fsys)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.what == "" && len(found) > 0:
				t.Errorf("%v", found)
			case c.what != "" && (len(found) != 1 || !strings.Contains(found[0].What, c.what) || !strings.Contains(found[0].String(), c.why)):
				t.Errorf("found %v, want %q because %q", found, c.what, c.why)
			}
		})
	}
}

func TestDeadNamesAreReported(t *testing.T) {
	found, err := Check(fstest.MapFS{})
	if err != nil || len(found) != len(pure) {
		t.Errorf("%v, %v", found, err)
	}
}
