-- Times are microseconds since 1970. Nothing here can hold a token's text: a digest is 32 bytes, and a
-- mask is shorter than any token. The tables lie in the first schema of the search path.

CREATE TABLE api_token_apps (
    id          text COLLATE "C" NOT NULL PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 40),
    name        text   NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    created_at  bigint NOT NULL,
    disabled_at bigint
);

CREATE TABLE api_tokens (
    id           uuid   NOT NULL PRIMARY KEY,
    digest       bytea  NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    mask         text   NOT NULL CHECK (char_length(mask) BETWEEN 1 AND 29),
    app_id       text COLLATE "C" NOT NULL REFERENCES api_token_apps (id),
    name         text   NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    scopes       text   NOT NULL CHECK (char_length(scopes) <= 1024),
    created_at   bigint NOT NULL,
    expires_at   bigint,
    revoked_at   bigint,
    successor    uuid,
    last_used_at bigint,
    uses         bigint NOT NULL DEFAULT 0 CHECK (uses >= 0)
);

CREATE INDEX api_tokens_of_app ON api_tokens (app_id, id);
CREATE INDEX api_tokens_revoked ON api_tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX api_tokens_expiring ON api_tokens (expires_at) WHERE expires_at IS NOT NULL;

-- A token and its app, as verification needs them: all that a verifying role may read of them.
CREATE VIEW api_token_records AS
SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, t.successor,
       t.last_used_at, t.uses, t.app_id, a.name AS app_name, a.created_at AS app_created_at,
       a.disabled_at AS app_disabled_at
FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id;

-- The requests that have made a token, so that a repetition makes no second one.
CREATE TABLE api_token_keys (
    key     bytea  NOT NULL PRIMARY KEY CHECK (octet_length(key) = 32),
    request bytea  NOT NULL CHECK (octet_length(request) = 32),
    token   uuid   NOT NULL,
    used_at bigint NOT NULL
);

CREATE INDEX api_token_keys_by_age ON api_token_keys (used_at);

-- What was done, by whom. Rows are only ever added, and outlive what they are about.
CREATE TABLE api_token_audit (
    id      uuid   NOT NULL PRIMARY KEY,
    at      bigint NOT NULL,
    actor   text   NOT NULL CHECK (octet_length(actor) <= 200),
    action  text   NOT NULL CHECK (char_length(action) <= 40),
    app_id  text COLLATE "C" CHECK (char_length(app_id) BETWEEN 1 AND 40),
    token   uuid,
    outcome text   NOT NULL CHECK (char_length(outcome) <= 200)
);

CREATE INDEX api_token_audit_of_token ON api_token_audit (token, id) WHERE token IS NOT NULL;
CREATE INDEX api_token_audit_of_app ON api_token_audit (app_id, id) WHERE app_id IS NOT NULL;

-- The number of the latest change, in one row: whoever makes a change holds its lock to the end of the
-- transaction, so that changes are numbered without gaps and in the order in which they are committed.
CREATE TABLE api_token_revision (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    number   bigint  NOT NULL
);

-- What has changed, for those who remember answers. A row without a digest and an app stands for a
-- beginning, before which nothing is known.
CREATE TABLE api_token_changes (
    revision bigint NOT NULL PRIMARY KEY,
    mark     bigint NOT NULL DEFAULT hashtextextended(gen_random_uuid()::text, 0),
    digest   bytea  CHECK (octet_length(digest) = 32),
    app_id   text COLLATE "C"
);

INSERT INTO api_token_revision (number) VALUES (0);
INSERT INTO api_token_changes (revision) VALUES (0);

-- The triggers below keep the log, so that no statement, whoever wrote it, can change a token and leave
-- the followers unaware. They run with their owner's rights: nobody else needs to write the log. Every function
-- that they call is named with its schema, for another of its name in theirs could fit better.

CREATE FUNCTION api_token_durable() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- What is acknowledged is on disk, even where commits do not wait for that by default.
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION api_token_lock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'local', true);
    END IF;
    -- Before any row of a token: all changes take their locks in one order, and none deadlock.
    PERFORM FROM api_token_revision FOR UPDATE;
    RETURN NULL;
