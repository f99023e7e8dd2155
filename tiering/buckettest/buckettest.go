// Package buckettest is the acceptance suite of tiering.Bucket: every driver passes it against a real store.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"varve/tiering"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// large is the size of an object that drivers store in several parts, in bytes.
const large = 66<<20 + 12345

// Run tests the driver whose Bucket is b, which must be empty.
func Run(t *testing.T, b tiering.Bucket) {
	s := suite{b}
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"put and get", s.putAndGet}, {"ranges", s.ranges}, {"missing", s.missing}, {"if none match", s.ifNoneMatch},
		{"overwrite", s.overwrite}, {"list", s.list}, {"delete", s.delete}, {"many", s.many}, {"wrong checksum", s.wrongChecksum},
		{"large", s.large}, {"concurrent", s.concurrent}, {"cancelled", s.cancelled},
	} {
		t.Run(c.name, c.test)
	}
}

type suite struct{ b tiering.Bucket }

func options(data []byte) tiering.PutOptions {
	return tiering.PutOptions{Size: int64(len(data)), CRC32C: crc32.Checksum(data, castagnoli)}
}

func (s suite) put(t *testing.T, key string, data []byte) {
	t.Helper()
	if err := s.b.Put(t.Context(), key, bytes.NewReader(data), options(data)); err != nil {
		t.Fatal(err)
	}
}

func (s suite) get(t *testing.T, key string, offset, length int64) []byte {
	t.Helper()
	r, err := s.b.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s suite) putAndGet(t *testing.T) {
	for _, data := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("varve"), 100_000)} {
		key := fmt.Sprintf("ab/put/%d.log", len(data))
		s.put(t, key, data)
		if got := s.get(t, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes came back of %d, or others", key, len(got), len(data))
		}
		info, err := s.b.Stat(t.Context(), key)
		if err != nil || info.Size != int64(len(data)) || info.Key != key {
			t.Errorf("stat %s: %+v, %v", key, info, err)
		}
		if info.CRC32C != nil && *info.CRC32C != crc32.Checksum(data, castagnoli) {
			t.Errorf("stat %s: the store's checksum is %08x", key, *info.CRC32C)
		}
	}
}

func (s suite) ranges(t *testing.T) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * i >> 5)
	}
	s.put(t, "ranges", data)
	for _, r := range [][2]int64{{0, 1}, {0, 100_000}, {99_999, 1}, {500, 4096}, {77_777, -1}, {99_000, 4096}, {500, 0}} {
		want := data[r[0]:]
		if r[1] >= 0 {
			want = want[:min(r[1], int64(len(want)))]
		}
		if got := s.get(t, "ranges", r[0], r[1]); !bytes.Equal(got, want) {
			t.Errorf("range %v: other bytes (%d)", r, len(got))
		}
	}
	for _, r := range [][2]int64{{100_000, 1}, {100_000, -1}, {200_000, 10}} {
		if body, err := s.b.Get(t.Context(), "ranges", r[0], r[1]); err == nil {
			body.Close()
			t.Errorf("range %v beyond the end is no error", r)
		} else if errors.Is(err, tiering.ErrNotFound) {
			t.Errorf("range %v beyond the end: %v, but the object is there", r, err)
		}
	}
}

func (s suite) missing(t *testing.T) {
	var object *tiering.ObjectError
	if _, err := s.b.Get(t.Context(), "no/such", 0, -1); !errors.Is(err, tiering.ErrNotFound) || !errors.As(err, &object) || object.Key != "no/such" {
		t.Errorf("get: %v", err)
	}
	if _, err := s.b.Get(t.Context(), "no/such", 10, 5); !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("get a range: %v", err)
	}
	if _, err := s.b.Stat(t.Context(), "no/such"); !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("stat: %v", err)
	}
	if err := s.b.Delete(t.Context(), []string{"no/such"}); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func (s suite) ifNoneMatch(t *testing.T) {
	o := options([]byte("first"))
	o.IfNoneMatch = true
	if err := s.b.Put(t.Context(), "owner", bytes.NewReader([]byte("first")), o); err != nil {
		t.Fatal(err)
	}
	second := options([]byte("second"))
	second.IfNoneMatch = true
	if err := s.b.Put(t.Context(), "owner", bytes.NewReader([]byte("second")), second); !errors.Is(err, tiering.ErrExists) {
		t.Errorf("the second put: %v", err)
	}
	if got := s.get(t, "owner", 0, -1); string(got) != "first" {
		t.Errorf("the object is %q", got)
	}
}

func (s suite) overwrite(t *testing.T) {
	s.put(t, "twice", []byte("a longer first version"))
	s.put(t, "twice", []byte("second"))
	if got := s.get(t, "twice", 0, -1); string(got) != "second" {
		t.Errorf("the object is %q", got)
	}
}

