-- For finding the tokens that expire soon. The expiry of a restricted token is in a column of its own.

CREATE INDEX api_tokens_by_expiry
ON api_tokens (CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END, id)
WHERE revoked_at IS NULL AND successor IS NULL;