END
$$;

CREATE FUNCTION api_token_note(digests bytea[], app_ids text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    many   bigint := coalesce(pg_catalog.cardinality(digests), 0) + coalesce(pg_catalog.cardinality(app_ids), 0);
    latest bigint;
BEGIN
    IF many = 0 THEN
        RETURN;
    END IF;
    UPDATE api_token_revision SET number = number + many RETURNING number INTO latest;
    INSERT INTO api_token_changes (revision, digest, app_id)
    SELECT latest - many + n, digest, app_id
    FROM unnest(digests, app_ids) WITH ORDINALITY AS noted (digest, app_id, n);
    DELETE FROM api_token_changes WHERE revision < latest - 100000;
    PERFORM pg_catalog.pg_notify('api_token_changes', pg_catalog.current_schema());
END
$$;

CREATE FUNCTION api_token_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((SELECT pg_catalog.array_agg(digest) FROM inserted), NULL);
    RETURN NULL;
END
$$;

-- Uses are not in the log.
CREATE FUNCTION api_token_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor FROM after
            EXCEPT
            SELECT id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor FROM before
        ) AS changed
    ), NULL);
    -- A digest that is given up is no longer found.
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM (SELECT digest FROM before EXCEPT SELECT digest FROM after) AS gone
    ), NULL);
    RETURN NULL;
END
$$;

-- A purge of what has ended would fill the log with what nobody admits any more.
CREATE FUNCTION api_token_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note((
        SELECT pg_catalog.array_agg(digest) FROM deleted
        WHERE revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint)
    ), NULL);
    RETURN NULL;
END
$$;

CREATE FUNCTION api_token_app_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM api_token_note(NULL, (
        SELECT pg_catalog.array_agg(id) FROM (SELECT * FROM after EXCEPT SELECT * FROM before) AS changed
    ));
    RETURN NULL;
END
$$;

-- The log begins anew: whoever remembers anything from before forgets it.
CREATE FUNCTION api_token_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    latest bigint;
BEGIN
    UPDATE api_token_revision SET number = number + 1 RETURNING number INTO latest;
    DELETE FROM api_token_changes;
    INSERT INTO api_token_changes (revision) VALUES (latest);
    PERFORM pg_catalog.pg_notify('api_token_changes', pg_catalog.current_schema());
    RETURN NULL;
END
$$;

-- Not even as triggers of tables of others.
REVOKE ALL ON FUNCTION api_token_durable(), api_token_lock(), api_token_note(bytea[], text[]),
    api_token_inserted(), api_token_updated(), api_token_deleted(), api_token_app_updated(),
    api_token_truncated() FROM PUBLIC;

CREATE TRIGGER a_lock BEFORE INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor
    ON api_tokens EXECUTE FUNCTION api_token_lock();
CREATE TRIGGER b_inserted AFTER INSERT ON api_tokens
    REFERENCING NEW TABLE AS inserted EXECUTE FUNCTION api_token_inserted();
CREATE TRIGGER b_updated AFTER UPDATE ON api_tokens
    REFERENCING OLD TABLE AS before NEW TABLE AS after EXECUTE FUNCTION api_token_updated();
CREATE TRIGGER b_deleted AFTER DELETE ON api_tokens
    REFERENCING OLD TABLE AS deleted EXECUTE FUNCTION api_token_deleted();
CREATE TRIGGER b_truncated AFTER TRUNCATE ON api_tokens EXECUTE FUNCTION api_token_truncated();

CREATE TRIGGER a_durable BEFORE INSERT ON api_token_apps EXECUTE FUNCTION api_token_durable();
CREATE TRIGGER a_lock BEFORE UPDATE OR DELETE ON api_token_apps EXECUTE FUNCTION api_token_lock();
CREATE TRIGGER b_updated AFTER UPDATE ON api_token_apps
    REFERENCING OLD TABLE AS before NEW TABLE AS after EXECUTE FUNCTION api_token_app_updated();

CREATE TRIGGER a_durable BEFORE INSERT ON api_token_audit EXECUTE FUNCTION api_token_durable();
