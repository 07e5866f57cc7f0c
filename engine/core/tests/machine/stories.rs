//! Stories told of single instances; each name is a claim.
