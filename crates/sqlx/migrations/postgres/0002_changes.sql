-- Each change is one function call, so that no client holds a lock between two round trips. Nodes of the
-- version before, which make changes by plain statements, go on: the triggers they rely on stay.

-- All locks first, and for moments only: a backup that is under way must not make lookups queue up behind
-- this upgrade.
DO $$
DECLARE
    attempts int := 0;
    patience text := pg_catalog.current_setting('lock_timeout');
BEGIN
    LOOP
        attempts := attempts + 1;
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
            LOCK TABLE api_tokens, api_token_apps, api_token_keys, api_token_audit, api_token_revision,
                api_token_changes IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF attempts >= 60 THEN
                RAISE;
            END IF;
        END;
        PERFORM pg_catalog.pg_sleep(0.25);
    END LOOP;
    PERFORM pg_catalog.set_config('lock_timeout', patience, true);
END
$$;

-- What cannot be read must not get in. Rows that are there already are left as they are.

ALTER TABLE api_token_apps ADD CONSTRAINT api_token_apps_id_form CHECK (
    id ~ '^[A-Za-z0-9][A-Za-z0-9._~-]*$') NOT VALID;

ALTER TABLE api_tokens
    ADD CONSTRAINT api_tokens_mask_form CHECK (
        mask COLLATE "C" ~ '^[!-~]{0,24}\u2026[!-~]{0,4}$') NOT VALID,
    ADD CONSTRAINT api_tokens_scopes_form CHECK (
        scopes = '' OR (scopes COLLATE "C" ~ '^[!#-\u005b\u005d-~]+( [!#-\u005b\u005d-~]+)*$'
            AND scopes COLLATE "C" !~ '[^ ]{129}')) NOT VALID;

ALTER TABLE api_token_audit
    ADD CONSTRAINT api_token_audit_action_form CHECK (action COLLATE "C" ~ '^[a-z0-9]+([._-][a-z0-9]+)*$') NOT VALID,
    ADD CONSTRAINT api_token_audit_app_form CHECK (app_id ~ '^[A-Za-z0-9][A-Za-z0-9._~-]*$') NOT VALID,
    ADD CONSTRAINT api_token_audit_outcome_form CHECK (
        outcome = 'done' OR pg_catalog.starts_with(outcome, 'refused: ')) NOT VALID;

-- Not a constraint: a token or an app whose name is older than this rule can still be used, revoked and
-- disabled. The rule holds for a name that is new.
CREATE FUNCTION api_token_refuse_name() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE EXCEPTION 'a name has no control characters, no line breaks and no white space around it'
        USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, COLUMN = 'name';
END
$$;

