//! What is written into volumes: every sector says which write it came from and where it belongs.

use anyhow::{Result, ensure};

use super::model::{CHUNK_BYTES, ModelVolume};

const SECTOR_BYTES: usize = 512;

/// The bytes of a write; `offset` is where it goes in its volume.
pub(crate) fn pattern(number: u64, offset: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length)?);
    let sector_bytes = u64::try_from(SECTOR_BYTES)?;
    for sector in offset / sector_bytes..(offset + length) / sector_bytes {
        bytes.extend(sector_of(number, sector));
    }
    Ok(bytes)
}

fn sector_of(number: u64, sector: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; SECTOR_BYTES];
    }
    [number.to_le_bytes(), sector.to_le_bytes()].concat().repeat(SECTOR_BYTES / 16)
}

/// Compares a piece of a volume, in whole chunks, with what it may hold. Sectors are judged one by
/// one: a write that was not acknowledged may be there in part.
pub(crate) fn check(volume: &ModelVolume, offset: u64, bytes: &[u8]) -> Result<()> {
    let chunk_bytes = usize::try_from(CHUNK_BYTES)?;
    for (chunk, bytes) in (offset / CHUNK_BYTES..).zip(bytes.chunks(chunk_bytes)) {
        let numbers = volume.numbers(chunk);
        if *numbers == [0] && bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        for (index, found) in (0_u64..).zip(bytes.chunks(SECTOR_BYTES)) {
            let sector = chunk * (CHUNK_BYTES / 512) + index;
            let is_due = |number: &u64| sector_of(*number, sector) == found;
            ensure!(
                numbers.iter().any(is_due),
                "sector {sector} may hold the writes {numbers:?}, and holds {}",
                name_of(found, sector)
            );
        }
    }
    Ok(())
}

fn name_of(found: &[u8], sector: u64) -> String {
    let number = |at: usize| {
        let field: Option<[u8; 8]> = found.get(at..at + 8).and_then(|field| field.try_into().ok());
        u64::from_le_bytes(field.unwrap_or_default())
    };
    let (write, place) = (number(0), number(8));
    if sector_of(write, place) != found {
        return "something that was never written".to_owned();
    }
    match write {
        0 => "zeros".to_owned(),
        _ if place != sector => format!("write {write} of sector {place}"),
        _ => format!("write {write}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(numbers: &[u64]) -> ModelVolume {
        let chunks = [(1, numbers.to_vec())].into();
        ModelVolume { size: 1 << 20, chunks, ..ModelVolume::default() }
    }

    #[test]
    fn only_what_may_be_there_passes() {
        let bytes = pattern(7, 4096, 4096).unwrap();
        check(&volume(&[7]), 4096, &bytes).unwrap();
        check(&volume(&[0, 7]), 4096, &bytes).unwrap();
        let refused = |numbers: &[u64], offset, bytes: &[u8], word: &str| {
            let error = check(&volume(numbers), offset, bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(&[8], 4096, &bytes, "holds write 7");
        refused(&[7], 4096, &[0; 4096], "holds zeros");
        refused(&[7], 8192, &bytes, "[0], and holds write 7 of sector 8");
        refused(&[7], 4096, &pattern(7, 8192, 4096).unwrap(), "write 7 of sector 16");
        let noise: Vec<u8> = (0..=250).cycle().take(4096).collect();
        refused(&[7], 4096, &noise, "never written");
    }

    #[test]
    fn a_torn_write_passes_only_where_both_may_be() {
        let torn = [pattern(7, 4096, 512).unwrap(), pattern(8, 4608, 3584).unwrap()].concat();
        check(&volume(&[7, 8]), 4096, &torn).unwrap();
        assert!(check(&volume(&[8]), 4096, &torn).is_err());
    }
}
