//! thinly.
