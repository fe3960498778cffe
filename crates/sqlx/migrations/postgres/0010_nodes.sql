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
