PRAGMA foreign_keys = OFF;
PRAGMA application_id = 1128355410;
PRAGMA user_version = 5;

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

INSERT INTO acknowledgement VALUES (2, 'gordack-1', 'payments', NULL, 'slack', NULL, 'acknowledged', 'ana@example.org', 1777623000000000, 1777623000000000, 'CHG-1', '', '', '', 0, 1, 1, NULL);
INSERT INTO acknowledgement VALUES (4, 'gordack-2', 'payments', 'gordn-2', 'slack', 'ana', 'escalated', 'ana@example.org', 1780301100000000, 1780301100000000, 'CHG-1', '', '', '', 0, 2, 1, NULL);
INSERT INTO acknowledgement VALUES (5, 'gordack-3', 'payments', NULL, 'slack', NULL, 'resolved', 'ana@example.org', 1780302000000000, 1780302000000000, 'CHG-1', '', '', '', 0, 2, 2, NULL);
INSERT INTO acknowledgement VALUES (6, 'gordack-4', 'payments', 'gordn-9', 'slack', NULL, 'dismissed', 'ana@example.org', 1780302600000000, 1780302600000000, 'CHG-1', '', '', '', 0, NULL, 0, NULL);
INSERT INTO archive_reference VALUES ('gordackfinalauditor-1', 1780309800000000, 12, 'gordackfinalarchive-1', 1780309800000000, 1780315200000000, 'worm://a/1', '', '', '2033-01-01T00:00:00Z', 0, 'REL-1');
INSERT INTO auditor_export VALUES ('gordackfinalauditor-1', 9, 1780308600000000, 'REL-1', 1, 'abababababababababababababababababababababababababababababababab', '', '');
INSERT INTO counter VALUES ('acknowledgement_audit_delivery_final_reporting_auditor_export_count', 1);
INSERT INTO counter VALUES ('acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_count', 2);
INSERT INTO counter VALUES ('acknowledgement_audit_delivery_final_reporting_immutable_archive_reference_count', 1);
INSERT INTO counter VALUES ('acknowledgement_audit_delivery_final_reporting_release_record_attachment_count', 1);
INSERT INTO counter VALUES ('acknowledgement_audit_package_count', 1);
INSERT INTO counter VALUES ('acknowledgement_count', 4);
INSERT INTO counter VALUES ('archive_lasting_alerts', 1);
INSERT INTO counter VALUES ('delivery_count', 2);
INSERT INTO counter VALUES ('escalation_plan_count', 1);
INSERT INTO counter VALUES ('failed_acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_count', 1);
INSERT INTO counter VALUES ('failed_delivery_count', 1);
INSERT INTO counter VALUES ('orphaned_acknowledgements', 1);
INSERT INTO counter VALUES ('plan_count', 2);
INSERT INTO counter VALUES ('route_position', 6);
INSERT INTO counter VALUES ('route_records', 6);
INSERT INTO custody VALUES ('gordackfinalauditor-1', 1, 1988150400000000, 1780309800000000);
INSERT INTO delivery VALUES ('gordackfinalauditor-1', 'webhook', 1780308900000000, 10, 'rcd-1', 'webhook', 1, 200, NULL, '', '');
INSERT INTO delivery VALUES ('gordackfinalauditor-1', 'webhook', 1780309200000000, 11, 'rcd-2', 'webhook', 0, 503, NULL, '', '');
INSERT INTO evidence VALUES (1, 'gordn-1', 'go-backend-rollback-drill-notification-plan', 1777622400000000, 1780315200000000, 1, x'02c5c871aff318f06b81770bbf1ec35a80620f1954113906c22917d733931a46', '{"alert_level":"warning","created_at":"2026-05-01T08:00:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-plan","plan":{"generated_at":"2026-05-01T08:00:00.000000Z","next_due_at":"2026-06-10T12:00:00+00:00","plan_id":"gordn-1","route_decisions":[{"acknowledgement_minutes":60,"action":"deliver","escalation_owner":"head-of-sre","owner":"ana","provider":"slack","reason":"drill is due"},{"acknowledgement_minutes":60,"action":"suppress","escalation_owner":"head-of-sre","owner":"bo","provider":"jira","reason":"drill is due"}],"schedule_id":"payments","status":"due_soon"},"plan_id":"gordn-1","schedule_id":"payments","session_id":"gordn-1","signer":"release-governance"}');
INSERT INTO evidence VALUES (2, 'gordack-1', 'go-backend-rollback-drill-notification-ack', 1777623000000000, 1780315200000000, 1, x'82d7d39061fd722354d2ac553409992f039d6996f7bbe06797e6fea1f66f143c', '{"acknowledgement":{"acknowledged_at":"2026-05-01T08:10:00.000000Z","acknowledged_by":"ana@example.org","acknowledgement_id":"gordack-1","acknowledgement_state":"acknowledged","external_ref":"CHG-1","notes":"","plan_id":"","provider":"Slack","schedule_id":"payments"},"acknowledgement_id":"gordack-1","acknowledgement_state":"acknowledged","created_at":"2026-05-01T08:10:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-ack","plan_id":"","provider":"Slack","schedule_id":"payments","session_id":"gordack-1","signer":"ana@example.org"}');
INSERT INTO evidence VALUES (3, 'gordn-2', 'go-backend-rollback-drill-notification-plan', 1780300800000000, 1780315200000000, 1, x'c3ba3662c21f7027b9a497f74001bc7833904d1fd70ef560d52bc3536062fb86', '{"alert_level":"warning","created_at":"2026-06-01T08:00:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-plan","plan":{"generated_at":"2026-06-01T08:00:00.000000Z","next_due_at":"2026-06-10T12:00:00+00:00","plan_id":"gordn-2","route_decisions":[{"acknowledgement_minutes":60,"action":"deliver","escalation_owner":"head-of-sre","owner":"ana","provider":"slack","reason":"drill is due"},{"acknowledgement_minutes":60,"action":"deliver","escalation_owner":"head-of-sre","owner":"d''Arc","provider":"slack","reason":"drill is due"},{"acknowledgement_minutes":60,"action":"deliver","escalation_owner":"head-of-sre","owner":"bo","provider":"jira","reason":"drill is due"}],"schedule_id":"payments","status":"due_soon"},"plan_id":"gordn-2","schedule_id":"payments","session_id":"gordn-2","signer":"release-governance"}');
INSERT INTO evidence VALUES (4, 'gordack-2', 'go-backend-rollback-drill-notification-ack', 1780301100000000, 1780315200000000, 1, x'7eff909278197771303516d9fd34ec2fd77f7a01d02c4bb0791082661bbc6f29', '{"acknowledgement":{"acknowledged_at":"2026-06-01T08:05:00.000000Z","acknowledged_by":"ana@example.org","acknowledgement_id":"gordack-2","acknowledgement_state":"escalated","external_ref":"CHG-1","notes":"","owner":"ana","plan_id":"gordn-2","provider":"slack","schedule_id":"payments"},"acknowledgement_id":"gordack-2","acknowledgement_state":"escalated","created_at":"2026-06-01T08:05:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-ack","plan_id":"gordn-2","provider":"slack","schedule_id":"payments","session_id":"gordack-2","signer":"ana@example.org"}');
INSERT INTO evidence VALUES (5, 'gordack-3', 'go-backend-rollback-drill-notification-ack', 1780302000000000, 1780315200000000, 1, x'e32ddeafd33f66604f4fff5906691160886c6042af140f37ab13d1bee769ba3e', '{"acknowledgement":{"acknowledged_at":"2026-06-01T08:20:00.000000Z","acknowledged_by":"ana@example.org","acknowledgement_id":"gordack-3","acknowledgement_state":"resolved","external_ref":"CHG-1","notes":"","plan_id":"","provider":"slack","schedule_id":"payments"},"acknowledgement_id":"gordack-3","acknowledgement_state":"resolved","created_at":"2026-06-01T08:20:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-ack","plan_id":"","provider":"slack","schedule_id":"payments","session_id":"gordack-3","signer":"ana@example.org"}');
INSERT INTO evidence VALUES (6, 'gordack-4', 'go-backend-rollback-drill-notification-ack', 1780302600000000, 1780315200000000, 1, x'59db6f1d16c8575254e0bb41a80402862321d9a0b4fc52f43a6a4b635d13fefb', '{"acknowledgement":{"acknowledged_at":"2026-06-01T08:30:00.000000Z","acknowledged_by":"ana@example.org","acknowledgement_id":"gordack-4","acknowledgement_state":"dismissed","external_ref":"CHG-1","notes":"","plan_id":"gordn-9","provider":"slack","schedule_id":"payments"},"acknowledgement_id":"gordack-4","acknowledgement_state":"dismissed","created_at":"2026-06-01T08:30:00.000000Z","metadata_kind":"go-backend-rollback-drill-notification-ack","plan_id":"gordn-9","provider":"slack","schedule_id":"payments","session_id":"gordack-4","signer":"ana@example.org"}');
INSERT INTO evidence VALUES (7, 'gordesc-1', 'go-backend-rollback-drill-notification-escalation-plan', 1780304400000000, 1780315200000000, 1, x'56908ddf7f858eddb81b2a80f98021f0ae1cf76525892eadbe01d483fe6031d0', '{"alert_level":"healthy","created_at":"2026-06-01T09:00:00.000000Z","escalation_plan":{},"metadata_kind":"go-backend-rollback-drill-notification-escalation-plan","plan_id":"gordesc-1","session_id":"gordesc-1","signer":"ana@example.org"}');
INSERT INTO evidence VALUES (8, 'gordackaudit-1', 'go-backend-rollback-drill-acknowledgement-audit-package', 1780308000000000, 1780315200000000, 1, x'8abbcd69d71906c121dd9c39170767043445766f7816eed49afe0daf20303341', '{"acknowledgement_audit_package":{"audit_id":"gordackaudit-1","package_sha256":"18a08e2a6a64fe8f8b178453908493eec71b62c1250d47734466736c98c6431e"},"created_at":"2026-06-01T10:00:00.000000Z","metadata_kind":"go-backend-rollback-drill-acknowledgement-audit-package","session_id":"gordackaudit-1"}');
INSERT INTO evidence VALUES (9, 'gordackfinalauditor-1', 'go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export', 1780308600000000, 1780315200000000, 1, x'ee6377a8b7199f8a8a7df0fa7f41fa81a9e3537ddc0d458833c8234e4ead7027', '{"created_at":"2026-06-01T10:10:00Z","export_hash":"abababababababababababababababababababababababababababababababab","metadata_kind":"go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export","release_record_ref":"REL-1","session_id":"gordackfinalauditor-1","verification_state":"verified"}');
INSERT INTO evidence VALUES (10, 'rcd-1', 'release-connector-delivery', 1780308900000000, 1780315200000000, 1, x'aa0aab3d421467925dd85d3bf3bb0f84361e775442810f8dd8ca452e1a311145', '{"connector_delivery_source":"go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export","created_at":"2026-06-01T10:15:00Z","delivery_success":true,"event_id":"gordackfinalauditor-1","failed_providers":[],"metadata_kind":"release-connector-delivery","providers":["webhook"],"session_id":"rcd-1","status_codes":[200]}');
INSERT INTO evidence VALUES (11, 'rcd-2', 'release-connector-delivery', 1780309200000000, 1780315200000000, 1, x'ca4bc5d8c8aafa0482cdca8a3f2d0a52c8f9648aa25ea3047279c81c5553928f', '{"connector_delivery_source":"go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export","created_at":"2026-06-01T10:20:00Z","delivery_success":false,"event_id":"gordackfinalauditor-1","failed_providers":["webhook"],"metadata_kind":"release-connector-delivery","providers":["webhook"],"session_id":"rcd-2","status_codes":[503]}');
INSERT INTO evidence VALUES (12, 'gordackfinalarchive-1', 'go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-immutable-archive-reference', 1780309800000000, 1780315200000000, 1, x'c3372544ca91e17fc455879a9f90de8e6e2a72e8949b4b07585e61b62d47b566', '{"archive_hash":"","archive_ref":"worm://a/1","created_at":"2026-06-01T10:30:00Z","export_id":"gordackfinalauditor-1","legal_hold":false,"metadata_kind":"go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-immutable-archive-reference","release_record_ref":"REL-1","retention_until":"2033-01-01T00:00:00Z","session_id":"gordackfinalarchive-1"}');
INSERT INTO evidence VALUES (13, 'gordackfinalrecord-1', 'go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-record-attachment', 1780308300000000, 1780315200000000, 1, x'da8852080fe231f292bdd47b56e68e39f263c5339469445a9d89a44262efe907', '{"created_at":"2026-06-01T10:05:00Z","metadata_kind":"go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-record-attachment","release_record_ref":"REL-1","session_id":"gordackfinalrecord-1"}');
INSERT INTO log_tile VALUES (0, 0, x'76ab75ac29ccf5a545ca537c8d5bb3dcc9cae928f89ac8151af19c48d6360266fcb178c5dcb91106b2f9a93457079732407b83b6e98ebd3ac7002e5230bda717a010a6aa0d5e08006d740e919735a845a52ba869b20d7a05ec9183947803dbae993912c76999ec7efaade7e8f010b50ccda45b4eccdd21c00b547c77d99dafd05b0d98ed19e8237f38d6bc383ea654290aa7e6a2fac15c91019bddca3edd4c5daadbfecaee9aa7431a1084461810504f92e0c9766c801ecde13fb765c2002a614644b448fe0c5da5adbeeb4fcd296637accdae0dd229e4f06f065b85a1b16e0ce127f4f64eda95c242147e2b7aefc9b64b560cb32153c90dae2b5d4d9fbf80f0262f978753631dd0b10d69576511dacfc70e637210f6bb5cfcc505668b3ba27c79a4184ec18975508f070bcf26d3875ecb4787df2c61151a76d585fb5d9d5c4412a7c2e480e343e671e4501d085262e65a7254bb6b2bad6353e0a6b39acae0698532722aae82e37e57bf83d4e9803955ffb140e83b882a3f3dbb548df21c3c775b5b70325d20fd600fa754bf71db220581cdf600c689df86f23b5bce585a9966');
INSERT INTO log_upgrade VALUES (0);
INSERT INTO package_chunk VALUES (8, 0, x'09000000907b22726f7574657322');
INSERT INTO package_chunk VALUES (8, 1, x'04000000403a5b5d7d');
INSERT INTO packet VALUES ('REL-1', 'go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-record-attachment', 1780308300000000, 13);
INSERT INTO plan VALUES (1, 'gordn-1', 'payments', 1777622400000000, 1, x'f3cca3b4dc931cfd08395967a1ead5b3829b6779d0f477494dd9e00784390322', 0);
INSERT INTO plan VALUES (2, 'gordn-2', 'payments', 1780300800000000, 3, x'f14c5ece0cd8816ff25e1e817eaa755fbf5a1de9959a206ee5190a62e61926b0', 1);
INSERT INTO posting VALUES (1, 1777622400000000, 1);
INSERT INTO posting VALUES (1, 1780300800000000, 3);
INSERT INTO posting VALUES (2, 1777622400000000, 1);
INSERT INTO posting VALUES (2, 1780300800000000, 3);
INSERT INTO posting VALUES (3, 1777622400000000, 1);
INSERT INTO posting VALUES (3, 1777623000000000, 2);
INSERT INTO posting VALUES (3, 1780300800000000, 3);
INSERT INTO posting VALUES (3, 1780301100000000, 4);
INSERT INTO posting VALUES (3, 1780302000000000, 5);
INSERT INTO posting VALUES (3, 1780302600000000, 6);
INSERT INTO posting VALUES (3, 1780304400000000, 7);
INSERT INTO posting VALUES (3, 1780308000000000, 8);
INSERT INTO posting VALUES (3, 1780308300000000, 13);
INSERT INTO posting VALUES (3, 1780308600000000, 9);
INSERT INTO posting VALUES (3, 1780308900000000, 10);
INSERT INTO posting VALUES (3, 1780309200000000, 11);
INSERT INTO posting VALUES (3, 1780309800000000, 12);
INSERT INTO posting VALUES (4, 1777622400000000, 1);
INSERT INTO posting VALUES (4, 1780300800000000, 3);
INSERT INTO posting VALUES (5, 1777622400000000, 1);
INSERT INTO posting VALUES (5, 1777623000000000, 2);
INSERT INTO posting VALUES (5, 1780300800000000, 3);
INSERT INTO posting VALUES (5, 1780301100000000, 4);
INSERT INTO posting VALUES (5, 1780302000000000, 5);
INSERT INTO posting VALUES (5, 1780302600000000, 6);
INSERT INTO posting VALUES (6, 1777622400000000, 1);
INSERT INTO posting VALUES (6, 1777623000000000, 2);
INSERT INTO posting VALUES (6, 1780300800000000, 3);
INSERT INTO posting VALUES (6, 1780301100000000, 4);
INSERT INTO posting VALUES (6, 1780302000000000, 5);
INSERT INTO posting VALUES (6, 1780302600000000, 6);
INSERT INTO posting VALUES (7, 1777622400000000, 1);
INSERT INTO posting VALUES (7, 1777623000000000, 2);
INSERT INTO posting VALUES (7, 1780300800000000, 3);
INSERT INTO posting VALUES (7, 1780301100000000, 4);
INSERT INTO posting VALUES (7, 1780302000000000, 5);
INSERT INTO posting VALUES (7, 1780302600000000, 6);
INSERT INTO posting VALUES (7, 1780304400000000, 7);
INSERT INTO posting VALUES (8, 1777622400000000, 1);
INSERT INTO posting VALUES (8, 1780300800000000, 3);
INSERT INTO posting VALUES (9, 1777623000000000, 2);
INSERT INTO posting VALUES (9, 1780301100000000, 4);
INSERT INTO posting VALUES (9, 1780302000000000, 5);
INSERT INTO posting VALUES (9, 1780302600000000, 6);
INSERT INTO posting VALUES (10, 1777623000000000, 2);
INSERT INTO posting VALUES (11, 1780301100000000, 4);
INSERT INTO posting VALUES (12, 1780302000000000, 5);
INSERT INTO posting VALUES (13, 1780302600000000, 6);
INSERT INTO posting VALUES (14, 1780304400000000, 7);
INSERT INTO posting VALUES (15, 1780304400000000, 7);
INSERT INTO posting VALUES (16, 1780304400000000, 7);
INSERT INTO posting VALUES (17, 1780308000000000, 8);
INSERT INTO posting VALUES (18, 1780308000000000, 8);
INSERT INTO posting VALUES (19, 1780308000000000, 8);
INSERT INTO posting VALUES (19, 1780308300000000, 13);
INSERT INTO posting VALUES (19, 1780308600000000, 9);
INSERT INTO posting VALUES (19, 1780309800000000, 12);
INSERT INTO posting VALUES (20, 1780308000000000, 8);
INSERT INTO posting VALUES (20, 1780308300000000, 13);
INSERT INTO posting VALUES (20, 1780308600000000, 9);
INSERT INTO posting VALUES (20, 1780309800000000, 12);
INSERT INTO posting VALUES (21, 1780308600000000, 9);
INSERT INTO posting VALUES (22, 1780308600000000, 9);
INSERT INTO posting VALUES (22, 1780308900000000, 10);
INSERT INTO posting VALUES (22, 1780309200000000, 11);
INSERT INTO posting VALUES (22, 1780309800000000, 12);
INSERT INTO posting VALUES (23, 1780308900000000, 10);
INSERT INTO posting VALUES (24, 1780308900000000, 10);
INSERT INTO posting VALUES (24, 1780309200000000, 11);
INSERT INTO posting VALUES (25, 1780308900000000, 10);
INSERT INTO posting VALUES (26, 1780308900000000, 10);
INSERT INTO posting VALUES (26, 1780309200000000, 11);
INSERT INTO posting VALUES (27, 1780308900000000, 10);
INSERT INTO posting VALUES (27, 1780309200000000, 11);
INSERT INTO posting VALUES (28, 1780308900000000, 10);
INSERT INTO posting VALUES (28, 1780309200000000, 11);
INSERT INTO posting VALUES (29, 1780308900000000, 10);
INSERT INTO posting VALUES (30, 1780309200000000, 11);
INSERT INTO posting VALUES (31, 1780309200000000, 11);
INSERT INTO posting VALUES (32, 1780309200000000, 11);
INSERT INTO posting VALUES (33, 1780309800000000, 12);
INSERT INTO posting VALUES (34, 1780308300000000, 13);
INSERT INTO route VALUES (1, 'gordroute-019de28d-3c00-711c-95f5-f96f9a81e0c6', 1, 'gordn-1', 'payments', 1777622400000000, 'warning', 'slack', 'slack', 'ana', 'head-of-sre', 'anahead-of-sre', 'deliver', 'deliver', 'drill is due', 60, 1777626000000000, NULL, NULL, 1, '', '2026-06-10T12:00:00+00:00', 0, 'acknowledged', 1, 2);
INSERT INTO route VALUES (2, 'gordroute-019de28d-3c00-75e1-b065-670184f40f16', 1, 'gordn-1', 'payments', 1777622400000000, 'warning', 'jira', 'jira', 'bo', 'head-of-sre', 'bohead-of-sre', 'suppress', 'other', 'drill is due', 60, 1777626000000000, NULL, NULL, 1, '', '2026-06-10T12:00:00+00:00', 0, 'outstanding', 0, NULL);
INSERT INTO route VALUES (3, 'gordroute-019e8232-6000-7b08-bd0c-59118e996a8c', 2, 'gordn-2', 'payments', 1780300800000000, 'warning', 'slack', 'slack', 'ana', 'head-of-sre', 'anahead-of-sre', 'deliver', 'deliver', 'drill is due', 60, 1780304400000000, NULL, NULL, 1, '', '2026-06-10T12:00:00+00:00', 1, 'resolved', 2, 5);
INSERT INTO route VALUES (4, 'gordroute-019e8232-6000-7ee8-8674-5df36db41176', 2, 'gordn-2', 'payments', 1780300800000000, 'warning', 'slack', 'slack', 'd''Arc', 'head-of-sre', 'd''archead-of-sre', 'deliver', 'deliver', 'drill is due', 60, 1780304400000000, NULL, NULL, 1, '', '2026-06-10T12:00:00+00:00', 1, 'resolved', 1, 5);
INSERT INTO route VALUES (5, 'gordroute-019e8232-6000-7eab-a388-56a2f1a4d50c', 2, 'gordn-2', 'payments', 1780300800000000, 'warning', 'jira', 'jira', 'bo', 'head-of-sre', 'bohead-of-sre', 'deliver', 'deliver', 'drill is due', 60, 1780304400000000, NULL, NULL, 1, '', '2026-06-10T12:00:00+00:00', 1, 'outstanding', 0, NULL);
INSERT INTO route_answer VALUES (1, 1777623000000000, 2, 'change');
INSERT INTO route_answer VALUES (3, 1780301100000000, 4, 'change');
INSERT INTO route_answer VALUES (3, 1780302000000000, 5, 'change');
INSERT INTO route_answer VALUES (4, 1780302000000000, 5, 'change');
INSERT INTO term VALUES (1, 'kind=go-backend-rollback-drill-notification-plan', 2);
INSERT INTO term VALUES (2, 'level=warning', 2);
INSERT INTO term VALUES (3, 'listed', 13);
INSERT INTO term VALUES (4, 'provider=jira', 2);
INSERT INTO term VALUES (5, 'provider=slack', 6);
INSERT INTO term VALUES (6, 'schedule=payments', 6);
INSERT INTO term VALUES (7, 'source=go_backend_rollback_drill_notification', 7);
INSERT INTO term VALUES (8, 'status=warning', 2);
INSERT INTO term VALUES (9, 'kind=go-backend-rollback-drill-notification-ack', 4);
INSERT INTO term VALUES (10, 'status=acknowledged', 1);
INSERT INTO term VALUES (11, 'status=escalated', 1);
INSERT INTO term VALUES (12, 'status=resolved', 1);
INSERT INTO term VALUES (13, 'status=dismissed', 1);
INSERT INTO term VALUES (14, 'kind=go-backend-rollback-drill-notification-escalation-plan', 1);
INSERT INTO term VALUES (15, 'level=healthy', 1);
INSERT INTO term VALUES (16, 'status=healthy', 1);
INSERT INTO term VALUES (17, 'audit=gordackaudit-1', 1);
INSERT INTO term VALUES (18, 'kind=go-backend-rollback-drill-acknowledgement-audit-package', 1);
INSERT INTO term VALUES (19, 'source=go_backend_rollback_drill_acknowledgement_audit', 4);
INSERT INTO term VALUES (20, 'status=indexed', 4);
INSERT INTO term VALUES (21, 'kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export', 1);
INSERT INTO term VALUES (22, 'source=go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export', 4);
INSERT INTO term VALUES (23, 'delivered=true', 1);
INSERT INTO term VALUES (24, 'delivery=gordackfinalauditor-1', 2);
INSERT INTO term VALUES (25, 'delivery=rcd-1', 1);
INSERT INTO term VALUES (26, 'kind=release-connector-delivery', 2);
INSERT INTO term VALUES (27, 'provider=webhook', 2);
INSERT INTO term VALUES (28, 'schedule=gordackfinalauditor-1', 2);
INSERT INTO term VALUES (29, 'status=delivered', 1);
INSERT INTO term VALUES (30, 'delivered=false', 1);
INSERT INTO term VALUES (31, 'delivery=rcd-2', 1);
INSERT INTO term VALUES (32, 'status=delivery_failed', 1);
INSERT INTO term VALUES (33, 'kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-immutable-archive-reference', 1);
INSERT INTO term VALUES (34, 'kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-release-record-attachment', 1);
INSERT INTO undelivered VALUES ('gordackfinalauditor-1', 'webhook', 1780310100000000);
