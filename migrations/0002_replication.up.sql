-- What a cluster of several brokers keeps of a partition beside its replicas and its ISR.
BEGIN;

ALTER TABLE partition
    ADD COLUMN elr            int[] NOT NULL DEFAULT '{}',  -- eligible leader replicas (KIP-966)
    ADD COLUMN last_known_elr int[] NOT NULL DEFAULT '{}',
    ADD COLUMN adding         int[] NOT NULL DEFAULT '{}',  -- replicas that a reassignment adds, a subset of replicas
    ADD COLUMN removing       int[] NOT NULL DEFAULT '{}';  -- replicas that it removes when the added ones are in sync

INSERT INTO schema_applied (version) VALUES (2);
COMMIT;
