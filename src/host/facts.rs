//! Facts about this machine and the caller that decide which calls the kernel allows.
//!
//! They are read after a failure, and by `doctor`. A run that succeeds does not read them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use caps::{CapSet, Capability};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Subordinate;
use crate::feature::Feature;
use crate::observe::{Unread, file, mountinfo, proc};
use crate::text::printed;
use crate::value::typed::TypedCommand;

/// The facts. They can be recorded on one machine (`sandbox doctor --format json`) and evaluated on another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The path of this program, which an AppArmor profile has to name.
    pub program: String,
    /// The command line that failed, for advice. It is not recorded.
    #[serde(skip)]
    pub typed: Option<TypedCommand>,
    /// The kernel's release, from uname(2), which works without /proc: `6.8.0-45-generic`.
    pub release: String,
    /// The effective user ID.
    pub uid: u32,
    /// The effective group ID.
    pub gid: u32,
    /// The effective capabilities, from capget(2): `CAP_SYS_ADMIN`.
    pub capabilities: Vec<String>,
    /// Whether /proc is a mounted proc filesystem.
    pub proc_is_mounted: bool,
    /// Whether /proc shows only processes, because it is mounted with subset=pid.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proc_is_partial: bool,
    /// Whether /sys is no mounted sysfs.
    pub sys_is_missing: bool,
    /// The soft limit of open files: RLIMIT_NOFILE.
    pub open_files: u64,
    /// The content of some files, by path. A file that does not exist or cannot be read is missing here.
    /// The key of one field of a file is like `/proc/self/status Seccomp`.
    pub files: BTreeMap<String, String>,
    /// The kinds of namespaces in /proc/self/ns: those that this kernel was built with.
    pub namespaces: Vec<String>,
    /// The mount points below /proc: a container engine mounts over files there to mask them.
    pub over_proc: Vec<String>,
    /// Whether the root directory of this process is not the root of its mount namespace.
    pub is_chrooted: bool,
    /// The file or the environment variable that shows that this is a container.
    pub container: Option<String>,
    /// The number of user IDs that /etc/subuid grants to the caller.
    pub lent_ids: u32,
    /// Whether newuidmap is installed.
    pub newuidmap: bool,
}

/// The files that are read as a whole.
const FILES: &[&str] = &[
    "/proc/sys/kernel/unprivileged_userns_clone",
    APPARMOR_SWITCH,
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/sys/fs/selinux/enforce",
];

/// Ubuntu's sysctl: whether a program without an AppArmor profile is denied capabilities in a new user namespace.
pub(crate) const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
/// The files with the caller's AppArmor profile. On older kernels, all security modules share the second one.
const PROFILE: [&str; 2] = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
/// The file with the AppArmor profile of the process that was being set up.
pub(crate) const CHILDS_PROFILE: &str = "/proc/<child>/attr/apparmor/current";
/// The fields of /proc/self/status that are read.
const STATUS: &[&str] = &["Seccomp", "NoNewPrivs"];
/// Files that container engines create in their containers.
const MARKERS: &[&str] = &["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];

impl Facts {
    /// Reads the facts of this machine.
    pub fn read() -> Facts {
        let uid = nix::unistd::geteuid().as_raw();
        let subordinate = Subordinate::gather(uid, &mut Unread::default());
        let table = mountinfo::read("/proc/self").unwrap_or_default();
        Facts {
            program: program(),
            typed: None,
            release: nix::sys::utsname::uname().map(|names| printed(names.release())).unwrap_or_default(),
            uid,
            gid: nix::unistd::getegid().as_raw(),
            capabilities: capabilities(),
            proc_is_mounted: fs::metadata("/proc/self/ns").is_ok(),
            proc_is_partial: fs::metadata("/proc/self/ns").is_ok() && fs::metadata("/proc/sys").is_err(),
            sys_is_missing: fs::metadata("/sys/kernel").is_err(),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft).unwrap_or_default(),
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

    /// As [`Facts::read`], with the AppArmor profile of the process that was being set up. A new user namespace can
    /// change the profile. The process may have ended, but it is not reaped yet.
    pub(crate) fn read_with(made: Option<Pid>) -> Facts {
        let mut facts = Facts::read();
        if let Some(made) = made
            && let Some(label) = line_of(&CHILDS_PROFILE.replace("<child>", &made.to_string()))
        {
            facts.files.insert(CHILDS_PROFILE.into(), label);
        }
        facts
    }

    /// The number in a file.
    pub(crate) fn number(&self, file: &str) -> Option<u64> {
        self.files.get(file)?.parse().ok()
    }

    /// The maximum number of namespaces of a kind in the caller's user namespace.
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
        let mut numbers = self.release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next())
    }

    /// The version of the Windows Subsystem for Linux. Version 1 translates system calls and has no namespaces;
    /// version 2 is a real Linux kernel.
    pub fn wsl(&self) -> Option<u8> {
        let release = self.release.to_lowercase();
        release.contains("microsoft").then(|| if release.contains("wsl2") { 2 } else { 1 })
    }

    /// The file with the caller's AppArmor profile, and the profile: `unconfined`, `docker-default (enforce)`.
    pub fn profile(&self) -> Option<(&str, &str)> {
        let (file, label) = PROFILE.iter().find_map(|file| self.files.get_key_value(*file))?;
        // In the shared file, SELinux shows its own label: `user_u:user_r:user_t:s0`.
        let is_apparmor = label == "unconfined" || label.ends_with(')');
        is_apparmor.then_some((file.as_str(), label.as_str()))
    }

    /// Whether this process has a seccomp filter.
    pub fn is_filtered(&self) -> bool {
        self.number("/proc/self/status Seccomp").is_some_and(|mode| mode != 0)
    }
}

