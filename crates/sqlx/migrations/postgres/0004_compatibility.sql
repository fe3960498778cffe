-- Each version of the tables names the oldest versions of this crate that may use them: to read (verify, follow
-- and list) and to write. A version that names none may be used only by programs that know it. The versions up
-- to this one are older than the rule, and no program looks at what they name.
ALTER TABLE _api_token_migrations ADD COLUMN min_reader bigint;
ALTER TABLE _api_token_migrations ADD COLUMN min_writer bigint;
