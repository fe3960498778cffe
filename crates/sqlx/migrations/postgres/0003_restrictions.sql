-- A token may have restrictions: text that only a version that understands it may weigh. A node of a version
-- before reads tokens through the view that it knows, where a restricted token has expired.

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
            LOCK TABLE api_tokens, api_token_apps, api_token_changes IN ACCESS EXCLUSIVE MODE;
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

-- Without a look at every row, which would hold the locks for as long: no row has restrictions yet.
ALTER TABLE api_tokens ADD COLUMN restrictions text;
ALTER TABLE api_tokens ADD CONSTRAINT api_tokens_restrictions_form CHECK (
    octet_length(restrictions) BETWEEN 1 AND 4096 AND restrictions COLLATE "C" !~ '[^ -~]') NOT VALID;

-- For nodes of the versions before.
CREATE OR REPLACE VIEW api_token_records AS
SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at,
       CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE 0 END AS expires_at,
       t.revoked_at, t.successor, t.last_used_at, t.uses, t.app_id, a.name AS app_name,
       a.created_at AS app_created_at, a.disabled_at AS app_disabled_at
FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id;

-- A token and its app, as verification needs them: all that a verifying role may read of them.
CREATE VIEW api_token_details AS
SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, t.successor,
       t.last_used_at, t.uses, t.app_id, a.name AS app_name, a.created_at AS app_created_at,
       a.disabled_at AS app_disabled_at, t.restrictions
FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id;

DROP TRIGGER a_lock ON api_tokens;
CREATE TRIGGER a_lock BEFORE INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, restrictions
    ON api_tokens EXECUTE FUNCTION api_token_lock();
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER a_lock;

CREATE OR REPLACE FUNCTION api_token_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor,
                   restrictions FROM after
            EXCEPT
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor,
                   restrictions FROM before
        ) AS changed
    ), NULL::text[]);
    -- A digest that is given up is no longer found.
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (SELECT digest FROM before EXCEPT SELECT digest FROM after) AS gone
    ), NULL::text[]);
    RETURN NULL;
END
$$;

-- A node that does not know of restrictions would give a successor none.
CREATE FUNCTION api_token_check_successor() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM api_tokens s WHERE s.id = NEW.successor AND s.restrictions = NEW.restrictions) THEN
        RAISE EXCEPTION 'the successor lacks the restrictions of the token that it replaces; upgrade the node that rotates'
            USING ERRCODE = 'check_violation', TABLE = 'api_tokens', COLUMN = 'restrictions';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER c_successor BEFORE UPDATE OF successor ON api_tokens FOR EACH ROW WHEN (
    NEW.restrictions IS NOT NULL AND NEW.successor IS NOT NULL AND NEW.successor IS DISTINCT FROM OLD.successor)
    EXECUTE FUNCTION api_token_check_successor();
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER c_successor;

-- What nodes of this version read besides. The others see in `expires_at` that a restricted token has expired.
ALTER TYPE api_token_applied ADD ATTRIBUTE restrictions text, ADD ATTRIBUTE actual_expires_at bigint;

CREATE OR REPLACE FUNCTION api_token_result(changed uuid) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied;
BEGIN
    SELECT r.id, r.digest, r.mask, r.name, r.scopes, r.created_at, r.expires_at, r.revoked_at, r.successor,
           r.last_used_at, r.uses, r.app_id, r.app_name, r.app_created_at, r.app_disabled_at, 'done',
           NULL::text, NULL::uuid, NULL::bigint, t.restrictions, t.expires_at
    INTO result FROM api_token_records r JOIN api_tokens t ON t.id = r.id WHERE r.id = changed;
    RETURN result;
END
$$;

-- As before, with restrictions.

CREATE FUNCTION api_token_add(
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[],
    restriction_sets text[]
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at,
                            successor, last_used_at, uses, restrictions)
    SELECT * FROM ROWS FROM (
        pg_catalog.unnest(ids), pg_catalog.unnest(digests), pg_catalog.unnest(masks), pg_catalog.unnest(app_ids),
        pg_catalog.unnest(names), pg_catalog.unnest(scope_sets), pg_catalog.unnest(created),
        pg_catalog.unnest(expiries), pg_catalog.unnest(revoked), pg_catalog.unnest(successors),
        pg_catalog.unnest(used), pg_catalog.unnest(use_counts), pg_catalog.unnest(restriction_sets)) AS added;
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

