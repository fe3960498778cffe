-- Makes a change of many records, each of which has an event.
CREATE FUNCTION api_token_commit_many(
    event api_token_event, event_changes text, used_key bytea, used_request bytea, changed_at bigint,
    oldest_key bigint, made_token uuid, since bigint, since_mark bigint, digests bytea[], app_ids text[],
    owner_ids text[], obeys_policy boolean, obeyed_policy text, noted_digests bytea[], noted_apps text[],
    new_apps text, changed_apps text, new_tokens text, changed_tokens text, removed_app text, new_policy text,
    new_events text
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    result api_token_applied := api_token_commit(event, event_changes, used_key, used_request, changed_at, oldest_key,
        made_token, since, since_mark, digests, app_ids, owner_ids, obeys_policy, obeyed_policy, noted_digests,
        noted_apps, new_apps, changed_apps, new_tokens, changed_tokens, removed_app, new_policy);
BEGIN
    IF result.outcome = 'done' THEN
        INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome, changes)
        SELECT e.id, e.at, e.actor, e.action, e.app_id, e.token, e.outcome, e.changes
        FROM pg_catalog.jsonb_to_recordset(new_events::jsonb) AS e (id uuid, at bigint, actor text, action text,
            app_id text, token uuid, outcome text, changes jsonb)
        ORDER BY e.id;
    END IF;
    RETURN result;
END
$$;

-- Removes the oldest events in the order of the log, up to the first one that is not old, and old events that are not
-- in the log. The latest event stays, so that programs can follow the log. Identifiers begin with a time, so that the
-- newer events, from `first_id` on, are not read.
CREATE FUNCTION api_token_trim_events(
    event api_token_event, trimmed_before bigint, first_id uuid, at_most bigint
) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_begin();
    old     uuid[];
    result  api_token_applied;
BEGIN
    old := ARRAY(
        SELECT l.event FROM (
            SELECT o.event, o.position,
                   pg_catalog.bool_and(coalesce(a.at < trimmed_before, true)) OVER (ORDER BY o.position) AS is_old
            FROM (SELECT e.event, e.position FROM api_token_events e ORDER BY e.position LIMIT at_most) AS o
            LEFT JOIN api_token_audit a ON a.id = o.event
        ) AS l
        WHERE l.is_old
          AND l.position < (SELECT e.position FROM api_token_events e ORDER BY e.position DESC LIMIT 1)
        ORDER BY l.position);
    old := old || ARRAY(
        SELECT a.id FROM api_token_audit a
        WHERE a.id < first_id AND a.at < trimmed_before
          AND NOT EXISTS (SELECT FROM api_token_events e WHERE e.event = a.id)
        ORDER BY a.id LIMIT at_most - pg_catalog.cardinality(old));
    DELETE FROM api_token_events WHERE api_token_events.event = ANY (old);
    DELETE FROM api_token_audit WHERE id = ANY (old);
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := pg_catalog.cardinality(old);
    RETURN result;
END
$$;

CREATE FUNCTION api_token_trim_keys(event api_token_event, trimmed_before bigint, at_most bigint)
RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest  bigint := api_token_begin();
    old     bytea[];
    result  api_token_applied;
BEGIN
    -- Keys that another change has locked are left to it.
    old := ARRAY(
        SELECT k.key FROM api_token_keys k WHERE k.used_at < trimmed_before
        ORDER BY k.used_at LIMIT at_most FOR UPDATE SKIP LOCKED);
    DELETE FROM api_token_keys WHERE key = ANY (old);
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := pg_catalog.cardinality(old);
    RETURN result;
END
$$;
