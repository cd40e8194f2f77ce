-- Digests other than SHA-256 that a version was once read for: whoever asks again, or sends a sidecar, is answered from here.
CREATE TABLE version_digest (
    version_id BLOB NOT NULL REFERENCES version (id),
    algorithm  TEXT NOT NULL CHECK (algorithm IN ('md5', 'sha1')),
    digest     BLOB NOT NULL,
    PRIMARY KEY (version_id, algorithm)
);