/// The sysctl with the limit for a kind of namespace. The kernel counts per user and per user namespace. namespaces(7)
pub(crate) fn limit_file(feature: Feature) -> String {
    format!("/proc/sys/user/max_{feature}_namespaces")
}

fn files() -> BTreeMap<String, String> {
    let limits = Feature::NAMESPACES.iter().copied().map(limit_file);
    let whole = FILES.iter().chain(&PROFILE).map(|path| (*path).to_owned()).chain(limits);
    let mut files: BTreeMap<String, String> = whole
        .filter_map(|path| {
            let line = line_of(&path)?;
            Some((path, line))
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

/// The text of a file on one line. A security module may end its label with a NUL byte.
fn line_of(path: &str) -> Option<String> {
    let text = file::read_text(path).ok()?;
    Some(text.trim_end_matches('\0').split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The path of this program, from /proc/self/exe. If there is no /proc, or the link leads to no file, it is argv[0].
fn program() -> String {
    let known = std::env::current_exe().ok().filter(|path| path.exists());
    let path = known.or_else(|| std::env::args_os().next().map(Into::into));
    path.map(printed).unwrap_or_default()
}

fn capabilities() -> Vec<String> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<String> = effective.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// The mount points below /proc, except binfmt_misc. Its directory exists only to be mounted on. So a mount there
/// hides nothing, and the kernel ignores it when it decides whether a new proc may be mounted.
fn below_proc(table: &[u8]) -> Vec<String> {
    let mut points: Vec<String> = mountinfo::mounts(table)
        .map(|mount| file::path_text(&mount.mount_point))
        .filter(|point| point.starts_with("/proc/") && !point.starts_with("/proc/sys/fs/binfmt_misc"))
        .collect();
    points.dedup();
    points
}

/// Whether this process is in a chroot. mountinfo lists the mounts at or below its root directory, so in a chroot to
/// a plain directory there is no mount on `/`. In a chroot to a mount point there is one. Then the root of process 1
/// is compared, if the caller may read it and it is in the same mount namespace.
fn is_chrooted(table: &[u8]) -> bool {
    if !table.is_empty() && !mountinfo::mounts(table).any(|mount| mount.is_on("/")) {
        return true;
    }
    let is_same_namespace = matches!(
        (fs::read_link("/proc/1/ns/mnt"), fs::read_link("/proc/self/ns/mnt")),
        (Ok(first), Ok(own)) if first == own
    );
    let place = |path| fs::metadata(path).map(|root| (root.dev(), root.ino())).ok();
    is_same_namespace
        && matches!((place("/proc/1/root/."), place("/")), (Some(first), Some(own)) if first != own)
}

fn container() -> Option<String> {
    let file = MARKERS.iter().find(|path| fs::metadata(path).is_ok()).map(|path| (*path).to_owned());
    file.or_else(|| std::env::var_os("container").map(|kind| format!("$container = {}", printed(kind))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_a_release() {
        let version = |release: &str| Facts { release: release.into(), ..Facts::default() }.version();
        assert_eq!(version("6.8.0-45-generic"), (6, 8));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), (5, 15));
        assert_eq!(version("6.1-rc3"), (6, 1));
        assert_eq!(version(""), (0, 0));
    }

    #[test]
    fn the_two_versions_of_wsl_are_distinguished() {
        let wsl = |release: &str| Facts { release: release.into(), ..Facts::default() }.wsl();
        assert_eq!(wsl("4.4.0-19041-Microsoft"), Some(1));
        assert_eq!(wsl("5.15.167.4-microsoft-standard-WSL2"), Some(2));
        assert_eq!(wsl("6.8.0-45-generic"), None);
    }

    #[test]
    fn mounts_below_proc_are_masks() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /proc rw - proc proc rw\n3 2 0:6 /null /proc/kcore rw - tmpfs x rw\n";
        assert_eq!(below_proc(table), ["/proc/kcore"]);
        assert!(!is_chrooted(table));
        assert!(is_chrooted(b"2 1 0:5 / /proc rw - proc proc rw\n"));
        assert!(!is_chrooted(b""), "without a mount table nothing is known");
    }

    #[test]
    fn a_label_of_selinux_is_not_an_apparmor_profile() {
        let mut facts = Facts::default();
        facts.files.insert("/proc/self/attr/current".into(), "user_u:user_r:user_t:s0".into());
        assert_eq!(facts.profile(), None);
        facts.files.insert("/proc/self/attr/apparmor/current".into(), "docker-default (enforce)".into());
        assert_eq!(facts.profile(), Some(("/proc/self/attr/apparmor/current", "docker-default (enforce)")));
    }
}
