//! How large a volume is to be.
#![forbid(unsafe_code)]

use thinly_csi_wire::CapacityRange;
use thinly_engine::units::Bytes;
use tonic::Status;

/// Volumes are whole pages of filesystems and of everything above them.
const STEP: Bytes = Bytes::new(4096);
/// What a volume gets when nobody says.
const DEFAULT: Bytes = Bytes::new(1 << 30);

/// The smallest volume that each filesystem's mkfs takes.
pub(crate) fn filesystem_bytes_min(filesystem: &str) -> Bytes {
    Bytes::new(match filesystem {
        // mkfs.xfs: "Filesystem must be larger than 300MB."
        "xfs" => 300 << 20,
        // mkfs.btrfs names 109 MiB for the default profiles of one device; some room to write.
        "btrfs" => 128 << 20,
        _ => 4 << 20,
    })
}

/// A range of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    required: Option<Bytes>,
    limit: Option<Bytes>,
}

impl Capacity {
    /// Reads a range; zero means that nothing is asked for.
    pub(crate) fn read(range: Option<&CapacityRange>) -> Result<Self, Status> {
        let read = |field: &str, bytes: i64| match u64::try_from(bytes) {
            Ok(0) => Ok(None),
            Ok(bytes) => Ok(Some(Bytes::new(bytes))),
            Err(_) => Err(Status::invalid_argument(format!("{field} is {bytes}: below zero"))),
        };
        let Some(range) = range else { return Ok(Self { required: None, limit: None }) };
        let required = read("required_bytes", range.required_bytes)?;
        let limit = read("limit_bytes", range.limit_bytes)?;
        if let (Some(required), Some(limit)) = (required, limit)
            && required > limit
        {
            return Err(Status::invalid_argument(format!(
                "required_bytes {required} is above limit_bytes {limit}"
            )));
        }
        Ok(Self { required, limit })
    }

    /// The size for a volume of at least `floor`, its source's size or its filesystem's least.
    pub(crate) fn pick(self, floor: Bytes) -> Result<Bytes, Status> {
        let wanted = self.required.unwrap_or_else(|| match self.limit {
            Some(limit) if limit < DEFAULT => Bytes::new(limit.get() / STEP.get() * STEP.get()),
            _ => DEFAULT,
        });
        let wanted = if self.required.is_none() && floor > Bytes::ZERO { floor } else { wanted };
        let size = wanted.max(floor).align_up(STEP).filter(|size| *size > Bytes::ZERO);
        let size = size.filter(|size| i64::try_from(size.get()).is_ok()).ok_or_else(|| {
            Status::out_of_range(format!("a volume of {wanted} bytes cannot be made"))
        })?;
        match self.limit {
            Some(limit) if size > limit => Err(Status::out_of_range(format!(
                "the volume needs {size} bytes (in steps of {STEP}), limit_bytes is {limit}"
            ))),
            _ => Ok(size),
        }
    }

    /// Whether a volume that exists has a size of this range.
    pub(crate) fn admits(self, size: Bytes) -> bool {
        self.required.is_none_or(|required| size >= required)
            && self.limit.is_none_or(|limit| size <= limit)
    }

    /// What is asked for at least.
    pub(crate) const fn required(self) -> Option<Bytes> {
        self.required
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capacity(required_bytes: i64, limit_bytes: i64) -> Result<Capacity, Status> {
        Capacity::read(Some(&CapacityRange { required_bytes, limit_bytes }))
    }

    fn pick(required: i64, limit: i64, floor: u64) -> Result<u64, Status> {
        capacity(required, limit)?.pick(Bytes::new(floor)).map(Bytes::get)
    }

    #[test]
    fn sizes_are_whole_steps_inside_the_range() {
        assert_eq!(pick(0, 0, 0).unwrap(), 1 << 30);
        assert_eq!(pick(1, 0, 0).unwrap(), 4096);
        assert_eq!(pick(5000, 8192, 0).unwrap(), 8192);
        assert_eq!(pick(0, 10_000, 0).unwrap(), 8192);
        assert_eq!(pick(0, 0, 300 << 20).unwrap(), 300 << 20);
        assert_eq!(pick(10 << 20, 0, 300 << 20).unwrap(), 300 << 20);
    }

    #[test]
    fn a_range_that_cannot_be_met_is_refused() {
        for (required, limit, floor, code) in [
            (-1, 0, 0, tonic::Code::InvalidArgument),
            (0, -1, 0, tonic::Code::InvalidArgument),
            (2, 1, 0, tonic::Code::InvalidArgument),
            (5000, 5000, 0, tonic::Code::OutOfRange),
            (0, 100, 0, tonic::Code::OutOfRange),
            (0, 4096, 8192, tonic::Code::OutOfRange),
            (i64::MAX, 0, 0, tonic::Code::OutOfRange),
        ] {
            assert_eq!(
                pick(required, limit, floor).unwrap_err().code(),
                code,
                "{required} {limit}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_picked_is_admitted(required in 0..i64::MAX, limit in 0..i64::MAX, floor: u32) {
            if let Ok(capacity) = capacity(required, limit)
                && let Ok(size) = capacity.pick(Bytes::new(floor.into()))
            {
                prop_assert!(capacity.admits(size));
                prop_assert!(size >= Bytes::new(floor.into()));
                prop_assert!(size.get().is_multiple_of(4096));
            }
        }
    }
}
