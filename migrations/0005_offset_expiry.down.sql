BEGIN;
ALTER TABLE grp_offset DROP COLUMN expire_at;
DELETE FROM schema_applied WHERE version = 5;
COMMIT;
