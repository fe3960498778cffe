-- The metadata of apps and tokens, who created a token, what an edit changed, the policy, and the order in which
-- changes were committed. Nodes of earlier versions do not change these columns.

ALTER TABLE api_tokens ADD COLUMN metadata jsonb;
ALTER TABLE api_tokens ADD COLUMN created_by text;
ALTER TABLE api_token_apps ADD COLUMN metadata jsonb;
ALTER TABLE api_token_audit ADD COLUMN changes jsonb;

-- Added without checking existing rows, because none of them has a value yet.
ALTER TABLE api_tokens
    ADD CONSTRAINT api_tokens_metadata_form CHECK (
        jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 65536
        AND NOT jsonb_path_exists(metadata, '$.* ? (@.type() != "string")')) NOT VALID,
    ADD CONSTRAINT api_tokens_created_by_form CHECK (octet_length(created_by) <= 200) NOT VALID;
ALTER TABLE api_token_apps
    ADD CONSTRAINT api_token_apps_metadata_form CHECK (
        jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 65536
        AND NOT jsonb_path_exists(metadata, '$.* ? (@.type() != "string")')) NOT VALID;

CREATE TABLE api_token_policy (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    policy   text    NOT NULL
);

CREATE VIEW api_token_current_policy AS SELECT policy FROM api_token_policy;

-- The events of changes in the order in which they were committed. Refusals change nothing and have no position.
CREATE TABLE api_token_events (
    position bigint NOT NULL PRIMARY KEY,
    event    uuid   NOT NULL UNIQUE
);

CREATE VIEW api_token_event_log AS
SELECT e.position, a.id, a.at, a.actor, a.action, a.app_id, a.token, a.outcome, a.changes::text AS changes
FROM api_token_events e JOIN api_token_audit a ON a.id = e.event;

-- When a dump is restored, its events are inserted first and get new positions, which their
-- original positions then replace.
CREATE FUNCTION api_token_event_replaced() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM api_token_events WHERE position = NEW.position OR event = NEW.event;
    RETURN NEW;
END
$$;

CREATE TRIGGER a_replaced BEFORE INSERT ON api_token_events FOR EACH ROW EXECUTE FUNCTION api_token_event_replaced();
ALTER TABLE api_token_events ENABLE ALWAYS TRIGGER a_replaced;

CREATE FUNCTION api_token_audit_appended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE;
    INSERT INTO api_token_events (position, event)
    SELECT coalesce((SELECT e.position FROM api_token_events e ORDER BY e.position DESC LIMIT 1), 0::bigint) + 1::bigint, NEW.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER b_position AFTER INSERT ON api_token_audit FOR EACH ROW WHEN (NEW.outcome = 'done')
    EXECUTE FUNCTION api_token_audit_appended();
ALTER TABLE api_token_audit ENABLE ALWAYS TRIGGER b_position;

-- A rule for names that are new, as before: a record whose name is older than the rule can be edited.
DROP TRIGGER c_name ON api_tokens;
CREATE TRIGGER c_name BEFORE INSERT ON api_tokens FOR EACH ROW WHEN (
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();
CREATE TRIGGER c_new_name BEFORE UPDATE OF name ON api_tokens FOR EACH ROW WHEN (
    NEW.name IS DISTINCT FROM OLD.name AND
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();
DROP TRIGGER c_name ON api_token_apps;
CREATE TRIGGER c_name BEFORE INSERT ON api_token_apps FOR EACH ROW WHEN (
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();
CREATE TRIGGER c_new_name BEFORE UPDATE OF name ON api_token_apps FOR EACH ROW WHEN (
    NEW.name IS DISTINCT FROM OLD.name AND
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();

-- A token and its app, as verification needs them: all that a verifying role may read of them.
CREATE OR REPLACE VIEW api_token_details AS
SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, t.successor,
       t.last_used_at, t.uses, t.app_id, a.name AS app_name, a.created_at AS app_created_at,
       a.disabled_at AS app_disabled_at, t.restrictions, t.metadata::text AS metadata,
       a.metadata::text AS app_metadata, t.created_by
FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id;

DROP TRIGGER a_lock ON api_tokens;
CREATE TRIGGER a_lock BEFORE INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, restrictions,
        metadata, created_by
    ON api_tokens EXECUTE FUNCTION api_token_lock();
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER a_lock;

CREATE OR REPLACE FUNCTION api_token_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor,
                   restrictions, metadata, created_by FROM after
            EXCEPT
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor,
                   restrictions, metadata, created_by FROM before
        ) AS changed
    ), NULL::text[]);
    -- A digest that is no longer used must not be found.
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (SELECT digest FROM before EXCEPT SELECT digest FROM after) AS gone
    ), NULL::text[]);
    RETURN NULL;
