// Package pgserver runs a private Postgres beside a broker: for `varve dev`, and for tests.
//
// One Server owns one directory:
//
//	<Dir>/lock          held (flock) while a Server runs: two of them never share a data directory
//	<Dir>/data          the Postgres data directory; appears by one rename when it is complete
//	<Dir>/password      of the only user, readable by the owner alone
//	<Dir>/postgres.log  what the server printed
//
// It listens on 127.0.0.1 only. The binaries are those of the machine (PATH, Debian's, Homebrew's directories), else
// a pinned version is fetched once and kept in the user's cache directory. A data directory belongs to one major
// version of Postgres; another one is refused with a message that says which is needed.
//
// Postgres refuses to run as root. On Linux root runs it in a user namespace in which it has an unprivileged id, the
// files staying root's; where user namespaces are not allowed it runs as the user nobody, who is then given the
// directory.
//
// Postgres dies with the process that started it (Linux: parent death signal). Where it survived, Start finds it by
// its postmaster.pid, stops it cleanly, and only then starts a new one.
package pgserver
