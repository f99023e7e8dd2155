BEGIN;
DROP TABLE producer_id_block, grp_offset, grp, coordinator_shard, remote_segment, partition, broker_config,
    topic_config, topic, broker_lease, broker, controller_lease, controller_epoch, cluster, meta_version,
    schema_applied;
COMMIT;
