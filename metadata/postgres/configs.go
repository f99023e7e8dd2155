package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"

	"varve/metadata"
)

// AlterConfigs sets and removes configurations of one resource, all or none; with replaceAll what edits do not name
// is removed (the old AlterConfigs API). The caller has checked names and values. UNKNOWN_TOPIC_OR_PARTITION.
func (s *Store) AlterConfigs(ctx context.Context, res metadata.ConfigResource, edits []metadata.ConfigEdit, replaceAll bool) error {
	return s.change(ctx, adminOp("alter configs"), func(ctx context.Context, tx pgx.Tx) (bool, error) {
		table := configTable{table: "broker_config", column: "broker_id", key: int32(res.Broker)}
		if res.Topic != "" {
			id, err := lockTopic(ctx, tx, res.Topic)
			if err != nil {
				return false, err
			}
			table = configTable{table: "topic_config", column: "topic_id", key: id}
		}
		if replaceAll {
			if err := table.clear(ctx, tx); err != nil {
				return false, err
			}
		}
		for _, e := range edits {
			if err := table.apply(ctx, tx, e); err != nil {
				return false, err
			}
		}
		if replaceAll || slices.ContainsFunc(edits, func(e metadata.ConfigEdit) bool { return e.Name == minISRSetting }) {
			return true, clearELR(ctx, tx, table)
		}
		return true, nil
	})
}

// configTable is the part of a table of configurations that belongs to one resource. table and column are constants
// of this file.
type configTable struct {
	table, column string
	key           any
}

func (c configTable) clear(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`DELETE FROM %s WHERE %s = $1`, c.table, c.column), c.key)
	return err
}

func (c configTable) apply(ctx context.Context, tx pgx.Tx, e metadata.ConfigEdit) error {
	if !storable(e.Name) || (e.Value != nil && !storable(*e.Value)) {
		return fmt.Errorf("%w: %q is not valid UTF-8", kerr.InvalidConfig, e.Name)
	}
	if e.Value == nil {
		_, err := tx.Exec(ctx, fmt.Sprintf(`DELETE FROM %s WHERE %s = $1 AND name = $2`, c.table, c.column), c.key, e.Name)
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (%s, name, value) VALUES ($1, $2, $3)
		ON CONFLICT (%s, name) DO UPDATE SET value = $3`, c.table, c.column, c.column), c.key, e.Name, *e.Value)
	return err
}
