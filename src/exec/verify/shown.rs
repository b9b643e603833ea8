//! Reads from /proc and the cgroup files what the kernel shows for each expected value.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};

use crate::host::resolver::Resolver;
use crate::observe::proc::{limit_of, status_of};
use crate::observe::{file, mountinfo};
use crate::plan::call::user::IdRange;
use crate::plan::expect::Expected;
use crate::sys::sealed;
use crate::text::printed;
use crate::text::{text, text_with};

/// What the kernel shows for an expected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A text. Each run of blanks is one blank.
    Text(String),
    /// The lines of an ID map, in order.
    IdMap(Vec<IdRange>),
    /// The topmost mount on a path.
    Mount {
        /// The type of its filesystem.
        filesystem: String,
        /// Its options, `rw,nosuid`.
        options: String,
    },
    /// There is no such file, line or mount.
    Absent,
    /// The path of a mount does not exist.
    NoPath,
    /// The value cannot be read, with the reason.
    Unreadable(String),
}

impl Shown {
    /// The whole text of a file. A missing file is `Absent`.
    pub fn of_file(read: io::Result<String>) -> Shown {
        match read {
            Ok(content) => Shown::Text(one_line(&content)),
            Err(error) => Shown::of_error(&error),
        }
    }

    fn of_error(error: &io::Error) -> Shown {
        match error.kind() {
            io::ErrorKind::NotFound => Shown::Absent,
            _ => Shown::Unreadable(crate::error::io_text(error)),
        }
    }

    fn of_part(part: Option<String>) -> Shown {
        part.map_or(Shown::Absent, Shown::Text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Text(text) => f.write_str(text),
            Shown::IdMap(map) => f.write_str(&ranges_text(map)),
            Shown::Mount { filesystem, options } => write!(f, "{filesystem} {options}"),
            Shown::Absent => f.write_str(&text("verify.absent")),
            Shown::NoPath => f.write_str("ENOENT"),
            Shown::Unreadable(why) => f.write_str(&text_with("verify.unread", &[("why", why)])),
        }
    }
}

