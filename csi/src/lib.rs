//! thinly-csi.
