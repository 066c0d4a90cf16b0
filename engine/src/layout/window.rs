//! The parts of a device that signatures live in, read once and then looked at as bytes.
#![forbid(unsafe_code)]

use crate::aligned::AlignedBuffer;
use crate::block_device::{BlockDevice, DeviceError};

/// How much of the head and of the tail is read.
const END_BYTES: u64 = 1 << 20;

/// Blocks beyond the head that a signature can be in: second copies of LUKS2 headers, VMFS.
const FAR_OFFSETS: [u64; 3] = [1 << 20, 2 << 20, 4 << 20];

const BLOCK_BYTES: u64 = 4096;

/// The first and the last mebibyte of a device, and a few blocks between them.
#[derive(Debug, Clone)]
pub struct Window {
    size: u64,
    parts: Vec<(u64, Vec<u8>)>,
}

impl Window {
    /// Reads a device: two reads of a mebibyte, three of 4096 bytes.
    pub fn read(device: &BlockDevice) -> Result<Self, DeviceError> {
        let size = device.size().get();
        let mut parts = Vec::new();
        for (offset, length) in ranges(size) {
            let mut buffer = AlignedBuffer::zeroed(usize::try_from(length).unwrap_or(0));
            device.read_at(offset, &mut buffer)?;
            parts.push((offset, buffer.to_vec()));
        }
        Ok(Self { size, parts })
    }

    /// The same parts of a device's image in memory.
    pub fn of_bytes(image: &[u8]) -> Self {
        let size = image.len() as u64;
        let part = |(offset, length): (u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            let end = usize::try_from(offset + length).ok()?;
            Some((offset, image.get(start..end)?.to_vec()))
        };
        Self { size, parts: ranges(size).into_iter().filter_map(part).collect() }
    }

    /// The device's length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes at `offset`, when they were read.
    pub fn bytes(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.parts.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..from.checked_add(length)?)
        })
    }

    /// Whether `magic` is at `offset`.
    pub fn has(&self, offset: u64, magic: &[u8]) -> bool {
        self.bytes(offset, magic.len()) == Some(magic)
    }

    /// The little-endian number at `offset`.
    pub(super) fn u32(&self, offset: u64) -> Option<u32> {
        self.bytes(offset, 4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// The little-endian number at `offset`.
    pub(super) fn u64(&self, offset: u64) -> Option<u64> {
        self.bytes(offset, 8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// What is read of a device with `size` bytes. A trailing piece shorter than a sector is left out:
/// `O_DIRECT` cannot read it, and no block device has one.
fn ranges(size: u64) -> Vec<(u64, u64)> {
    let end = size - size % 512;
    if end <= 2 * END_BYTES {
        return if end == 0 { Vec::new() } else { vec![(0, end)] };
    }
    let tail = (end - END_BYTES) - (end - END_BYTES) % BLOCK_BYTES;
    let mut ranges = vec![(0, END_BYTES), (tail, end - tail)];
    let far = FAR_OFFSETS.iter().filter(|far| **far + BLOCK_BYTES <= tail);
    ranges.extend(far.map(|far| (*far, BLOCK_BYTES)));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_aligned_inside_the_device_and_cover_both_ends() {
        for size in [0, 100, 512, 4096, (2 << 20) + 512, 8 << 20, (8 << 20) + 1536, 1 << 40] {
            let end = size - size % 512;
            let ranges = ranges(size);
            for (offset, length) in &ranges {
                assert_eq!(offset % 4096, 0, "{size}");
                assert_eq!(length % 512, 0, "{size}");
                assert!(offset + length <= size, "{size}");
            }
            if end > 0 {
                assert_eq!(ranges[0].0, 0);
                assert!(ranges.iter().any(|(offset, length)| offset + length == end), "{size}");
            }
        }
    }

    #[test]
    fn bytes_outside_the_window_are_absent() {
        let mut image = vec![0_u8; 16 << 20];
        image[(2 << 20) + 7] = 9;
        image[(16 << 20) - 1] = 5;
        let window = Window::of_bytes(&image);
        assert!(window.has((2 << 20) + 7, &[9]));
        assert!(window.has((16 << 20) - 1, &[5]));
        assert_eq!(window.bytes(8 << 20, 1), None);
        assert_eq!(window.bytes((16 << 20) - 1, 2), None);
        assert_eq!(window.bytes(u64::MAX, 2), None);
    }
}
