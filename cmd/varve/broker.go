package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"varve/commitlog"
	"varve/coordinator/group"
	"varve/fetch"
	"varve/ingest"
	"varve/internal/config"
	"varve/metadata"
	"varve/metadata/postgres"
	"varve/replica"
	"varve/replica/transport"
	"varve/server"
	"varve/tiering"
	"varve/tiering/cache"
)

// leaveGrace bounds a controlled shutdown's farewell to Postgres.
const leaveGrace = 5 * time.Second

// cacheDir is the disk cache's directory in the first log directory: the one name that Kafka does not take for a partition's.
const cacheDir = "remote-log-index-cache"

// A broker is all rooms of one process, built from its settings.
type broker struct {
	cfg        *config.Broker
	log        *slog.Logger
	reg        prometheus.Registerer
	store      *postgres.Store
	cluster    uuid.UUID
	publisher  *metadata.Publisher
	dirs       []*commitlog.Dir
	partitions *replica.Manager
	groups     *group.Coordinator
	tier       *tiering.Manager
	reader     *tiering.Reader // nil without a bucket
	cache      *cache.Disk     // nil: none
	listener   net.Listener
	end        context.CancelCauseFunc              // ends runBroker
	loseDir    atomic.Pointer[func(metadata.DirID)] // tells the cluster; nil before there is a node
	dynamic    atomic.Pointer[configOf]
}

// configOf is the configuration that belongs to an image.
type configOf struct {
	image  *metadata.Image
	config *config.Broker
}

// runBroker serves until ctx ends. topics are made if they are not there; ready is called with the address once clients
// are served. The metadata schema must be up to date.
func runBroker(ctx context.Context, cfg *config.Broker, log *slog.Logger, reg prometheus.Registerer, topics []newTopic, ready func(addr net.Addr)) (err error) {
	b := &broker{cfg: cfg, log: log, reg: reg}
	ctx, b.end = context.WithCancelCause(ctx)
	defer b.end(nil)
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(ctx); err != nil {
		return err
	}
	if b.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return fmt.Errorf("listeners: %w", err)
	}
	node, err := b.node()
	if err != nil {
		return err
	}
	lose := node.LoseDir
	b.loseDir.Store(&lose)
	if err := b.wire(ctx, node); err != nil {
		return err
	}

	// The metadata outlives the server: leaderships are given up while the image still moves.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { b.publisher.Run(background) })
	if err := node.Join(ctx); err != nil {
		return fmt.Errorf("joining the cluster as node.id %d: %w", cfg.NodeID, err)
	}
	if err := b.createTopics(ctx, topics); err != nil {
		return err
	}
	session, end := context.WithCancel(background)
	ended := make(chan struct{})
	go func() { defer close(ended); node.Run(session) }()
	b.settle(ctx)
	running.Go(func() { b.tier.Run(session) })
	ready(b.listener.Addr())
	serving, stopServing := context.WithCancel(background)
	defer stopServing()
	retired := context.AfterFunc(ctx, func() {
		b.retire(background, node)
		stopServing()
	})
	defer retired()
	err = b.server(node).Serve(serving, b.listener)
	end()
	<-ended
	bye, cancel := context.WithTimeout(background, leaveGrace)
	defer cancel()
	return errors.Join(endedBy(ctx), err, node.Leave(bye))
}

// retire gives up leaderships while this broker still serves, so that clients and followers find the new leaders at once.
func (b *broker) retire(ctx context.Context, node *metadata.Node) {
	ctx, cancel := context.WithTimeout(ctx, leaveGrace)
	defer cancel()
	if err := node.Retire(ctx); err != nil {
		b.log.Warn("leaderships could not be given up before stopping: their partitions wait until this broker's death is noticed", "error", err)
	}
}

