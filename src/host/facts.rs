//! What of this machine, and of the caller's place in it, decides whether the kernel says yes. Read in this one place,
//! and only when something failed or `doctor` runs: a run that succeeds reads none of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use caps::{CapSet, Capability};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Subordinate;
use crate::feature::Feature;
use crate::observe::{Unread, file, mountinfo, proc};

/// Facts, as they can be recorded on one machine (`sandbox doctor --format json`) and judged on another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The file of this program: what a profile would have to name.
    pub program: String,
    /// The kernel's release by uname(2), which needs no /proc: `6.8.0-45-generic`.
    pub release: String,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The effective capabilities that are there, by capget(2): `CAP_SYS_ADMIN`.
    pub capabilities: Vec<String>,
    /// Whether /proc is a mounted proc filesystem.
    pub proc_is_mounted: bool,
    /// Files that matter, by path, each with its words. One that isn't there, or can't be read, is missing here.
    /// One field of a longer file stands as `/proc/self/status Seccomp`.
    pub files: BTreeMap<String, String>,
    /// The namespaces that /proc/self/ns lists: those that this kernel was built with.
    pub namespaces: Vec<String>,
    /// What is mounted below /proc: a container's masks.
    pub over_proc: Vec<String>,
    /// Whether this process's root isn't the root of its mount namespace.
    pub is_chrooted: bool,
    /// The file or the variable that says that this is a container.
    pub container: Option<String>,
    /// How many ids /etc/subuid lends to the caller.
    pub lent_ids: u32,
    /// Whether newuidmap is installed.
    pub newuidmap: bool,
}

/// The whole files that are read.
const FILES: &[&str] = &[
    "/proc/sys/kernel/unprivileged_userns_clone",
    APPARMOR_SWITCH,
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/sys/fs/selinux/enforce",
];

