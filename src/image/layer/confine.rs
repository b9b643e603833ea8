//! What the process that unpacks a layer gives up before it reads the first byte.

use std::os::fd::{AsFd, OwnedFd};

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chroot, fchdir, getegid, geteuid, setgroups, setresgid, setresuid};

use crate::plan::call::file::write_once;
use crate::plan::call::user::{IdMaps, IdRange};

/// A call that failed.
type Failed = (String, Errno);

/// The capabilities that the owners, the modes, the attributes and the devices of files need.
const KEPT: [Capability; 6] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_MKNOD,
    Capability::CAP_SETFCAP,
];

/// Makes a user namespace with these maps. `ask` lets the parent write them, and returns whether it has.
pub(super) fn enter_user_namespace(maps: &IdMaps, ask: impl FnOnce() -> bool) -> Result<(), Failed> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| ("unshare(CLONE_NEWUSER)".to_owned(), errno))?;
    if maps.are_own(uid, gid) {
        let lines = |ranges: &[IdRange]| ranges.iter().map(|range| format!("{range}\n")).collect::<String>();
        let files = [
            ("setgroups", "deny".to_owned()),
            ("uid_map", lines(&maps.users)),
            ("gid_map", lines(&maps.groups)),
        ];
        for (file, content) in files {
            write_once(format!("/proc/self/{file}"), &content)
                .map_err(|errno| (format!("write(</proc/self/{file}>)"), errno))?;
        }
    } else {
        if !ask() {
            return Err(("read(<maps>)".to_owned(), Errno::EPIPE));
        }
        setgroups(&[]).map_err(|errno| ("setgroups(0)".to_owned(), errno))?;
    }
    let first = |ranges: &[IdRange]| ranges.first().map_or(0, |range| range.inside);
    let gid = Gid::from_raw(first(&maps.groups));
    setresgid(gid, gid, gid).map_err(|errno| ("setresgid()".to_owned(), errno))?;
    let uid = Uid::from_raw(first(&maps.users));
    // The capabilities of the new namespace must outlive the change to a user that is not 0.
    nix::sys::prctl::set_keepcaps(true).map_err(|errno| ("prctl(PR_SET_KEEPCAPS)".to_owned(), errno))?;
    setresuid(uid, uid, uid).map_err(|errno| ("setresuid()".to_owned(), errno))
}

/// Makes the directory the root of this process, and drops all capabilities that are not needed.
pub(super) fn confine(directory: &OwnedFd, is_root: bool) -> Result<(), Failed> {
    let call = |name: &str| {
        let name = name.to_owned();
        move |errno| (name, errno)
    };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(call("prctl(PR_SET_PDEATHSIG)"))?;
    nix::sys::prctl::set_no_new_privs().map_err(call("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    fchdir(directory.as_fd()).map_err(call("fchdir(<layer>)"))?;
    chroot(".").map_err(call("chroot(\".\")"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut kept: CapsHashSet = KEPT.into_iter().collect();
    if is_root {
        // For trusted.overlay.opaque.
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    // Root in a container may lack some of them.
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    kept.retain(|capability| permitted.contains(capability));
    let none = CapsHashSet::new();
    for (set, wanted) in
        [(CapSet::Effective, &kept), (CapSet::Permitted, &kept), (CapSet::Inheritable, &none)]
    {
        caps::set(None, set, wanted).map_err(|_| ("capset()".to_owned(), Errno::EPERM))?;
    }
    Ok(())
}
