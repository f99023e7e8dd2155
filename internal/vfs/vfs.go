package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Kind names an operation that changes something.
type Kind string

// The operations that a hook sees.
const (
	Read     Kind = "read"   // of an open file
	Create   Kind = "create" // a file was opened that may not have existed
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
	SyncDir  Kind = "syncdir"
	SyncAll  Kind = "syncall"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	Mkdir    Kind = "mkdir"
)

// Op is one operation as a hook sees it, before it happens.
type Op struct {
	Kind   Kind
	Path   string
	To     string // Rename
	Offset int64  // Write; Truncate: the new size
	Data   []byte // Write: valid during the call
}

// FS performs file operations. It is safe for concurrent use.
type FS struct {
	hook func(Op) error
}

// OS returns the plain file system.
func OS() *FS { return &FS{} }

// Hooked returns a file system that calls hook before each operation that changes something, possibly concurrently. An
// error of the hook is the operation's result and nothing happens.
func Hooked(hook func(Op) error) *FS { return &FS{hook: hook} }

func (f *FS) see(op Op) error {
	if f.hook == nil {
		return nil
	}
	if err := f.hook(op); err != nil {
		return &fs.PathError{Op: string(op.Kind), Path: op.Path, Err: err}
	}
	return nil
}

// File is an open file.
type File struct {
	os   *os.File
	fs   *FS
	path string
}

// Create opens a file for reading and writing and makes it if it does not exist.
func (f *FS) Create(path string) (*File, error) {
	if err := f.see(Op{Kind: Create, Path: path}); err != nil {
		return nil, err
	}
	return f.open(path, os.O_RDWR|os.O_CREATE)
}

// Open opens an existing file for reading.
func (f *FS) Open(path string) (*File, error) { return f.open(path, os.O_RDONLY) }

// OpenWrite opens an existing file for reading and writing.
func (f *FS) OpenWrite(path string) (*File, error) { return f.open(path, os.O_RDWR) }

func (f *FS) open(path string, flag int) (*File, error) {
	file, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return &File{os: file, fs: f, path: path}, nil
}

// OS returns the *os.File for readers with explicit offsets (ReadAt, sendfile). Its shared position must not be used.
func (f *File) OS() *os.File { return f.os }

// ReadAt reads as io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.see(Op{Kind: Read, Path: f.path, Offset: off}); err != nil {
		return 0, err
	}
	return f.os.ReadAt(p, off)
}

// WriteAt writes as io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.see(Op{Kind: Write, Path: f.path, Offset: off, Data: p}); err != nil {
		return 0, err
	}
	return f.os.WriteAt(p, off)
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error {
	if err := f.fs.see(Op{Kind: Truncate, Path: f.path, Offset: size}); err != nil {
		return err
	}
	return f.os.Truncate(size)
}

// Sync makes the bytes and the size durable (fdatasync), not the name. After an error the pages may count as clean though they never
// reached the disk: it must not be tried again.
func (f *File) Sync() error {
	if err := f.fs.see(Op{Kind: Sync, Path: f.path}); err != nil {
		return err
	}
	return control(f.os, "fdatasync", fdatasync)
}

// SyncAll makes everything on the file system of f durable, names included (syncfs). f should stay open from one call to the next: only then
// is no error missed in between. REQUIRES: SyncAllReports.
func (f *File) SyncAll() error {
	if err := f.fs.see(Op{Kind: SyncAll, Path: f.path}); err != nil {
		return err
	}
	return control(f.os, "syncfs", syncfs)
}

// control calls f with the descriptor, which cannot be closed meanwhile.
func control(file *os.File, what string, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = f(int(fd)); callErr != unix.EINTR {
				return
			}
		}
	})
	if err == nil && callErr != nil {
		err = &fs.PathError{Op: what, Path: file.Name(), Err: callErr}
	}
	return err
}

// MaxOpenFiles is how many descriptors the process may have open.
func MaxOpenFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what is usual
	}
	return int(min(limit.Cur, 1<<30))
}

// DropCache has the operating system forget the file's clean pages, where it can: what is read next comes from the disk.
func (f *File) DropCache() { _ = control(f.os, "dropping the cache", dropCache) }

// TryLock takes an exclusive lock on the file, or fails at once. It excludes the POSIX locks of other processes and a second File in this
// one, and ends with Close or the process.
func (f *File) TryLock() error {
	return control(f.os, "lock", tryLock)
}

// Size returns the size in bytes.
func (f *File) Size() (int64, error) {
	info, err := f.os.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close closes the file. What was not synced may be lost in a crash.
func (f *File) Close() error { return f.os.Close() }

// ReadFile reads a whole file.
func (f *FS) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// ReadDir lists a directory by name.
func (f *FS) ReadDir(path string) ([]os.DirEntry, error) { return os.ReadDir(path) }

// Stat describes a path.
func (f *FS) Stat(path string) (os.FileInfo, error) { return os.Stat(path) }

// Exists reports whether path can be seen.
func (f *FS) Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Rename moves a file or directory over whatever has the name.
func (f *FS) Rename(from, to string) error {
	if err := f.see(Op{Kind: Rename, Path: from, To: to}); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove removes a file, or nothing if it is gone already.
func (f *FS) Remove(path string) error {
	if err := f.see(Op{Kind: Remove, Path: path}); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveAll removes a directory and what is in it.
func (f *FS) RemoveAll(path string) error {
	if err := f.see(Op{Kind: Remove, Path: path}); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// Mkdir makes a directory and its parents, if missing.
func (f *FS) Mkdir(path string) error {
	if err := f.see(Op{Kind: Mkdir, Path: path}); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o755)
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(path string) error {
	if err := f.see(Op{Kind: SyncDir, Path: path}); err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// WriteFile replaces a file in one step: a crash leaves the old content or the new. With durable it also survives a crash
// when WriteFile has returned.
func (f *FS) WriteFile(path string, data []byte, durable bool) error {
	tmp := path + ".tmp"
	file, err := f.Create(tmp)
	if err != nil {
		return err
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt(data, 0)
	}
	if err == nil { // always: a rename may reach the disk before the bytes
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := f.Rename(tmp, path); err != nil || !durable {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}
