package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is the unprivileged identity that root gives to Postgres. It has to exist in the user table: initdb looks
// its own user up.
func nobody() (uid, gid int) {
	uid, gid = 65534, 65534
	if u, err := user.Lookup("nobody"); err == nil {
		if n, err := strconv.Atoi(u.Uid); err == nil {
			uid = n
		}
		if n, err := strconv.Atoi(u.Gid); err == nil {
			gid = n
		}
	}
	return uid, gid
}

func userNamespace() *syscall.SysProcAttr {
	uid, gid := nobody()
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getgid(), Size: 1}},
	}
}

// namespacesWork tries the namespace once: containers and hardened kernels refuse it.
var namespacesWork = sync.OnceValue(func() bool {
	cmd := exec.Command("/proc/self/exe")
	path, err := exec.LookPath("true")
	if err != nil {
		return false
	}
	cmd.Path, cmd.SysProcAttr = path, userNamespace()
	return cmd.Run() == nil
})

// asUnprivileged returns how to run a program of Postgres that works in dir: as ourselves, unless we are root.
func asUnprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	if namespacesWork() {
		return userNamespace(), nil
	}
	uid, gid := nobody()
	if err := giveTo(dir, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}}, nil
}

// giveTo makes uid the owner of dir and what is in it, and checks that it gets there.
func giveTo(dir string, uid, gid int) error {
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // a server's temporary file that went meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		return fmt.Errorf("give %s to uid %d, since Postgres refuses to run as root: %w", dir, uid, err)
	}
	for up := filepath.Dir(dir); up != "/"; up = filepath.Dir(up) {
		var st unix.Stat_t
		if err := unix.Stat(up, &st); err != nil {
			return err
		}
		if st.Mode&0o001 == 0 && int(st.Uid) != uid {
			return fmt.Errorf("postgres must run as uid %d here (root without user namespaces), which may not enter %s: use a directory elsewhere or run as an ordinary user", uid, up)
		}
	}
	return nil
}

// dieWithParent asks the kernel to stop Postgres cleanly when our thread ends, however that happens.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
