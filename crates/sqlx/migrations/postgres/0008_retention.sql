-- Stores an idempotency key, and removes some of those past their retention. The others are left to maintenance: no
-- change waits for the removal of all keys of a busy day.
CREATE OR REPLACE FUNCTION api_token_use_key(used_key bytea, used_request bytea, made uuid, made_at bigint, oldest bigint)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    -- Those of the latest second that has passed the retention, and once in a while the oldest ones: keys that were
    -- removed before may still be there as dead rows.
    since   bigint := CASE WHEN pg_catalog.random() < 0.001::double precision THEN 0 ELSE oldest - 1000000::bigint END;
    expired bytea[];
BEGIN
    IF used_key IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO api_token_keys (key, request, token, used_at) VALUES (used_key, used_request, made, made_at)
    ON CONFLICT (key) DO UPDATE
        SET request = excluded.request, token = excluded.token, used_at = excluded.used_at;
    -- Keys that another change has locked are left to it.
    expired := ARRAY(
        SELECT k.key FROM api_token_keys k WHERE k.used_at < oldest AND k.used_at >= since
        ORDER BY k.used_at LIMIT 100 FOR UPDATE SKIP LOCKED);
    DELETE FROM api_token_keys WHERE key = ANY (expired);
END
$$;
