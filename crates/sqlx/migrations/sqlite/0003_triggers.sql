-- The triggers below keep the log of changes, so that no statement, whichever program runs it, changes what
-- a token is worth without the nodes' learning of it. They use nothing that an older `sqlite3` lacks.

-- A statement that names one of these columns is a change, even where it writes the value that was there:
-- to revoke a token again reaches the nodes again. Uses are not in the log.
CREATE TRIGGER api_tokens_log_insert AFTER INSERT ON api_tokens
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.digest FROM api_token_changes;
END;

-- `INSERT OR REPLACE` removes rows without running the trigger for deletions.
CREATE TRIGGER api_tokens_log_replacement BEFORE INSERT ON api_tokens
WHEN EXISTS (SELECT 1 FROM api_tokens WHERE (id = NEW.id OR rowid = NEW.rowid) AND digest IS NOT NEW.digest)
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT (SELECT coalesce(max(revision), 0) FROM api_token_changes) + row_number() OVER (), random(), digest
    FROM api_tokens WHERE (id = NEW.id OR rowid = NEW.rowid) AND digest IS NOT NEW.digest;
END;

CREATE TRIGGER api_tokens_log_update AFTER UPDATE
OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor ON api_tokens
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.digest FROM api_token_changes;
END;

-- A digest that is given up is no longer found.
CREATE TRIGGER api_tokens_log_digest AFTER UPDATE OF digest ON api_tokens
WHEN OLD.digest IS NOT NEW.digest
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), OLD.digest FROM api_token_changes;
END;

-- `UPDATE OR REPLACE` removes rows as well.
CREATE TRIGGER api_tokens_log_displacement BEFORE UPDATE OF id ON api_tokens
WHEN OLD.id IS NOT NEW.id
AND EXISTS (SELECT 1 FROM api_tokens WHERE id = NEW.id AND digest IS NOT NEW.digest)
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT (SELECT coalesce(max(revision), 0) FROM api_token_changes) + 1, random(), digest
    FROM api_tokens WHERE id = NEW.id;
END;

-- A purge of tokens that are expired or revoked would fill the log with what no node admits any more.
CREATE TRIGGER api_tokens_log_deletion AFTER DELETE ON api_tokens
WHEN OLD.revoked_at IS NULL
AND (OLD.expires_at IS NULL OR OLD.expires_at > CAST(strftime('%s', 'now') AS INTEGER) * 1000000)
BEGIN
    INSERT INTO api_token_changes (revision, mark, digest)
    SELECT coalesce(max(revision), 0) + 1, random(), OLD.digest FROM api_token_changes;
END;

CREATE TRIGGER api_token_apps_log_update AFTER UPDATE ON api_token_apps
BEGIN
    INSERT INTO api_token_changes (revision, mark, app_id)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.id FROM api_token_changes;
END;

CREATE TRIGGER api_token_apps_log_id AFTER UPDATE OF id ON api_token_apps
WHEN OLD.id IS NOT NEW.id
BEGIN
    INSERT INTO api_token_changes (revision, mark, app_id)
    SELECT coalesce(max(revision), 0) + 1, random(), OLD.id FROM api_token_changes;
END;

-- An app has tokens before it is inserted, or after it is deleted, only where foreign keys are not enforced.
CREATE TRIGGER api_token_apps_log_insert AFTER INSERT ON api_token_apps
WHEN EXISTS (SELECT 1 FROM api_tokens WHERE app_id = NEW.id)
BEGIN
    INSERT INTO api_token_changes (revision, mark, app_id)
    SELECT coalesce(max(revision), 0) + 1, random(), NEW.id FROM api_token_changes;
END;

CREATE TRIGGER api_token_apps_log_deletion AFTER DELETE ON api_token_apps
WHEN EXISTS (SELECT 1 FROM api_tokens WHERE app_id = OLD.id)
BEGIN
    INSERT INTO api_token_changes (revision, mark, app_id)
    SELECT coalesce(max(revision), 0) + 1, random(), OLD.id FROM api_token_changes;
END;

CREATE TRIGGER api_token_changes_trim AFTER INSERT ON api_token_changes
BEGIN
    DELETE FROM api_token_changes WHERE revision < NEW.revision - 100000;
END;

-- To empty the log is to begin it anew: whatever a node has cached from before is then invalid.
CREATE TRIGGER api_token_changes_restart AFTER DELETE ON api_token_changes
WHEN NOT EXISTS (SELECT 1 FROM api_token_changes)
BEGIN
    INSERT INTO api_token_changes (revision, mark) VALUES (OLD.revision + 1, random());
END;

