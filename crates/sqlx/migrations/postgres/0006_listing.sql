-- For finding tokens by their use without an index that changes with every use: the day of the last use, as a number
-- since 1970, and whether a replaced token was used after its rotation. Both change at most once a day, so that a use is
-- recorded without writing to an index. They are null for uses from before, until they are filled in after the
-- migration.

ALTER TABLE api_tokens ADD COLUMN last_used_day bigint;
ALTER TABLE api_tokens ADD COLUMN used_since_rotation boolean;

CREATE FUNCTION api_token_used() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    successor  text := NEW.successor::text;
    rotated_at bigint;
BEGIN
    NEW.last_used_day := NEW.last_used_at / 86400000000::bigint
        - CASE WHEN NEW.last_used_at % 86400000000::bigint < 0::bigint THEN 1::bigint ELSE 0::bigint END;
    NEW.used_since_rotation := NULL;
    IF successor IS NOT NULL THEN
        -- The milliseconds since 1970 at which an identifier of version 7 was made. Another one has no time.
        rotated_at := ('x' || pg_catalog.translate(pg_catalog.substr(successor, 1, 13), '-', ''))::bit(48)::bigint;
        NEW.used_since_rotation := coalesce(
            pg_catalog.substr(successor, 15, 1) <> '7'
            OR rotated_at > 253402207200999::bigint
            OR NEW.last_used_at / 1000::bigint > rotated_at,
            false) AND NEW.last_used_at IS NOT NULL;
    END IF;
    RETURN NEW;
END
$$;

-- Whichever version of the library records a use. The condition is false for most uses.
CREATE TRIGGER c_used BEFORE INSERT OR UPDATE OF last_used_at, successor, last_used_day, used_since_rotation
ON api_tokens FOR EACH ROW WHEN (
    NEW.successor IS NOT NULL OR NEW.used_since_rotation IS NOT NULL
    OR NEW.last_used_day IS DISTINCT FROM NEW.last_used_at / 86400000000
        - CASE WHEN NEW.last_used_at % 86400000000 < 0 THEN 1 ELSE 0 END)
    EXECUTE FUNCTION api_token_used();
ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER c_used;

-- A token and its app, as verification needs them: all that a verifying role may read of them.
CREATE OR REPLACE VIEW api_token_details AS
SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, t.successor,
       t.last_used_at, t.uses, t.app_id, a.name AS app_name, a.created_at AS app_created_at,
       a.disabled_at AS app_disabled_at, t.restrictions, t.metadata::text AS metadata,
       a.metadata::text AS app_metadata, t.created_by, t.last_used_day, t.used_since_rotation
FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id;
