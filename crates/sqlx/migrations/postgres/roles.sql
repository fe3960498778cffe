-- Roles with no more rights than they need. Run it once as the owner of the tables, with their schema
-- first in the search path, and grant the roles to those that the nodes log in as:
--
--   psql --set ON_ERROR_STOP=1 --command 'SET search_path TO api_tokens' --file roles.sql
--   psql --command 'GRANT api_token_verifier TO edge'
--
-- A verifier finds tokens by their digests, lists the live ones and follows changes. A recorder also
-- records when tokens were last used. A manager does all that and everything else, but for what only
-- the owner of the tables may do: bring them up to date, write the change log, switch its triggers off.

DO $$
DECLARE
    role text;
BEGIN
    -- Nobody adds to the schema in which the triggers run with their owner's rights.
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    FOREACH role IN ARRAY ARRAY['api_token_verifier', 'api_token_recorder', 'api_token_manager'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    END LOOP;
END
$$;

-- The view `api_token_records` is for nodes of the version before.
GRANT SELECT ON _api_token_migrations, api_token_details, api_token_records, api_token_changes
    TO api_token_verifier, api_token_recorder, api_token_manager;

GRANT SELECT (id, last_used_at, uses), UPDATE (last_used_at, uses) ON api_tokens TO api_token_recorder;

-- Nodes that record usage register themselves. All nodes obey the maximum bound of the fleet, which changes set.
GRANT SELECT, INSERT, UPDATE, DELETE ON api_token_nodes TO api_token_recorder, api_token_manager;
GRANT SELECT ON api_token_nodes TO api_token_verifier, api_token_recorder;
GRANT SELECT ON api_token_fleet TO api_token_verifier, api_token_recorder, api_token_manager;

GRANT SELECT, INSERT, UPDATE ON api_token_apps TO api_token_manager;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_tokens TO api_token_manager;
GRANT SELECT, INSERT, DELETE ON api_token_keys TO api_token_manager;
GRANT SELECT, INSERT ON api_token_audit TO api_token_manager;
GRANT SELECT ON api_token_current_policy, api_token_event_log TO api_token_manager;

-- Changes are calls of the procedure `api_token_change`. The rights to the tables, and to the functions that take an
-- event and return what was applied, are for nodes of earlier versions.
DO $$
DECLARE
    change text;
BEGIN
    FOR change IN
        SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = pg_catalog.quote_ident(current_schema())::regnamespace
          AND (p.proargtypes[0] = to_regtype('api_token_event') AND p.prorettype = to_regtype('api_token_applied')
              OR p.proname IN ('api_token_describe', 'api_token_change', 'api_token_make_all'))
    LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO api_token_manager', change);
    END LOOP;
END
$$;
