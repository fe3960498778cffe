-- The nodes that verify tokens, as they report themselves. Times are those of the server's clock, and durations are in
-- microseconds. Updates change no indexed column, and find room on their pages.
CREATE TABLE api_token_nodes (
    id            uuid   NOT NULL PRIMARY KEY,
    name          text   NOT NULL CHECK (length(name) <= 100),
    version       text   NOT NULL CHECK (length(version) <= 100),
    max_staleness bigint NOT NULL CHECK (max_staleness >= 0),
    every         bigint NOT NULL CHECK (every >= 0),
    -- The revision that the node has applied, with its mark, if the change log had it.
    revision      bigint,
    mark          bigint,
    registered_at bigint NOT NULL,
    reported_at   bigint NOT NULL
) WITH (fillfactor = 50);

-- A receipt counts on the registration of a node.
CREATE TRIGGER a_durable BEFORE INSERT ON api_token_nodes FOR EACH STATEMENT EXECUTE FUNCTION api_token_durable();

-- What holds for all nodes, in one row, or in none until it is set.
CREATE TABLE api_token_fleet (
    id             smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    max_staleness  bigint CHECK (max_staleness >= 0),
    -- Whether every node that verifies tokens is in the table of nodes.
    all_registered boolean NOT NULL DEFAULT false
);

-- Sets what holds for all nodes, if it still is what the node has read. Otherwise the outcome is `stale`.
CREATE FUNCTION api_token_set_fleet(event api_token_event, change jsonb) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    old    jsonb  := change -> 'old';
    new    jsonb  := change -> 'new';
    result api_token_applied;
BEGIN
    IF (SELECT f.max_staleness FROM api_token_fleet f) IS DISTINCT FROM (old ->> 'max_staleness')::bigint
        OR coalesce((SELECT f.all_registered FROM api_token_fleet f), false)
            IS DISTINCT FROM (old ->> 'all_registered')::boolean THEN
        RETURN api_token_failed('stale'::text, NULL::text);
    END IF;
    INSERT INTO api_token_fleet (id, max_staleness, all_registered)
    VALUES (1, (new ->> 'max_staleness')::bigint, (new ->> 'all_registered')::boolean)
    ON CONFLICT (id) DO UPDATE
        SET max_staleness = excluded.max_staleness, all_registered = excluded.all_registered;
    IF event.id IS NOT NULL THEN
        INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome, changes)
        VALUES (event.id, event.at, event.actor, event.action, event.app_id, event.token, event.outcome,
                (change -> 'event' ->> 'changes')::jsonb);
    END IF;
    result.outcome := 'done';
    result.affected := 0;
    RETURN result;
END
$$;

CREATE FUNCTION api_token_remove_node(event api_token_event, removed uuid) RETURNS api_token_applied
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint := api_token_begin();
    result api_token_applied;
BEGIN
    DELETE FROM api_token_nodes WHERE id = removed;
    IF NOT FOUND THEN
        RETURN api_token_failed('not_found'::text, NULL::text);
    END IF;
    PERFORM api_token_record_event(event);
    result.outcome := 'done';
    result.affected := 1;
    RETURN result;
END
$$;
