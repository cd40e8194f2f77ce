//! What `benches/` needs of the inside. There only with the feature `bench`, which no release has.

pub use crate::sftp::bench_parse as parse;
pub use crate::share::{seeded_content, seeded_name};
