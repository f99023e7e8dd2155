-- The cluster's metadata. Every write is fenced by an epoch in its WHERE clause; locks are taken in the order
-- controller_epoch, broker (by id), topic, partition (topic_id, partition), coordinator_shard, group rows,
-- meta_version last.
BEGIN;

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE schema_applied (
    version    int PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row: incremented as the last statement of every transaction that changes the image, so that the order of
-- commits is the order of versions (a sequence would show its gaps late).
CREATE TABLE meta_version (
    id int PRIMARY KEY CHECK (id = 1),
    v  bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO meta_version VALUES (1, 0);

CREATE TABLE cluster (
    id         int PRIMARY KEY CHECK (id = 1),
    cluster_id uuid NOT NULL
);

-- Two rows for one controller: a takeover and every controller's write lock the epoch, a renewal only the lease.
CREATE TABLE controller_epoch (
    id        int PRIMARY KEY CHECK (id = 1),
    epoch     bigint NOT NULL,
    broker_id int NOT NULL                  -- -1: none
);
INSERT INTO controller_epoch VALUES (1, 0, -1);

CREATE TABLE controller_lease (
    id         int PRIMARY KEY CHECK (id = 1),
    epoch      bigint NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO controller_lease VALUES (1, 0, '-infinity');

CREATE TABLE broker (
    broker_id   int PRIMARY KEY CHECK (broker_id >= 0),
    epoch       bigint NOT NULL,            -- meta_version of the registration
    incarnation uuid NOT NULL,
    host        text NOT NULL,
    port        int NOT NULL,
    rack        text NOT NULL,              -- '': none
    dirs        uuid[] NOT NULL,
    fenced      boolean NOT NULL,
    in_shutdown boolean NOT NULL
);

CREATE TABLE broker_lease (
    broker_id       int PRIMARY KEY REFERENCES broker ON DELETE CASCADE,
    epoch           bigint NOT NULL,
    ttl             interval NOT NULL,
    expires_at      timestamptz NOT NULL,
    applied_version bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE topic (
    topic_id   uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    name_norm  text NOT NULL UNIQUE,        -- '.' as '_': names that collide in metrics are refused, as in Kafka
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE topic_config (
    topic_id uuid NOT NULL REFERENCES topic ON DELETE CASCADE,
    name     text NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (topic_id, name)
);

CREATE TABLE broker_config (
    broker_id int NOT NULL,                 -- -1: the default of the cluster
    name      text NOT NULL,
    value     text NOT NULL,
    PRIMARY KEY (broker_id, name)
);

CREATE TABLE partition (
    topic_id         uuid NOT NULL REFERENCES topic ON DELETE CASCADE,
    partition        int NOT NULL CHECK (partition >= 0),
    leader           int NOT NULL,          -- -1: none
    leader_epoch     int NOT NULL DEFAULT 0,
    partition_epoch  int NOT NULL DEFAULT 0,
    replicas         int[] NOT NULL,
    isr              int[] NOT NULL CHECK (cardinality(isr) > 0),
    dirs             uuid[] NOT NULL,       -- dirs[i] belongs to replicas[i]
    recovery         smallint NOT NULL DEFAULT 0 CHECK (recovery IN (0, 1)),
    log_start_offset bigint NOT NULL DEFAULT 0 CHECK (log_start_offset >= 0),
    PRIMARY KEY (topic_id, partition),
    CHECK (cardinality(dirs) = cardinality(replicas)),
    CHECK (leader = -1 OR leader = ANY (isr))
);
CREATE INDEX partition_leaderless ON partition (topic_id, partition) WHERE leader = -1;
CREATE INDEX partition_replicas ON partition USING gin (replicas);

-- One row for each attempt to upload a segment: 0 intent, 1 live, 2 doomed, 3 gone. Rows that are gone stay as the
-- ledger of deletions. They outlive their topic, so there is no foreign key.
CREATE TABLE remote_segment (
    segment_id    uuid PRIMARY KEY,
    topic_id      uuid NOT NULL,
    partition     int NOT NULL,
    base_offset   bigint NOT NULL CHECK (base_offset >= 0),
    end_offset    bigint NOT NULL,          -- one past the last
    leader_epoch  int NOT NULL,
    state         smallint NOT NULL CHECK (state BETWEEN 0 AND 3),
    max_timestamp bigint NOT NULL DEFAULT -1,
    log_bytes     bigint NOT NULL DEFAULT 0,
    idx_bytes     bigint NOT NULL DEFAULT 0,
    log_crc32c    bigint NOT NULL DEFAULT 0,
    has_txn_index boolean NOT NULL DEFAULT false,
    uploader      int NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason        text NOT NULL DEFAULT '',
    doomed_by     int,                      -- broker, NULL: the cluster
    claimed_until timestamptz,              -- a deleter works on it until then
    CHECK (end_offset > base_offset),
    -- No two live objects cover one offset, whatever a program does.
    CONSTRAINT remote_segment_no_overlap EXCLUDE USING gist (
        topic_id WITH =, partition WITH =, int8range(base_offset, end_offset) WITH &&
    ) WHERE (state = 1)
);
CREATE INDEX remote_segment_live ON remote_segment (topic_id, partition, end_offset) WHERE state = 1;
CREATE INDEX remote_segment_unfinished ON remote_segment (changed_at) WHERE state IN (0, 2);
CREATE INDEX remote_segment_ledger ON remote_segment (changed_at) WHERE state = 3;

CREATE TABLE coordinator_shard (
    kind  text NOT NULL CHECK (kind IN ('group', 'txn')),
    shard int NOT NULL,
    owner int NOT NULL,                     -- -1: none
    epoch int NOT NULL,
    PRIMARY KEY (kind, shard)
);
INSERT INTO coordinator_shard SELECT 'group', i, -1, 0 FROM generate_series(0, 49) AS i;

-- Group ids, member ids and offset metadata are bytes that clients choose: text would refuse some of them.
CREATE TABLE grp (
    group_id      bytea PRIMARY KEY,
    shard         int NOT NULL,
    generation    int NOT NULL DEFAULT 0,
    protocol_type bytea NOT NULL DEFAULT '',
    protocol      bytea NOT NULL DEFAULT '',
    leader        bytea NOT NULL DEFAULT '',
    members       bytea NOT NULL DEFAULT '',
    state_since   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX grp_shard ON grp (shard);

CREATE TABLE grp_offset (
    group_id     bytea NOT NULL REFERENCES grp ON DELETE CASCADE,
    topic_id     uuid NOT NULL REFERENCES topic ON DELETE CASCADE,
    partition    int NOT NULL,
    off          bigint NOT NULL,
    leader_epoch int NOT NULL,
    metadata     bytea NOT NULL,
    committed_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, topic_id, partition)
) WITH (fillfactor = 70);
CREATE INDEX grp_offset_topic ON grp_offset (topic_id);

CREATE TABLE producer_id_block (
    id   int PRIMARY KEY CHECK (id = 1),
    next bigint NOT NULL
);
INSERT INTO producer_id_block VALUES (1, 0);

INSERT INTO schema_applied (version) VALUES (1);
COMMIT;
