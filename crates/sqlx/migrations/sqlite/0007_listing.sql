-- For finding tokens by their use without an index that changes with every use: the day of the last use, as a number
-- since 1970, and whether a replaced token was used after its rotation.

ALTER TABLE api_tokens ADD COLUMN last_used_day INTEGER;
ALTER TABLE api_tokens ADD COLUMN used_since_rotation INTEGER;

-- Whichever version of the library records a use. The time of a rotation is in the first 48 bits of the successor's
-- identifier, as milliseconds since 1970, if that is of version 7 and the time is not after the year 9999.
CREATE TRIGGER api_tokens_used_update AFTER UPDATE OF last_used_at, successor ON api_tokens
WHEN NEW.last_used_day IS NOT NEW.last_used_at / 86400000000 - (NEW.last_used_at % 86400000000 < 0)
OR NEW.successor IS NOT NULL OR NEW.used_since_rotation IS NOT NULL
BEGIN
    UPDATE api_tokens SET
        last_used_day = last_used_at / 86400000000 - (last_used_at % 86400000000 < 0),
        used_since_rotation = CASE WHEN successor IS NOT NULL THEN last_used_at IS NOT NULL AND (
            substr(hex(successor), 13, 1) <> '7' OR hex(substr(successor, 1, 6)) > 'E677CC8BA6E7'
            OR (last_used_at >= 0 AND printf('%012X', last_used_at / 1000) > hex(substr(successor, 1, 6)))) END
    WHERE id = NEW.id;
END;

CREATE TRIGGER api_tokens_used_insert AFTER INSERT ON api_tokens
WHEN NEW.last_used_at IS NOT NULL OR NEW.successor IS NOT NULL
BEGIN
    UPDATE api_tokens SET last_used_at = last_used_at WHERE id = NEW.id;
END;

UPDATE api_tokens SET last_used_at = last_used_at WHERE last_used_at IS NOT NULL OR successor IS NOT NULL;

-- Without these, most listings would read all tokens, or all of an app.

CREATE INDEX api_tokens_replaced ON api_tokens (successor) WHERE successor IS NOT NULL;

-- By expiry. Tokens that never expire come last.
CREATE INDEX api_tokens_by_end
ON api_tokens (coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_of_app_by_end
ON api_tokens (app_id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL;

-- By the last use. With the expiry, expired tokens are left out without reading them.
CREATE INDEX api_tokens_by_use
ON api_tokens (coalesce(last_used_day, created_at / 86400000000 - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807))
WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_of_app_by_use
ON api_tokens (app_id, coalesce(last_used_day, created_at / 86400000000 - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807))
WHERE revoked_at IS NULL;

-- Tokens that were never used.
CREATE INDEX api_tokens_never_used
ON api_tokens (coalesce(last_used_day, created_at / 86400000000 - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807))
WHERE revoked_at IS NULL AND last_used_day IS NULL;
CREATE INDEX api_tokens_of_app_never_used
ON api_tokens (app_id, coalesce(last_used_day, created_at / 86400000000 - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807))
WHERE revoked_at IS NULL AND last_used_day IS NULL;

-- Tokens that were replaced in a rotation.
CREATE INDEX api_tokens_rotated
ON api_tokens (coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL AND successor IS NOT NULL;
CREATE INDEX api_tokens_of_app_rotated
ON api_tokens (app_id, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL AND successor IS NOT NULL;
CREATE INDEX api_tokens_rotated_by_use
ON api_tokens (used_since_rotation, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL AND successor IS NOT NULL;
CREATE INDEX api_tokens_of_app_rotated_by_use
ON api_tokens (app_id, used_since_rotation, coalesce(CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, 9223372036854775807), id)
WHERE revoked_at IS NULL AND successor IS NOT NULL;

-- Revoked tokens.
CREATE INDEX api_tokens_by_revocation
ON api_tokens (id)
WHERE revoked_at IS NOT NULL;
CREATE INDEX api_tokens_of_app_by_revocation
ON api_tokens (app_id, id)
WHERE revoked_at IS NOT NULL;

-- By the parts of the mask: the format, and the last four characters, which few tokens share.
CREATE INDEX api_tokens_by_format
ON api_tokens (substr(mask, 1, instr(mask, '…') - 1), id);
CREATE INDEX api_tokens_of_app_by_format
ON api_tokens (app_id, substr(mask, 1, instr(mask, '…') - 1), id);
CREATE INDEX api_tokens_by_tail
ON api_tokens (substr(mask, instr(mask, '…') + 1), id);

-- By the creator.
CREATE INDEX api_tokens_by_creator
ON api_tokens (created_by, id)
WHERE created_by IS NOT NULL;
CREATE INDEX api_tokens_of_app_by_creator
ON api_tokens (app_id, created_by, id)
WHERE created_by IS NOT NULL;
