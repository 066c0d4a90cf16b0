//! The attributes of one mount, set while it is not attached anywhere.
//!
//! Attaching first and making it read-only afterwards would not do: what is attached below a shared
//! mount appears in other namespaces with the attributes of that moment, the host's among them, and
//! later changes stay where they are made.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// Everything that is set or cleared here.
const ALL: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
    .union(MountAttrFlags::MOUNT_ATTR_NODIRATIME)
    .union(MountAttrFlags::MOUNT_ATTR__ATIME);

/// `struct mount_attr` of the kernel (include/uapi/linux/mount.h).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Gives the mount these attributes and no other ones.
pub(super) fn set_attributes(mount: &OwnedFd, attributes: MountAttrFlags) -> Result<(), Errno> {
    let wanted = MountAttr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: u64::from(ALL.bits()),
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads an empty string that is static, and `size_of::<MountAttr>()` bytes
    // of a structure of its own layout that lives until the call returns; it writes nothing. The
    // descriptor is open for as long as `mount` is borrowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
