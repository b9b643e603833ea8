//! Makes a new filesystem: by fsopen(2), fsconfig(2) and fsmount(2), or for an overlay on an older kernel by mount(2).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::super::c_string;
use super::Attributes;
use crate::error::errno;

/// The option of overlayfs that adds one lower directory below those that were added before, since Linux 6.7.
const NEXT_LOWER: &str = "lowerdir+";

/// The directory with a link to each open file of this process.
const DESCRIPTORS: &str = "/proc/self/fd";

/// A new filesystem. The mount table shows the type as its source, which has no other use here.
///
/// Each option is passed on its own. A value has at most 255 bytes, enough for one path to a descriptor.
pub(super) fn make(kind: &str, options: &[(&str, &OsStr)], attributes: Attributes) -> Result<OwnedFd, Errno> {
    let make = || {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", kind)?;
        for (key, value) in options {
            if value.is_empty() {
                rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?;
            } else {
                rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
            }
        }
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(errno)
}

/// The calls of [`make`] as text.
pub(super) fn make_text<'a>(
    kind: &str,
    options: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    attributes: Attributes,
) -> String {
    let options = options.into_iter().map(|(key, value)| match value.is_empty() {
        true => format!("FSCONFIG_SET_FLAG, {}, NULL", c_string(key)),
        false => format!("FSCONFIG_SET_STRING, {}, {}", c_string(key), c_string(value)),
    });
    let source = format!("FSCONFIG_SET_STRING, \"source\", {}", c_string(kind));
    let create = "FSCONFIG_CMD_CREATE, NULL, NULL".to_owned();
    let options = [source].into_iter().chain(options).chain([create]);
    let configured: String = options.map(|option| format!("fsconfig(<{kind}>, {option}, 0); ")).collect();
    let opened = format!("fsopen({}, FSOPEN_CLOEXEC)", c_string(kind));
    format!("{opened}; {configured}fsmount(<{kind}>, FSMOUNT_CLOEXEC, {attributes})")
}

/// The same by mount(2), which needs a mount point. The filesystem is mounted over the root for a moment, and copied as a
/// detached mount. The layers are named relative to the directory of descriptors, so that 127 of them fit into a page.
pub(super) fn make_at_once(
    kind: &str,
    options: &[(&str, &OsStr)],
    attributes: Attributes,
) -> Result<OwnedFd, Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = rustix::fs::open(".", directory, rustix::fs::Mode::empty()).map_err(errno)?;
    nix::unistd::chdir(DESCRIPTORS)?;
    let flags = MsFlags::from_bits_truncate(attributes.0);
    let mounted = mount(Some(kind), "/", Some(kind), flags, Some(data(options).as_os_str()));
    nix::unistd::fchdir(before)?;
    mounted?;
    // `/` itself is the root below the new mount. `..` of it leads to the topmost mount. path_resolution(7)
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, "/..", flags).map_err(errno);
    umount2("/", MntFlags::MNT_DETACH)?;
    copy
}

/// The calls of [`make_at_once`] as text.
pub(super) fn make_at_once_text(kind: &str, options: &[(&str, &OsStr)], attributes: Attributes) -> String {
    let flags: Vec<String> = attributes
        .options()
        .iter()
        .map(|name| format!("MS_{}", name.replace("ro", "rdonly").to_uppercase()))
        .collect();
    let flags = if flags.is_empty() { "0".to_owned() } else { flags.join("|") };
    let (kind, data, directory) = (c_string(kind), c_string(data(options)), c_string(DESCRIPTORS));
    format!(
        "chdir({directory}); mount({kind}, \"/\", {kind}, {flags}, {data}); fchdir(<.>); \
         open_tree(AT_FDCWD, \"/..\", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC); umount2(\"/\", MNT_DETACH)"
    )
}

/// The options as mount(2) takes them: one string, with all lower directories in one option.
fn data(options: &[(&str, &OsStr)]) -> OsString {
    let relative = |value: &OsStr| {
        let value = value.as_bytes();
        let start = [DESCRIPTORS.as_bytes(), b"/"].concat();
        value.strip_prefix(start.as_slice()).unwrap_or(value).to_owned()
    };
    let lowers = options.iter().filter(|(key, _)| *key == NEXT_LOWER).map(|(_, value)| relative(value));
    let lowers = [b"lowerdir=".as_slice(), &lowers.collect::<Vec<_>>().join(b":".as_slice())].concat();
    let others = options.iter().filter(|(key, _)| *key != NEXT_LOWER).map(|(key, value)| {
        if value.is_empty() {
            key.as_bytes().to_owned()
        } else {
            [key.as_bytes(), b"=", &relative(value)].concat()
        }
    });
    let all: Vec<Vec<u8>> = std::iter::once(lowers).chain(others).collect();
    OsString::from_vec(all.join(b",".as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_127_layers_fit_into_a_page() {
        let mut options: Vec<(&str, OsString)> = vec![(NEXT_LOWER, "/proc/self/fd/3/init".into())];
        options.extend((900..1027).map(|number| (NEXT_LOWER, format!("/proc/self/fd/{number}").into())));
        options.extend([("upperdir", "/proc/self/fd/3/upper".into()), ("userxattr", OsString::new())]);
        let options: Vec<(&str, &OsStr)> =
            options.iter().map(|(key, value)| (*key, value.as_os_str())).collect();
        let data = data(&options).into_string().unwrap();
        assert!(data.starts_with("lowerdir=3/init:900:901:"), "{data}");
        assert!(data.ends_with(":1026,upperdir=3/upper,userxattr"), "{data}");
        assert!(data.len() < 4096, "{}", data.len());
        // The plan prints the same, with the names of the slots.
        let options = [(NEXT_LOWER, "<lower>"), (NEXT_LOWER, "<lower2>"), ("index", "off")];
        let options = options.map(|(key, value)| (key, OsStr::new(value)));
        let shown = make_at_once_text("overlay", &options, Attributes::NO_DEV);
        let mount =
            "mount(\"overlay\", \"/\", \"overlay\", MS_NODEV, \"lowerdir=<lower>:<lower2>,index=off\")";
        assert!(shown.contains(mount), "{shown}");
    }
}
