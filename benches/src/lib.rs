//! thinly-benches.
