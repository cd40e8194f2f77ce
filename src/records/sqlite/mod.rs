//! What is SQLite's own: the one writer and its group commit, the readers, many statements in one question, and the one
//! statement that publishes a small file.

pub(super) mod batch;
pub(super) mod once;
pub(super) mod readers;
pub(super) mod writer;
