// Package tiering keeps history in the bucket: it uploads sealed segments with their indexes, reads them back, applies retention over both
// tiers and rebuilds a partition from what is live.
//
// Every sealed segment becomes two objects, the segment's exact bytes and a bundle of everything else (docs/format/segment-object.md), and one
// row in the manifest: intent before the first byte is sent, live in one transaction fenced by the leader epoch, doomed when retention
// named it, gone when its objects are deleted. What follows from that order:
//
//  1. a local segment goes only when its whole range is live;
//  2. nothing is deleted from the bucket that a doomed row does not name;
//  3. a crash between any two steps leaves an intent and objects that the sweeper removes, never a hole;
//  4. a bucket or a database that does not answer delays uploads and deletions, and nothing else.
//
// Drivers are sub-packages named after what they depend on: file, minio, s3; buckettest is the suite that all of them pass.
package tiering