-- What could not be read again is refused when it is written. Rows from before are left as they are. A name
-- may be any text, for those who show it make it harmless.
CREATE TRIGGER api_tokens_check_insert BEFORE INSERT ON api_tokens
BEGIN
    SELECT RAISE(ABORT, 'a mask is at most 24 visible ASCII characters, an ellipsis and at most 4 more')
    WHERE instr(CAST(NEW.mask AS BLOB), x'00') > 0
       OR instr(NEW.mask, '…') NOT BETWEEN 1 AND 25
       OR length(NEW.mask) - instr(NEW.mask, '…') > 4
       OR length(replace(NEW.mask, '…', '')) <> length(NEW.mask) - 1
       OR replace(NEW.mask, '…', '') GLOB '*[^!-~]*';
    SELECT RAISE(ABORT, 'a scope is 1 to 128 visible ASCII characters without a quotation mark or a backslash')
    WHERE instr(CAST(NEW.scopes AS BLOB), x'00') > 0
       OR NEW.scopes GLOB '*[^ -~]*' OR instr(NEW.scopes, '"') > 0 OR instr(NEW.scopes, '\') > 0
       OR (length(NEW.scopes) > 128 AND NEW.scopes GLOB '*' || replace(hex(zeroblob(129)), '00', '[^ ]') || '*');
    SELECT RAISE(ABORT, 'an app id is ASCII letters, digits, and - . _ ~ after the first')
    WHERE instr(CAST(NEW.app_id AS BLOB), x'00') > 0
       OR NEW.app_id NOT GLOB '[A-Za-z0-9]*' OR NEW.app_id GLOB '*[^A-Za-z0-9._~-]*' OR length(NEW.app_id) > 40;
    SELECT RAISE(ABORT, 'uses are not negative') WHERE NEW.uses < 0;
END;

CREATE TRIGGER api_tokens_check_update BEFORE UPDATE OF mask, scopes, app_id ON api_tokens
BEGIN
    SELECT RAISE(ABORT, 'a mask is at most 24 visible ASCII characters, an ellipsis and at most 4 more')
    WHERE instr(CAST(NEW.mask AS BLOB), x'00') > 0
       OR instr(NEW.mask, '…') NOT BETWEEN 1 AND 25
       OR length(NEW.mask) - instr(NEW.mask, '…') > 4
       OR length(replace(NEW.mask, '…', '')) <> length(NEW.mask) - 1
       OR replace(NEW.mask, '…', '') GLOB '*[^!-~]*';
    SELECT RAISE(ABORT, 'a scope is 1 to 128 visible ASCII characters without a quotation mark or a backslash')
    WHERE instr(CAST(NEW.scopes AS BLOB), x'00') > 0
       OR NEW.scopes GLOB '*[^ -~]*' OR instr(NEW.scopes, '"') > 0 OR instr(NEW.scopes, '\') > 0
       OR (length(NEW.scopes) > 128 AND NEW.scopes GLOB '*' || replace(hex(zeroblob(129)), '00', '[^ ]') || '*');
    SELECT RAISE(ABORT, 'an app id is ASCII letters, digits, and - . _ ~ after the first')
    WHERE instr(CAST(NEW.app_id AS BLOB), x'00') > 0
       OR NEW.app_id NOT GLOB '[A-Za-z0-9]*' OR NEW.app_id GLOB '*[^A-Za-z0-9._~-]*' OR length(NEW.app_id) > 40;
END;

CREATE TRIGGER api_tokens_check_uses BEFORE UPDATE OF uses ON api_tokens
WHEN NEW.uses < 0
BEGIN
    SELECT RAISE(ABORT, 'uses are not negative');
END;

CREATE TRIGGER api_token_apps_check_insert BEFORE INSERT ON api_token_apps
BEGIN
    SELECT RAISE(ABORT, 'an app id is ASCII letters, digits, and - . _ ~ after the first')
    WHERE instr(CAST(NEW.id AS BLOB), x'00') > 0
       OR NEW.id NOT GLOB '[A-Za-z0-9]*' OR NEW.id GLOB '*[^A-Za-z0-9._~-]*';
END;

CREATE TRIGGER api_token_apps_check_update BEFORE UPDATE OF id ON api_token_apps
BEGIN
    SELECT RAISE(ABORT, 'an app id is ASCII letters, digits, and - . _ ~ after the first')
    WHERE instr(CAST(NEW.id AS BLOB), x'00') > 0
       OR NEW.id NOT GLOB '[A-Za-z0-9]*' OR NEW.id GLOB '*[^A-Za-z0-9._~-]*';
END;