/// Ubuntu's switch: whether a program without a profile is denied its capabilities in a new user namespace.
pub(crate) const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
/// Where AppArmor shows the caller's profile; on older kernels all security modules share the second file.
const PROFILE: [&str; 2] = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
/// The profile of the process that was being made.
pub(crate) const CHILDS_PROFILE: &str = "/proc/<child>/attr/apparmor/current";
/// The fields of /proc/self/status that are read.
const STATUS: &[&str] = &["Seccomp", "NoNewPrivs"];
/// Files that container engines put into what they make.
const MARKERS: &[&str] = &["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];

impl Facts {
    /// Looks at this machine.
    pub fn read() -> Facts {
        let uid = nix::unistd::geteuid().as_raw();
        let subordinate = Subordinate::gather(uid, &mut Unread::default());
        let table = mountinfo::read("/proc/self").unwrap_or_default();
        Facts {
            program: program(),
            release: nix::sys::utsname::uname()
                .map(|names| names.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            uid,
            gid: nix::unistd::getegid().as_raw(),
            capabilities: capabilities(),
            proc_is_mounted: fs::metadata("/proc/self/ns").is_ok(),
            files: files(),
            namespaces: Feature::NAMESPACES
                .iter()
                .map(|feature| feature.name().to_owned())
                .filter(|name| fs::symlink_metadata(format!("/proc/self/ns/{name}")).is_ok())
                .collect(),
            over_proc: below_proc(&table),
            is_chrooted: is_chrooted(&table),
            container: container(),
            lent_ids: subordinate.uids.iter().map(|(_, count)| count).sum(),
            newuidmap: subordinate.newuidmap.is_some(),
        }
    }

    /// The same, with the AppArmor profile of the process that was being made: making a user namespace may have changed
    /// it. It has ended, perhaps, but nobody has waited for it yet.
    pub(crate) fn read_with(made: Option<Pid>) -> Facts {
        let mut facts = Facts::read();
        if let Some(made) = made
            && let Some(label) = words(&CHILDS_PROFILE.replace("<child>", &made.to_string()))
        {
            facts.files.insert(CHILDS_PROFILE.into(), label);
        }
        facts
    }

    /// The number in a file.
    pub(crate) fn number(&self, file: &str) -> Option<u64> {
        self.files.get(file)?.parse().ok()
    }

    /// How many namespaces of a kind the caller may have, in this user namespace.
    pub(crate) fn limit(&self, feature: Feature) -> Option<u64> {
        self.number(&limit_file(feature))
    }

    /// Whether a capability is effective.
    pub fn has(&self, capability: Capability) -> bool {
        let name = capability.to_string();
        self.capabilities.contains(&name)
    }

    /// The kernel's version, `(6, 8)`.
    pub fn version(&self) -> (u32, u32) {
        let mut numbers = self.release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next())
    }

    /// Windows's Linux: 1 is a translation of system calls without namespaces, 2 a real kernel.
    pub fn wsl(&self) -> Option<u8> {
        let release = self.release.to_lowercase();
        release.contains("microsoft").then(|| if release.contains("wsl2") { 2 } else { 1 })
    }

    /// The file in which AppArmor shows the caller's profile, and the profile: `unconfined`, `docker-default (enforce)`.
    pub fn profile(&self) -> Option<(&str, &str)> {
        let (file, label) = PROFILE.iter().find_map(|file| self.files.get_key_value(*file))?;
        // SELinux uses the shared file for its own, `user_u:user_r:user_t:s0`.
        let is_apparmor = label == "unconfined" || label.ends_with(')');
        is_apparmor.then_some((file.as_str(), label.as_str()))
    }

    /// Whether a system call filter is on.
    pub fn is_filtered(&self) -> bool {
        self.number("/proc/self/status Seccomp").is_some_and(|mode| mode != 0)
    }
}

/// The sysctl of a kind's limit, which counts per user and per user namespace: namespaces(7).
pub(crate) fn limit_file(feature: Feature) -> String {
    format!("/proc/sys/user/max_{feature}_namespaces")
}

fn files() -> BTreeMap<String, String> {
    let limits = Feature::NAMESPACES.iter().copied().map(limit_file);
    let whole = FILES.iter().chain(&PROFILE).map(|path| (*path).to_owned()).chain(limits);
    let mut files: BTreeMap<String, String> = whole
        .filter_map(|path| {
            let words = words(&path)?;
            Some((path, words))
        })
        .collect();
    let status = file::read_text("/proc/self/status").unwrap_or_default();
    for field in STATUS {
        if let Some(value) = proc::status_of(&status, field) {
            files.insert(format!("/proc/self/status {field}"), value.to_owned());
        }
    }
    files
}

/// A file's words on one line. A security module may end its label with a NUL.
fn words(path: &str) -> Option<String> {
    let words = file::read_text(path).ok()?;
    Some(words.trim_end_matches('\0').split_whitespace().collect::<Vec<_>>().join(" "))
}

/// As the kernel knows it; without /proc, or from a mount that is nowhere (`exec::own`), as it was called, which is enough
/// to call it again.
fn program() -> String {
    let known = std::env::current_exe().ok().filter(|path| path.exists());
    let path = known.or_else(|| std::env::args_os().next().map(Into::into));
    path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

fn capabilities() -> Vec<String> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<String> = effective.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// The mount points below /proc. The directory of binfmt_misc is made to be mounted on. So nothing is hidden there, and the
/// kernel does not count it.
fn below_proc(table: &[u8]) -> Vec<String> {
    let mut points: Vec<String> = mountinfo::mounts(table)
        .map(|mount| file::path_text(&mount.mount_point))
        .filter(|point| point.starts_with("/proc/") && !point.starts_with("/proc/sys/fs/binfmt_misc"))
        .collect();
    points.dedup();
    points
}

/// mountinfo lists what is mounted at or below this process's root: in a chroot to a plain directory nothing is at `/`.
/// In one to a mount point only process 1 can tell, where it may be looked at and has the same mount table.
fn is_chrooted(table: &[u8]) -> bool {
    if !table.is_empty() && !mountinfo::mounts(table).any(|mount| mount.is_on("/")) {
        return true;
    }
    let same_table = matches!(
        (fs::read_link("/proc/1/ns/mnt"), fs::read_link("/proc/self/ns/mnt")),
        (Ok(first), Ok(own)) if first == own
    );
    let place = |path| fs::metadata(path).map(|root| (root.dev(), root.ino())).ok();
    same_table && matches!((place("/proc/1/root/."), place("/")), (Some(first), Some(own)) if first != own)
}

fn container() -> Option<String> {
    let file = MARKERS.iter().find(|path| fs::metadata(path).is_ok()).map(|path| (*path).to_owned());
    file.or_else(|| std::env::var("container").ok().map(|kind| format!("$container = {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_numbers_first() {
        let version = |release: &str| Facts { release: release.into(), ..Facts::default() }.version();
        assert_eq!(version("6.8.0-45-generic"), (6, 8));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), (5, 15));
        assert_eq!(version("6.1-rc3"), (6, 1));
        assert_eq!(version(""), (0, 0));
    }

    #[test]
    fn the_two_kinds_of_wsl_are_told_apart() {
        let wsl = |release: &str| Facts { release: release.into(), ..Facts::default() }.wsl();
        assert_eq!(wsl("4.4.0-19041-Microsoft"), Some(1));
        assert_eq!(wsl("5.15.167.4-microsoft-standard-WSL2"), Some(2));
        assert_eq!(wsl("6.8.0-45-generic"), None);
    }

    #[test]
    fn masks_are_what_is_mounted_below_proc() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /proc rw - proc proc rw\n3 2 0:6 /null /proc/kcore rw - tmpfs x rw\n";
        assert_eq!(below_proc(table), ["/proc/kcore"]);
        assert!(!is_chrooted(table));
        assert!(is_chrooted(b"2 1 0:5 / /proc rw - proc proc rw\n"));
        assert!(!is_chrooted(b""), "without a mount table nothing is known");
    }

    #[test]
    fn what_selinux_says_is_no_profile() {
        let mut facts = Facts::default();
        facts.files.insert("/proc/self/attr/current".into(), "user_u:user_r:user_t:s0".into());
        assert_eq!(facts.profile(), None);
        facts.files.insert("/proc/self/attr/apparmor/current".into(), "docker-default (enforce)".into());
        assert_eq!(facts.profile(), Some(("/proc/self/attr/apparmor/current", "docker-default (enforce)")));
    }
}
