// Package archtest holds the architecture: which room may import which, and which packages and calls belong to one
// room alone. Its test reads the imports of the whole repository and prints, for each violation, the reason of the ban.
// Change a rule together with docs/architecture.md.
//
// Files of tests and the rooms that only tests and measurements use are free of the layers, not of the bans that say
// so. Check works on any fs.FS, so that the tests can show it a repository that breaks a rule.
package archtest
