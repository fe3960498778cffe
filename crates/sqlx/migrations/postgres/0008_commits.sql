-- Changes that share a commit. A node passes all changes that wait to the procedure at the end, which makes them under
-- the lock of all changes and commits without waiting for the disk, so that the lock is held for moments only. A second
-- commit, without the lock, then waits for the disk, and for synchronous standbys, together with those of other nodes.
-- Only then does the procedure return.
--
-- Nodes of earlier versions keep calling the functions that they know, with the same lock.

-- A refusal depends on earlier changes, which may not be on disk yet. The message makes the commit of the transaction
-- wait for them. Without one, a transaction that has written nothing does not wait.

CREATE FUNCTION api_token_await_earlier() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'api_tokens'::text, ''::text);
END
$$;

CREATE OR REPLACE FUNCTION api_token_failed(outcome text, detail text) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    PERFORM api_token_await_earlier();
    result.outcome := outcome;
    result.detail := detail;
    RETURN result;
END
$$;

CREATE OR REPLACE FUNCTION api_token_find_key(used_key bytea, used_request bytea, oldest bigint) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    IF used_key IS NULL THEN
        RETURN result;
    END IF;
    SELECT 'repeated', CASE WHEN k.request = used_request THEN 'same' ELSE 'other' END, k.token
    INTO result.outcome, result.detail, result.made
    FROM api_token_keys k WHERE k.key = used_key AND k.used_at >= oldest;
    IF FOUND THEN
        PERFORM api_token_await_earlier();
    END IF;
    RETURN result;
END
$$;

-- One statement for all events that a statement inserts, instead of one for each.

CREATE FUNCTION api_token_audit_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted WHERE outcome = 'done') THEN
        LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE;
        INSERT INTO api_token_events (position, event)
        SELECT coalesce((SELECT e.position FROM api_token_events e ORDER BY e.position DESC LIMIT 1), 0::bigint)
            + pg_catalog.row_number() OVER (), i.id
        FROM inserted i WHERE i.outcome = 'done';
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER b_position ON api_token_audit;
CREATE TRIGGER b_position AFTER INSERT ON api_token_audit
    REFERENCING NEW TABLE AS inserted EXECUTE FUNCTION api_token_audit_inserted();
ALTER TABLE api_token_audit ENABLE ALWAYS TRIGGER b_position;

-- A time as the events show it, in RFC 3339. It lies between the years 1970 and 9999.
CREATE FUNCTION api_token_time(instant bigint) RETURNS text
LANGUAGE plpgsql STRICT SET search_path FROM CURRENT AS $$
BEGIN
    RETURN pg_catalog.concat(
        pg_catalog.to_char(
            pg_catalog.timezone('UTC'::text, pg_catalog.to_timestamp((instant / 1000000::bigint)::double precision)),
            'YYYY-MM-DD"T"HH24:MI:SS'::text),
        pg_catalog.rtrim(
            pg_catalog.concat('.', pg_catalog.lpad((instant % 1000000::bigint)::text, 6, '0'::text)), '.0'::text),
        'Z');
END
$$;

