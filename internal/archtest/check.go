package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Violation is a place that breaks a rule, and the rule's reason.
type Violation struct {
	File string
	Line int
	What string
	Why  string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s\n\twhy not: %s", v.File, v.Line, v.What, v.Why)
}

// Check returns the violations in the repository at the root of fsys, by file. Directories named testdata, and hidden
// ones, are left out.
func Check(fsys fs.FS) ([]Violation, error) {
	var all []Violation
	seen := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		seen[name] = true
		found, err := checkFile(fsys, name)
		all = append(all, found...)
		return err
	})
	for _, name := range pure {
		if !seen[name] {
			all = append(all, Violation{name, 0, "listed as pure, but there is no such file", "a list with dead names protects nothing: correct internal/archtest"})
		}
	}
	return all, err
}

// file is one parsed file.
type file struct {
	fset *token.FileSet
	ast  *ast.File
	name string
	dir  string
	test bool // of a test, or of a room that only tests use
	out  []Violation
}

func checkFile(fsys fs.FS, name string) ([]Violation, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	f := &file{fset: token.NewFileSet(), name: name, dir: path.Dir(name)}
	f.test = strings.HasSuffix(name, "_test.go") || inAny(f.dir, free)
	if f.ast, err = parser.ParseFile(f.fset, name, src, parser.SkipObjectResolution); err != nil {
		return nil, err
	}
	for _, spec := range f.ast.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.checkBans(spec, imported)
		if to, ours := strings.CutPrefix(imported, module); ours && !f.test {
			f.checkLayers(spec, to)
		}
	}
	if !f.test && !inAny(f.name, fileRooms) {
		f.checkCalls("os", fileCalls, whyFiles)
	}
	if slices.Contains(pure, name) {
		f.checkCalls("time", clockCalls, whyPure)
	}
	return f.out, nil
}

func (f *file) add(at ast.Node, why, format string, args ...any) {
	f.out = append(f.out, Violation{f.name, f.fset.Position(at.Pos()).Line, fmt.Sprintf(format, args...), why})
}

func (f *file) checkBans(at ast.Node, imported string) {
	for _, b := range bans {
		banned := slices.ContainsFunc(b.imports, func(p string) bool {
			return imported == p || strings.HasSuffix(p, "/") && strings.HasPrefix(imported, p)
		})
		if banned && !inAny(f.dir, b.only) && !(b.tests && f.test) {
			f.add(at, b.why, "imports %s", imported)
		}
	}
}

func (f *file) checkLayers(at ast.Node, to string) {
	from, target := rank(f.dir), rank(to)
	switch {
	case inAny(to, free):
		f.add(at, whyFree, "imports %s", to)
	case inAny(to, leaves) && !inAny(f.dir, []string{"cmd"}) && room(f.dir) != room(to):
		f.add(at, whyLeaves, "imports %s", to)
	case from < 0 || target < 0:
		f.add(at, "every room has its place in the layers: add it to internal/archtest and docs/architecture.md", "imports %s, and one of the two rooms is unknown", to)
	case from < target, from == target && room(f.dir) != room(to):
		f.add(at, whyLayers, "imports %s", to)
	}
}

// checkCalls reports uses of banned functions of a standard package.
func (f *file) checkCalls(pkg string, banned map[string]bool, why string) {
	local := ""
	for _, spec := range f.ast.Imports {
		if spec.Path.Value == strconv.Quote(pkg) {
			local = pkg
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && banned[sel.Sel.Name] {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				f.add(sel, why, "uses %s.%s", pkg, sel.Sel.Name)
			}
		}
		return true
	})
}

// room is the first element of a directory; below internal every directory is a room of rank 0 that may use its likes.
func room(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// rank of the longest prefix that names dir; -1: none.
func rank(dir string) int {
	best, found := -1, ""
	for _, l := range layers {
		if in(dir, l.prefix) && len(l.prefix) > len(found) {
			best, found = l.rank, l.prefix
		}
	}
	return best
}

func in(dir, prefix string) bool { return dir == prefix || strings.HasPrefix(dir, prefix+"/") }

func inAny(dir string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return in(dir, p) })
}
