//! What the kernel saw: the calls of each process, in the form in which a plan prints them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::net::Ipv4Addr;

use regex_lite::Captures;

use crate::netlink::Asked;
use crate::strace::{Trace, Traced};
use crate::{Item, general, pattern, replace};

/// Calls that change nothing that exists after them, or only memory, signals and descriptors of the process itself. Every
/// other call must be part of the plan, or is named in [`Kernel::is_background`].
const BACKGROUND: &str = "
    access faccessat faccessat2 fadvise64 fstat fstatfs getcwd getdents64 getrandom getxattr lgetxattr lseek lstat
    newfstatat openat2 pread64 read readlink readlinkat readv stat statfs statx sysinfo uname
    capget clock_gettime getegid geteuid getgid getgroups getpeername getpgid getpgrp getpid getppid getpriority getresgid getresuid
    getsid getsockname getsockopt gettid getuid rt_sigpending sched_getaffinity sched_yield
    futex nanosleep clock_nanosleep poll ppoll recvfrom recvmsg restart_syscall rt_sigtimedwait wait4 waitid
    brk madvise mmap mprotect mremap munmap
    kill pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack signalfd4 tgkill
    close dup pidfd_open umask
    arch_prctl exit exit_group rseq set_robust_list set_tid_address";

/// Options of prctl(2) that `sandbox` sets for itself, or only reads.
const OWN_PRCTL: [&str; 5] =
    ["PR_SET_CHILD_SUBREAPER", "PR_SET_NAME", "PR_GET_", "PR_CAPBSET_READ", "PR_SET_MM_MAP_SIZE"];

/// Requests of ioctl(2) that change something.
const CHANGING_IOCTL: [&str; 6] =
    ["FIONBIO", "SIOCS", "TIOCSPTLCK", "TIOCGPTPEER", "TIOCSWINSZ", "TIOCSCTTY"];

/// What a descriptor refers to.
#[derive(Debug, Clone, Default)]
struct Descriptor {
    /// The path with which it was opened: absolute, or relative to the root of a tree of mounts.
    path: String,
    is_gate: bool,
    is_netfilter: bool,
}

/// The state that is needed to name what a call refers to.
struct Kernel {
    /// The descriptors of each process, by their number.
    descriptors: HashMap<String, HashMap<String, Descriptor>>,
    asked: Asked,
    /// The address that was claimed: a table has its name.
    address: Option<Ipv4Addr>,
}

/// The calls of each process up to its execve(2), in the order in which the processes appear; and the address that was
/// claimed for the container.
pub(crate) fn seen(trace: &Trace) -> (Vec<Vec<Item>>, Option<Ipv4Addr>) {
    let mut kernel = Kernel { descriptors: HashMap::new(), asked: Asked::default(), address: None };
    let mut calls: HashMap<&str, Vec<Item>> = HashMap::new();
    let mut executed: HashSet<&str> = HashSet::new();
    let mut dropped: HashMap<&str, BTreeSet<String>> = HashMap::new();
    // The first call is the execve(2) of `sandbox` itself.
    for traced in &trace.calls[1..] {
        let pid = traced.pid.as_str();
        if executed.contains(pid) {
            continue;
        }
        if !kernel.descriptors.contains_key(pid) {
            let inherited = trace.parents.get(pid).and_then(|parent| kernel.descriptors.get(parent));
            let inherited = inherited.cloned().unwrap_or_default();
            kernel.descriptors.insert(pid.to_owned(), inherited);
        }
        let list = calls.entry(pid).or_default();
        if let Some(capability) = traced.call.strip_prefix("prctl(PR_CAPBSET_DROP, ") {
            let all = dropped.entry(pid).or_default();
            if all.is_empty() {
                list.push(Item::must("prctl(PR_CAPBSET_DROP"));
            }
            all.insert(capability.trim_end_matches(')').to_owned());
            continue;
        }
        let item = kernel.item(traced);
        if !traced.result.starts_with('-') {
            kernel.note(traced);
            if traced.call.starts_with("execve(") {
                executed.insert(pid);
            }
        }
        list.extend(item.map(|item| Item { text: general(&item.text), ..item }));
    }
    for (pid, dropped) in dropped {
        let item = calls.get_mut(pid).unwrap().iter_mut().find(|item| item.text.contains("CAPBSET_DROP"));
        item.unwrap().text =
            general(&format!("prctl(PR_CAPBSET_DROP, ~[{}])", capabilities_without(&dropped)));
    }
    let lists = trace.processes.iter().filter_map(|pid| calls.remove(pid.as_str()));
    (lists.filter(|list| list.iter().any(|item| item.must)).collect(), kernel.address)
}

