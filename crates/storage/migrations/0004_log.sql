-- The evidence log: a Merkle tree (RFC 9162) over one leaf per record, kept as tiles of up to 256 hashes.
CREATE TABLE log_tile (
    level  INTEGER NOT NULL,
    tile   INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    PRIMARY KEY (level, tile)
) STRICT;

CREATE TRIGGER log_only_grows BEFORE UPDATE ON log_tile
WHEN NEW.level IS NOT OLD.level OR NEW.tile IS NOT OLD.tile
    OR substr(NEW.hashes, 1, length(OLD.hashes)) IS NOT OLD.hashes
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TRIGGER log_is_never_deleted BEFORE DELETE ON log_tile
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Records up to here were stored before there was a log, and were put into it all at once.
CREATE TABLE log_upgrade (
    through INTEGER NOT NULL
) STRICT;

CREATE TRIGGER upgrade_is_never_changed BEFORE UPDATE ON log_upgrade
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

CREATE TRIGGER upgrade_is_never_deleted BEFORE DELETE ON log_upgrade
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- What witnesses have signed: lines of a signed note under the checkpoint of that size.
CREATE TABLE log_cosignature (
    size INTEGER NOT NULL,
    line TEXT    NOT NULL,
    PRIMARY KEY (size, line)
) STRICT, WITHOUT ROWID;