-- Reads bytes that are written in hexadecimal digits.
CREATE FUNCTION api_token_bytes(digits jsonb) RETURNS bytea[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN ARRAY(SELECT pg_catalog.decode(d.value, 'hex'::text) FROM pg_catalog.jsonb_array_elements_text(digits) AS d);
END
$$;

CREATE FUNCTION api_token_texts(texts jsonb) RETURNS text[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN ARRAY(SELECT t.value FROM pg_catalog.jsonb_array_elements_text(texts) AS t);
END
$$;

-- Rotates a token, if it is as the node has assumed: live, not suspended, without a successor, and with the format of the
-- new token, which inherits everything else. The policy is the one that the node has applied. Otherwise the outcome is
-- `stale`, with the policy as the detail, and the node plans the change from what it reads.
CREATE FUNCTION api_token_rotate(change jsonb, event api_token_event) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest    bigint := api_token_begin();
    at        bigint := change ->> 'at';
    ends      bigint := change ->> 'overlap_ends';
    policy    text := (SELECT p.policy FROM api_token_policy p);
    successor jsonb := change -> 'token';
    lifetime  bigint;
    expires   bigint;
    result    api_token_applied;
    old       api_tokens;
    disabled  bigint;
    changes   jsonb;
BEGIN
    SELECT t.* INTO old FROM api_tokens t
    WHERE t.id = (change ->> 'target')::uuid AND t.app_id = coalesce(change ->> 'target_app', t.app_id);
    disabled := (SELECT a.disabled_at FROM api_token_apps a WHERE a.id = old.app_id);
    IF old.id IS NULL OR disabled IS NOT NULL OR old.revoked_at IS NOT NULL OR old.successor IS NOT NULL
        OR old.expires_at NOT BETWEEN greatest(at + 1::bigint, 0::bigint) AND 253402207200999999::bigint
        OR ends NOT BETWEEN 0::bigint AND 253402207200999999::bigint
        OR pg_catalog.strpos(old.restrictions, 'suspended_at='::text) > 0
        OR NOT pg_catalog.starts_with(old.mask, change ->> 'mask_start')
        OR policy IS DISTINCT FROM change ->> 'policy' THEN
        RETURN api_token_failed('stale'::text, policy);
    END IF;
    lifetime := CASE WHEN old.expires_at > old.created_at THEN old.expires_at - old.created_at
                     WHEN old.expires_at IS NOT NULL THEN 0::bigint END;
    expires := at + least(lifetime, (change ->> 'max_lifetime')::bigint);
    IF expires > 253402207200999999::bigint OR expires IS NULL AND (change ->> 'must_expire')::boolean THEN
        RETURN api_token_failed('stale'::text, policy);
    END IF;
    successor := successor || pg_catalog.jsonb_build_object(
        'app_id', old.app_id, 'name', old.name, 'scopes', old.scopes, 'restrictions', old.restrictions,
        'metadata', old.metadata, 'expires_at', expires);
    IF event.token = old.id THEN
        event.app_id := coalesce(event.app_id, old.app_id);
    END IF;
    ends := least(old.expires_at, ends);
    changes := pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
        'field', 'successor', 'old', NULL, 'new', successor ->> 'id'));
    IF old.expires_at IS DISTINCT FROM ends THEN
        changes := pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
            'field', 'expires_at', 'old', api_token_time(old.expires_at), 'new', api_token_time(ends))) || changes;
    END IF;
    result := api_token_commit(
        event, changes::text, pg_catalog.decode(change ->> 'key', 'hex'::text),
        pg_catalog.decode(change ->> 'request', 'hex'::text), at, (change ->> 'oldest_key')::bigint,
        (successor ->> 'id')::uuid, NULL::bigint, NULL::bigint, NULL::bytea[], NULL::text[], NULL::text[],
        false, NULL::text, ARRAY[pg_catalog.decode(successor ->> 'digest', 'hex'::text), old.digest], NULL::text[],
        '[]'::text, '[]'::text, pg_catalog.jsonb_build_array(successor)::text,
        pg_catalog.jsonb_build_array(pg_catalog.to_jsonb(old)
            || pg_catalog.jsonb_build_object('expires_at', ends, 'successor', successor ->> 'id'))::text,
        NULL::text, NULL::text);
    IF result.outcome = 'done' THEN
        RETURN api_token_result(old.id);
    END IF;
    RETURN result;
END
$$;

