-- An undo stands among the acknowledgements: it has a history entry on each route of the one that it takes back.
ALTER TABLE acknowledgement ADD COLUMN undoes TEXT;

CREATE INDEX acknowledgement_undo ON acknowledgement (undoes) WHERE undoes IS NOT NULL;

-- Answers that a repeated request is given again. They are no evidence and say nothing about any: they expire.
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

CREATE INDEX kept_answer_expiry ON kept_answer (expires_at);

CREATE TABLE kept_answer_piece (
    answer INTEGER NOT NULL REFERENCES kept_answer (id) ON DELETE CASCADE,
    piece  INTEGER NOT NULL,
    bytes  BLOB    NOT NULL,
    PRIMARY KEY (answer, piece)
) STRICT;
