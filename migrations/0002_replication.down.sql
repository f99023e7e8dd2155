BEGIN;
ALTER TABLE partition DROP COLUMN elr, DROP COLUMN last_known_elr, DROP COLUMN adding, DROP COLUMN removing;
DELETE FROM schema_applied WHERE version = 2;
COMMIT;
