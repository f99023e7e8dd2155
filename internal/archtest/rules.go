package archtest

// module is the import path of the repository.
const module = "varve/"

// layers ranks the rooms: a room imports only from rooms of lower rank, or from itself. The longest prefix of a
// package's directory counts.
var layers = []struct {
	prefix string
	rank   int
}{
	{"cmd", 5},
	{"server", 4}, {"console", 4},
	{"ingest", 3}, {"fetch", 3}, {"tiering", 3}, {"coordinator", 3},
	{"replica", 2},
	{"commitlog", 1}, {"metadata", 1},
	{"commitlog/record", 0}, {"internal", 0}, {"migrations", 0}, {"testdata/flights", 0},
}

const whyLayers = "a room imports only rooms below it (docs/architecture.md): what it needs from beside or above, it declares as an interface that cmd fills in"

// leaves are implementations that only the binary and tests may choose.
var leaves = []string{"metadata/postgres", "tiering/s3", "tiering/minio", "tiering/file"}

const whyLeaves = "only cmd builds implementations; a room that imports one cannot be tested with, or run on, another"

// free are the rooms that only tests and measurements use: they stand outside of the layers, and nothing else imports
// them.
var free = []string{"e2e", "bench", "internal/testpg", "internal/testminio", "internal/testcluster", "internal/historycheck", "internal/archtest", "internal/lint",
	"tiering/buckettest"}

const whyFree = "a helper of tests in the product would bring test servers and their licences with it"

// A ban keeps an import in the rooms that it names.
type ban struct {
	imports []string // path, or prefix when it ends with a slash
	only    []string // directories, subdirectories included
	tests   bool     // _test.go files and free rooms are exempt
	why     string
}

var bans = []ban{
	{[]string{"github.com/jackc/"}, []string{"metadata/postgres", "migrations", "internal/testpg", "internal/pgserver"}, false,
		"SQL lives in one place, where the order of row locks and the fences are; a query elsewhere would escape both"},
	{[]string{"github.com/golang-migrate/"}, []string{"metadata/postgres", "migrations"}, false,
		"the schema has one owner, which also serializes migrations"},
	{[]string{"github.com/aws/"}, []string{"tiering/s3"}, true,
		"each object store SDK stays in its driver, or its types and retries leak into the tier"},
	{[]string{"github.com/minio/"}, []string{"tiering/minio"}, true,
		"each object store SDK stays in its driver, or its types and retries leak into the tier"},
	{[]string{"github.com/spf13/"}, []string{"cmd"}, true,
		"configuration is read once, in cmd; rooms get a Config with documented fields"},
	{[]string{"net", "net/http"}, []string{"server", "cmd", "replica/transport", "metadata/postgres", "internal/pgserver", "tiering/s3", "tiering/minio"}, true,
		"connections belong to the server and the transport, which bound, time out and close them"},
	{[]string{"log"}, nil, false,
		"the standard logger is global and has no levels; rooms get a *slog.Logger"},
	{[]string{"io/ioutil", "math/rand", "github.com/pkg/errors"}, nil, false,
		"superseded by os and io, math/rand/v2, and errors"},
}

// fileCalls are the functions of package os that touch files.
var fileCalls = set("Chmod", "Chown", "Chtimes", "Create", "CreateTemp", "Link", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "Open",
	"OpenFile", "ReadDir", "ReadFile", "Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile")

// fileRooms may call them: directories or files. tiering/cache is the disk cache of the tier; pgserver keeps a private
// Postgres's directory.
var fileRooms = []string{"internal/vfs", "tiering/file", "tiering/cache", "internal/pgserver", "cmd"}

const whyFiles = "files are touched through internal/vfs, so that tests can lose power, fill the disk and fail a sync at any operation"

// clockCalls are the functions of package time that read the clock or wait for it.
var clockCalls = set("Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick")

// pure are the files of pure rules: state machines and decisions.
var pure = []string{
	"coordinator/shard.go",
	"coordinator/group/machine.go", "coordinator/group/join.go", "coordinator/group/rebalance.go",
	"coordinator/group/sync.go", "coordinator/group/leave.go", "coordinator/group/restore.go",
	"coordinator/group/retain.go",
	"coordinator/group/consumer_machine.go", "coordinator/group/consumer_beat.go", "coordinator/group/consumer_subscribe.go",
	"coordinator/group/consumer_reconcile.go", "coordinator/group/consumer_assign.go", "coordinator/group/consumer_restore.go", "coordinator/group/consumer_retain.go",
	"metadata/election.go", "metadata/isr.go", "replica/insync.go", "metadata/balance.go", "metadata/duties.go", "metadata/reassign.go", "metadata/placement.go", "metadata/shards.go", "metadata/registration.go", "metadata/image.go",
	"metadata/delta.go",
	"tiering/keys.go", "tiering/bundle.go", "tiering/chunks.go",
	"commitlog/record/batch.go", "commitlog/record/walk.go", "commitlog/record/rewrite.go",
	"cmd/varve/clusterfindings.go",
}

const whyPure = "pure rules take now as a parameter: the same state and event give the same effects, in tests and in the field"

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
