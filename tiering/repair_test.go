package tiering_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"varve/commitlog"
	"varve/commitlog/record"
	"varve/tiering"
)

// rot inverts a bit of a local segment's file and has it found; the path of the file and what was in it are returned.
func (s *stack) rot(segment commitlog.SegmentInfo) (path string, sound []byte) {
	s.t.Helper()
	log := s.partition.Log()
	files, err := filepath.Glob(filepath.Join(log.DirPath(), log.Name(), "*.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path = range files {
		if sound, err = os.ReadFile(path); err != nil {
			s.t.Fatal(err)
		}
		if int64(len(sound)) == segment.Bytes {
			break
		}
	}
	rotten := bytes.Clone(sound)
	rotten[len(rotten)/2] ^= 4
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := file.WriteAt(rotten, 0); err != nil {
		s.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
	return path, sound
}

func (s *stack) scrub() {
	s.t.Helper()
	if err := s.partition.Log().Scrub(time.Now().Add(time.Hour), func(int) error { return nil }); err != nil {
		s.t.Fatal(err)
	}
}

var keepLocal = map[string]string{"local.retention.ms": "-1", "local.retention.bytes": "-1", "retention.ms": "-1"}

// TestADamagedCopyIsRepairedFromTheBucket: a local segment that rots while it is live in the bucket has its bytes back after the next pass.
func TestADamagedCopyIsRepairedFromTheBucket(t *testing.T) {
	s := startStack(t, keepLocal)
	for i := range 3 {
		s.produce(1000 + 100*i)
	}
	stop := s.background(s.tier.Run)
	eventually(t, func() bool { return len(s.live()) == 3 })
	stop()
	path, sound := s.rot(s.partition.Log().Segments()[1])
	s.scrub()
	if n := len(s.partition.Log().Damaged()); n != 1 {
		t.Fatalf("%d segments are damaged", n)
	}
	s.background(s.tier.Run)
	eventually(t, func() bool { return len(s.partition.Log().Damaged()) == 0 })
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, sound) {
		t.Errorf("the file has other bytes than before it rotted: %v", err)
	}
}

// TestDamageIsNotUploaded: what rots before its upload never reaches the bucket, whether it was found before or not; after the file is restored uploads go on.
func TestDamageIsNotUploaded(t *testing.T) {
	for name, known := range map[string]bool{"found by the upload": false, "known before": true} {
		t.Run(name, func(t *testing.T) {
			s := startStack(t, keepLocal)
			for i := range 3 {
				s.produce(1000 + 100*i)
			}
			path, sound := s.rot(s.partition.Log().Segments()[1])
			if known {
				s.scrub()
			}
			stop := s.background(s.tier.Run)
			eventually(t, func() bool { return len(s.live()) == 1 && len(s.partition.Log().Damaged()) == 1 })
			stop()
			s.background(s.tier.Run) // another pass or two find the same
			if err := os.WriteFile(path, sound, 0o644); err != nil {
				t.Fatal(err)
			}
			s.scrub()
			eventually(t, func() bool { return len(s.live()) == 3 })
			for _, row := range s.live() {
				body, err := s.bucket.Get(t.Context(), tiering.LogKey(&row), 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if _, err := got.ReadFrom(body); err != nil {
					t.Fatal(err)
				}
				body.Close()
				if sum, err := tiering.Summarize(bytes.NewReader(got.Bytes()), int64(got.Len())); err != nil || sum.CRC32C != row.LogCRC32C {
					t.Errorf("[%d, %d): %v", row.BaseOffset, row.EndOffset, err)
				}
			}
		})
	}
}

// TestARottenObjectRepairsNothing: the bucket's copy is checked by the manifest's checksum before it takes the place of a local one.
func TestARottenObjectRepairsNothing(t *testing.T) {
	s := startStack(t, keepLocal)
	s.produce(1000)
	stop := s.background(s.tier.Run)
	eventually(t, func() bool { return len(s.live()) == 1 })
	stop()
	row := s.live()[0]
	path, sound := s.rot(s.partition.Log().Segments()[0])
	rotten := bytes.Clone(sound)
	rotten[len(rotten)-2] ^= 1 // a sound batch, but another one than was uploaded
	binary.BigEndian.PutUint32(rotten[17:], crc32.Checksum(rotten[record.ChecksummedFrom:], crc32.MakeTable(crc32.Castagnoli)))
	key := tiering.LogKey(&row)
	if err := errors.Join(s.bucket.Delete(context.Background(), []string{key}),
		s.bucket.Put(context.Background(), key, bytes.NewReader(rotten), tiering.PutOptions{Size: int64(len(rotten)), CRC32C: crc32.Checksum(rotten, crc32.MakeTable(crc32.Castagnoli))})); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.scrub()
	s.background(s.tier.Run)
	calls := len(s.bucket.calls())
	s.produce(2000)
	eventually(t, func() bool { return len(s.live()) == 2 && len(s.bucket.calls()) > calls }) // a pass went by
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) || len(s.partition.Log().Damaged()) != 1 {
		t.Errorf("repaired by a rotten object: %v, damaged %v", err, s.partition.Log().Damaged())
	}
}
