package testcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// A Disk is an ext4 file system of its own, in a file, whose power can be cut.
type Disk struct{ image, Path string }

// NewDisk mounts one at path, until the test ends; without root or loop devices the test is skipped.
func NewDisk(t testing.TB, path string) *Disk {
	t.Helper()
	d := &Disk{path + ".img", path}
	if err := errors.Join(os.Mkdir(d.Path, 0o755), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: no power can be cut here, for mkfs.ext4 is missing: %v %s", err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("NOT TESTED: no power can be cut here, for a loop device cannot be mounted (root and /dev/loop are needed): %v", err)
	}
	t.Cleanup(func() { _ = d.unmount() })
	return d
}

func (d *Disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Path).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

func (d *Disk) unmount() error {
	if out, err := exec.Command("umount", d.Path).CombinedOutput(); err != nil {
		return fmt.Errorf("umount: %w: %s", err, out)
	}
	return nil
}

// CutPower loses all that is not on the disk, its journal included; whoever writes gets EIO from now on.
func (d *Disk) CutPower(t testing.TB) {
	t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
	f, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Skipf("NOT TESTED: no power can be cut here, for the kernel refuses: %v", errno)
	}
}

// ComeBack mounts it again, as after the power has returned.
func (d *Disk) ComeBack(t testing.TB) {
	t.Helper()
	Eventually(t, patience, d.unmount) // the last descriptors may be closing
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops a process and waits until each of its threads stands still, or waits for the disk.
func Freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	Eventually(t, patience, func() error {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			return fmt.Errorf("no threads: %v", err)
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(text), ") T ") && !strings.Contains(string(text), ") D ") {
				return fmt.Errorf("a thread runs: %s", text)
			}
		}
		return nil
	})
}
