-- OffsetCommit v2 to v4 may give an offset a retention of its own.
BEGIN;
ALTER TABLE grp_offset ADD COLUMN expire_at timestamptz;
INSERT INTO schema_applied (version) VALUES (5);
COMMIT;
