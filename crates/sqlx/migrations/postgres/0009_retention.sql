-- Numbers the idempotency keys in the order of their uses, so that they can be counted without reading them. Keys from
-- before have no number. A number is lost when a change fails, so the count may be a few too many.
CREATE SEQUENCE api_token_key_numbers;
ALTER TABLE api_token_keys ADD COLUMN number bigint;

-- Counts the keys from the oldest one since an instant to the latest one.
CREATE FUNCTION api_token_count_keys(since bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN coalesce((SELECT n.last_value FROM api_token_key_numbers n)
        - (SELECT coalesce(k.number, 1::bigint) FROM api_token_keys k
           WHERE k.used_at >= since ORDER BY k.used_at LIMIT 1) + 1::bigint, 0::bigint);
END
$$;

-- Whether the idempotency key of a change may be stored, if it has one: it is known, or there are fewer keys within
-- their retention than the change allows.
CREATE FUNCTION api_token_has_room(change jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    used   bytea  := pg_catalog.decode(change ->> 'key', 'hex'::text);
    oldest bigint := change ->> 'oldest_key';
    most   bigint := change ->> 'max_keys';
BEGIN
    IF used IS NULL OR most IS NULL THEN
        RETURN true;
    END IF;
    PERFORM api_token_begin();
    RETURN EXISTS (SELECT FROM api_token_keys k WHERE k.key = used AND k.used_at >= oldest)
        OR api_token_count_keys(oldest) < most;
END
$$;

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
    INSERT INTO api_token_keys (key, request, token, used_at, number)
    VALUES (used_key, used_request, made, made_at, pg_catalog.nextval('api_token_key_numbers'::regclass))
    ON CONFLICT (key) DO UPDATE
        SET request = excluded.request, token = excluded.token, used_at = excluded.used_at, number = excluded.number;
    -- Keys that another change has locked are left to it.
    expired := ARRAY(
        SELECT k.key FROM api_token_keys k WHERE k.used_at < oldest AND k.used_at >= since
        ORDER BY k.used_at LIMIT 100 FOR UPDATE SKIP LOCKED);
    DELETE FROM api_token_keys WHERE key = ANY (expired);
END
$$;