CREATE TRIGGER c_name BEFORE INSERT OR UPDATE OF name ON api_tokens FOR EACH ROW WHEN (
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();
CREATE TRIGGER c_name BEFORE INSERT OR UPDATE OF name ON api_token_apps FOR EACH ROW WHEN (
    NEW.name COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')
    EXECUTE FUNCTION api_token_refuse_name();

-- The lock of all changes is this table's. It has no row, so that no change leaves a dead one behind,
-- which the next would have to step over for as long as anyone holds an old snapshot. A dump of the data
-- holds nothing of it, and who has no right to write the table cannot take it.
CREATE TABLE api_token_change_lock ();

-- The number of the latest change is in the log itself.
DROP TABLE api_token_revision;
CREATE VIEW api_token_revision AS SELECT max(revision) AS number FROM api_token_changes;

CREATE FUNCTION api_token_latest() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN coalesce((SELECT revision FROM api_token_changes ORDER BY revision DESC LIMIT 1), 0);
END
$$;

CREATE OR REPLACE FUNCTION api_token_lock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
    END IF;
    -- Before any row of a token: all changes take their locks in one order, and none deadlock.
    LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE;
    RETURN NULL;
END
$$;

-- Whether the server's queue has room for a notification. One that does not fit would fail the change
-- when it is committed, and a notification only makes followers read the log sooner.
CREATE FUNCTION api_token_may_notify() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN pg_catalog.pg_notification_queue_usage() < 0.5::double precision;
END
$$;

CREATE FUNCTION api_token_notify() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF api_token_may_notify() THEN
        PERFORM pg_catalog.pg_notify('api_token_changes', pg_catalog.current_schema());
    END IF;
END
$$;

-- A transaction of another isolation has a snapshot that is older than the lock. What it adds to the log
-- could lie before what others have added, where no follower reads it.
CREATE FUNCTION api_token_require_read_committed() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    isolation text := pg_catalog.current_setting('transaction_isolation');
BEGIN
    IF isolation NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'tokens and apps cannot be changed under %; begin the transaction with BEGIN ISOLATION LEVEL READ COMMITTED',
            pg_catalog.upper(isolation) USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION api_token_note(digests bytea[], app_ids text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    many   bigint := coalesce(pg_catalog.cardinality(digests), 0) + coalesce(pg_catalog.cardinality(app_ids), 0);
    latest bigint;
    noted  bigint;
BEGIN
    IF many = 0 THEN
        RETURN;
    END IF;
    PERFORM api_token_require_read_committed();
    latest := api_token_latest();
    INSERT INTO api_token_changes (revision, digest, app_id)
    SELECT latest + n, digest, app_id
    FROM ROWS FROM (pg_catalog.unnest(digests), pg_catalog.unnest(app_ids)) WITH ORDINALITY
        AS changed (digest, app_id, n)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF noted <> many THEN
        RAISE EXCEPTION 'the change log does not take the change; look for triggers and rules on api_token_changes'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- As many as are added go at the other end, by their numbers: what went before them may still be there
    -- as dead rows, and is not read again. The rest of larger changes goes once in a while.
    IF latest / 10000 <> (latest + many) / 10000 THEN
        DELETE FROM api_token_changes WHERE revision < latest - 100000;
    ELSE
        DELETE FROM api_token_changes
        WHERE revision < latest - 100000 AND revision >= latest - 100000 - greatest(many, 100::bigint);
    END IF;
    PERFORM api_token_notify();
END
$$;

-- The log begins anew: followers find nothing that leads on from what they know, and clear their caches.
CREATE FUNCTION api_token_restart_log() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint;
BEGIN
    PERFORM api_token_require_read_committed();
    latest := api_token_latest();
    INSERT INTO api_token_changes (revision) VALUES (latest + 1);
    DELETE FROM api_token_changes WHERE revision <= latest;
    PERFORM api_token_notify();
END
$$;

CREATE OR REPLACE FUNCTION api_token_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_restart_log();
    RETURN NULL;
END
$$;

-- As before, but for operators and functions: each is named so that none in the first schema of the search
-- path could fit better than the one that is meant.

CREATE OR REPLACE FUNCTION api_token_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((SELECT pg_catalog.array_agg(digest) FROM inserted), NULL::text[]);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION api_token_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor FROM after
            EXCEPT
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor FROM before
        ) AS changed
    ), NULL::text[]);
    -- A digest that is given up is no longer found.
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (SELECT digest FROM before EXCEPT SELECT digest FROM after) AS gone
    ), NULL::text[]);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION api_token_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    now bigint := (extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint;
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM deleted
        WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now)
    ), NULL::text[]);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION api_token_app_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note(NULL::bytea[], (
        SELECT pg_catalog.array_agg(id) FROM (SELECT * FROM after EXCEPT SELECT * FROM before) AS changed
    ));
    RETURN NULL;
END
$$;

-- The triggers run in sessions too that replay what another server has done (`session_replication_role`).

ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER a_lock;
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER b_inserted;
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER b_updated;
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER b_deleted;
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER b_truncated;
ALTER TABLE api_token_apps ENABLE ALWAYS TRIGGER a_durable;
ALTER TABLE api_token_apps ENABLE ALWAYS TRIGGER a_lock;
ALTER TABLE api_token_apps ENABLE ALWAYS TRIGGER b_updated;
ALTER TABLE api_token_audit ENABLE ALWAYS TRIGGER a_durable;

