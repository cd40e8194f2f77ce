//! What `benches/` needs of the inside. There only with the feature `bench`, which no release has.

pub use crate::app::{seeded_content, seeded_name};
pub use crate::sftp::bench_parse as parse;
