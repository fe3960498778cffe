-- A token may have restrictions: text that only a version that understands it may weigh. A process of a version
-- before reads the columns that it knows: there, a restricted token has expired at the beginning of 1970. When
-- it really expires is in a column of its own. Such a process would purge it: stop the processes of the
-- versions before, or their purges, before you restrict tokens.

ALTER TABLE api_tokens ADD COLUMN restrictions TEXT;
ALTER TABLE api_tokens ADD COLUMN restricted_expires_at INTEGER;

CREATE INDEX api_tokens_restricted_expiring ON api_tokens (restricted_expires_at)
WHERE restricted_expires_at IS NOT NULL;

DROP TRIGGER api_tokens_log_update;
CREATE TRIGGER api_tokens_log_update AFTER UPDATE
OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, restrictions,
restricted_expires_at ON api_tokens
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.digest FROM api_token_changes;
END;

-- As before, by the expiry of a restricted token.
DROP TRIGGER api_tokens_log_deletion;
CREATE TRIGGER api_tokens_log_deletion AFTER DELETE ON api_tokens
WHEN OLD.revoked_at IS NULL
AND coalesce(CASE WHEN OLD.restrictions IS NULL THEN OLD.expires_at ELSE OLD.restricted_expires_at END
    > CAST(strftime('%s', 'now') AS INTEGER) * 1000000, true)
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), OLD.digest FROM api_token_changes;
END;

CREATE TRIGGER api_tokens_check_restricted_insert BEFORE INSERT ON api_tokens
WHEN NEW.restrictions IS NOT NULL OR NEW.restricted_expires_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'restrictions are 1 to 4096 printable ASCII characters')
    WHERE instr(CAST(NEW.restrictions AS BLOB), x'00') > 0
       OR length(NEW.restrictions) NOT BETWEEN 1 AND 4096 OR NEW.restrictions GLOB '*[^ -~]*';
    SELECT RAISE(ABORT, 'the expiry of a restricted token, and of no other, is in restricted_expires_at; expires_at is 0 then')
    WHERE NEW.restrictions IS NULL OR NEW.expires_at IS NOT 0;
END;

CREATE TRIGGER api_tokens_check_restricted_update
BEFORE UPDATE OF restrictions, restricted_expires_at, expires_at ON api_tokens
WHEN NEW.restrictions IS NOT NULL OR NEW.restricted_expires_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'restrictions are 1 to 4096 printable ASCII characters')
    WHERE instr(CAST(NEW.restrictions AS BLOB), x'00') > 0
       OR length(NEW.restrictions) NOT BETWEEN 1 AND 4096 OR NEW.restrictions GLOB '*[^ -~]*';
    SELECT RAISE(ABORT, 'the expiry of a restricted token, and of no other, is in restricted_expires_at; expires_at is 0 then')
    WHERE NEW.restrictions IS NULL OR NEW.expires_at IS NOT 0;
END;

-- A process that does not know of restrictions would give a successor none.
CREATE TRIGGER api_tokens_check_successor BEFORE UPDATE OF successor ON api_tokens
WHEN NEW.restrictions IS NOT NULL AND NEW.successor IS NOT NULL AND NEW.successor IS NOT OLD.successor
BEGIN
    SELECT RAISE(ABORT, 'the successor lacks the restrictions of the token that it replaces; upgrade the process that rotates')
    WHERE NOT EXISTS (SELECT 1 FROM api_tokens WHERE id = NEW.successor AND restrictions IS NEW.restrictions);
END;