-- What a change takes and returns.

CREATE TYPE api_token_event AS (
    id      uuid,
    at      bigint,
    actor   text,
    action  text,
    app_id  text,
    token   uuid,
    outcome text
);

-- `outcome` is `done`, `not_found`, `already_exists`, `repeated` (then `detail` says whether the same was
-- asked for, and `made` is the token), `conflict` (`detail` is the status of the token), `lacking` (`detail`
-- are the scopes) or `outlives`.
CREATE TYPE api_token_applied AS (
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
    outcome        text,
    detail         text,
    made           uuid,
    affected       bigint
);

-- Bounds what this transaction waits for a lock, and what others wait for it where its process falls silent
-- in the middle. A tighter bound stays.
CREATE FUNCTION api_token_bound_waiting(for_lock text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    bound record;
BEGIN
    FOR bound IN VALUES ('lock_timeout', for_lock), ('idle_in_transaction_session_timeout', '1s') LOOP
        IF pg_catalog.current_setting(bound.column1)::interval
            NOT BETWEEN '1 microsecond'::interval AND bound.column2::interval THEN
            PERFORM pg_catalog.set_config(bound.column1, bound.column2, true);
        END IF;
    END LOOP;
END
$$;

-- Takes the lock of all changes, to the end of the transaction, and returns the latest revision.
CREATE FUNCTION api_token_begin() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_require_read_committed();
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
    END IF;
    PERFORM api_token_bound_waiting('5s'::text);
    LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE;
    RETURN api_token_latest();
END
$$;

-- Sees to it that a change is in the log, whatever the triggers have done, and fails if it is not.
CREATE FUNCTION api_token_ensure_noted(since bigint, digests bytea[], app_ids text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    missing_digests bytea[];
    missing_apps    text[];
BEGIN
    FOR attempt IN 1..2 LOOP
        -- Not by a join, which a plan made for few would do one by one for many.
        missing_digests := (
            SELECT pg_catalog.array_agg(digest) FROM (
                SELECT pg_catalog.unnest(digests) AS digest
                EXCEPT SELECT c.digest FROM api_token_changes c WHERE c.revision > since) AS missing);
        missing_apps := (
            SELECT pg_catalog.array_agg(app_id) FROM (
                SELECT pg_catalog.unnest(app_ids) AS app_id
                EXCEPT SELECT c.app_id FROM api_token_changes c WHERE c.revision > since) AS missing);
        IF missing_digests IS NULL AND missing_apps IS NULL THEN
            RETURN;
        END IF;
        IF attempt = 1 THEN
            PERFORM api_token_note(missing_digests, missing_apps);
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the change log does not take the change; look for triggers and rules on api_token_changes'
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE FUNCTION api_token_record_event(event api_token_event) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF event.id IS NOT NULL THEN
        INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome)
        VALUES (event.id, event.at, event.actor, event.action, event.app_id, event.token, event.outcome);
    END IF;
END
$$;

CREATE FUNCTION api_token_result(changed uuid) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    SELECT r.id, r.digest, r.mask, r.name, r.scopes, r.created_at, r.expires_at, r.revoked_at, r.successor,
           r.last_used_at, r.uses, r.app_id, r.app_name, r.app_created_at, r.app_disabled_at, 'done'
    INTO result FROM api_token_records r WHERE r.id = changed;
    RETURN result;
END
$$;

CREATE FUNCTION api_token_app_result(changed text) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    SELECT a.id, a.name, a.created_at, a.disabled_at, 'done'
    INTO result.app_id, result.app_name, result.app_created_at, result.app_disabled_at, result.outcome
    FROM api_token_apps a WHERE a.id = changed;
    RETURN result;
END
$$;

CREATE FUNCTION api_token_failed(outcome text, detail text) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    result.outcome := outcome;
    result.detail := detail;
    RETURN result;
END
$$;

-- Finds what was made under a key since the oldest time that counts. Nothing without one.
CREATE FUNCTION api_token_find_key(used_key bytea, used_request bytea, oldest bigint) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    SELECT 'repeated', CASE WHEN k.request = used_request THEN 'same' ELSE 'other' END, k.token
    INTO result.outcome, result.detail, result.made
    FROM api_token_keys k WHERE k.key = used_key AND k.used_at >= oldest;
    RETURN result;
END
$$;

CREATE FUNCTION api_token_use_key(used_key bytea, used_request bytea, made uuid, made_at bigint, oldest bigint)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    expired bytea[];
BEGIN
    IF used_key IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO api_token_keys (key, request, token, used_at) VALUES (used_key, used_request, made, made_at)
    ON CONFLICT (key) DO UPDATE
        SET request = excluded.request, token = excluded.token, used_at = excluded.used_at;
    -- The latest second that has passed its time, and all before it once in a while: those that went before
    -- may still be there as dead rows. A node of the version before locks such rows first and then waits for
    -- the lock of all changes, which is held here: so those that it has locked are left to it.
    IF pg_catalog.random() < 0.001::double precision THEN
        expired := ARRAY(
            SELECT k.key FROM api_token_keys k WHERE k.used_at < oldest FOR UPDATE SKIP LOCKED);
    ELSE
        expired := ARRAY(
            SELECT k.key FROM api_token_keys k
            WHERE k.used_at < oldest AND k.used_at >= oldest - 1000000::bigint FOR UPDATE SKIP LOCKED);
    END IF;
    DELETE FROM api_token_keys WHERE key = ANY (expired);
END
$$;

-- Inserts tokens, all of them unless it returns why none.
CREATE FUNCTION api_token_add(
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[]
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at,
                            successor, last_used_at, uses)
    SELECT * FROM ROWS FROM (
        pg_catalog.unnest(ids), pg_catalog.unnest(digests), pg_catalog.unnest(masks), pg_catalog.unnest(app_ids),
        pg_catalog.unnest(names), pg_catalog.unnest(scope_sets), pg_catalog.unnest(created),
        pg_catalog.unnest(expiries), pg_catalog.unnest(revoked), pg_catalog.unnest(successors),
        pg_catalog.unnest(used), pg_catalog.unnest(use_counts)) AS added;
    -- Not left to the constraint alone, which a session can switch off (`session_replication_role`).
    IF EXISTS (
        SELECT FROM pg_catalog.unnest(app_ids) AS t (app_id)
        WHERE NOT EXISTS (SELECT FROM api_token_apps a WHERE a.id = t.app_id)) THEN
        RAISE foreign_key_violation;
    END IF;
    RETURN NULL;
EXCEPTION WHEN unique_violation OR foreign_key_violation THEN
    -- Nothing is inserted. What is wrong with the first token that has something wrong counts.
    RETURN coalesce((
        SELECT CASE WHEN app IS NULL THEN 'not_found' ELSE 'already_exists' END
        FROM (
            SELECT t.id, t.digest, t.n, a.id AS app,
                   pg_catalog.row_number() OVER (PARTITION BY t.id ORDER BY t.n) AS of_id,
                   pg_catalog.row_number() OVER (PARTITION BY t.digest ORDER BY t.n) AS of_digest
            FROM ROWS FROM (pg_catalog.unnest(ids), pg_catalog.unnest(digests), pg_catalog.unnest(app_ids))
                WITH ORDINALITY AS t (id, digest, app_id, n)
            LEFT JOIN api_token_apps a ON a.id = t.app_id
        ) AS added
        WHERE app IS NULL OR of_id > 1::bigint OR of_digest > 1::bigint
           OR EXISTS (SELECT FROM api_tokens o WHERE o.id = added.id)
           OR EXISTS (SELECT FROM api_tokens o WHERE o.digest = added.digest)
        ORDER BY n LIMIT 1), 'already_exists');
END
$$;

-- The changes. Each records its event, if it has one, and fails as a whole if that fails.

CREATE FUNCTION api_token_create_app(
    event api_token_event, new_id text, new_name text, made_at bigint, ended_at bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_begin();
    INSERT INTO api_token_apps (id, name, created_at, disabled_at)
    VALUES (new_id, new_name, made_at, ended_at) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN api_token_failed('already_exists'::text, NULL::text);
    END IF;
    PERFORM api_token_record_event(event);
    RETURN api_token_app_result(new_id);
END
$$;

CREATE FUNCTION api_token_disable_app(event api_token_event, target text, changed_at bigint)
RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
BEGIN
    IF NOT EXISTS (SELECT FROM api_token_apps a WHERE a.id = target) THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    UPDATE api_token_apps SET disabled_at = changed_at WHERE id = target AND disabled_at IS NULL;
    PERFORM api_token_ensure_noted(latest, NULL::bytea[], ARRAY[target]);
    PERFORM api_token_record_event(event);
    RETURN api_token_app_result(target);
END
$$;

-- `granted` are the scopes and `latest_expiry` the time that the tokens which become live may have; null
-- stands for any.
CREATE FUNCTION api_token_enable_app(
    event api_token_event, target text, changed_at bigint, granted text[], latest_expiry bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    fault  record;
BEGIN
    IF NOT EXISTS (SELECT FROM api_token_apps a WHERE a.id = target) THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    IF granted IS NOT NULL OR latest_expiry IS NOT NULL THEN
        SELECT held.lacking INTO fault
        FROM api_tokens t CROSS JOIN LATERAL (
            SELECT pg_catalog.string_agg(scope, ' ' ORDER BY n) FILTER (WHERE scope <> ALL (granted)) AS lacking,
                   pg_catalog.bool_and(scope COLLATE "C" ~ '^[!#-\u005b\u005d-~]{1,128}$') AS is_readable
            FROM pg_catalog.unnest(pg_catalog.string_to_array(t.scopes, ' ')) WITH ORDINALITY AS s (scope, n)
            WHERE scope <> '') AS held
        -- An old row that cannot be read is not admitted again either.
        WHERE held.is_readable IS NOT FALSE AND t.mask COLLATE "C" ~ '^[!-~]{0,24}\u2026[!-~]{0,4}$'
          AND t.app_id = target AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > changed_at)
          AND (held.lacking IS NOT NULL
               OR (latest_expiry IS NOT NULL AND (t.expires_at IS NULL OR t.expires_at > latest_expiry)))
        ORDER BY t.id LIMIT 1;
        IF FOUND THEN
            RETURN api_token_failed(CASE WHEN fault.lacking IS NULL THEN 'outlives' ELSE 'lacking' END, fault.lacking);
        END IF;
    END IF;
    UPDATE api_token_apps SET disabled_at = NULL WHERE id = target AND disabled_at IS NOT NULL;
    PERFORM api_token_ensure_noted(latest, NULL::bytea[], ARRAY[target]);
    PERFORM api_token_record_event(event);
    RETURN api_token_app_result(target);
END
$$;

CREATE FUNCTION api_token_insert_tokens(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[]
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    result api_token_applied := api_token_find_key(used_key, used_request, oldest_key);
    fault  text;
BEGIN
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    fault := api_token_add(ids, digests, masks, app_ids, names, scope_sets, created, expiries, revoked,
                           successors, used, use_counts);
    IF fault IS NOT NULL THEN
        RETURN api_token_failed(fault, NULL::text);
    END IF;
    PERFORM api_token_ensure_noted(latest, digests, NULL::text[]);
    PERFORM api_token_use_key(used_key, used_request, ids[1], changed_at, oldest_key);
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := pg_catalog.cardinality(ids);
    RETURN result;
END
$$;

CREATE FUNCTION api_token_rename_token(event api_token_event, target uuid, target_app text, new_name text)
RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_begin();
    renamed bytea;
BEGIN
    UPDATE api_tokens t SET name = new_name
    WHERE t.id = target AND (target_app IS NULL OR t.app_id = target_app) RETURNING t.digest INTO renamed;
    IF renamed IS NULL THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    PERFORM api_token_ensure_noted(latest, ARRAY[renamed], NULL::text[]);
    PERFORM api_token_record_event(event);
    RETURN api_token_result(target);
END
$$;

-- The successor comes as arrays of one.
CREATE FUNCTION api_token_rotate_token(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[],
    target uuid, target_app text, overlap_ends bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    result api_token_applied := api_token_find_key(used_key, used_request, oldest_key);
    old    record;
    fault  text;
BEGIN
    IF result.outcome IS NOT NULL THEN
        RETURN result;
    END IF;
    SELECT t.digest, t.revoked_at, t.expires_at, t.successor, a.disabled_at INTO old
    FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id
    WHERE t.id = target AND (target_app IS NULL OR t.app_id = target_app);
    IF NOT FOUND THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    fault := CASE WHEN old.revoked_at IS NOT NULL THEN 'revoked'
                  WHEN old.expires_at <= changed_at THEN 'expired'
                  WHEN old.disabled_at IS NOT NULL THEN 'app_disabled'
                  WHEN old.successor IS NOT NULL THEN 'rotated' END;
    IF fault IS NOT NULL THEN
        RETURN api_token_failed('conflict'::text, fault);
    END IF;
    fault := api_token_add(ids, digests, masks, app_ids, names, scope_sets, created, expiries, revoked,
                           successors, used, use_counts);
    IF fault IS NOT NULL THEN
        RETURN api_token_failed(fault, NULL::text);
    END IF;
    UPDATE api_tokens SET expires_at = least(expires_at, overlap_ends), successor = ids[1] WHERE id = target;
    PERFORM api_token_ensure_noted(latest, pg_catalog.array_append(digests, old.digest), NULL::text[]);
    PERFORM api_token_use_key(used_key, used_request, ids[1], changed_at, oldest_key);
    PERFORM api_token_record_event(event);
    RETURN api_token_result(target);
END
$$;

CREATE FUNCTION api_token_revoke_token(event api_token_event, target uuid, target_app text, changed_at bigint)
RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    doomed bytea := (
        SELECT t.digest FROM api_tokens t
        WHERE t.id = target AND (target_app IS NULL OR t.app_id = target_app));
BEGIN
    IF doomed IS NULL THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    BEGIN
        UPDATE api_tokens SET revoked_at = changed_at WHERE id = target AND revoked_at IS NULL;
    EXCEPTION WHEN check_violation THEN
        -- An old row that cannot be read: nothing is lost with what is in the way of its revocation.
        UPDATE api_tokens SET revoked_at = changed_at, mask = pg_catalog.chr(8230), scopes = ''
        WHERE id = target AND revoked_at IS NULL;
    END;
    -- One that was revoked before is noted again: so an operator can repeat what did not reach the log.
    PERFORM api_token_ensure_noted(latest, ARRAY[doomed], NULL::text[]);
    PERFORM api_token_record_event(event);
    RETURN api_token_result(target);
END
$$;

-- `candidates` were looked for before, without the lock. Only where they are not enough are others looked
-- for here, from the beginning.
CREATE FUNCTION api_token_purge_tokens(
    event api_token_event, candidates uuid[], ended_before bigint, at_most bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_begin();
    now     bigint := (extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint;
    purged  bigint := 0;
    many    bigint;
    digests bytea[];
    result  api_token_applied;
BEGIN
    FOR attempt IN 1..2 LOOP
        IF attempt = 2 THEN
            -- The identifiers first: a plan that joined them would read the whole table where it does not
            -- know how few they are.
            candidates := ARRAY(
                (SELECT id FROM api_tokens WHERE revoked_at < ended_before ORDER BY revoked_at LIMIT at_most - purged)
                UNION
                (SELECT id FROM api_tokens WHERE expires_at < ended_before ORDER BY expires_at LIMIT at_most - purged)
                LIMIT at_most - purged);
        END IF;
        WITH gone AS (
            DELETE FROM api_tokens
            WHERE id = ANY (candidates) AND (revoked_at < ended_before OR expires_at < ended_before)
            RETURNING digest, revoked_at IS NULL AND expires_at > now AS is_live)
        SELECT pg_catalog.count(*), pg_catalog.array_agg(digest) FILTER (WHERE is_live) INTO many, digests FROM gone;
        PERFORM api_token_ensure_noted(latest, digests, NULL::text[]);
        purged := purged + many;
        EXIT WHEN purged >= at_most;
    END LOOP;
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := purged;
    RETURN result;
END
$$;

CREATE FUNCTION api_token_clear_caches(event api_token_event) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    PERFORM api_token_begin();
    PERFORM api_token_restart_log();
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := 0;
    RETURN result;
END
$$;

-- Records uses, and returns the tokens whose uses cannot be recorded: so it is with an old row that cannot be
-- read. It is one call too, for a process that stops in the middle must not keep rows from being revoked. It
-- runs with the rights of who calls it.
CREATE FUNCTION api_token_record_usage(tokens uuid[], times bigint[], counts bigint[]) RETURNS uuid[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    single  record;
    skipped uuid[] := '{}';
BEGIN
    PERFORM api_token_bound_waiting('1s'::text);
    BEGIN
        -- Locks the rows in one order, so that two nodes that record at once do not deadlock.
        WITH used AS (
            SELECT token, max(used_at) AS used_at, sum(uses) AS uses
            FROM ROWS FROM (pg_catalog.unnest(tokens), pg_catalog.unnest(times), pg_catalog.unnest(counts))
                AS usage (token, used_at, uses)
            GROUP BY token),
        locked AS (
            SELECT id FROM api_tokens WHERE id = ANY (tokens) ORDER BY id FOR NO KEY UPDATE)
        UPDATE api_tokens t SET
            last_used_at = greatest(t.last_used_at, used.used_at),
            uses = least(t.uses::numeric + used.uses, 9223372036854775807)
        FROM locked JOIN used ON used.token = locked.id WHERE t.id = locked.id;
        RETURN skipped;
    EXCEPTION WHEN check_violation THEN
        NULL;
    END;
    FOR single IN
        SELECT token, max(used_at) AS used_at, sum(uses) AS uses
        FROM ROWS FROM (pg_catalog.unnest(tokens), pg_catalog.unnest(times), pg_catalog.unnest(counts))
            AS usage (token, used_at, uses)
        GROUP BY token ORDER BY token
    LOOP
        BEGIN
            UPDATE api_tokens SET
                last_used_at = greatest(last_used_at, single.used_at),
                uses = least(uses::numeric + single.uses, 9223372036854775807)
            WHERE id = single.token;
        EXCEPTION WHEN check_violation THEN
            skipped := pg_catalog.array_append(skipped, single.token);
        END;
    END LOOP;
    RETURN skipped;
END
$$;

-- Nobody calls what a change is made of, and who may insert tokens may make changes.
DO $$
DECLARE
    made    text;
    manager text;
BEGIN
    FOR made IN
        SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = pg_catalog.quote_ident(pg_catalog.current_schema())::regnamespace::oid AND p.proname LIKE 'api\_token\_%'::text
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    GRANT EXECUTE ON FUNCTION api_token_record_usage(uuid[], bigint[], bigint[]), api_token_bound_waiting(text) TO PUBLIC;
    FOR made, manager IN
        SELECT p.oid::regprocedure::text, granted.grantee::regrole::text
        FROM pg_catalog.pg_proc p, pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS granted
        WHERE p.pronamespace = pg_catalog.quote_ident(pg_catalog.current_schema())::regnamespace::oid
          AND p.proname IN ('api_token_create_app', 'api_token_disable_app', 'api_token_enable_app',
              'api_token_insert_tokens', 'api_token_rename_token', 'api_token_rotate_token',
              'api_token_revoke_token', 'api_token_purge_tokens', 'api_token_clear_caches')
          AND c.oid = 'api_tokens'::regclass::oid AND granted.privilege_type = 'INSERT'
          AND granted.grantee <> 0::oid AND granted.grantee <> c.relowner
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s', made, manager);
    END LOOP;
END
$$;