impl Kernel {
    fn descriptor(&self, pid: &str, number: &str) -> Descriptor {
        self.descriptors[pid].get(number).cloned().unwrap_or_default()
    }

    /// A descriptor as a plan prints it, without the name of its slot: `<etc/hosts>`. Standard descriptors stay numbers.
    fn named(&self, pid: &str, number: &str) -> String {
        match number {
            "0" | "1" | "2" => number.to_owned(),
            _ => format!("<{}>", self.descriptor(pid, number).path.trim_start_matches('/')),
        }
    }

    /// The call, if a plan must have it, or can have it. A call that has failed has changed nothing. But EEXIST counts as
    /// success for a directory that other runs use too.
    fn item(&mut self, traced: &Traced) -> Option<Item> {
        let Traced { pid, call, result, sent } = traced;
        let (name, arguments) = call.split_once('(')?;
        let has_failed = result.starts_with('-');
        let is_shared = name.starts_with("mkdir") && result.contains("EEXIST");
        if has_failed && !is_shared || self.is_background(pid, name, arguments) {
            return None;
        }
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        let text = match name {
            "sendto" if self.descriptor(pid, first).is_gate => "sendto(<>, \".\", 1)".to_owned(),
            "sendto" if self.descriptor(pid, first).is_netfilter => self.tables(sent)?,
            "sendto" => self.asked.message(pid, sent)?,
            "sendmsg" => {
                let is_read = arguments.contains('{');
                return Some(Item { text: "sendmsg(<>, <>)".to_owned(), must: is_read });
            }
            "openat" if is_root_of_tree(arguments) => {
                let text =
                    format!("openat(AT_FDCWD, \"{}\", O_PATH|O_DIRECTORY|O_CLOEXEC)", path_in(arguments));
                return Some(Item { text, must: false });
            }
            // The file of a namespace that is joined, or the FIFO by which the command is released.
            "openat" if call.contains("/dev/ptmx") || is_namespace(arguments) || is_fifo(arguments) => {
                return Some(Item { text: call.replace("|O_LARGEFILE", ""), must: false });
            }
            "openat" => replace(r"^openat\(\d+", &format!("openat({}", self.named(pid, first)), call),
            "socket" => return Some(Item { text: call.clone(), must: false }),
            "mount_setattr" => {
                let call = replace(r", attr_clr=0, propagation=0[^},]*(, userns_fd=0)?", "", call);
                replace(r"userns_fd=\d+", "userns_fd=<>", &self.with_names(pid, &call))
            }
            "clone" => replace(r", parent_tid=(\[\d+\]|0x[0-9a-f]+)", "", call),
            "clone3" => {
                let call = replace(r" => \{pidfd=\[\d+\]\}", "", call);
                let call = replace(r", cgroup=\d+", ", cgroup=<>", &call);
                replace(r", pidfd=0x[0-9a-f]+|, stack=NULL, stack_size=0", "", &call)
            }
            "bind" => {
                let address = pattern(
                    r#"\{sa_family=(AF_INET6?), sin6?_port=htons\((\d+)\), .*"([0-9a-f.:]+)".*\}, \d+"#,
                );
                let bound = |found: &Captures<'_>| match &found[1] {
                    "AF_INET6" => format!("{{AF_INET6, [{}]:{}}}", &found[3], &found[2]),
                    family => format!("{{{family}, {}:{}}}", &found[3], &found[2]),
                };
                address.replace(&self.with_names(pid, call), bound).into_owned()
            }
            "copy_file_range" | "sendfile"
                if self.descriptor(pid, copied(name, arguments)).path == "/proc/self/exe" =>
            {
                return Some(Item { text: "write(<>, <proc/self/exe>, <>)".to_owned(), must: false });
            }
            "execveat" => {
                "execveat(<>, \"\", argv, [environ, \"SANDBOX_SEALED_COPY=1\"], AT_EMPTY_PATH)".to_owned()
            }
            "bpf" => {
                let call = replace(
                    ", log_level=0,.*prog_flags=0",
                    "",
                    &replace("attach_bpf_fd=[0-9]+", "attach_bpf_fd=<>", call),
                );
                let cgroup = |found: &Captures<'_>| format!("target_fd={}", self.named(pid, &found[1]));
                pattern("target_fd=([0-9]+)").replace(&call, cgroup).into_owned()
            }
            "dup2" | "fchdir" => replace(r"^(dup2|fchdir)\(\d+", "$1(<>", call),
            // Of an undumpable process, strace of an ordinary user does not see the number.
            "ioctl" if arguments.contains("FIONBIO") => {
                let (text, must) = ("ioctl(<>, FIONBIO, [0])".to_owned(), arguments.contains("[0]"));
                return Some(Item { text, must });
            }
            "setns" => replace(r"setns\(\d+", "setns(<>", call),
            "pipe2" | "socketpair" => replace(r"\[\d+, \d+\]", "[<>, <>]", call),
            _ => self.with_names(pid, call),
        };
        Some(Item::must(&text))
    }

    /// Replaces the descriptors in a call, at the places where it has some.
    fn with_names(&self, pid: &str, call: &str) -> String {
        let places = [
            r"^((?:write|flock|mkdirat|mknodat|mount_setattr|move_mount|open_tree|fsconfig|fsmount|fchown|ioctl|bind|listen|setsockopt|fcntl)\()(\d+)\b",
            r#"^(symlinkat\("[^"]*", )(\d+)\b"#,
            r#"^(move_mount\([^,]*, "", )(\d+)\b"#,
        ];
        places.iter().fold(call.to_owned(), |call, place| {
            let name = |found: &Captures<'_>| format!("{}{}", &found[1], self.named(pid, &found[2]));
            pattern(place).replace(&call, name).into_owned()
        })
    }

    /// Whether a call changes nothing that a plan is about: see [`BACKGROUND`].
    fn is_background(&self, pid: &str, name: &str, arguments: &str) -> bool {
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        let is_own_file = |path: &str| path.starts_with("/run/sandbox") || path.starts_with(&run_directory());
        let in_run = || is_own_file(&self.descriptor(pid, first).path) || is_own_file(path_in(arguments));
        match name {
            // The messages of `sandbox` to its user, and to its own processes.
            "write" => ["1", "2"].contains(&first) || in_run() || self.descriptor(pid, first).path.is_empty(),
            "sendto" => self.descriptor(pid, first).is_gate && !arguments.contains(", \".\", 1"),
            // Of an undumpable process, strace of an ordinary user does not see what it sends.
            "sendmsg" => {
                let sends = |text: &str| arguments.contains(text);
                sends("{") && !sends("\\\"Terminal\\\"") && !sends("{\\\"Stream\\\"")
            }
            "open" => !arguments.contains("O_CREAT"),
            "openat" => {
                in_run()
                    || ["O_CREAT", "/dev/ptmx"].iter().all(|part| !arguments.contains(part))
                        && !is_root_of_tree(arguments)
                        && !is_namespace(arguments)
                        && !is_fifo(arguments)
            }
            "mkdir" | "mkdirat" | "unlink" | "unlinkat" | "rmdir" | "renameat" | "renameat2" | "fsync"
            | "fchmod" | "fdatasync" => in_run(),
            "flock" => {
                arguments.contains("LOCK_EX")
                    || arguments.contains("LOCK_UN")
                    || arguments.contains("LOCK_SH)")
            }
            "prctl" => OWN_PRCTL.iter().any(|option| arguments.contains(option)),
            // `sandbox` does not wait at descriptors of its own.
            "ioctl" if arguments.contains("FIONBIO, [1]") => true,
            "ioctl" => !CHANGING_IOCTL.iter().any(|request| arguments.contains(request)),
            "fcntl" => !arguments.contains("F_ADD_SEALS"),
            // A question without an answer that is set.
            "prlimit64" => arguments.contains(", NULL, "),
            "connect" | "getrlimit" => true,
            "socket" => arguments.contains("AF_NETLINK") || arguments.contains("AF_UNIX"),
            _ => BACKGROUND.split_whitespace().any(|one| one == name),
        }
    }

    /// A batch of messages about tables. The table's name has the address for which it is made.
    fn tables(&mut self, sent: &[u8]) -> Option<String> {
        let name = pattern(r"sandbox-(\d+\.\d+\.\d+\.\d+)");
        let text = String::from_utf8_lossy(sent);
        if let Some(found) = name.captures(&text) {
            self.address = found[1].parse().ok();
        }
        // NFT_MSG_GETTABLE and NFT_MSG_GETCHAIN ask for all tables and all chains.
        let is_request = [Some(&[1, 10][..]), Some(&[4, 10])].contains(&sent.get(4..6));
        // The first message only begins the batch.
        let is_removal = sent.get(24..26) == Some(&[2, 10]);
        match is_removal {
            true => Some("send(<nftables>, {NFT_MSG_DELTABLE})".to_owned()),
            false => (!is_request).then(|| format!("send(<nftables>, {})", hexadecimal(sent))),
        }
    }

    /// Notes what a call opens.
    fn note(&mut self, traced: &Traced) {
        let Traced { pid, call, result, .. } = traced;
        let (name, arguments) = call.split_once('(').unwrap_or_default();
        let first = arguments.split([',', ')']).next().unwrap_or_default();
        let result = result.split_whitespace().next().unwrap_or_default();
        let path = path_in(arguments);
        let opened = match name {
            // The root of a tree, from now on.
            "openat" if is_root_of_tree(arguments) || path == "/dev/ptmx" => Descriptor::default(),
            "openat" | "openat2" if first != "AT_FDCWD" && !path.starts_with('/') => {
                let above = self.descriptor(pid, first).path;
                let path = if above.is_empty() { path.to_owned() } else { format!("{above}/{path}") };
                Descriptor { path, ..Descriptor::default() }
            }
            "openat" | "openat2" => Descriptor { path: path.to_owned(), ..Descriptor::default() },
            "socket" => {
                Descriptor { is_netfilter: call.contains("NETLINK_NETFILTER"), ..Descriptor::default() }
            }
            "socketpair" | "pipe2" => {
                // strace of an ordinary user does not see those of an undumpable process.
                let Some(numbers) = pattern(r"\[(\d+), (\d+)\]").captures(call) else { return };
                let gate = Descriptor { is_gate: name == "socketpair", ..Descriptor::default() };
                let own = self.descriptors.get_mut(pid).unwrap();
                own.insert(numbers[1].to_owned(), gate.clone());
                own.insert(numbers[2].to_owned(), gate);
                return;
            }
            "fcntl" if call.contains("F_DUPFD") => self.descriptor(pid, first),
            "open_tree" | "fsopen" | "fsmount" | "memfd_create" | "pidfd_open" | "signalfd4" | "dup" => {
                Descriptor::default()
            }
            "close" => {
                self.descriptors.get_mut(pid).unwrap().remove(first);
                return;
            }
            _ => return,
        };
        self.descriptors.get_mut(pid).unwrap().insert(result.to_owned(), opened);
    }
}

