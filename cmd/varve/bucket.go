package main

import (
	"context"
	"fmt"
	"net/url"

	"varve/tiering"
	"varve/tiering/file"
	"varve/tiering/minio"
	"varve/tiering/s3"
)

// drivers opens buckets by the scheme of their URL.
var drivers = map[string]func(context.Context, *url.URL) (tiering.Bucket, error){
	"file": file.Open, "minio": minio.Open, "s3": s3.Open,
}

// openBucket opens the bucket of varve.bucket.url; nil without one.
func openBucket(ctx context.Context, text string) (tiering.Bucket, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("varve.bucket.url: %w", err)
	}
	open := drivers[u.Scheme]
	if open == nil {
		return nil, fmt.Errorf("varve.bucket.url: no driver for %s://: use s3://, minio:// or file://", u.Scheme)
	}
	b, err := open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("varve.bucket.url: %w", err)
	}
	return b, nil
}
