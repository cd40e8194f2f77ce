//! What contradicts itself: rows, the shape of the tree, and the shelves of the store beside their rows. Recovery, the check of
//! the store and `store reattach` ask this; nobody else does.

pub mod shape;
pub mod shelves;
pub mod survey;
