//! thinly-guest.
