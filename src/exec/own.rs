//! Our own program, kept out of reach of what it starts.
//!
//! Every process leads to its program's file: /proc/PID/exe is a link that no root and no mount table stops. While a program
//! runs the kernel refuses writes to its file (ETXTBSY), but not a change of its mode, and it ends some time. So whoever is
//! root in a container, without a map of ids, could change `sandbox` outside, which root outside runs next: CVE-2019-5736.
//! Processes of ours that are inside can't be looked into by that link (Phase::Shut). One way is left: a command that
//! begins `#!/proc/self/exe`, or is a link there, makes the kernel execute *us* as the command, open to all in there.
//!
//! So `run` and `enter` execute themselves once more, from a copy of the mount that their file lies on, which refuses
//! writes and is nowhere in any mount table. The link then leads there. It costs one execve(2) before anything is done
//! (0.3 ms where a start takes 4), and only where the caller may write to the file: who can't, can't be made to. Nothing less
//! holds: the link is followed as the command begins, by the kernel, in the process that is us until then. A sealed copy in
//! memory (memfd_create(2)) would do the same, for the time of copying 6 MB at each start.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::wait::waitpid;
use nix::unistd::AccessFlags;
use rustix::mount::OpenTreeFlags;

use crate::error::Error;
use crate::plan::call::tree::Attributes;
use crate::plan::gate::Channel;
use crate::sys;
use crate::sys::clone::{Cloned, clone3};
use crate::text::text;

const PROGRAM: &str = "/proc/self/exe";

/// Goes on as the same program with the same arguments, from where nobody can write to it. Comes back where that is so
/// already, and where it can't be had: a kernel that refuses this refuses the root of a container too, so there is none.
///
/// # Errors
/// Any other failure: nothing is begun without it.
pub fn protect(arguments: &[OsString]) -> crate::error::Result<()> {
    let may_write =
        nix::unistd::faccessat(nix::fcntl::AT_FDCWD, PROGRAM, AccessFlags::W_OK, AtFlags::AT_EACCESS);
    if may_write.is_err() {
        return Ok(());
    }
    match again(arguments) {
        Ok(never) => match never {},
        // No right to it, or no user namespaces; no such call, or such a program: it was deleted, or is of another mount table.
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EUSERS | Errno::ENOSYS | Errno::EINVAL | Errno::ENOENT) => {
            Ok(())
        }
        Err(errno) => Err(Error::failed(text("run.own.cannot"))
            .call("execveat(<copy of its mount>)", errno)
            .why(text("run.own.why"))),
    }
}

fn again(arguments: &[OsString]) -> Result<Infallible, Errno> {
    let program = std::fs::read_link(PROGRAM).map_err(|_| Errno::ENOENT)?;
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else {
        return Err(Errno::ENOENT);
    };
    let mount = match fixed(folder) {
        Err(Errno::EPERM) => fixed_by_another(folder)?,
        made => made?,
    };
    let words = |words: Vec<Vec<u8>>| words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let arguments = words(arguments.iter().map(|word| word.as_bytes().to_vec()).collect());
    let environment = words(
        std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')).collect(),
    );
    let (Ok(arguments), Ok(environment)) = (arguments, environment) else { return Err(Errno::EINVAL) };
    // By its name, so that ps(1) shows that name.
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    nix::unistd::execveat(&mount, &name, &arguments, &environment, AtFlags::empty())
}

/// A copy of the mount of a folder that refuses writes. open_tree(2), mount_setattr(2)
fn fixed(folder: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(rustix::fs::CWD, folder, flags)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    sys::mount::set_attributes(mount.as_fd(), Attributes::READ_ONLY.0, false, None)?;
    Ok(mount)
}

/// The same for who isn't root: a process in a user namespace of its own may copy mounts, and what it made stays.
fn fixed_by_another(folder: &Path) -> Result<OwnedFd, Errno> {
    let (own, its) = Channel::pair()?;
    match clone3((libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64, None)? {
        Cloned::Child => {
            drop(own);
            let made = fixed(folder).and_then(|mount| its.send(&(), &[mount.as_fd()]));
            sys::exit(i32::from(made.is_err()))
        }
        Cloned::Parent(child, _) => {
            drop(its);
            let answer = own.receive::<()>();
            let _ = waitpid(child, None);
            answer?.and_then(|((), mut mounts)| mounts.pop()).ok_or(Errno::EPERM)
        }
    }
}