// open connects to Postgres and opens the log directories.
func (b *broker) open(ctx context.Context) error {
	unclean := func(overrides map[string]string) bool { return b.current().Topic(overrides).UncleanLeaderElection }
	minISR := func(overrides map[string]string) int { return int(b.current().Topic(overrides).MinInsyncReplicas) }
	var err error
	b.store, err = postgres.Open(ctx, postgres.Config{URL: b.cfg.MetadataURL, Logger: b.log, Unclean: unclean, MinISR: minISR})
	if err != nil {
		return fmt.Errorf("varve.metadata.url: %w", err)
	}
	if b.cluster, err = b.store.ClusterID(ctx); err != nil {
		return fmt.Errorf("varve.metadata.url: %w", err)
	}
	if err := b.openDirs(); err != nil {
		return err
	}
	b.publisher = metadata.NewPublisher(b.store, b.log, b.reg)
	return nil
}

// node is this broker's membership, with the address that clients are told.
func (b *broker) node() (*metadata.Node, error) {
	advertised := b.cfg.Advertised
	if advertised == b.cfg.Listen {
		advertised = b.listener.Addr().String() // port 0 became a real one
	}
	host, portText, err := net.SplitHostPort(advertised)
	if err != nil {
		return nil, fmt.Errorf("advertised.listeners: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("advertised.listeners: %w", err)
	}
	r := metadata.Registration{ID: metadata.BrokerID(b.cfg.NodeID), Incarnation: uuid.New(), Host: host, Port: int32(port), Rack: b.cfg.Rack}
	for _, d := range b.dirs {
		r.Dirs = append(r.Dirs, d.ID())
	}
	return metadata.NewNode(metadata.NodeConfig{Registration: r, Membership: b.store, Controllers: b.store, Publisher: b.publisher,
		HeartbeatInterval: b.cfg.BrokerHeartbeatInterval, SessionTimeout: b.cfg.BrokerSessionTimeout, Probe: probe,
		Balance: metadata.Balance{Interval: b.cfg.ImbalanceCheckInterval, Percentage: int(b.cfg.ImbalancePercentage)}, Logger: b.log, Registerer: b.reg}), nil
}

// wire builds the rooms that follow the image, and the tier.
func (b *broker) wire(ctx context.Context, node *metadata.Node) error {
	self := metadata.BrokerID(b.cfg.NodeID)
	if err := b.wireTier(ctx, self); err != nil {
		return err
	}
	partitions := replica.Config{Self: self, Dirs: b.dirs, Broker: b.current, Store: b.store, ISR: b.store, Dialer: transport.Dialer{}, Epoch: node.Epoch,
		OnLead: b.tier.Led, Suspect: node.Suspect, Logger: b.log, Registerer: b.reg}
	if b.reader != nil {
		partitions.Restorer = b.tier
	}
	b.partitions = replica.NewManager(partitions)
	b.tier.SetPartitions(b.partitions)
	b.groups = group.New(group.Config{Self: self, Store: b.store, Image: b.publisher.Image,
		MinSession: time.Duration(b.cfg.GroupMinSessionTimeoutMs) * time.Millisecond, MaxSession: time.Duration(b.cfg.GroupMaxSessionTimeoutMs) * time.Millisecond,
		InitialRebalanceDelay: b.cfg.GroupInitialRebalanceDelay, MaxSize: int(b.cfg.GroupMaxSize), OffsetMetadataMax: int(b.cfg.OffsetMetadataMaxBytes),
		ClassicOnly: !slices.Contains(b.cfg.GroupProtocols, "consumer"), ConsumerSession: b.cfg.GroupConsumerSessionTimeout,
		ConsumerInterval: b.cfg.GroupConsumerHeartbeatInterval, ConsumerMaxSize: int(b.cfg.GroupConsumerMaxSize), ConsumerAssignors: b.cfg.GroupConsumerAssignors,
		CommitTimeout:    time.Duration(b.cfg.OffsetsCommitTimeoutMs) * time.Millisecond,
		OffsetsRetention: time.Duration(b.cfg.OffsetsRetentionMinutes) * time.Minute, RetentionCheckInterval: b.cfg.OffsetsRetentionCheck, Logger: b.log, Registerer: b.reg})
	b.publisher.OnImage(func(im *metadata.Image) {
		// What the metadata said before this process registered was about an earlier one, and perhaps another disk. A later image is sure to come: it shows this broker live.
		if own := im.Brokers[self]; own == nil || node.Epoch() == 0 || own.Epoch < node.Epoch() {
			return
		}
		b.partitions.Apply(im)
		b.groups.Apply(im)
	})
	return nil
}

// wireTier opens the bucket, makes sure that it is this cluster's, and builds what uploads, retains and reads.
func (b *broker) wireTier(ctx context.Context, self metadata.BrokerID) error {
	bucket, err := openBucket(ctx, b.cfg.BucketURL)
	if err != nil {
		return err
	}
	if bucket != nil {
		bucket = tiering.Counted(bucket, b.reg)
		if err := tiering.Claim(ctx, bucket, b.cluster); err != nil {
			return fmt.Errorf("varve.bucket.url: %w", err)
		}
	}
	b.tier = tiering.New(tiering.Config{Self: self, ClusterID: b.cluster, Bucket: bucket, Manifest: b.store, Ledger: b.store,
		TaskInterval: b.cfg.TierTaskInterval, RetentionInterval: b.cfg.RetentionCheckInterval, MinFree: b.cfg.LogDirFreeMinBytes, Logger: b.log, Registerer: b.reg})
	if bucket == nil {
		return nil
	}
	if b.cfg.TierCacheBytes > 0 {
		b.cache, err = cache.Open(filepath.Join(b.cfg.LogDirs[0], cacheDir), cache.Options{Capacity: b.cfg.TierCacheBytes, Logger: b.log})
		if err != nil {
			return fmt.Errorf("log.dirs: %w", err)
		}
	}
	b.reader = tiering.NewReader(b.tier, tiering.ReaderConfig{Bucket: bucket, MemoryBytes: b.cfg.TierCacheMemoryBytes, Disk: b.cache, Logger: b.log, Registerer: b.reg})
	return nil
}

func (b *broker) server(node *metadata.Node) *server.Server {
	var remote fetch.RemoteReader // a nil *Reader in it would not be nil
	var sizes server.RemoteSizes
	if b.reader != nil {
		remote, sizes = b.reader, b.tier
	}
	return server.New(server.Config{Self: metadata.BrokerID(b.cfg.NodeID), Broker: b.current, Image: b.publisher.Image, Refresh: b.publisher.Refresh,
		Store: b.store, Partitions: b.partitions, Dirs: b.dirs, Producer: ingest.New(b.partitions, b.log), Fetcher: fetch.New(b.partitions, remote), Followers: fetch.NewFollowers(b.partitions, node.Suspect),
		Groups: b.groups, Remote: sizes, Logger: b.log, Registerer: b.reg})
}

// current is the configuration with what was set dynamically.
func (b *broker) current() *config.Broker {
	im := b.publisher.Image()
	if c := b.dynamic.Load(); c != nil && c.image == im {
		return c.config
	}
	next := b.cfg
	all, own := im.BrokerConfigs[metadata.NoBroker], im.BrokerConfigs[metadata.BrokerID(b.cfg.NodeID)]
	if len(all) > 0 || len(own) > 0 {
		next = b.cfg.WithDynamic(all, own)
	}
	b.dynamic.Store(&configOf{im, next})
	return next
}

// close ends what was built, in reverse.
func (b *broker) close() error {
	var errs []error
	if b.listener != nil {
		_ = b.listener.Close() // the server has closed it already, except when it never ran
	}
	if b.groups != nil {
		b.groups.Close()
	}
	if b.partitions != nil {
		b.partitions.Close()
	}
	if b.reader != nil {
		b.reader.Close()
	}
	b.cache.Close()
	for _, d := range b.dirs {
		errs = append(errs, d.Close())
	}
	if b.store != nil {
		b.store.Close()
	}
	return errors.Join(errs...)
}
