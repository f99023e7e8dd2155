package lint

import (
	"go/ast"
	"go/token"
	"strings"
)

// The budgets. Longer is a sign that something does more than one thing.
const (
	maxFileLines        = 600
	maxFuncLines        = 80
	maxInterfaceMethods = 5
)

// The rules, by the names that lint:allow takes.
const (
	fileLength    = "file-length"
	funcLength    = "func-length"
	interfaceSize = "interface-size"
	packageDoc    = "package-doc"
	exportedDoc   = "exported-doc"
	testSleep     = "test-sleep"
	machineName   = "machine-name"
	format        = "gofmt"
	allowance     = "allow"
)

// machinePaths begin paths that exist on one machine only; registryHosts serve packages: a build that names one cannot
// use another. They are put together here so that this file does not contain them.
var (
	machinePaths  = []string{"/" + "work/", "/" + "root/", "/" + "tmp/", "/" + "Users/"}
	registryHosts = []string{"proxy" + ".golang.org", "sum" + ".golang.org", "registry" + ".npmjs.org", "pypi" + ".org",
		"repo1" + ".maven.org", "repo" + ".maven.apache.org"}
)

// checkText looks for names of machines and registries in one line of tracked text.
func checkText(line string) (found string) {
	for _, p := range machinePaths {
		for rest, at := line, 0; ; {
			i := strings.Index(rest, p)
			if i < 0 {
				break
			}
			at += i
			if at == 0 || !partOfPath(line[at-1]) {
				return strings.TrimSuffix(p, "/")
			}
			at += len(p)
			rest = line[at:]
		}
	}
	for _, h := range registryHosts {
		if strings.Contains(line, h) {
			return h
		}
	}
	return ""
}

// partOfPath tells a path from the root from the middle of another path or URL.
func partOfPath(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c == '}' || c == ')' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (f *file) checkFuncs() {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := f.line(fn.End()) - f.line(fn.Pos()) + 1; n > maxFuncLines {
			f.add(funcLength, fn, fn.Doc, "function %s has %d lines, of %d", fn.Name.Name, n, maxFuncLines)
		}
	}
}

func (f *file) checkInterfaces() {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxInterfaceMethods {
			f.add(interfaceSize, spec, f.docs[spec], "interface %s has %d methods, of %d", spec.Name.Name, i.Methods.NumFields(), maxInterfaceMethods)
		}
		return true
	})
}

// checkExported wants a comment for every exported name; one above a group of constants or variables covers the group.
func (f *file) checkExported() {
	if f.test {
		return
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !(d.Recv != nil && conventional[d.Name.Name]) {
				f.add(exportedDoc, d, nil, "exported %s has no comment", d.Name.Name)
			}
		case *ast.GenDecl:
			f.checkExportedSpecs(d)
		}
	}
}

func (f *file) checkExportedSpecs(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				f.add(exportedDoc, spec, nil, "exported type %s has no comment", spec.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil && !enumerates(d, spec) {
					f.add(exportedDoc, spec, nil, "exported %s has no comment", name.Name)
				}
			}
		}
	}
}

// enumerates reports whether spec is in a group of constants of one type, or of none said again: its type says what
// they are.
func enumerates(d *ast.GenDecl, spec *ast.ValueSpec) bool {
	first, ok := d.Specs[0].(*ast.ValueSpec)
	if !ok || d.Tok != token.CONST || !d.Lparen.IsValid() {
		return false
	}
	kind, ok := first.Type.(*ast.Ident)
	if !ok {
		return false
	}
	own, ok := spec.Type.(*ast.Ident)
	return spec.Type == nil || ok && own.Name == kind.Name
}

// conventional are methods whose meaning their names say: of errors and of what can be printed.
var conventional = map[string]bool{"Error": true, "Unwrap": true, "String": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// checkSleeps finds time.Sleep in tests. As the post statement of a loop it is the pause between two looks at a
// condition, which is how a test waits.
func (f *file) checkSleeps() {
	if !strings.HasSuffix(f.name, "_test.go") {
		return
	}
	polls := map[ast.Node]bool{}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if loop, ok := n.(*ast.ForStmt); ok && loop.Cond != nil {
			if post, ok := loop.Post.(*ast.ExprStmt); ok {
				polls[post.X] = true
			}
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || polls[call] {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				f.add(testSleep, call, nil, "sleeping is not waiting: `for deadline := …; !condition(); time.Sleep(pause)` is")
			}
		}
		return true
	})
}