/// Whether openat(2) opens a directory as a plan does, to name files below it. `O_RDONLY` is 0, and the kernel ignores
/// `O_LARGEFILE`.
fn is_root_of_tree(arguments: &str) -> bool {
    let flags = arguments.trim_end_matches(')').rsplit(", ").next().unwrap_or_default();
    let mut flags: Vec<&str> =
        flags.split('|').filter(|flag| !["O_RDONLY", "O_LARGEFILE"].contains(flag)).collect();
    flags.sort_unstable();
    flags == ["O_CLOEXEC", "O_DIRECTORY", "O_PATH"]
}

fn is_namespace(arguments: &str) -> bool {
    arguments.contains("/ns/") && arguments.contains("O_NONBLOCK")
}

fn is_fifo(arguments: &str) -> bool {
    ["O_NONBLOCK", "O_NOFOLLOW"].iter().all(|flag| arguments.contains(flag))
}

/// The descriptor of the file that is copied.
fn copied<'a>(name: &str, arguments: &'a str) -> &'a str {
    arguments.split(", ").nth(usize::from(name == "sendfile")).unwrap_or_default()
}

/// The text between the quotation marks of a call's first string.
fn path_in(arguments: &str) -> &str {
    arguments.split('"').nth(1).unwrap_or_default()
}

/// RUN, where each `sandbox` has its journal and its locks.
fn run_directory() -> String {
    sandbox::host::run_directory::path().to_str().unwrap().to_owned()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The capabilities of this machine, without these.
fn capabilities_without(dropped: &BTreeSet<String>) -> String {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse::<u8>().unwrap();
    let all = caps::all().into_iter().filter(|one| one.index() <= last).map(|one| one.to_string());
    let kept: BTreeSet<String> = all.filter(|name| !dropped.contains(name)).collect();
    kept.into_iter().collect::<Vec<_>>().join(" ")
}
