-- The state of a group of the consumer protocol (KIP-848): epochs, members, assignments. Empty: a classic group. A broker
-- of the version before takes such a group for an empty classic one.
BEGIN;
ALTER TABLE grp ADD COLUMN consumer bytea NOT NULL DEFAULT '';
INSERT INTO schema_applied (version) VALUES (4);
COMMIT;
