package tiering_test

import (
	"net/url"
	"testing"

	"varve/commitlog/record"
	"varve/internal/testminio"
	"varve/metadata"
	"varve/tiering"
	"varve/tiering/minio"
)

// A minioServer is a real MinIO with one empty bucket.
type minioServer struct{ *testminio.Server }

func startMinIO(t testing.TB) minioServer {
	t.Helper()
	s := testminio.Start(t)
	s.Bucket(t, "varve")
	t.Setenv("MINIO_ROOT_USER", s.AccessKey)
	t.Setenv("MINIO_ROOT_PASSWORD", s.SecretKey)
	return minioServer{s}
}

func (s minioServer) bucket(t testing.TB) tiering.Bucket {
	t.Helper()
	b, err := minio.Open(t.Context(), &url.URL{Scheme: "minio", Host: "varve", RawQuery: "secure=false&endpoint=" + s.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BenchmarkReplay reads one partition of 1 GiB from MinIO from its first offset to its last, in fetches of 1 MiB, with a cache of 64 MiB that is
// empty at the beginning of each pass.
func BenchmarkReplay(b *testing.B) {
	r := newRig(b, startMinIO(b).bucket(b), 64<<20)
	for range 4 {
		for range 256 {
			r.append(b, 64, 1000, 1<<20)
		}
		r.seal(b)
	}
	r.upload(b)
	total := int64(0)
	for _, row := range r.rows.all() {
		total += row.LogBytes
	}
	b.SetBytes(total)
	for b.Loop() {
		reader, before := r.newReader(b, 64<<20), r.bucket.gets()
		if n := drain(b, reader, r.tp, 0, r.rows.end()); n != total {
			b.Fatalf("%d bytes came back of %d", n, total)
		}
		b.ReportMetric(float64(r.bucket.gets()-before)/(float64(total)/(1<<30)), "GET/GiB")
	}
}

// drain reads [from, upTo) without looking at more than batch headers.
func drain(t testing.TB, reader *tiering.Reader, tp metadata.TopicPartition, from, upTo int64) (bytes int64) {
	for from < upTo {
		s, err := read(t, reader, tp, from, upTo, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Pieces {
			for data := p.Mem; ; {
				batch, rest, err := record.Split(data)
				if err != nil || len(data) == 0 {
					break
				}
				data, from, bytes = rest, batch.LastOffset()+1, bytes+int64(len(batch))
			}
		}
		s.Release()
	}
	return bytes
}
