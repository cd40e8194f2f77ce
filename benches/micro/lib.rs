//! Nothing: what this package has is the bench `micro`.
