//! Little-endian fields of a metadata block.
//!
//! Reading past the end gives zero instead of a panic: every caller has a block of full length,
//! and hostile bytes must not be able to stop the process.
#![forbid(unsafe_code)]

/// Bytes of one metadata block.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Bytes of a `__le32`.
pub(super) const U32_BYTES: usize = 4;
/// Bytes of a `__le64`.
pub(super) const U64_BYTES: usize = 8;

/// The `__le32` at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<U32_BYTES>())
        .map_or(0, |field| u32::from_le_bytes(*field))
}

/// The `__le64` at `offset`.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<U64_BYTES>())
        .map_or(0, |field| u64::from_le_bytes(*field))
}

/// The `N` bytes at `offset`.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>()).map_or([0; N], |field| *field)
}

/// Stores `field` at `offset`; a field that does not fit is not stored.
pub(super) fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset.saturating_add(field.len())) {
        place.copy_from_slice(field);
    }
}

/// Stores a `__le32` at `offset`.
pub(super) fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    put(bytes, offset, &value.to_le_bytes());
}

/// Stores a `__le64` at `offset`.
pub(super) fn put_u64(bytes: &mut [u8], offset: usize, value: u64) {
    put(bytes, offset, &value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_past_the_end_is_zero_and_is_not_stored() {
        let mut bytes = [0xff_u8; 10];
        assert_eq!(u64_at(&bytes, 3), 0);
        assert_eq!(u64_at(&bytes, usize::MAX), 0);
        put_u64(&mut bytes, 3, 0);
        assert_eq!(bytes, [0xff; 10]);
        put_u32(&mut bytes, 6, 0x0403_0201);
        assert_eq!(u32_at(&bytes, 6), 0x0403_0201);
        assert_eq!(bytes_at::<2>(&bytes, 6), [1, 2]);
    }
}
