package tiering

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/google/uuid"
)

// ownerKey is the object that names the cluster which may write in a bucket's prefix.
const ownerKey = "varve-owner"

// maxOwner bounds what is read of the owner object, in bytes.
const maxOwner = 256

// An OwnerError says that the bucket belongs to another cluster.
type OwnerError struct{ Owner, Self string }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("the bucket belongs to cluster %s, this is cluster %s: give this cluster a prefix of its own, or, if the other cluster is gone for good, "+
		"delete the object %s", e.Owner, e.Self, ownerKey)
}

// Claim makes cluster the owner of the bucket's prefix, or checks that it is: two clusters must never write in one place.
func Claim(ctx context.Context, b Bucket, cluster uuid.UUID) error {
	text := []byte(cluster.String() + "\n")
	err := b.Put(ctx, ownerKey, bytes.NewReader(text), PutOptions{Size: int64(len(text)), CRC32C: crc32.Checksum(text, castagnoli), IfNoneMatch: true})
	if !errors.Is(err, ErrExists) {
		return err
	}
	body, err := b.Get(ctx, ownerKey, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	found, err := io.ReadAll(io.LimitReader(body, maxOwner))
	if err != nil {
		return &ObjectError{"get", ownerKey, err}
	}
	if owner := strings.TrimSpace(string(found)); owner != cluster.String() {
		return &OwnerError{owner, cluster.String()}
	}
	return nil
}