func (s suite) list(t *testing.T) {
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("list/%02d/%d.idx", i%5, i)
		s.put(t, key, []byte(key))
		want = append(want, key)
	}
	s.put(t, "list-beside", nil)
	s.put(t, "list/01-beside", []byte("list/01-beside")) // sorts between list/00/ and list/01/
	want = append(want, "list/01-beside")
	slices.Sort(want)
	list := func(prefix, after string, most int) (keys []string) {
		err := s.b.List(t.Context(), prefix, after, func(o tiering.ObjectInfo) bool {
			if o.Size != int64(len(o.Key)) && o.Key != "list-beside" {
				t.Errorf("%s: size %d", o.Key, o.Size)
			}
			keys = append(keys, o.Key)
			return len(keys) < most
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if got := list("list/", "", 100); !slices.Equal(got, want) {
		t.Errorf("all: %q", got)
	}
	if got := list("list/", want[10], 100); !slices.Equal(got, want[11:]) {
		t.Errorf("after %s: %q", want[10], got)
	}
	if got := list("list/", "", 3); !slices.Equal(got, want[:3]) {
		t.Errorf("three: %q", got)
	}
	if got := list("list/03/", "", 100); len(got) != 5 {
		t.Errorf("a deeper prefix: %q", got)
	}
	if got := list("nothing/", "", 100); got != nil {
		t.Errorf("nothing: %q", got)
	}
}

func (s suite) delete(t *testing.T) {
	var keys []string
	for i := range 12 {
		keys = append(keys, fmt.Sprintf("delete/%d", i))
		s.put(t, keys[i], []byte("x"))
	}
	if err := s.b.Delete(t.Context(), append(keys[:10:10], "delete/absent")); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		_, err := s.b.Stat(t.Context(), key)
		if gone := errors.Is(err, tiering.ErrNotFound); gone != (i < 10) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := s.b.Delete(t.Context(), nil); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

// many lists and deletes more keys than one request of a store takes.
func (s suite) many(t *testing.T) {
	const n = 1005
	keys := make([]string, n)
	var wg sync.WaitGroup
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%04d", i)
	}
	for part := range slices.Chunk(keys, n/8) {
		wg.Go(func() {
			for _, key := range part {
				if err := s.b.Put(t.Context(), key, bytes.NewReader(nil), options(nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list := func() (found []string) {
		if err := s.b.List(t.Context(), "many/", "", func(o tiering.ObjectInfo) bool { found = append(found, o.Key); return true }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := list(); !slices.Equal(found, keys) {
		t.Errorf("%d keys are listed of %d, or in another order", len(found), n)
	}
	if err := s.b.Delete(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	if found := list(); found != nil {
		t.Errorf("%d keys are left, the first is %s", len(found), found[0])
	}
}

func (s suite) wrongChecksum(t *testing.T) {
	o := options([]byte("what was meant"))
	if err := s.b.Put(t.Context(), "damaged", bytes.NewReader([]byte("what was sent!")), o); err == nil {
		t.Error("bytes with another checksum were stored")
	}
	if _, err := s.b.Stat(t.Context(), "damaged"); !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("the object is there: %v", err)
	}
}

// pattern is an endless object, so that a large one costs no memory.
type pattern struct{}

func (pattern) ReadAt(p []byte, at int64) (int, error) {
	for i := range p {
		p[i] = byte((at + int64(i)) * 2654435761 >> 11)
	}
	return len(p), nil
}

// checksum is that of the pattern's first size bytes.
func checksum(size int64) uint32 {
	sum := crc32.New(castagnoli)
	_, _ = io.Copy(sum, io.NewSectionReader(pattern{}, 0, size)) // neither end can fail
	return sum.Sum32()
}

func (s suite) large(t *testing.T) {
	sum := checksum(large)
	if err := s.b.Put(t.Context(), "large", pattern{}, tiering.PutOptions{Size: large, CRC32C: sum}); err != nil {
		t.Fatal(err)
	}
	r, err := s.b.Get(t.Context(), "large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := crc32.New(castagnoli)
	if n, err := io.Copy(got, r); err != nil || n != large || got.Sum32() != sum {
		t.Errorf("%d bytes of %d, checksum %08x of %08x: %v", n, large, got.Sum32(), sum, err)
	}
	other := tiering.PutOptions{Size: large - 1, CRC32C: checksum(large - 1), IfNoneMatch: true}
	if err := s.b.Put(t.Context(), "large", pattern{}, other); !errors.Is(err, tiering.ErrExists) {
		t.Errorf("a large put over an object, if none matches: %v", err)
	}
	if info, err := s.b.Stat(t.Context(), "large"); err != nil || info.Size != large {
		t.Errorf("the object that was to stay: %+v, %v", info, err)
	}
	if err := s.b.Put(t.Context(), "large-damaged", pattern{}, tiering.PutOptions{Size: large, CRC32C: sum + 1}); err == nil {
		t.Error("a large object with another checksum was stored")
	}
	if _, err := s.b.Stat(t.Context(), "large-damaged"); !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("the damaged large object is there: %v", err)
	}
}

func (s suite) concurrent(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	var won atomic.Int32
	for i := range 8 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for j := range 10 {
				data := make([]byte, rng.IntN(50_000))
				for k := range data {
					data[k] = byte(rng.Uint32())
				}
				key := fmt.Sprintf("concurrent/%d/%d", i, j)
				s.put(t, key, data)
				if got := s.get(t, key, 0, -1); !bytes.Equal(got, data) {
					t.Errorf("%s: other bytes", key)
				}
			}
			o := options([]byte{byte(i)})
			o.IfNoneMatch = true
			switch err := s.b.Put(t.Context(), "concurrent/one", bytes.NewReader([]byte{byte(i)}), o); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, tiering.ErrExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of eight created the one object", won.Load())
	}
}

func (s suite) cancelled(t *testing.T) {
	s.put(t, "kept", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.b.Put(ctx, "cancelled", bytes.NewReader(nil), options(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.b.Stat(t.Context(), "cancelled"); !errors.Is(err, tiering.ErrNotFound) {
		t.Errorf("the object is there: %v", err)
	}
	if body, err := s.b.Get(ctx, "kept", 0, -1); err == nil {
		body.Close()
		t.Error("get went on")
	}
	if err := s.b.List(ctx, "", "", func(tiering.ObjectInfo) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	if err := s.b.Delete(ctx, []string{"kept"}); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.b.Stat(t.Context(), "kept"); err != nil {
		t.Errorf("what was not deleted: %v", err)
	}
}
