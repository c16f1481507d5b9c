//! The one binary: `hyades`, and `clusteradm` when called by that name.

fn main() {}
