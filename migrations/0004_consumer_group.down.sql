BEGIN;
ALTER TABLE grp DROP COLUMN consumer;
DELETE FROM schema_applied WHERE version = 4;
COMMIT;