-- Makes one change, and returns its outcome, with the latest revision after it if it is in the log.
CREATE FUNCTION api_token_make(change jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_latest();
    event   api_token_event := pg_catalog.jsonb_populate_record(
        NULL::api_token_event, nullif(change -> 'event', 'null'::jsonb));
    applied api_token_applied;
    noted   bigint;
    made    jsonb;
BEGIN
    IF NOT api_token_has_room(change) THEN
        RETURN pg_catalog.to_jsonb(api_token_describe(api_token_failed('too_many_keys'::text, NULL::text)));
    END IF;
    CASE change ->> 'call'
    WHEN 'commit' THEN
        applied := api_token_commit_many(
            event, change -> 'event' ->> 'changes', pg_catalog.decode(change ->> 'key', 'hex'::text),
            pg_catalog.decode(change ->> 'request', 'hex'::text), (change ->> 'at')::bigint,
            (change ->> 'oldest_key')::bigint, (change ->> 'made')::uuid, (change ->> 'since')::bigint,
            (change ->> 'since_mark')::bigint, api_token_bytes(change -> 'digests'),
            api_token_texts(change -> 'apps'), api_token_texts(change -> 'owners'),
            (change ->> 'obeys_policy')::boolean, change ->> 'policy', api_token_bytes(change -> 'logged_digests'),
            api_token_texts(change -> 'logged_apps'), change ->> 'new_apps', change ->> 'changed_apps',
            change ->> 'new_tokens', change ->> 'changed_tokens', change ->> 'removed_app', change ->> 'new_policy',
            change ->> 'events');
    WHEN 'rotate' THEN
        applied := api_token_rotate(change, event);
    WHEN 'revoke_token' THEN
        IF event.token = (change ->> 'target')::uuid AND event.app_id IS NULL THEN
            event.app_id := (SELECT t.app_id FROM api_tokens t WHERE t.id = event.token);
        END IF;
        applied := api_token_revoke_token(
            event, (change ->> 'target')::uuid, change ->> 'target_app', (change ->> 'at')::bigint);
    WHEN 'disable_app' THEN
        applied := api_token_disable_app(event, change ->> 'target', (change ->> 'at')::bigint);
    WHEN 'purge_tokens' THEN
        applied := api_token_purge_tokens(
            event, api_token_texts(change -> 'candidates')::uuid[], (change ->> 'before')::bigint,
            (change ->> 'limit')::bigint);
    WHEN 'trim_events' THEN
        applied := api_token_trim_events(
            event, (change ->> 'before')::bigint, (change ->> 'first')::uuid, (change ->> 'limit')::bigint);
    WHEN 'trim_keys' THEN
        applied := api_token_trim_keys(event, (change ->> 'before')::bigint, (change ->> 'limit')::bigint);
    WHEN 'set_fleet' THEN
        applied := api_token_set_fleet(event, change);
    WHEN 'remove_node' THEN
        applied := api_token_remove_node(event, (change ->> 'node')::uuid);
    WHEN 'clear_caches' THEN
        applied := api_token_clear_caches(event);
    ELSE
        applied := api_token_failed('unknown'::text, NULL::text);
    END CASE;
    -- The digest in a form that no setting changes.
    made := pg_catalog.to_jsonb(api_token_describe(applied))
        || pg_catalog.jsonb_build_object('digest', pg_catalog.encode(applied.digest, 'hex'::text));
    IF change ->> 'call' = 'rotate' THEN
        made := made || pg_catalog.jsonb_build_object('successor_expires_at', (
            SELECT t.expires_at FROM api_tokens t WHERE t.id = (change -> 'token' ->> 'id')::uuid));
    END IF;
    noted := api_token_latest();
    IF noted > latest THEN
        SELECT made || pg_catalog.jsonb_build_object('revision', c.revision, 'mark', c.mark) INTO made
        FROM api_token_changes c WHERE c.revision = noted;
    END IF;
    RETURN made;
END
$$;

-- Inserts the tokens of those changes that issue one, in one statement. Returns the outcomes by the places of the
-- changes. If something is not as the node has assumed, the outcome is `stale`, as for a rotation. Every call needs the same
-- plan, which would otherwise take longer to make than to execute.
CREATE FUNCTION api_token_issue(changes jsonb) RETURNS jsonb[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    latest   bigint := api_token_begin();
    obeyed   text := (SELECT p.policy FROM api_token_policy p);
    fitting  bigint[];
    digests  bytea[];
    owners   text[];
    used     record;
    issued   record;
    outcomes jsonb[] := '{}';
BEGIN
    -- The subqueries are scalar, because a plan that joined them could read whole tables.
    FOR issued IN
        SELECT i.n,
               i.policy IS NOT DISTINCT FROM obeyed
               AND (SELECT a.disabled_at IS NULL FROM api_token_apps a WHERE a.id = i.app_id)
               AND (SELECT t.id FROM api_tokens t WHERE t.id = i.id) IS NULL
               AND (SELECT t.id FROM api_tokens t WHERE t.digest = i.digest) IS NULL
               AND (i.key IS NULL
                    OR (SELECT k.used_at FROM api_token_keys k WHERE k.key = i.key AND k.used_at >= i.oldest_key) IS NULL)
               AND (i.key IS NULL OR i.max_keys IS NULL
                    OR api_token_count_keys(i.oldest_key) + i.nth_key <= i.max_keys)
               AND (i.event IS NULL OR (SELECT e.id FROM api_token_audit e WHERE e.id = i.event) IS NULL)
               AND i.of_id = 1::bigint AND i.of_digest = 1::bigint
               AND (i.key IS NULL OR i.of_key = 1::bigint) AND (i.event IS NULL OR i.of_event = 1::bigint)
               AND (i.most IS NULL OR i.of_app + (
                    SELECT pg_catalog.count(*) FROM api_tokens t
                    WHERE t.app_id = i.app_id AND t.revoked_at IS NULL AND t.successor IS NULL
                      AND (t.expires_at IS NULL OR t.expires_at > i.at)) <= i.most)
               AND (i.is_named IS NOT TRUE OR i.of_name = 1::bigint AND (
                    SELECT t.id FROM api_tokens t
                    WHERE t.app_id = i.app_id AND t.revoked_at IS NULL AND t.successor IS NULL
                      AND (t.expires_at IS NULL OR t.expires_at > i.at) AND t.name = i.name LIMIT 1) IS NULL) AS fits,
               i.digest, i.app_id
        FROM (
            SELECT r.n, r.policy, t.app_id, t.id, d.digest, t.name, k.key, r.at, r.oldest_key, r.max_keys, r.most, r.is_named,
                   e.id AS event,
                   pg_catalog.count(k.key) OVER (ORDER BY r.n) AS nth_key,
                   pg_catalog.row_number() OVER (PARTITION BY t.id ORDER BY r.n) AS of_id,
                   pg_catalog.row_number() OVER (PARTITION BY d.digest ORDER BY r.n) AS of_digest,
                   pg_catalog.row_number() OVER (PARTITION BY k.key ORDER BY r.n) AS of_key,
                   pg_catalog.row_number() OVER (PARTITION BY e.id ORDER BY r.n) AS of_event,
                   pg_catalog.row_number() OVER (PARTITION BY t.app_id ORDER BY r.n) AS of_app,
                   pg_catalog.row_number() OVER (PARTITION BY t.app_id, t.name ORDER BY r.n) AS of_name
            FROM ROWS FROM (pg_catalog.jsonb_to_recordset(changes) AS (
                    call text, policy text, key text, at bigint, oldest_key bigint, max_keys bigint, most bigint,
                    is_named boolean, token jsonb, event jsonb)) WITH ORDINALITY
                AS r (call, policy, key, at, oldest_key, max_keys, most, is_named, token, event, n)
            CROSS JOIN LATERAL pg_catalog.jsonb_to_record(r.token) AS t (id uuid, digest text, app_id text, name text)
            CROSS JOIN LATERAL (SELECT pg_catalog.decode(t.digest, 'hex'::text) AS digest OFFSET 0::bigint) AS d
            CROSS JOIN LATERAL (SELECT pg_catalog.decode(r.key, 'hex'::text) AS key OFFSET 0::bigint) AS k
            CROSS JOIN LATERAL (SELECT (r.event ->> 'id')::uuid AS id OFFSET 0::bigint) AS e
            WHERE r.call = 'issue'
        ) AS i ORDER BY i.n
    LOOP
        IF issued.fits THEN
            fitting := pg_catalog.array_append(fitting, issued.n);
            digests := pg_catalog.array_append(digests, issued.digest);
            owners := pg_catalog.array_append(owners, issued.app_id);
        ELSE
            outcomes[issued.n] := pg_catalog.jsonb_build_object('outcome', 'stale', 'detail', obeyed);
        END IF;
    END LOOP;
    IF fitting IS NULL THEN
        RETURN outcomes;
    END IF;

    INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor,
                            last_used_at, uses, restrictions, metadata, created_by)
    SELECT t.id, pg_catalog.decode(t.digest, 'hex'::text), t.mask, t.app_id, t.name, t.scopes, t.created_at,
           t.expires_at, t.revoked_at, t.successor, t.last_used_at, t.uses, t.restrictions, t.metadata, t.created_by
    FROM ROWS FROM (pg_catalog.jsonb_to_recordset(changes) AS (token jsonb)) WITH ORDINALITY AS r (token, n)
    CROSS JOIN LATERAL pg_catalog.jsonb_to_record(r.token) AS t (
        id uuid, digest text, mask text, app_id text, name text, scopes text, created_at bigint, expires_at bigint,
        revoked_at bigint, successor uuid, last_used_at bigint, uses bigint, restrictions text, metadata jsonb,
        created_by text)
    WHERE r.n = ANY (fitting) ORDER BY r.n;
    PERFORM api_token_ensure_noted(latest, digests, NULL::text[]);
    FOR used IN
        SELECT pg_catalog.decode(r.key, 'hex'::text) AS key, pg_catalog.decode(r.request, 'hex'::text) AS request,
               (r.token ->> 'id')::uuid AS made, r.at, r.oldest_key
        FROM ROWS FROM (pg_catalog.jsonb_to_recordset(changes) AS (
                key text, request text, at bigint, oldest_key bigint, token jsonb)) WITH ORDINALITY
            AS r (key, request, at, oldest_key, token, n)
        WHERE r.n = ANY (fitting) AND r.key IS NOT NULL ORDER BY r.n
    LOOP
        PERFORM api_token_use_key(used.key, used.request, used.made, used.at, used.oldest_key);
    END LOOP;
    INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome, changes)
    SELECT e.id, e.at, e.actor, e.action, e.app_id, e.token, e.outcome, e.changes
    FROM ROWS FROM (pg_catalog.jsonb_to_recordset(changes) AS (event jsonb)) WITH ORDINALITY AS r (event, n)
    CROSS JOIN LATERAL pg_catalog.jsonb_to_record(r.event) AS e (
        id uuid, at bigint, actor text, action text, app_id text, token uuid, outcome text, changes jsonb)
    WHERE r.n = ANY (fitting) AND e.id IS NOT NULL ORDER BY r.n;

    FOR issued IN
        SELECT f.n, c.revision, c.mark, (
            SELECT pg_catalog.jsonb_build_object(
                'app_id', a.id, 'app_name', a.name, 'app_created_at', a.created_at,
                'app_metadata', a.metadata::text)
            FROM api_token_apps a WHERE a.id = f.app_id) AS app
        FROM ROWS FROM (pg_catalog.unnest(fitting), pg_catalog.unnest(digests), pg_catalog.unnest(owners))
            AS f (n, digest, app_id)
        JOIN api_token_changes c ON c.digest = f.digest AND c.revision > latest
    LOOP
        outcomes[issued.n] := issued.app || pg_catalog.jsonb_build_object(
            'outcome', 'done', 'affected', 1, 'revision', issued.revision, 'mark', issued.mark);
    END LOOP;
    RETURN outcomes;
