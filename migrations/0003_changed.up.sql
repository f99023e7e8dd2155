-- Which transaction changed a partition or a topic last, so that a broker reads only what it has not seen. Triggers keep
-- it: no statement, of a program or of an operator, can forget it.
BEGIN;

CREATE FUNCTION stamp_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id();
    RETURN NEW;
END $$;

ALTER TABLE partition ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX partition_changed ON partition (changed);
CREATE TRIGGER partition_changed BEFORE INSERT OR UPDATE ON partition FOR EACH ROW EXECUTE FUNCTION stamp_changed();

ALTER TABLE topic ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX topic_changed ON topic (changed);
CREATE TRIGGER topic_changed BEFORE INSERT OR UPDATE ON topic FOR EACH ROW EXECUTE FUNCTION stamp_changed();

-- A topic has changed when its configuration has. Whoever alters it holds the topic FOR UPDATE already. When the topic
-- is being deleted, this finds no row.
CREATE FUNCTION stamp_topic_of_config() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE topic SET changed = pg_current_xact_id() WHERE topic_id IN (OLD.topic_id, NEW.topic_id);
    RETURN NULL;
END $$;
CREATE TRIGGER topic_config_changed AFTER INSERT OR UPDATE OR DELETE ON topic_config
    FOR EACH ROW EXECUTE FUNCTION stamp_topic_of_config();

INSERT INTO schema_applied (version) VALUES (3);
COMMIT;
