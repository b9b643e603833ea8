//! The processes in /proc, and the namespaces that something keeps alive.
//!
//! A process can end at any moment, also while its files are read. Then it is left out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::{file, mountinfo};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEntry {
    /// The PID of its parent.
    pub parent: i32,
    /// Its name, as in /proc/PID/comm, converted by [`file::text`].
    pub name: String,
}

/// The PIDs of all processes in /proc.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// All processes in /proc, by PID.
pub fn processes() -> BTreeMap<i32, ProcessEntry> {
    let entry = |pid: i32| {
        let stat = file::parse::<procfs::process::Stat>(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, ProcessEntry { parent: stat.ppid, name: stat.comm }))
    };
    pids().into_iter().filter_map(entry).collect()
}

/// When a process was started, in clock ticks since the machine started. With the PID it means one process for ever. None:
/// it has ended, or its file cannot be read.
pub fn started(pid: i32) -> Option<u64> {
    read_started(pid).ok()?
}

/// As [`started`].
///
/// # Errors
/// The file of a process that runs cannot be read.
pub fn read_started(pid: i32) -> io::Result<Option<u64>> {
    match file::parse::<procfs::process::Stat>(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok((!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What keeps a namespace alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceHolder {
    /// This process or one of its threads is in it, or its next child will be.
    Process(i32),
    /// This process has a descriptor of it, with this number.
    Descriptor(i32, i32),
    /// Its file is mounted here.
    Mount(PathBuf),
}

/// The namespaces that the caller can see.
#[derive(Debug, Default)]
pub struct HeldNamespaces {
    /// Each namespace with what holds it: `net:[4026531840]`.
    pub held: BTreeMap<String, Vec<NamespaceHolder>>,
    /// The number of processes whose namespaces the caller may not see.
    pub hidden: usize,
}

impl HeldNamespaces {
    /// Reads the links of these processes, and the files of namespaces in the caller's mount table.
    pub fn of<'a>(pids: impl IntoIterator<Item = &'a i32>) -> HeldNamespaces {
        let mut found = HeldNamespaces::default();
        for pid in pids {
            match found.add_process(*pid) {
                Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => found.hidden += 1,
                _ => {}
            }
        }
        let table = mountinfo::read("/proc/self").unwrap_or_default();
        for mount in mountinfo::mounts(&table).filter(|mount| *mount.filesystem == *"nsfs") {
            let holder = NamespaceHolder::Mount(mount.mount_point.to_path_buf());
            found.add(&file::path_text(&mount.root), holder);
        }
        found
    }

    fn add_process(&mut self, pid: i32) -> io::Result<()> {
        self.add_links(&format!("/proc/{pid}/ns"), pid)?;
        // A thread can be in other namespaces than its process.
        let threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task"))?.flatten().collect();
        for thread in threads.iter().filter(|_| threads.len() > 1) {
            let directory = format!("/proc/{pid}/task/{}/ns", thread.file_name().to_string_lossy());
            // The thread can have ended.
            let _ = self.add_links(&directory, pid);
        }
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
            let number = descriptor.file_name().to_str().and_then(|number| number.parse().ok());
            if let (Ok(link), Some(number)) = (file::read_link(descriptor.path()), number) {
                self.add(&link, NamespaceHolder::Descriptor(pid, number));
            }
        }
        Ok(())
    }

    fn add_links(&mut self, directory: &str, pid: i32) -> io::Result<()> {
        for entry in fs::read_dir(directory)?.flatten() {
            match file::read_link(entry.path()) {
                Ok(link) => self.add(&link, NamespaceHolder::Process(pid)),
                // pid_for_children has no target until the first child exists. pid_namespaces(7)
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Adds a holder, if the link is that of a namespace.
    fn add(&mut self, link: &str, holder: NamespaceHolder) {
        if !is_namespace(link) {
            return;
        }
        let holders = self.held.entry(link.to_owned()).or_default();
        // What one process holds is added without a break.
        if holders.last() != Some(&holder) {
            holders.push(holder);
        }
    }
}

/// Whether the target of a link is a namespace: `net:[4026531840]`. Other descriptors have such targets too:
/// `socket:[123]`.
fn is_namespace(link: &str) -> bool {
    let Some((kind, rest)) = link.split_once(":[") else { return false };
    let is_number = rest.strip_suffix(']').is_some_and(|number| number.parse::<u64>().is_ok());
    is_number && ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_that_of_a_namespace_or_not() {
        for link in ["net:[4026531840]", "time:[1]"] {
            assert!(is_namespace(link), "{link}");
        }
        for link in ["socket:[4026531840]", "net:[]", "net:[x]", "net:[1", "/net:[1]", "pipe:[7]", ""] {
            assert!(!is_namespace(link), "{link}");
        }
    }

    #[test]
    fn this_process_is_in_its_namespaces_and_holds_one_by_a_descriptor() {
        let own = std::process::id() as i32;
        assert!(processes().contains_key(&own) && pids().contains(&own));
        let file = fs::File::open("/proc/self/ns/uts").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let uts = file::read_link("/proc/self/ns/uts").unwrap();
        let held = HeldNamespaces::of(&[own]).held;
        assert!(held[&uts].contains(&NamespaceHolder::Process(own)), "{held:?}");
        assert!(held[&uts].contains(&NamespaceHolder::Descriptor(own, number)), "{held:?}");
        // A process that has ended holds nothing.
        assert_eq!(HeldNamespaces::of(&[i32::MAX]).hidden, 0);
    }
}
