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
	return fmt.Sprintf("the bucket belongs to cluster %q, this is cluster %q: give this cluster a prefix of its own, or, if the other cluster is gone for good, "+
		"delete the object %s", e.Owner, e.Self, ownerKey)
}

// Claim makes cluster the owner of the bucket's prefix, or checks that it is: two clusters must never write in one place. The error is an
// *OwnerError when another one is. It looks before and after it writes, for some stores overwrite whatever if-none-match says.
func Claim(ctx context.Context, b Bucket, cluster uuid.UUID) error {
	self := cluster.String()
	owner, err := readOwner(ctx, b)
	if errors.Is(err, ErrNotFound) {
		text := []byte(self + "\n")
		err = b.Put(ctx, ownerKey, bytes.NewReader(text), PutOptions{Size: int64(len(text)), CRC32C: crc32.Checksum(text, castagnoli), IfNoneMatch: true})
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
		owner, err = readOwner(ctx, b)
	}
	if err != nil {
		return err
	}
	if owner != self {
		return &OwnerError{owner, self}
	}
	return nil
}

func readOwner(ctx context.Context, b Bucket) (string, error) {
	body, err := b.Get(ctx, ownerKey, 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxOwner))
	if err != nil {
		return "", &ObjectError{"get", ownerKey, err}
	}
	return strings.TrimSpace(string(text)), nil
}
