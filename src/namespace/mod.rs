//! Names: from a path to an entry and back, the aliases by which engineers open what their system
//! cannot store, the shape that a tree may have, and the words in which a place is told to people.

pub(crate) mod address;
pub(crate) mod aliases;
pub(crate) mod history;
pub(crate) mod location;
pub(crate) mod shape;
pub(crate) mod tree;

pub use address::PublicAddress;