END
$$;

-- A node of an earlier version would create a successor without metadata.
CREATE FUNCTION api_token_keep_metadata() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE api_tokens SET metadata = NEW.metadata WHERE id = NEW.successor AND metadata IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER c_metadata AFTER UPDATE OF successor ON api_tokens FOR EACH ROW WHEN (
    NEW.metadata IS NOT NULL AND NEW.successor IS NOT NULL AND NEW.successor IS DISTINCT FROM OLD.successor)
    EXECUTE FUNCTION api_token_keep_metadata();
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER c_metadata;

-- Additional columns for nodes of this version. The return type of existing functions does not change, because a call
-- of an earlier node that waits for this migration would fail.
CREATE TYPE api_token_described AS (
    id             uuid,
    digest         bytea,
    mask           text,
    name           text,
    scopes         text,
    created_at     bigint,
    expires_at     bigint,
    revoked_at     bigint,
    successor      uuid,
    last_used_at   bigint,
    uses           bigint,
    app_id         text,
    app_name       text,
    app_created_at bigint,
    app_disabled_at bigint,
    restrictions   text,
    metadata       text,
    app_metadata   text,
    created_by     text,
    outcome        text,
    detail         text,
    made           uuid,
    affected       bigint
);

-- Adds to what a change returns. Nodes pass the call of the change, so that both are one statement.
CREATE FUNCTION api_token_describe(applied api_token_applied) RETURNS api_token_described
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_described;
BEGIN
    SELECT applied.id, applied.digest, applied.mask, applied.name, applied.scopes, applied.created_at,
           applied.actual_expires_at, applied.revoked_at, applied.successor, applied.last_used_at, applied.uses,
           applied.app_id, applied.app_name, applied.app_created_at, applied.app_disabled_at, applied.restrictions,
           (SELECT t.metadata::text FROM api_tokens t WHERE t.id = applied.id),
           (SELECT a.metadata::text FROM api_token_apps a WHERE a.id = applied.app_id),
           (SELECT t.created_by FROM api_tokens t WHERE t.id = applied.id),
           applied.outcome, applied.detail, applied.made, applied.affected
    INTO result;
    RETURN result;
END
$$;

