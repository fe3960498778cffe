-- Times are microseconds since 1970. Nothing here can hold a token's text: a digest is 32 bytes, and a
-- mask is shorter than any token.

CREATE TABLE api_token_apps (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 40),
    name        TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT;

CREATE TABLE api_tokens (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    digest       BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    mask         TEXT    NOT NULL CHECK (length(mask) BETWEEN 1 AND 29),
    app_id       TEXT    NOT NULL REFERENCES api_token_apps (id),
    name         TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    scopes       TEXT    NOT NULL CHECK (length(scopes) <= 1024),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    successor    BLOB    CHECK (length(successor) = 16),
    last_used_at INTEGER,
    uses         INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX api_tokens_of_app ON api_tokens (app_id, id);
CREATE INDEX api_tokens_revoked ON api_tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_tokens_expiring ON api_tokens (expires_at) WHERE expires_at IS NOT NULL;

-- What has changed, for those who remember answers. The row of revision 0 stands for the beginning.
CREATE TABLE api_token_changes (
    revision INTEGER NOT NULL PRIMARY KEY,
    mark     INTEGER NOT NULL,
    digest   BLOB    CHECK (length(digest) = 32),
    app_id   TEXT
) STRICT;

INSERT INTO api_token_changes (revision, mark) VALUES (0, random());
