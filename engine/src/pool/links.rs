//! `/dev/thinly/POOL/NAME`: convenience for people. Nothing in the engine depends on a link.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Points a link at a device node, replacing what is there. A machine where `/dev` cannot be
/// written works without links: the node is named in every view.
pub(super) fn write_link(link: &Path, node: &Path) {
    // Most often only the link itself is missing.
    match symlink(node, link) {
        Ok(()) => return,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(link).is_ok_and(|target| target == node) {
                return;
            }
            let _ = fs::remove_file(link);
        }
        Err(_) => {
            let _ = link.parent().map(fs::create_dir_all);
        }
    }
    let _ = symlink(node, link);
}

/// Removes a link, and its directory when that was the last one.
pub(super) fn remove_link(link: &Path) {
    let _ = fs::remove_file(link);
    if let Some(directory) = link.parent() {
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_follows_its_device_and_leaves_no_directory_behind() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("p0/web");
        write_link(&link, Path::new("/dev/dm-1"));
        write_link(&link, Path::new("/dev/dm-2"));
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/dev/dm-2"));
        remove_link(&link);
        assert!(!root.path().join("p0").exists());
    }
}
