-- Of a version: bytes that its sender left out (a sparse file) or added by setting its size. They are zeros, and told as such.
ALTER TABLE version ADD COLUMN zeros INTEGER NOT NULL DEFAULT 0;