/// The lines of an ID map as one text.
pub(super) fn ranges_text(map: &[IdRange]) -> String {
    map.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The files of a process in /proc. Each is read once, so that all its lines show the same moment.
#[derive(Debug)]
pub struct ProcessFiles {
    /// The directory, `/proc/self` or `/proc/PID`.
    pub(super) process: String,
    /// The same directory, open. The kernel then resolves shorter paths.
    directory: rustix::io::Result<OwnedFd>,
    read: BTreeMap<&'static str, Result<String, Shown>>,
    /// The mount table, which is used for many mount points.
    mounts: OnceCell<Result<MountsOnTop, Shown>>,
    /// The root directory of the process, to look for paths that are not in the mount table.
    root: OnceCell<Option<fs::File>>,
}

/// The topmost mount on each mount point.
type MountsOnTop = BTreeMap<PathBuf, Shown>;

impl ProcessFiles {
    /// The files in `/proc/self` or `/proc/PID`.
    pub fn of(process: &str) -> ProcessFiles {
        let directory = openat(CWD, process, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        ProcessFiles {
            process: process.to_owned(),
            directory,
            read: BTreeMap::new(),
            mounts: OnceCell::new(),
            root: OnceCell::new(),
        }
    }

    /// The files of the calling process in this /proc.
    pub(super) fn of_self(proc: OwnedFd) -> ProcessFiles {
        let directory = openat(proc, "self", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        ProcessFiles { directory, ..ProcessFiles::of("/proc/self") }
    }

    /// Whether the program of the process is a sealed copy.
    pub(super) fn is_program_sealed(&self) -> io::Result<bool> {
        Ok(sealed::is_sealed(&self.open("exe")?))
    }

    /// What the kernel shows for an expected value. `address` is the address that was claimed.
    pub fn look(&mut self, expected: &Expected, address: Option<Ipv4Addr>) -> Shown {
        match expected {
            Expected::Namespace { kind, .. } => Shown::of_file(self.link(&format!("ns/{kind}"))),
            Expected::EnteredNamespace { kind, .. } => Shown::of_file(self.link(&format!("ns/{kind}"))),
            Expected::InCgroup(line) => {
                self.part("cgroup", |table| table.lines().find(|shown| shown == line).map(str::to_owned))
            }
            Expected::Hostname(_) => whole(HOSTNAME),
            Expected::Sysctl { path, .. } => whole(path),
            Expected::Domainname(_) => whole(DOMAINNAME),
            Expected::Status { field, .. } => {
                self.part("status", |status| status_of(status, field.name()).map(one_line))
            }
            Expected::ResourceLimit { resource, .. } => {
                self.part("limits", |limits| Some(limit_of(limits, resource.line())?.join(" ")))
            }
            Expected::IdMap { kind, .. } => match self.file(kind.file()) {
                Ok(map) => id_map(map).map_or_else(|| Shown::Text(one_line(map)), Shown::IdMap),
                Err(shown) => shown.clone(),
            },
            Expected::ClaimedAddress => {
                let Some(address) = address else { return Shown::Absent };
                self.part("net/fib_trie", |trie| kind_of(trie, &address.to_string()))
            }
            Expected::DefaultRoute { .. } => {
                self.part("net/route", |routes| gateway_of(routes, Ipv4Addr::UNSPECIFIED))
            }
            Expected::Mount { at, .. } => self.mount(at),
            Expected::WorkingDirectory(_) => match self.link("cwd") {
                Ok(link) => Shown::Text(link),
                Err(error) => Shown::of_error(&error),
            },
            Expected::CgroupFile { directory, file, .. } => whole(directory.join(file)),
        }
    }

    /// Where [`ProcessFiles::look`] reads the value, for a message.
    pub fn place(&self, expected: &Expected, address: Option<Ipv4Addr>) -> String {
        let process = &self.process;
        match expected {
            Expected::Namespace { kind, .. } => format!("{process}/ns/{kind}"),
            Expected::EnteredNamespace { kind, .. } => format!("{process}/ns/{kind}"),
            Expected::InCgroup(_) => format!("{process}/cgroup"),
            Expected::Hostname(_) => HOSTNAME.into(),
            Expected::Sysctl { path, .. } => printed(path),
            Expected::Domainname(_) => DOMAINNAME.into(),
            Expected::Status { field, .. } => format!("{process}/status {}", field.name()),
            Expected::ResourceLimit { resource, .. } => format!("{process}/limits {}", resource.line()),
            Expected::IdMap { kind, .. } => format!("{process}/{}", kind.file()),
            Expected::ClaimedAddress => match address {
                Some(address) => format!("{process}/net/fib_trie {address}"),
                None => format!("{process}/net/fib_trie <address>"),
            },
            Expected::DefaultRoute { .. } => format!("{process}/net/route {}", Ipv4Addr::UNSPECIFIED),
            Expected::Mount { at, .. } => format!("{process}/mountinfo {}", printed(at)),
            Expected::WorkingDirectory(_) => format!("{process}/cwd"),
            Expected::CgroupFile { directory, file, .. } => printed(directory.join(file)),
        }
    }

    /// The whole text of a file.
    pub(super) fn file(&mut self, name: &'static str) -> Result<&str, &Shown> {
        if !self.read.contains_key(name) {
            let content = self.open(name).and_then(|opened| file::read_open(opened.into())).map(file::text);
            self.read.insert(name, content.map_err(|error| Shown::of_error(&error)));
        }
        self.read[name].as_deref()
    }

    /// The target of a symbolic link.
    pub(super) fn link(&self, name: &str) -> io::Result<String> {
        let directory = self.directory()?;
        Ok(file::text(readlinkat(directory, name, Vec::new())?.into_bytes()))
    }

    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(openat(self.directory()?, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn directory(&self) -> io::Result<&OwnedFd> {
        self.directory.as_ref().map_err(|errno| io::Error::from(*errno))
    }

    /// A part of a file.
    fn part(&mut self, name: &'static str, find: impl Fn(&str) -> Option<String>) -> Shown {
        match self.file(name) {
            Ok(content) => Shown::of_part(find(content)),
            Err(shown) => shown.clone(),
        }
    }

    /// The topmost mount on a path.
    fn mount(&self, at: &Path) -> Shown {
        let read = || self.open("mountinfo").and_then(|opened| file::read_open(opened.into()));
        let mounts = self.mounts.get_or_init(|| match read() {
            Ok(table) => Ok(mounts(&table)),
            Err(error) => Err(Shown::of_error(&error)),
        });
        match mounts {
            Ok(mounts) => match mounts.get(at) {
                Some(mount) => mount.clone(),
                None => self.mount_behind_links(mounts, at),
            },
            Err(shown) => shown.clone(),
        }
    }

    /// The topmost mount on a path with symbolic links. The mount table has paths without them.
    fn mount_behind_links(&self, mounts: &MountsOnTop, at: &Path) -> Shown {
        let root = format!("{}/root", self.process);
        let opened = self.root.get_or_init(|| fs::File::open(&root).ok());
        if opened.as_ref().is_some_and(|root| is_missing(root, at)) {
            return Shown::NoPath;
        }
        let place = Resolver::new(Some(Path::new(&root))).resolve(at);
        if let Some(mount) = mounts.get(&*place.container) {
            return mount.clone();
        }
        match place.host.map(|host| host.symlink_metadata()) {
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Shown::NoPath,
            Some(Err(error)) => Shown::Unreadable(crate::error::io_text(&error)),
            _ => Shown::Absent,
        }
    }
}

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const DOMAINNAME: &str = "/proc/sys/kernel/domainname";

/// The text of a file outside of the process's directory.
pub(super) fn whole(path: impl AsRef<Path>) -> Shown {
    Shown::of_file(file::read_text(path))
}

/// Whether a path does not exist below a root directory. This takes one system call; the resolver takes two for each
/// component.
fn is_missing(root: &fs::File, place: &Path) -> bool {
    let how = ResolveFlags::IN_ROOT;
    let found = openat2(root, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how);
    found.is_err_and(|error| error == rustix::io::Errno::NOENT)
}

/// The lines of an ID map, in order; none if the text is not an ID map.
fn id_map(content: &str) -> Option<Vec<IdRange>> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    let mut map = content.lines().map(range).collect::<Option<Vec<_>>>()?;
    map.sort_unstable();
    Some(map)
}

/// The topmost mount on each mount point: the last one in the table.
fn mounts(table: &[u8]) -> MountsOnTop {
    let shown = mountinfo::mounts(table).map(|mount| {
        let filesystem = printed(&mount.filesystem);
        let options = mount.options.into_owned();
        (mount.mount_point.into_owned(), Shown::Mount { filesystem, options })
    });
    shown.collect()
}

/// The kind of an address, from the line below it: `/32 host LOCAL`.
fn kind_of(trie: &str, address: &str) -> Option<String> {
    let mut lines = trie.lines();
    lines.find(|line| line.split_whitespace().last() == Some(address))?;
    Some(lines.next()?.trim().to_owned())
}

/// The gateway of a route. /proc/net/route prints an address as a hexadecimal number, in the byte order of this
/// machine.
fn gateway_of(routes: &str, network: Ipv4Addr) -> Option<String> {
    let address = |word: &str| Some(Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()));
    let mut lines = routes.lines().skip(1).map(|line| line.split_whitespace());
    let mut words = lines.find_map(|mut words| {
        let destination = address(words.nth(1)?)?;
        (destination == network).then_some(words)
    })?;
    Some(address(words.next()?)?.to_string())
}

/// A text in which each run of blanks is one blank.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel writes a variable number of fields before the dash, for the propagation, and a blank as `\\040`.
    #[test]
    fn the_last_mount_on_a_path_is_shown() {
        let table = b"1 0 8:1 / / ro,nosuid shared:1 master:2 - ext4 /dev/x rw\n\
            2 1 0:5 / /a\\040b rw - proc proc rw,hidepid=2\n3 1 0:6 / /a\\040b ro,nodev - tmpfs - rw\n";
        let mounts = mounts(table);
        assert_eq!(mounts[Path::new("/")].to_string(), "ext4 ro,nosuid");
        assert_eq!(mounts[Path::new("/a b")].to_string(), "tmpfs ro,nodev");
        assert_eq!(mounts.len(), 2);
    }

    /// The kernel aligns the columns, and sorts a map of more than five lines.
    #[test]
    fn an_id_map_is_read_in_any_order() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let shown = "         1     100000      65536\n         0       1000          1\n";
        assert_eq!(id_map(shown), Some(vec![range(0, 1000, 1), range(1, 100_000, 65_536)]));
        assert_eq!(id_map(""), Some(vec![]));
        assert_eq!(id_map("0 1000\n"), None);
    }

    #[test]
    fn a_route_has_its_gateway() {
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let routes = format!(
            "Iface\tDestination\tGateway\n eth0\t{}\t{}\t1\n eth0\t{}\t{}\t3\n",
            word([10, 111, 0, 0]),
            word([0; 4]),
            word([0; 4]),
            word([10, 111, 0, 1]),
        );
        assert_eq!(gateway_of(&routes, Ipv4Addr::UNSPECIFIED).as_deref(), Some("10.111.0.1"));
        assert_eq!(gateway_of(&routes, Ipv4Addr::new(10, 111, 0, 0)).as_deref(), Some("0.0.0.0"));
        assert_eq!(gateway_of(&routes, Ipv4Addr::new(10, 112, 0, 0)), None);
    }
}