END
$$;

-- Makes changes, and returns the outcomes in their order.
CREATE FUNCTION api_token_make_all(changes text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    wanted   jsonb := changes::jsonb;
    outcomes jsonb[] := '{}';
    change   record;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.jsonb_to_recordset(wanted) AS c (call text) WHERE c.call = 'issue') THEN
        outcomes := api_token_issue(wanted);
    END IF;
    FOR change IN
        SELECT c.value, c.n FROM pg_catalog.jsonb_array_elements(wanted) WITH ORDINALITY AS c (value, n) ORDER BY c.n
    LOOP
        IF outcomes[change.n] IS NULL THEN
            outcomes[change.n] := api_token_make(change.value);
        END IF;
    END LOOP;
    RETURN pg_catalog.to_jsonb(outcomes)::text;
END
$$;

-- The call of a node. It has the rights of its caller and no search path of its own, because it could not commit
-- otherwise. Without changes, it only waits for earlier ones.
DO $$
BEGIN
    EXECUTE pg_catalog.format($procedure$
        CREATE PROCEDURE api_token_change(INOUT changes text)
        LANGUAGE plpgsql AS $body$
        BEGIN
            IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
                COMMIT;
                SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
            END IF;
            IF changes OPERATOR(pg_catalog.<>) '[]' THEN
                changes := %1$I.api_token_make_all(changes);
                PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
                COMMIT;
            END IF;
            IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
                PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
            END IF;
            PERFORM pg_catalog.pg_logical_emit_message(true, 'api_tokens'::text, ''::text);
        END
        $body$
    $procedure$, pg_catalog.current_schema());
END
$$;
