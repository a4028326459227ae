//! Extended attributes, among them access control lists.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Where Linux keeps the access control list of a file or folder, and the one that a folder hands down.
const ACCESS_LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// The longest list of names, and the longest value, that Linux takes.
const LONGEST: usize = 1 << 16;

/// Names and values.
pub(super) type Attributes = Vec<(OsString, Vec<u8>)>;

/// Those of an open file or folder; those that cannot be read are left out.
pub(super) fn read(file: impl AsFd) -> Attributes {
    let mut names = vec![0_u8; LONGEST];
    let Ok(length) = rustix::fs::flistxattr(&file, &mut names) else { return Vec::new() };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(OsStr::from_bytes);
    let mut value = vec![0_u8; LONGEST];
    names
        .filter_map(|name| {
            let length = rustix::fs::fgetxattr(&file, name, &mut value).ok()?;
            Some((name.to_owned(), value[..length].to_vec()))
        })
        .collect()
}

/// Gives a new file or folder these. Its mode has to be set afterwards.
///
/// # Errors
///
/// The first that cannot be set; the others are. What only root may set (`security`, `trusted`) is then left out.
pub(super) fn write(file: impl AsFd, attributes: &Attributes) -> Result<(), Errno> {
    let mut failed = Ok(());
    for (name, value) in attributes {
        let only_root = [&b"security."[..], b"trusted."].iter().any(|start| name.as_bytes().starts_with(start));
        match rustix::fs::fsetxattr(&file, name.as_os_str(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP) if only_root => {}
            Err(errno) => failed = failed.and(Err(errno)),
        }
    }
    // It may have got a list from the folder that it stands in, which lets in others than the mode says.
    for list in ACCESS_LISTS.iter().filter(|list| !attributes.iter().any(|(name, _)| name == **list)) {
        match rustix::fs::fremovexattr(&file, *list) {
            // A file has no list that it hands down, which some filesystems call forbidden.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS) => {}
            Err(errno) => failed = failed.and(Err(errno)),
        }
    }
    failed
}