CREATE FUNCTION api_token_insert_tokens(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[],
    restriction_sets text[]
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
                           successors, used, use_counts, restriction_sets);
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

-- The successor comes as arrays of one.
CREATE FUNCTION api_token_rotate_token(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[],
    restriction_sets text[], target uuid, target_app text, overlap_ends bigint
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
    SELECT t.digest, t.revoked_at, t.expires_at, t.successor, t.restrictions, a.disabled_at INTO old
    FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id
    WHERE t.id = target AND (target_app IS NULL OR t.app_id = target_app);
    IF NOT FOUND THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    -- The trigger checks it too, but only where it is switched on.
    IF old.restrictions IS NOT NULL AND restriction_sets[1] IS DISTINCT FROM old.restrictions THEN
        RETURN api_token_failed('unrestricted'::text, NULL::text);
    END IF;
    fault := CASE WHEN old.revoked_at IS NOT NULL THEN 'revoked'
                  WHEN old.expires_at <= changed_at THEN 'expired'
                  WHEN old.disabled_at IS NOT NULL THEN 'app_disabled'
                  WHEN old.successor IS NOT NULL THEN 'rotated' END;
    IF fault IS NOT NULL THEN
        RETURN api_token_failed('conflict'::text, fault);
    END IF;
    fault := api_token_add(ids, digests, masks, app_ids, names, scope_sets, created, expiries, revoked,
                           successors, used, use_counts, restriction_sets);
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

-- For nodes of the version before: the same without restrictions. To them a restricted token has expired.

CREATE OR REPLACE FUNCTION api_token_insert_tokens(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[]
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN api_token_insert_tokens(event, used_key, used_request, changed_at, oldest_key, ids, digests, masks,
        app_ids, names, scope_sets, created, expiries, revoked, successors, used, use_counts, NULL::text[]);
END
$$;

CREATE OR REPLACE FUNCTION api_token_rotate_token(
    event api_token_event, used_key bytea, used_request bytea, changed_at bigint, oldest_key bigint,
    ids uuid[], digests bytea[], masks text[], app_ids text[], names text[], scope_sets text[],
    created bigint[], expiries bigint[], revoked bigint[], successors uuid[], used bigint[], use_counts bigint[],
    target uuid, target_app text, overlap_ends bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied := api_token_rotate_token(event, used_key, used_request, changed_at, oldest_key,
        ids, digests, masks, app_ids, names, scope_sets, created, expiries, revoked, successors, used, use_counts,
        NULL::text[], target, target_app, overlap_ends);
BEGIN
    IF result.outcome = 'unrestricted' THEN
        RETURN api_token_failed('conflict'::text, 'expired'::text);
    END IF;
    RETURN result;
END
$$;

DROP FUNCTION api_token_add(
    uuid[], bytea[], text[], text[], text[], text[], bigint[], bigint[], bigint[], uuid[], bigint[], bigint[]);

-- Who may do what, as before.
DO $$
DECLARE
    made    text;
    grantee text;
BEGIN
    REVOKE ALL ON FUNCTION api_token_check_successor() FROM PUBLIC;
    FOR made IN
        SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = pg_catalog.quote_ident(pg_catalog.current_schema())::regnamespace::oid
          AND p.proname IN ('api_token_add', 'api_token_insert_tokens', 'api_token_rotate_token')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    FOR made, grantee IN
        SELECT DISTINCT p.oid::regprocedure::text, granted.grantee::regrole::text
        FROM pg_catalog.pg_proc p, pg_catalog.pg_proc o, pg_catalog.aclexplode(o.proacl) AS granted
        WHERE p.pronamespace = pg_catalog.quote_ident(pg_catalog.current_schema())::regnamespace::oid
          AND p.proname IN ('api_token_insert_tokens', 'api_token_rotate_token')
          AND o.pronamespace = p.pronamespace AND o.proname = p.proname AND o.oid <> p.oid
          AND granted.privilege_type = 'EXECUTE' AND granted.grantee <> 0::oid AND granted.grantee <> o.proowner
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s', made, grantee);
    END LOOP;
    FOR grantee IN
        SELECT CASE granted.grantee WHEN 0::oid THEN 'PUBLIC' ELSE granted.grantee::regrole::text END
        FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS granted
        WHERE c.oid = 'api_token_records'::regclass::oid AND granted.privilege_type = 'SELECT'
          AND granted.grantee <> c.relowner
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON api_token_details TO %s', grantee);
    END LOOP;
END
$$;
