package metadata

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Registered is what is known of a broker when it asks to register.
type Registered struct {
	Broker
	Incarnation uuid.UUID
	LeaseLive   bool // it has been heard of within its session
	Clean       bool // its last act was to take its leave: it holds all that it ever acknowledged
}

// RegistrationKind is what a registration means for the cluster.
type RegistrationKind int8

const (
	// Amend is the same process again: its epoch stays.
	Amend RegistrationKind = iota
	// Replace is a new process: a new epoch; it starts fenced and leads nothing.
	Replace
)

// CheckRegistration decides a registration (Kafka: ClusterControlManager.registerBroker); old is nil for a broker
// never seen. A live broker with the same id is refused with DUPLICATE_BROKER_REGISTRATION until its session ends,
// except when the new process shows the same log directories: a directory is locked by the process that uses it, so
// the old process is gone and there is nothing to wait for.
func CheckRegistration(old *Registered, r Registration) (RegistrationKind, error) {
	if err := validRegistration(r); err != nil {
		return 0, err
	}
	if old == nil {
		return Replace, nil
	}
	if old.Incarnation == r.Incarnation {
		return Amend, nil
	}
	if old.LeaseLive && !old.InShutdown && (r.Rejoin || !sameDirs(old.Dirs, r.Dirs)) {
		return 0, fmt.Errorf("%w: broker %d runs at %s:%d; choose another node.id, or wait until its session has expired", kerr.DuplicateBrokerRegistration, r.ID, old.Host, old.Port)
	}
	return Replace, nil
}

func validRegistration(r Registration) error {
	for i, d := range r.Dirs {
		if d == uuid.Nil || slices.Contains(r.Dirs[:i], d) {
			return fmt.Errorf("%w: directory id %s is reserved or given twice", kerr.InvalidRegistration, d)
		}
	}
	switch {
	case r.ID < 0:
		return fmt.Errorf("%w: broker id %d", kerr.InvalidRegistration, r.ID)
	case len(r.Dirs) == 0:
		return fmt.Errorf("%w: no log directory", kerr.InvalidRegistration)
	case r.Incarnation == uuid.Nil || r.Host == "" || r.Port < 1 || r.Port > 65535:
		return fmt.Errorf("%w: incarnation %s at %q:%d", kerr.InvalidRegistration, r.Incarnation, r.Host, r.Port)
	}
	return nil
}

func sameDirs(a, b []DirID) bool {
	return len(a) == len(b) && len(a) > 0 && !slices.ContainsFunc(a, func(d DirID) bool { return !slices.Contains(b, d) })
}