-- A change that a node has planned from what it read. It is made only if none of that has changed: the log has nothing
-- after `since` about the tokens with `digests`, the apps with `app_ids` and all tokens of the apps with `owner_ids`,
-- and the policy is the same. Otherwise the outcome is `stale`, and the node plans it again.
CREATE FUNCTION api_token_commit(
    event api_token_event, event_changes text, used_key bytea, used_request bytea, changed_at bigint,
    oldest_key bigint, made_token uuid, since bigint, since_mark bigint, digests bytea[], app_ids text[],
    owner_ids text[], obeys_policy boolean, obeyed_policy text, noted_digests bytea[], noted_apps text[],
    new_apps text, changed_apps text, new_tokens text, changed_tokens text, removed_app text, new_policy text
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_begin();
    result  api_token_applied := api_token_find_key(used_key, used_request, oldest_key);
    changed record;
BEGIN
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    IF since IS NOT NULL AND (
        NOT EXISTS (SELECT FROM api_token_changes c WHERE c.revision = since AND c.mark = since_mark)
        OR EXISTS (
            SELECT FROM api_token_changes c WHERE c.revision > since AND (
                c.digest = ANY (digests) OR c.app_id = ANY (app_ids) OR c.app_id = ANY (owner_ids)
                OR EXISTS (SELECT FROM api_tokens t WHERE t.digest = c.digest AND t.app_id = ANY (owner_ids)))))
        OR obeys_policy AND obeyed_policy IS DISTINCT FROM (SELECT p.policy FROM api_token_policy p) THEN
        RETURN api_token_failed('stale'::text, NULL::text);
    END IF;

    INSERT INTO api_token_apps (id, name, created_at, disabled_at, metadata)
    SELECT a.id, a.name, a.created_at, a.disabled_at, a.metadata
    FROM pg_catalog.jsonb_to_recordset(new_apps::jsonb)
        AS a (id text, name text, created_at bigint, disabled_at bigint, metadata jsonb)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND AND pg_catalog.jsonb_array_length(new_apps::jsonb) > 0 THEN
        RETURN api_token_failed('already_exists'::text, NULL::text);
    END IF;
    -- One by one: a plan that joined them would read the whole table where it does not know how few they are.
    FOR changed IN SELECT * FROM pg_catalog.jsonb_to_recordset(changed_apps::jsonb)
        AS a (id text, name text, created_at bigint, disabled_at bigint, metadata jsonb)
    LOOP
        UPDATE api_token_apps
        SET name = changed.name, created_at = changed.created_at, disabled_at = changed.disabled_at,
            metadata = changed.metadata
        WHERE id = changed.id;
    END LOOP;

    BEGIN
        INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at,
                                successor, last_used_at, uses, restrictions, metadata, created_by)
        SELECT t.id, pg_catalog.decode(t.digest, 'hex'), t.mask, t.app_id, t.name, t.scopes, t.created_at,
               t.expires_at, t.revoked_at, t.successor, t.last_used_at, t.uses, t.restrictions, t.metadata,
               t.created_by
        FROM pg_catalog.jsonb_to_recordset(new_tokens::jsonb) AS t (
            id uuid, digest text, mask text, app_id text, name text, scopes text, created_at bigint,
            expires_at bigint, revoked_at bigint, successor uuid, last_used_at bigint, uses bigint,
            restrictions text, metadata jsonb, created_by text);
        -- Not left to the constraint alone, which a session can switch off (`session_replication_role`).
        IF EXISTS (
            SELECT FROM (
                SELECT DISTINCT t.app_id FROM pg_catalog.jsonb_to_recordset(new_tokens::jsonb) AS t (app_id text)
            ) AS t LEFT JOIN LATERAL (SELECT a.id FROM api_token_apps a WHERE a.id = t.app_id OFFSET 0::bigint) a ON true
            WHERE a.id IS NULL) THEN
            RAISE foreign_key_violation;
        END IF;
    EXCEPTION WHEN unique_violation OR foreign_key_violation THEN
        -- The first invalid token determines the outcome.
        RETURN api_token_failed(coalesce((
            SELECT CASE WHEN app IS NULL THEN 'not_found' ELSE 'already_exists' END
            FROM (
                SELECT t.id, pg_catalog.decode(t.digest, 'hex') AS digest, t.n, a.id AS app,
                       pg_catalog.row_number() OVER (PARTITION BY t.id ORDER BY t.n) AS of_id,
                       pg_catalog.row_number() OVER (PARTITION BY t.digest ORDER BY t.n) AS of_digest
                FROM ROWS FROM (pg_catalog.jsonb_to_recordset(new_tokens::jsonb) AS (id uuid, digest text, app_id text))
                    WITH ORDINALITY AS t (id, digest, app_id, n)
                LEFT JOIN LATERAL (SELECT a.id FROM api_token_apps a WHERE a.id = t.app_id OFFSET 0::bigint) a ON true
            ) AS added
            WHERE app IS NULL OR of_id > 1::bigint OR of_digest > 1::bigint
               OR EXISTS (SELECT FROM api_tokens o WHERE o.id = added.id)
               OR EXISTS (SELECT FROM api_tokens o WHERE o.digest = added.digest)
            ORDER BY n LIMIT 1), 'already_exists'), NULL::text);
    END;
    -- Uses are not changed: more may have been recorded since the token was read.
    FOR changed IN SELECT * FROM pg_catalog.jsonb_to_recordset(changed_tokens::jsonb) AS t (
        id uuid, mask text, app_id text, name text, scopes text, created_at bigint, expires_at bigint,
        revoked_at bigint, successor uuid, restrictions text, metadata jsonb, created_by text)
    LOOP
        UPDATE api_tokens
        SET mask = changed.mask, app_id = changed.app_id, name = changed.name, scopes = changed.scopes,
            created_at = changed.created_at, expires_at = changed.expires_at, revoked_at = changed.revoked_at,
            successor = changed.successor, restrictions = changed.restrictions, metadata = changed.metadata,
            created_by = changed.created_by
        WHERE id = changed.id;
    END LOOP;

    IF removed_app IS NOT NULL THEN
        DELETE FROM api_tokens WHERE app_id = removed_app;
        DELETE FROM api_token_apps WHERE id = removed_app;
    END IF;
    IF new_policy IS NOT NULL THEN
        INSERT INTO api_token_policy (policy) VALUES (new_policy)
        ON CONFLICT (only_row) DO UPDATE SET policy = excluded.policy;
    END IF;

    PERFORM api_token_ensure_noted(latest, noted_digests, noted_apps);
    PERFORM api_token_use_key(used_key, used_request, made_token, changed_at, oldest_key);
    IF event.id IS NOT NULL THEN
        INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome, changes)
        VALUES (event.id, event.at, event.actor, event.action, event.app_id, event.token, event.outcome,
                event_changes::jsonb);
    END IF;
    result.outcome := 'done';
    result.affected := pg_catalog.jsonb_array_length(new_tokens::jsonb);
    RETURN result;
END
$$;
