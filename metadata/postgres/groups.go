package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"varve/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fenceShard fails with NOT_COORDINATOR unless epoch is that of the shard, and keeps another owner out until the
// transaction ends.
func fenceShard(ctx context.Context, tx pgx.Tx, shard, epoch int32) error {
	return checkFence(tx.QueryRow(ctx, fenceShardSQL, shard), shard, epoch)
}

const fenceShardSQL = `SELECT epoch FROM coordinator_shard WHERE kind = 'group' AND shard = $1 FOR SHARE`

// checkFence is fenceShard for the row that fenceShardSQL gave.
func checkFence(row pgx.Row, shard, epoch int32) error {
	var found int32
	err := row.Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && found != epoch) {
		return fmt.Errorf("%w: group shard %d is in epoch %d, not %d", kerr.NotCoordinator, shard, found, epoch)
	}
	return err
}

// LoadShard reads the groups of a shard for its new owner. NOT_COORDINATOR when epoch is stale.
func (s *Store) LoadShard(ctx context.Context, shard, epoch int32) ([]metadata.GroupState, error) {
	var out []metadata.GroupState
	err := s.update(ctx, groupOp("load group shard"), func(ctx context.Context, tx pgx.Tx) error {
		if err := fenceShard(ctx, tx, shard, epoch); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT group_id, shard, generation, protocol_type, protocol, leader, members, state_since, consumer
			FROM grp WHERE shard = $1 ORDER BY group_id`, shard)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanGroup)
		return err
	})
	return out, err
}

func scanGroup(row pgx.CollectableRow) (metadata.GroupState, error) {
	var g metadata.GroupState
	var id, protocolType, protocol, leader, members, consumer []byte
	err := row.Scan(&id, &g.Shard, &g.Generation, &protocolType, &protocol, &leader, &members, &g.StateSince, &consumer)
	if err != nil {
		return g, err
	}
	g.GroupID, g.ProtocolType, g.Protocol, g.Leader = string(id), string(protocolType), string(protocol), string(leader)
	if g.Members, err = decodeMembers(members); err != nil {
		return g, fmt.Errorf("members of group %q: %w", g.GroupID, err)
	}
	if g.Consumer, err = decodeConsumerGroup(consumer); err != nil {
		return g, fmt.Errorf("consumer group %q: %w", g.GroupID, err)
	}
	if len(g.Members) > 0 { // a broker of the version before has made it a classic group, and does not know of the column
		g.Consumer = nil
	}
	return g, nil
}

// SaveGroup stores a group's state. NOT_COORDINATOR when epoch is not that of g.Shard.
func (s *Store) SaveGroup(ctx context.Context, epoch int32, g metadata.GroupState) error {
	members, err := encodeMembers(g.Members)
	if err != nil {
		return err
	}
	consumer, err := encodeConsumerGroup(g.Consumer)
	if err != nil {
		return err
	}
	return s.update(ctx, groupOp("save group"), func(ctx context.Context, tx pgx.Tx) error {
		if err := fenceShard(ctx, tx, g.Shard, epoch); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO grp (group_id, shard, generation, protocol_type, protocol, leader, members, state_since, consumer)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (group_id) DO UPDATE SET generation = $3, protocol_type = $4, protocol = $5, leader = $6, members = $7, state_since = $8, consumer = $9`,
			[]byte(g.GroupID), g.Shard, g.Generation, []byte(g.ProtocolType), []byte(g.Protocol), []byte(g.Leader), members, g.StateSince, consumer)
		return err
	})
}

// DeleteGroups deletes groups of a shard with their offsets; absent ones are no error. NOT_COORDINATOR when epoch is
// stale.
func (s *Store) DeleteGroups(ctx context.Context, epoch int32, shard int32, groups []string) error {
	ids := make([][]byte, len(groups))
	for i, g := range groups {
		ids[i] = []byte(g)
	}
	return s.update(ctx, groupOp("delete groups"), func(ctx context.Context, tx pgx.Tx) error {
		if err := fenceShard(ctx, tx, shard, epoch); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM grp WHERE shard = $1 AND group_id = ANY ($2)`, shard, ids)
		return err
	})
}

// memberRecord is a member as stored: clients choose these strings, and JSON would alter what is not UTF-8.
type memberRecord struct {
	MemberID, ClientID, ClientHost   []byte
	InstanceID                       *[]byte `json:",omitempty"`
	SessionTimeout, RebalanceTimeout time.Duration
	Metadata, Assignment             []byte
}

func encodeMembers(members []metadata.GroupMember) ([]byte, error) {
	records := make([]memberRecord, len(members))
	for i, m := range members {
		records[i] = memberRecord{
			MemberID: []byte(m.MemberID), ClientID: []byte(m.ClientID), ClientHost: []byte(m.ClientHost),
			SessionTimeout: m.SessionTimeout, RebalanceTimeout: m.RebalanceTimeout,
			Metadata: m.Metadata, Assignment: m.Assignment,
		}
		if m.InstanceID != nil {
			id := []byte(*m.InstanceID)
			records[i].InstanceID = &id
		}
	}
	return json.Marshal(records)
}

func decodeMembers(data []byte) ([]metadata.GroupMember, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var records []memberRecord
	if err := json.Unmarshal(data, &records); err != nil {
		return nil, err
	}
	return slices.Collect(func(yield func(metadata.GroupMember) bool) {
		for _, r := range records {
			m := metadata.GroupMember{
				MemberID: string(r.MemberID), ClientID: string(r.ClientID), ClientHost: string(r.ClientHost),
				SessionTimeout: r.SessionTimeout, RebalanceTimeout: r.RebalanceTimeout,
				Metadata: r.Metadata, Assignment: r.Assignment,
			}
			if r.InstanceID != nil {
				id := string(*r.InstanceID)
				m.InstanceID = &id
			}
			if !yield(m) {
				return
			}
		}
	}), nil
}
