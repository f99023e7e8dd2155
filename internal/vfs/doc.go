// Package vfs is the door to local files: the operations that the log needs and no others, each on the real file system.
//
// An FS made by [OS] goes straight to the kernel. An FS made by [Hooked] first shows every operation that changes
// something to a hook, which may record it or refuse it: tests inject ENOSPC and EIO that way, and rebuild what a power
// loss would have left on the disk after any operation (see [Journal]). The hook is a nil check on the hot path.
//
// What a crash may leave, and what the callers of this package have to defend against:
//   - bytes written to a file survive for certain only after [File.Sync] of that file; without it any part of them may
//   - a name (created, renamed, removed) survives for certain only after [FS.SyncDir] of its directory
package vfs
