-- Each version of the tables names the oldest versions of this crate that may use them: to read (verify, follow and
-- list) and to write. If a version names none, only programs that know it may use the tables. The versions up to this
-- one are older than this rule, so programs ignore what they name.
ALTER TABLE _api_token_migrations ADD COLUMN min_reader bigint;
ALTER TABLE _api_token_migrations ADD COLUMN min_writer bigint;
