-- The nodes that verify tokens, as they report themselves. Times are those of this machine's clock, and durations are
-- in microseconds.
CREATE TABLE api_token_nodes (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    NOT NULL CHECK (length(name) <= 100),
    version       TEXT    NOT NULL CHECK (length(version) <= 100),
    max_staleness INTEGER NOT NULL CHECK (max_staleness >= 0),
    every         INTEGER NOT NULL CHECK (every >= 0),
    -- The revision that the node has applied, with its mark, if the change log had it.
    revision      INTEGER,
    mark          INTEGER,
    registered_at INTEGER NOT NULL,
    reported_at   INTEGER NOT NULL
) STRICT;

-- What holds for all nodes, in one row, or in none until it is set.
CREATE TABLE api_token_fleet (
    id             INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    max_staleness  INTEGER CHECK (max_staleness >= 0),
    -- Whether every node that verifies tokens is in the table of nodes.
    all_registered INTEGER NOT NULL DEFAULT 0 CHECK (all_registered IN (0, 1))
) STRICT;

-- Numbers the idempotency keys in the order of their uses, for counting them without reading them. Earlier versions
-- give their keys no number.
ALTER TABLE api_token_keys ADD COLUMN number INTEGER;
CREATE INDEX api_token_keys_by_number ON api_token_keys (number);
