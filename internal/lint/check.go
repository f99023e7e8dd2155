package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	goformat "go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Finding is one place that breaks a rule.
type Finding struct {
	File string
	Line int
	Rule string
	What string
}

func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.What) }

// Check returns what is found in the named files of fsys, by file and line.
func Check(fsys fs.FS, names []string) ([]Finding, error) {
	var all []Finding
	documented := map[string]bool{} // packages by directory
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
			continue // not text
		}
		f := &file{name: name, data: data, test: strings.HasSuffix(name, "_test.go")}
		if err := f.check(); err != nil {
			return nil, err
		}
		all = append(all, f.out...)
		if f.ast != nil {
			dir := path.Dir(name)
			documented[dir] = documented[dir] || f.ast.Doc != nil
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			all = append(all, Finding{dir, 1, packageDoc, "the package has no doc comment"})
		}
	}
	return all, nil
}

// file is one file under inspection.
type file struct {
	name   string
	data   []byte
	test   bool
	fset   *token.FileSet
	ast    *ast.File                           // nil: not Go, or testdata
	docs   map[*ast.TypeSpec]*ast.CommentGroup // of types
	allows []*allow
	out    []Finding
}

// allow is one lint:allow comment.
type allow struct {
	line   int
	rule   string
	reason string
	used   bool
}

func (f *file) check() error {
	if path.Ext(f.name) == ".go" && !strings.Contains(f.name, "testdata/") {
		f.fset = token.NewFileSet()
		var err error
		if f.ast, err = parser.ParseFile(f.fset, f.name, f.data, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		if ast.IsGenerated(f.ast) {
			return nil
		}
		f.collect()
	}
	for i, line := range strings.Split(string(f.data), "\n") {
		if found := checkText(line); found != "" {
			f.report(Finding{f.name, i + 1, machineName, "names " + found}, i+1, i+1)
		}
	}
	if f.ast == nil {
		return nil
	}
	if n := bytes.Count(f.data, []byte("\n")); n > maxFileLines {
		f.report(Finding{f.name, 1, fileLength, fmt.Sprintf("%d lines, of %d", n, maxFileLines)}, 0, n+1)
	}
	if clean, err := goformat.Source(f.data); err == nil && !bytes.Equal(clean, f.data) {
		f.report(Finding{f.name, 1, format, "is not formatted"}, 0, -1)
	}
	f.checkFuncs()
	f.checkInterfaces()
	f.checkExported()
	f.checkSleeps()
	for _, a := range f.allows {
		switch {
		case a.reason == "":
			f.out = append(f.out, Finding{f.name, a.line, allowance, "give a reason: //lint:allow " + a.rule + " <reason>"})
		case !a.used:
			f.out = append(f.out, Finding{f.name, a.line, allowance, "nothing here breaks the rule " + a.rule})
		}
	}
	return nil
}

// collect finds the exceptions and the comments of types.
func (f *file) collect() {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if rest, ok := strings.CutPrefix(c.Text, "//lint:allow"); ok {
				rule, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
				f.allows = append(f.allows, &allow{line: f.line(c.Pos()), rule: rule, reason: strings.TrimSpace(reason)})
			}
		}
	}
	f.docs = map[*ast.TypeSpec]*ast.CommentGroup{}
	for _, d := range f.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, spec := range g.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok {
					f.docs[t] = t.Doc
					if t.Doc == nil {
						f.docs[t] = g.Doc
					}
				}
			}
		}
	}
}

func (f *file) line(p token.Pos) int { return f.fset.Position(p).Line }

// add reports a finding at a node, unless an exception is in its doc comment, on its line or right above.
func (f *file) add(rule string, at ast.Node, doc *ast.CommentGroup, format string, args ...any) {
	line := f.line(at.Pos())
	from := line - 1
	if doc != nil {
		from = min(from, f.line(doc.Pos()))
	}
	f.report(Finding{f.name, line, rule, fmt.Sprintf(format, args...)}, from, line)
}

// report reports a finding, unless there is an exception on one of the lines [from, to].
func (f *file) report(found Finding, from, to int) {
	for _, a := range f.allows {
		if a.rule == found.Rule && from <= a.line && a.line <= to && a.reason != "" {
			a.used = true
			return
		}
	}
	f.out = append(f.out, found)
}
