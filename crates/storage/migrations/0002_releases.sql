-- What follows from auditor exports, their deliveries and their archive references. All of it follows from the
-- evidence and can be rebuilt from it.

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

CREATE INDEX auditor_export_verified ON auditor_export (generated_at, export_id) WHERE verified = 1;
CREATE INDEX auditor_export_of_release ON auditor_export (release_record_ref, generated_at, export_id)
    WHERE verified = 1;
CREATE INDEX auditor_export_same ON auditor_export (evidence_digest, position) WHERE evidence_digest <> '';

-- One row per delivery record and provider, in the order in which retries are decided.
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

-- What has failed and not arrived since, with when the default policy lets it be tried again; never if null.
CREATE TABLE undelivered (
    export_id    TEXT NOT NULL,
    provider_key TEXT NOT NULL,
    due_at       INTEGER,
    PRIMARY KEY (export_id, provider_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX undelivered_due ON undelivered (due_at) WHERE due_at IS NOT NULL;

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

-- Archive alerts of one export under the default policy: those that last, and the times from which time adds one.
CREATE TABLE custody (
    export_id           TEXT    PRIMARY KEY,
    lasting_alert_count INTEGER NOT NULL,
    -- Its retention ends then: an alert from some days before.
    retention_until     INTEGER,
    -- It says that it was archived then: an alert as long as that lies ahead.
    archived_ahead_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX custody_retention ON custody (retention_until) WHERE retention_until IS NOT NULL;
CREATE INDEX custody_ahead ON custody (archived_ahead_at) WHERE archived_ahead_at IS NOT NULL;

-- Documents of a release's packet that were made elsewhere.
CREATE TABLE packet (
    release_record_ref TEXT    NOT NULL,
    kind               TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    position           INTEGER NOT NULL REFERENCES evidence (position),
    PRIMARY KEY (release_record_ref, kind, created_at, position)
) STRICT, WITHOUT ROWID;
