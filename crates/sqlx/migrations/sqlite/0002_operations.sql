-- The requests that have made a token, so that a repetition makes no second one.
CREATE TABLE api_token_keys (
    key     BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    request BLOB    NOT NULL CHECK (length(request) = 32),
    token   BLOB    NOT NULL CHECK (length(token) = 16),
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_token_keys_by_age ON api_token_keys (used_at);

-- What was done, by whom. Rows are only ever added, and outlive what they are about.
CREATE TABLE api_token_audit (
    id      BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL CHECK (length(actor) <= 200),
    action  TEXT    NOT NULL CHECK (length(action) <= 40),
    app_id  TEXT    CHECK (length(app_id) BETWEEN 1 AND 40),
    token   BLOB    CHECK (length(token) = 16),
    outcome TEXT    NOT NULL CHECK (length(outcome) <= 200)
) STRICT;

CREATE INDEX api_token_audit_of_token ON api_token_audit (token, id) WHERE token IS NOT NULL;
CREATE INDEX api_token_audit_of_app ON api_token_audit (app_id, id) WHERE app_id IS NOT NULL;
