//! thinly-tests.
