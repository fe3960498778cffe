-- The metadata of apps and tokens, who created a token, what an edit changed, the policy, and the order in which
-- changes were committed. Processes of earlier versions do not change these columns.

ALTER TABLE api_tokens ADD COLUMN metadata TEXT CHECK (length(CAST(metadata AS BLOB)) <= 65536);
ALTER TABLE api_tokens ADD COLUMN created_by TEXT CHECK (length(created_by) <= 200);
ALTER TABLE api_token_apps ADD COLUMN metadata TEXT CHECK (length(CAST(metadata AS BLOB)) <= 65536);
ALTER TABLE api_token_audit ADD COLUMN changes TEXT;

CREATE TABLE api_token_policy (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    policy   TEXT    NOT NULL
) STRICT;

-- The events of changes in the order in which they were committed. Refusals change nothing and have no position.
CREATE TABLE api_token_events (
    position INTEGER NOT NULL PRIMARY KEY,
    event    BLOB    NOT NULL CHECK (length(event) = 16)
) STRICT;

CREATE TRIGGER api_token_audit_position AFTER INSERT ON api_token_audit
WHEN NEW.outcome = 'done'
BEGIN
    INSERT INTO api_token_events (position, event)
    SELECT coalesce(max(position), 0) + 1, NEW.id FROM api_token_events;
END;

DROP TRIGGER api_tokens_log_update;
CREATE TRIGGER api_tokens_log_update AFTER UPDATE
OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, restrictions,
restricted_expires_at, metadata, created_by ON api_tokens
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.digest FROM api_token_changes;
END;

-- A process of an earlier version would create a successor without metadata.
CREATE TRIGGER api_tokens_keep_metadata AFTER UPDATE OF successor ON api_tokens
WHEN NEW.metadata IS NOT NULL AND NEW.successor IS NOT NULL AND NEW.successor IS NOT OLD.successor
BEGIN
    UPDATE api_tokens SET metadata = NEW.metadata WHERE id = NEW.successor AND metadata IS NULL;
END;

-- For finding the tokens that expire soon. The expiry of a restricted token is in a column of its own.

CREATE INDEX api_tokens_by_expiry
ON api_tokens (CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, id)
WHERE revoked_at IS NULL AND successor IS NULL;
