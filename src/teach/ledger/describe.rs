//! What a thing is, who holds it, a command that shows it, and one that removes it. The commands are printed, never
//! executed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::ThingKind;
use super::survey::{Survey, with_ancestors};
use crate::host::run_directory;
use crate::observe::file;
use crate::observe::processes::NamespaceHolder;
use crate::text::{first_of, printed, text_with};
use crate::value::paste::command_line;

/// A description of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its value: the line of mountinfo of a mount, the key of a System V object.
    #[serde(rename = "is", skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Who holds it: a process by name and PID, or where it is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Whether it is known to be of `sandbox`.
    pub ours: bool,
    /// Whether a process that runs holds it.
    #[serde(skip)]
    pub(super) is_alive: bool,
    /// Whether it is known to belong to another user, for an ordinary user: root and others make things meanwhile.
    #[serde(skip)]
    pub(super) is_of_others: bool,
    /// A command that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,
    /// A command that removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<String>,
}

/// The most processes that are named.
const MAX_NAMED: usize = 3;

/// A command line of these words.
fn line<const N: usize>(words: [&OsStr; N]) -> Option<String> {
    Some(command_line(words))
}

/// A command line of words and one name, which can be any bytes.
fn with_name(words: &str, name: &OsStr) -> Option<String> {
    Some(command_line(words.split(' ').map(OsStr::new).chain([name])))
}

