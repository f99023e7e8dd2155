package lint

import (
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func TestRepository(t *testing.T) {
	found, err := Check(os.DirFS(root), tracked(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// tracked lists the files that belong to the repository: what git tracks and still exists, or, in a tree without git,
// everything that is not hidden.
func tracked(t *testing.T) []string {
	t.Helper()
	var names []string
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err == nil && len(out) > 0 {
		for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
			if info, err := os.Lstat(root + "/" + name); err == nil && info.Mode().IsRegular() {
				names = append(names, name)
			}
		}
		return names
	}
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.Type().IsRegular():
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFindings(t *testing.T) {
	long := "func f() {\n" + strings.Repeat("\tg()\n", maxFuncLines) + "}\n"
	six := "interface {\n\tA()\n\tB()\n\tC()\n\tD()\n\tE()\n\tF()\n}\n"
	sleep := "import \"time\"\n\nfunc f() {\n\ttime.Sleep(1)\n}\n"
	for _, c := range []struct {
		name, file, src, rule string // rule "": nothing is found
	}{
		{"a long file", "p/x.go", strings.Repeat("// …\n\n", maxFileLines/2) + "// …\n", fileLength},
		{"a long file, excused", "p/x.go", "//lint:allow file-length a table\n" + strings.Repeat("// …\n\n", maxFileLines/2) + "// …\n", ""},
		{"a long function", "p/x.go", long, funcLength},
		{"a long function, excused", "p/x.go", "// f is long.\n//\n//lint:allow func-length one table\n" + long, ""},
		{"an exception without a reason", "p/x.go", "//lint:allow func-length\n\nvar x int\n", allowance},
		{"an exception of nothing", "p/x.go", "//lint:allow func-length because\n\nvar x int\n", allowance},
		{"a large interface", "p/x.go", "type i " + six, interfaceSize},
		{"a large interface, excused", "p/x.go", "// i is large.\n//\n//lint:allow interface-size a facade\ntype i " + six, ""},
		{"an exported function", "p/x.go", "func F() {}\n", exportedDoc},
		{"a documented function", "p/x.go", "// F does.\nfunc F() {}\n", ""},
		{"a method of an exported type", "p/x.go", "// T is.\ntype T int\n\nfunc (t *T) M() {}\n", exportedDoc},
		{"a method of another type", "p/x.go", "type t int\n\nfunc (x t) Len() int { return 0 }\n", ""},
		{"a method that every error has", "p/x.go", "// T is.\ntype T int\n\nfunc (t T) Error() string { return \"\" }\n", ""},
		{"an exported type", "p/x.go", "type T int\n", exportedDoc},
		{"an exported constant", "p/x.go", "const C = 1\n", exportedDoc},
		{"an enumeration", "p/x.go", "// T is.\ntype T int\n\nconst (\n\tA T = iota\n\tB\n)\n", ""},
		{"an enumeration of strings", "p/x.go", "// T is.\ntype T string\n\nconst (\n\tA T = \"a\"\n\tB T = \"b\"\n)\n", ""},
		{"an exported name in a test", "p/x_test.go", "func TestX() {}\n", ""},
		{"a sleeping test", "p/x_test.go", sleep, testSleep},
		{"a sleep elsewhere", "p/x.go", sleep, ""},
		{"a sleep, excused", "p/x_test.go", strings.Replace(sleep, "(1)", "(1) //lint:allow test-sleep the pause is what is tested", 1), ""},
		{"a poll", "p/x_test.go", "import \"time\"\n\nfunc f(ok func() bool) {\n\tfor ; !ok(); time.Sleep(1) {\n\t}\n}\n", ""},
		{"a machine's path", "p/x.go", "// In " + machinePaths[0] + "main.\nvar x int\n", machineName},
		{"a machine's path in text", "README.md", "see `" + machinePaths[1] + "x`\n", machineName},
		{"the middle of a path", "README.md", "see frame" + machinePaths[0][1:] + " and a" + machinePaths[0] + "b\n", ""},
		{"the second path of a line", "README.md", "a" + machinePaths[0] + "b " + machinePaths[0] + "b\n", machineName},
		{"a registry", "Makefile", "GOPROXY=https://" + registryHosts[0] + "\n", machineName},
		{"bytes", "x.bin", "\x00" + machinePaths[0], ""},
		{"not formatted", "p/x.go", "var  x int\n", format},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := c.src
			if strings.HasSuffix(c.file, ".go") {
				src = "// Package p is documented.\npackage p\n\n" + src
			}
			found, err := Check(fstest.MapFS{c.file: &fstest.MapFile{Data: []byte(src)}}, []string{c.file})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.rule == "" && len(found) > 0:
				t.Errorf("%v", found)
			case c.rule != "" && (len(found) != 1 || found[0].Rule != c.rule):
				t.Errorf("found %v, want %s", found, c.rule)
			}
		})
	}
}

func TestPackageDoc(t *testing.T) {
	fsys := fstest.MapFS{"p/x.go": &fstest.MapFile{Data: []byte("package p\n")}, "p/y.go": &fstest.MapFile{Data: []byte("package p\n")}}
	found, err := Check(fsys, []string{"p/x.go", "p/y.go"})
	if err != nil || len(found) != 1 || found[0].Rule != packageDoc {
		t.Error(found, err)
	}
	fsys["p/y.go"] = &fstest.MapFile{Data: []byte("// Package p is.\npackage p\n")}
	if found, err := Check(fsys, []string{"p/x.go", "p/y.go"}); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
}
