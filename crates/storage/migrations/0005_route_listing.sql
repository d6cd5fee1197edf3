-- Everything by which current routes are filtered, counted and sorted stands in one index, so that neither reads the
-- rows. `current` is in it although it is always 1: without it SQLite looks it up in the row.
DROP INDEX route_counted;

CREATE INDEX route_counted ON route
    (action, state, deadline_at, schedule_id, provider_key, owner_haystack, category, owner, current)
    WHERE current = 1;
