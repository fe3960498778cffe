-- For removing old events from the log.
CREATE INDEX api_token_events_by_event ON api_token_events (event);
