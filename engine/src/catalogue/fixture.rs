//! The pool that tests begin with.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::{Catalogue, PoolIdentity, PoolName, Timestamp};
use crate::units::{BlockSize, Bytes};

/// The catalogue of a pool that was just made.
pub(crate) fn empty_catalogue(pool: Uuid) -> Catalogue {
    Catalogue::new(PoolIdentity {
        uuid: pool,
        name: PoolName::new("p0").unwrap(),
        created_at: Timestamp(1),
        block_size: BlockSize::DEFAULT,
        extent: Bytes::new(4 << 20),
        discard_passdown: true,
    })
}
