CREATE INDEX acknowledgement_early ON acknowledgement (plan_id) WHERE plan IS NULL AND plan_id IS NOT NULL;

CREATE INDEX acknowledgement_open ON acknowledgement (schedule_id, effective_at) WHERE plan_id IS NULL;

CREATE INDEX acknowledgement_orphan ON acknowledgement (position) WHERE covers = 0;

CREATE INDEX acknowledgement_undo ON acknowledgement (undoes) WHERE undoes IS NOT NULL;

CREATE INDEX auditor_export_of_release ON auditor_export (release_record_ref, generated_at, export_id)
    WHERE verified = 1;

CREATE INDEX auditor_export_same ON auditor_export (evidence_digest, position) WHERE evidence_digest <> '';

CREATE INDEX auditor_export_verified ON auditor_export (generated_at, export_id) WHERE verified = 1;

CREATE INDEX custody_ahead ON custody (archived_ahead_at) WHERE archived_ahead_at IS NOT NULL;

CREATE INDEX custody_retention ON custody (retention_until) WHERE retention_until IS NOT NULL;

CREATE INDEX kept_answer_expiry ON kept_answer (expires_at);

CREATE INDEX plan_by_schedule ON plan (schedule_id, created_at, plan_id);

CREATE INDEX route_counted ON route
    (action, state, deadline_at, schedule_id, provider_key, owner_haystack, category, owner, current)
    WHERE current = 1;

CREATE INDEX route_listed ON route (created_at, route_id);

CREATE INDEX route_listed_current ON route (created_at, route_id) WHERE current = 1;

CREATE UNIQUE INDEX route_of_plan ON route (plan, provider_key, owner);

CREATE INDEX route_suppressed ON route (category, owner, provider, schedule_id) WHERE action = 'suppress';

