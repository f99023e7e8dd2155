BEGIN;
DROP TRIGGER topic_config_changed ON topic_config;
DROP TRIGGER topic_changed ON topic;
DROP TRIGGER partition_changed ON partition;
DROP FUNCTION stamp_topic_of_config, stamp_changed;
ALTER TABLE topic DROP COLUMN changed;
ALTER TABLE partition DROP COLUMN changed;
DELETE FROM schema_applied WHERE version = 3;
COMMIT;
