// Package lint holds the budgets and habits of this repository that no ready-made linter checks: sizes of files,
// functions and interfaces, documentation, sleeping tests, names of one machine in tracked text, gofmt.
//
// An exception is a comment `//lint:allow <rule> <reason>`: in the doc comment of a declaration, or on or right above
// the line in question; for the rules of files anywhere in the file. One without a reason, or that excuses nothing, is
// itself a finding. Generated files are exempt.
package lint