CREATE INDEX undelivered_due ON undelivered (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE acknowledgement (
    position           INTEGER PRIMARY KEY REFERENCES evidence (position),
    acknowledgement_id TEXT    NOT NULL,
    schedule_id        TEXT    NOT NULL,
    plan_id            TEXT,
    provider_key       TEXT    NOT NULL,
    owner              TEXT,
    said               TEXT    NOT NULL,
    acknowledged_by    TEXT    NOT NULL,
    acknowledged_at    INTEGER NOT NULL,
    effective_at       INTEGER NOT NULL,
    external_ref       TEXT    NOT NULL,
    notes              TEXT    NOT NULL,
    issuer             TEXT    NOT NULL,
    subject            TEXT    NOT NULL,
    verified           INTEGER NOT NULL,
    -- The plan whose routes it answers; null while that plan is not known.
    plan               INTEGER REFERENCES plan (id),
    -- How many routes it answers. None: an orphan.
    covers             INTEGER NOT NULL
, undoes TEXT) STRICT;

CREATE TABLE archive_reference (
    export_id          TEXT    NOT NULL,
    effective_at       INTEGER NOT NULL,
    position           INTEGER NOT NULL REFERENCES evidence (position),
    reference_id       TEXT    NOT NULL,
    archived_at        INTEGER NOT NULL,
    recorded_at        INTEGER NOT NULL,
    archive_ref        TEXT    NOT NULL,
    archive_provider   TEXT    NOT NULL,
    archive_hash       TEXT    NOT NULL,
    retention_until    TEXT    NOT NULL,
    legal_hold         INTEGER NOT NULL,
    release_record_ref TEXT    NOT NULL,
    PRIMARY KEY (export_id, effective_at, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE auditor_export (
    export_id          TEXT    PRIMARY KEY,
    position           INTEGER NOT NULL REFERENCES evidence (position),
    generated_at       INTEGER NOT NULL,
    release_record_ref TEXT    NOT NULL,
    verified           INTEGER NOT NULL,
    export_hash        TEXT    NOT NULL,
    verification_id    TEXT    NOT NULL,
    -- What it rests on; empty on exports that were made elsewhere, which are never given out as ours.
    evidence_digest    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE custody (
    export_id           TEXT    PRIMARY KEY,
    lasting_alert_count INTEGER NOT NULL,
    -- Its retention ends then: an alert from some days before.
    retention_until     INTEGER,
    -- It says that it was archived then: an alert as long as that lies ahead.
    archived_ahead_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
    export_id           TEXT    NOT NULL,
    provider_key        TEXT    NOT NULL,
    happened_at         INTEGER NOT NULL,
    position            INTEGER NOT NULL REFERENCES evidence (position),
    delivery_id         TEXT    NOT NULL,
    provider            TEXT    NOT NULL,
    success             INTEGER NOT NULL,
    status_code         INTEGER,
    retry_after_seconds INTEGER,
    verification_id     TEXT    NOT NULL,
    release_record_ref  TEXT    NOT NULL,
    PRIMARY KEY (export_id, provider_key, happened_at, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE evidence (
    position    INTEGER PRIMARY KEY,
    session_id  TEXT    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    imported    INTEGER NOT NULL,
    sha256      BLOB    NOT NULL,
    record      TEXT    NOT NULL
) STRICT;

CREATE TABLE kept_answer (
    id          INTEGER PRIMARY KEY,
    caller      TEXT    NOT NULL,
    operation   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- The record that the answer is made from again; null when the answer is kept in pieces.
    reference   INTEGER REFERENCES evidence (position),
    UNIQUE (caller, operation, key)
) STRICT;

CREATE TABLE kept_answer_piece (
    answer INTEGER NOT NULL REFERENCES kept_answer (id) ON DELETE CASCADE,
    piece  INTEGER NOT NULL,
    bytes  BLOB    NOT NULL,
    PRIMARY KEY (answer, piece)
) STRICT;

CREATE TABLE log_cosignature (
    size INTEGER NOT NULL,
    line TEXT    NOT NULL,
    PRIMARY KEY (size, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_tile (
    level  INTEGER NOT NULL,
    tile   INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    PRIMARY KEY (level, tile)
) STRICT;

CREATE TABLE log_upgrade (
    through INTEGER NOT NULL
) STRICT;

CREATE TABLE package_chunk (
    position INTEGER NOT NULL REFERENCES evidence (position),
    piece    INTEGER NOT NULL,
    bytes    BLOB    NOT NULL,
    PRIMARY KEY (position, piece)
) STRICT;

CREATE TABLE packet (
    release_record_ref TEXT    NOT NULL,
    kind               TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    position           INTEGER NOT NULL REFERENCES evidence (position),
    PRIMARY KEY (release_record_ref, kind, created_at, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan (
    id          INTEGER PRIMARY KEY,
    plan_id     TEXT    NOT NULL UNIQUE,
    schedule_id TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    position    INTEGER NOT NULL REFERENCES evidence (position),
    content_key BLOB    NOT NULL,
    current     INTEGER NOT NULL
) STRICT;

CREATE TABLE posting (
    term       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (term, created_at, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE route (
    id                      INTEGER PRIMARY KEY,
    route_id                TEXT    NOT NULL UNIQUE,
    plan                    INTEGER NOT NULL REFERENCES plan (id),
    plan_id                 TEXT    NOT NULL,
    schedule_id             TEXT    NOT NULL,
    created_at              INTEGER NOT NULL,
    alert_level             TEXT    NOT NULL,
    provider                TEXT    NOT NULL,
    provider_key            TEXT    NOT NULL,
    owner                   TEXT    NOT NULL,
    escalation_owner        TEXT    NOT NULL,
    owner_haystack          TEXT    NOT NULL,
    action                  TEXT    NOT NULL,
    category                TEXT    NOT NULL,
    reason                  TEXT    NOT NULL,
    acknowledgement_minutes INTEGER NOT NULL,
    deadline_at             INTEGER NOT NULL,
    window_id               TEXT,
    window_reason           TEXT,
    owner_available         INTEGER NOT NULL,
    availability_reason     TEXT    NOT NULL,
    next_due_at             TEXT    NOT NULL,
    current                 INTEGER NOT NULL,
    state                   TEXT    NOT NULL,
    revision                INTEGER NOT NULL,
    answer                  INTEGER REFERENCES acknowledgement (position)
) STRICT;

CREATE TABLE route_answer (
    route           INTEGER NOT NULL REFERENCES route (id),
    effective_at    INTEGER NOT NULL,
    acknowledgement INTEGER NOT NULL REFERENCES acknowledgement (position),
    effect          TEXT    NOT NULL,
    PRIMARY KEY (route, effective_at, acknowledgement)
) STRICT, WITHOUT ROWID;

CREATE TABLE term (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    record_count INTEGER NOT NULL
) STRICT;

CREATE TABLE undelivered (
    export_id    TEXT NOT NULL,
    provider_key TEXT NOT NULL,
    due_at       INTEGER,
    PRIMARY KEY (export_id, provider_key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER evidence_is_never_changed BEFORE UPDATE ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;

CREATE TRIGGER evidence_is_never_deleted BEFORE DELETE ON evidence
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;

CREATE TRIGGER log_is_never_deleted BEFORE DELETE ON log_tile
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TRIGGER log_only_grows BEFORE UPDATE ON log_tile
WHEN NEW.level IS NOT OLD.level OR NEW.tile IS NOT OLD.tile
    OR substr(NEW.hashes, 1, length(OLD.hashes)) IS NOT OLD.hashes
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TRIGGER package_is_never_changed BEFORE UPDATE ON package_chunk
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;

CREATE TRIGGER package_is_never_deleted BEFORE DELETE ON package_chunk
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;

CREATE TRIGGER upgrade_is_never_changed BEFORE UPDATE ON log_upgrade
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TRIGGER upgrade_is_never_deleted BEFORE DELETE ON log_upgrade
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

