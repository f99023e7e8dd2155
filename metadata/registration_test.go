package metadata

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestCheckRegistration(t *testing.T) {
	mine, other := uuid.New(), uuid.New()
	ask := func(change func(*Registration)) Registration {
		r := Registration{ID: 1, Incarnation: mine, Host: "a", Port: 9092, Dirs: []DirID{dirA, dirB}}
		change(&r)
		return r
	}
	as := func(*Registration) {}
	known := func(incarnation uuid.UUID, live bool, dirs ...DirID) *Registered {
		return &Registered{Broker: Broker{ID: 1, Dirs: dirs}, Incarnation: incarnation, LeaseLive: live}
	}
	for _, c := range []struct {
		name string
		old  *Registered
		r    Registration
		want RegistrationKind
		err  *kerr.Error
	}{
		{"new", nil, ask(as), Replace, nil},
		{"the same process", known(mine, true, dirA, dirB), ask(as), Amend, nil},
		{"after its session", known(other, false, dirX), ask(as), Replace, nil},
		{"another live one", known(other, true, dirX), ask(as), 0, kerr.DuplicateBrokerRegistration},
		{"a live one with one of two directories", known(other, true, dirA), ask(as), 0, kerr.DuplicateBrokerRegistration},
		{"restarted with its directories", known(other, true, dirB, dirA), ask(as), Replace, nil},
		{"replaced by its successor", known(other, true, dirA, dirB), ask(func(r *Registration) { r.Rejoin = true }), 0, kerr.DuplicateBrokerRegistration},
		{"no directory", nil, ask(func(r *Registration) { r.Dirs = nil }), 0, kerr.InvalidRegistration},
		{"a directory twice", nil, ask(func(r *Registration) { r.Dirs = []DirID{dirA, dirA} }), 0, kerr.InvalidRegistration},
		{"a reserved directory", nil, ask(func(r *Registration) { r.Dirs = []DirID{uuid.Nil} }), 0, kerr.InvalidRegistration},
		{"no address", nil, ask(func(r *Registration) { r.Host = "" }), 0, kerr.InvalidRegistration},
		{"bad id", nil, ask(func(r *Registration) { r.ID = NoBroker }), 0, kerr.InvalidRegistration},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := CheckRegistration(c.old, c.r)
			if got != c.want || (c.err == nil) != (err == nil) || (c.err != nil && !errors.Is(err, c.err)) {
				t.Errorf("got %v %v, want %v %v", got, err, c.want, c.err)
			}
		})
	}
}
