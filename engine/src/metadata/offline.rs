//! Opening metadata that no pool uses.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::error::MetadataError;
use super::source::{BlockSource, ImageFile};
use crate::block_device::{Access, BlockDevice};

/// Opens an image file, or a metadata device that nothing holds: what an open pool writes would
/// change under the reader's hands.
pub fn open_offline(path: &Path) -> Result<Box<dyn BlockSource>, MetadataError> {
    let fail = |source| MetadataError::OpenImage { path: path.to_owned(), source };
    let file_type = fs::metadata(path).map_err(fail)?.file_type();
    if file_type.is_block_device() {
        let device = BlockDevice::open(path, Access::ExclusiveRead)
            .map_err(|source| MetadataError::Device { block: 0, source })?;
        return Ok(Box::new(device));
    }
    if file_type.is_file() {
        return Ok(Box::new(ImageFile::open(path)?));
    }
    // Opening a pipe would wait for its other end.
    Err(fail(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is neither a file nor a block device",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_opened_and_others_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        assert_eq!(open_offline(file.path()).unwrap().block_count(), 2);
        for (path, kind) in [
            ("/dev/null", io::ErrorKind::InvalidInput),
            ("/", io::ErrorKind::InvalidInput),
            ("/no/such", io::ErrorKind::NotFound),
        ] {
            match open_offline(Path::new(path)).err() {
                Some(MetadataError::OpenImage { source, .. }) => assert_eq!(source.kind(), kind),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