impl Survey {
    /// Describes a thing that was found. `was` is its former value.
    pub(super) fn describe(&self, kind: ThingKind, key: &str, was: Option<&str>) -> Description {
        let value = self.ledger.things.get(&kind).and_then(|things| things.get(key)).cloned();
        let mut about = Description {
            value: value.unwrap_or_default(),
            holder: None,
            ours: false,
            is_alive: false,
            is_of_others: false,
            look: None,
            remove: None,
        };
        let Some(detail) = self.details.get(&(kind, key.to_owned())) else { return about };
        let is_of_root = is_only_for_root(kind) && !may_change_host();
        about.is_of_others = is_of_root || detail.owner.is_some_and(is_another_user);
        about.ours = detail.ours && !about.is_of_others;
        let (raw, path) = (detail.raw.as_os_str(), Path::new(&detail.raw));
        let ours = |words: &str| with_name(&format!("sandbox {words}"), raw);
        match kind {
            ThingKind::Namespaces => self.describe_namespace(key, &mut about),
            ThingKind::Processes => {
                let pid = key.rsplit(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
                let parent = self.processes.get(&pid).map_or(0, |entry| entry.parent);
                about.is_alive = true;
                about.holder = Some(text_with("ledger.child", &[("process", &self.process(parent))]));
                about.look = with_name("ps -f -p", raw);
                about.remove = self.ending(&[pid]);
            }
            ThingKind::Mounts => {
                about.look = with_name("findmnt", raw);
                about.remove = with_name("umount", raw);
            }
            ThingKind::Devices => {
                about.look = with_name("ip link show dev", raw);
                about.remove = with_name("ip link delete dev", raw);
            }
            ThingKind::Tables => {
                let mut parts = raw.as_bytes().splitn(2, |byte| *byte == b' ');
                let mut part = || OsStr::from_bytes(parts.next().unwrap_or_default());
                let (family, name) = (part(), part());
                let command =
                    |verb: &str| line([OsStr::new("nft"), verb.as_ref(), "table".as_ref(), family, name]);
                about.look = command("list");
                about.remove = command("delete");
            }
            ThingKind::SharedMemory | ThingKind::Semaphores | ThingKind::MessageQueues => {
                let flag = match kind {
                    ThingKind::SharedMemory => "-m",
                    ThingKind::Semaphores => "-s",
                    _ => "-q",
                };
                about.holder = detail.creator.map(|pid| self.creator(pid));
                about.is_alive = detail.creator.is_some_and(|pid| self.processes.contains_key(&pid));
                about.ours |= detail.creator.is_some_and(|pid| self.own.contains(&pid));
                about.look = with_name(&format!("ipcs {flag} -i"), raw);
                about.remove = with_name(&format!("ipcrm {flag}"), raw);
            }
            ThingKind::PosixQueues => {
                about.look = with_name("cat", raw);
                about.remove = with_name("rm", raw);
            }
            ThingKind::SharedFiles => {
                about.look = with_name("ls -ld", raw);
                about.remove = with_name(if path.is_dir() { "rm -r" } else { "rm" }, raw);
            }
            ThingKind::Cgroups => self.describe_cgroup(path, &mut about),
            ThingKind::Names => {
                let name = if raw == "hostname" { "hostname" } else { "domainname" };
                about.look = line([OsStr::new(name)]);
                about.remove = was.and_then(|was| with_name(name, was.as_ref()));
            }
            ThingKind::BlockDevices => {
                let (show, remove) = match raw.as_bytes().starts_with(b"dm-") {
                    true => ("dmsetup info", "dmsetup remove"),
                    false => ("losetup", "losetup -d"),
                };
                let device = Path::new("/dev").join(raw);
                about.look = with_name(show, device.as_os_str());
                about.remove = with_name(remove, device.as_os_str());
            }
            ThingKind::State => {
                about.look = with_name("ls -l", raw);
                let is_run = path.starts_with(run_directory::path());
                let supervisor = self.container_of_run(path).map(|(pid, _)| pid);
                let owner = supervisor.or_else(|| self.owner_of_run(path)).or_else(|| self.daemon_of(path));
                match owner.filter(|_| is_run) {
                    Some(pid) => {
                        about.is_alive = true;
                        about.holder = Some(self.process(pid));
                        about.remove = self.ending(&[pid]);
                    }
                    None if is_run => about.remove = Some("sandbox gc".to_owned()),
                    None => about.remove = with_name("rm -r", raw),
                }
            }
            ThingKind::Containers => {
                let supervisor = self.supervisors.iter().find(|(_, one)| one.id.short() == about.value);
                about.is_alive = supervisor.is_some();
                about.holder = supervisor.map(|(pid, _)| self.process(*pid));
                about.look = ours("inspect");
                about.remove = ours("rm -f");
            }
            ThingKind::Volumes => {
                about.look = ours("volume inspect");
                about.remove = ours("volume rm");
            }
            ThingKind::Images => {
                about.look = ours("image inspect");
                about.remove = ours("rmi");
            }
        }
        about
    }

    fn describe_namespace(&self, link: &str, about: &mut Description) {
        let kind = link.split(':').next().unwrap_or_default();
        let holders = self.held.get(link).map_or(&[][..], Vec::as_slice);
        let pids: Vec<i32> = holders
            .iter()
            .filter_map(|holder| match holder {
                NamespaceHolder::Process(pid) => Some(*pid),
                _ => None,
            })
            .collect();
        let rest = holders.iter().find(|holder| !matches!(holder, NamespaceHolder::Process(_)));
        match (pids.first(), rest) {
            (Some(first), _) => {
                about.is_alive = true;
                about.holder = Some(self.named(&pids));
                about.look = Some(format!("readlink /proc/{first}/ns/{kind}"));
                about.remove = self.may_be_killed(&pids).then(|| self.ending(&pids)).flatten();
            }
            (None, Some(NamespaceHolder::Mount(path))) => {
                about.holder = Some(text_with("ledger.mounted", &[("path", &printed(path))]));
                about.look = with_name("findmnt", path.as_os_str());
                about.remove = with_name("umount", path.as_os_str());
            }
            (None, Some(NamespaceHolder::Descriptor(pid, number))) => {
                let values = [("number", &*number.to_string()), ("process", &self.process(*pid))];
                about.is_alive = true;
                about.holder = Some(text_with("ledger.descriptor", &values));
                about.look = Some(format!("readlink /proc/{pid}/fd/{number}"));
                about.remove = self.may_be_killed(&[*pid]).then(|| self.ending(&[*pid])).flatten();
            }
            (None, _) => {}
        }
    }

    fn describe_cgroup(&self, path: &Path, about: &mut Description) {
        let members = file::read_text(path.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = members.lines().filter_map(|line| line.parse().ok()).collect();
        about.look = with_name("cat", path.join("cgroup.procs").as_os_str());
        match pids.is_empty() {
            true if has_processes_below(path) => {}
            true => about.remove = with_name("rmdir", path.as_os_str()),
            false => {
                about.is_alive = true;
                about.holder = Some(self.named(&pids));
                let containers: Option<Vec<_>> = pids.iter().map(|pid| self.container_of(*pid)).collect();
                about.remove = containers.and_then(|containers| self.removal(&containers));
            }
        }
    }

    /// The `sandbox` whose run has this directory, if it runs. The name of the directory begins with its PID.
    fn owner_of_run(&self, path: &Path) -> Option<i32> {
        let name = path.file_name()?.to_str()?;
        let pid = name.split_once('-')?.0.parse().ok()?;
        self.own.contains(&pid).then_some(pid)
    }

    /// The daemon to which this file of RUN belongs, if it runs: `daemon-HASH.json` has its PID, and its socket is `docker-HASH.sock`.
    fn daemon_of(&self, path: &Path) -> Option<i32> {
        let name = path.file_name()?.to_str()?;
        let hash = name.strip_prefix(run_directory::DAEMON).and_then(|rest| rest.strip_suffix(".json"));
        let hash = hash.or_else(|| name.strip_prefix("docker-")?.strip_suffix(".sock"))?;
        let about = path.with_file_name(format!("{}{hash}.json", run_directory::DAEMON));
        let about: serde_json::Value = serde_json::from_slice(&file::read(about).ok()?).ok()?;
        let pid = i32::try_from(about["process"]["pid"].as_i64()?).ok()?;
        self.own.contains(&pid).then_some(pid)
    }

    /// Processes by name and PID, the first few of them.
    fn named(&self, pids: &[i32]) -> String {
        let processes: Vec<String> = pids.iter().map(|pid| self.process(*pid)).collect();
        first_of(&processes, MAX_NAMED)
    }

    fn creator(&self, pid: i32) -> String {
        match self.processes.contains_key(&pid) {
            true => text_with("ledger.creator", &[("process", &self.process(pid))]),
            false => text_with("ledger.creator.ended", &[("pid", &pid.to_string())]),
        }
    }

    /// Whether to advise to kill these: only processes of `sandbox`, and what the caller's shell has started.
    fn may_be_killed(&self, pids: &[i32]) -> bool {
        let own = nix::unistd::getpid().as_raw();
        let is_root_shell = |pid: &i32| {
            let name = self.processes.get(pid).map(|entry| entry.name.as_str());
            *pid != own && !matches!(name, Some("sudo" | "su" | "doas"))
        };
        let shell = with_ancestors(&self.processes, own).find(is_root_shell).filter(|pid| *pid > 1);
        let callers: Vec<i32> = with_ancestors(&self.processes, own).collect();
        pids.iter().all(|pid| {
            let is_below = |shell| with_ancestors(&self.processes, *pid).any(|pid| pid == shell);
            !callers.contains(pid) && (self.own.contains(pid) || shell.is_some_and(is_below))
        })
    }
}

/// Whether a cgroup below this one has a process. Then rmdir(2) removes neither of them.
fn has_processes_below(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.any(|entry| {
        let members = file::read_text(entry.path().join("cgroup.procs")).unwrap_or_default();
        !members.is_empty() || has_processes_below(&entry.path())
    })
}

/// The first ID that can be a subordinate one: then it is the caller's own, in a user namespace. login.defs(5)
const FIRST_SUBORDINATE: u32 = 65_536;

/// Whether such things belong to a namespace of the caller, in which only a process with capabilities can make them.
fn is_only_for_root(kind: ThingKind) -> bool {
    use ThingKind::{BlockDevices, Devices, Mounts, Names, Tables};
    [BlockDevices, Devices, Mounts, Names, Tables].contains(&kind)
}

/// Whether the caller may change the mounts and the network of its own namespaces.
fn may_change_host() -> bool {
    let may = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN);
    nix::unistd::geteuid().is_root() || may.unwrap_or(false)
}

/// Whether an ID is that of another user. To root, all belongs.
fn is_another_user(owner: u32) -> bool {
    let caller = nix::unistd::geteuid();
    !caller.is_root() && owner != caller.as_raw() && owner < FIRST_SUBORDINATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_an_ordinary_user_the_things_of_others_are_known() {
        let caller = nix::unistd::geteuid();
        assert_eq!(is_another_user(0), !caller.is_root());
        assert!(!is_another_user(caller.as_raw()) && !is_another_user(FIRST_SUBORDINATE));
    }
}
