//! What the kernel shows of a process, by the places where a value is expected.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::{fs, io};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};

use crate::host;
use crate::host::files::unescape;
use crate::host::resolver::Resolver;
use crate::observe::proc::status_of;
use crate::plan::expect::{Expected, Wanted};

/// What stands somewhere; none where there is no such thing, and why it couldn't be read.
pub(super) type Value = std::result::Result<Option<String>, String>;

/// What is shown of a place that isn't there.
pub(super) const NOWHERE: &str = "ENOENT";

/// What the kernel shows of a process. Each file is read once: its lines are of one moment.
pub(super) struct Shown {
    /// Its folder, `/proc/self` or `/proc/PID`.
    process: String,
    /// The same, open: the way to each file in it is then half as long. None where it can't be opened, which each file tells.
    folder: Option<OwnedFd>,
    files: BTreeMap<String, Value>,
    /// The mount table, which is asked for many places.
    mounts: OnceCell<BTreeMap<String, String>>,
    /// Its root, by which places are looked for that the table doesn't have.
    root: OnceCell<Option<fs::File>>,
}

impl Shown {
    pub(super) fn by(process: &str) -> Shown {
        Shown {
            process: process.to_owned(),
            folder: openat(CWD, process, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok(),
            files: BTreeMap::new(),
            mounts: OnceCell::new(),
            root: OnceCell::new(),
        }
    }

    /// What stands where a value is expected.
    pub(super) fn of(&mut self, expected: &Expected) -> Value {
        let path: &str = &expected.path;
        if matches!(expected.wanted, Wanted::Own | Wanted::Shared) || path.ends_with("/cwd") {
            return value(self.link(path));
        }
        self.file(path);
        match self.files.get(path) {
            Some(Ok(Some(words))) => self.part_of(expected, words),
            Some(Err(why)) => Err(why.clone()),
            _ => Ok(None),
        }
    }

    /// A file as a whole.
    pub(super) fn file(&mut self, path: &str) -> &Value {
        if !self.files.contains_key(path) {
            let (folder, rest) = self.way(path);
            let opened = openat(folder, rest, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let words = opened.map_err(io::Error::from).and_then(|file| host::read_whole(file.into()));
            self.files.insert(path.to_owned(), value(words));
        }
        &self.files[path]
    }

    /// Where a link leads.
    pub(super) fn link(&self, path: &str) -> io::Result<String> {
        let (folder, rest) = self.way(path);
        Ok(readlinkat(folder, rest, Vec::new())?.to_string_lossy().into_owned())
    }

    /// The way to a file: from the process's folder on, where it's in there.
    fn way<'a>(&self, path: &'a str) -> (BorrowedFd<'_>, &'a str) {
        let inside = path.strip_prefix(&self.process).and_then(|rest| rest.strip_prefix('/'));
        match (&self.folder, inside) {
            (Some(folder), Some(rest)) => (folder.as_fd(), rest),
            _ => (CWD, path),
        }
    }

    /// The part of a file's words that is meant.
    fn part_of(&self, expected: &Expected, words: &str) -> Value {
        let Some(field) = expected.field.as_deref() else { return Ok(Some(one_line(words))) };
        if matches!(expected.wanted, Wanted::Mounted { .. }) {
            let mounts = self.mounts.get_or_init(|| mounts(words));
            return match mounts.get(field) {
                Some(mount) => Ok(Some(mount.clone())),
                None => self.elsewhere(mounts, field),
            };
        }
        Ok(match expected.path.rsplit('/').next() {
            // The name may have blanks in it, and is followed by the soft limit and the hard one. proc_pid_limits(5)
            Some("limits") => words
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")),
            Some("fib_trie") => kind_of(words, field),
            Some("route") => gateway_of(words, field),
            _ => status_of(words, field).map(one_line),
        })
    }

    /// What is mounted at a place that links lead to: the table has it without them.
    fn elsewhere(&self, mounts: &BTreeMap<String, String>, place: &str) -> Value {
        let root = format!("{}/root", self.process);
        let opened = self.root.get_or_init(|| fs::File::open(&root).ok());
        if opened.as_ref().is_some_and(|root| is_nowhere(root.as_fd(), place)) {
            return Ok(Some(NOWHERE.to_owned()));
        }
        let place = Resolver::new(Some(Path::new(&root))).resolve(Path::new(place));
        if let Some(mount) = mounts.get(&*place.container.to_string_lossy()) {
            return Ok(Some(mount.clone()));
        }
        match place.host.map(|today| today.symlink_metadata()) {
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Some(NOWHERE.to_owned())),
            Some(Err(error)) => Err(error.to_string()),
            _ => Ok(None),
        }
    }
}

/// Whether there's no such place below a root: one call, where to follow it takes two for each part.
fn is_nowhere(root: BorrowedFd<'_>, place: &str) -> bool {
    let how = ResolveFlags::IN_ROOT;
    let found = openat2(root, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how);
    found.is_err_and(|error| error == rustix::io::Errno::NOENT)
}

/// That there's no such file is an answer.
fn value(read: io::Result<String>) -> Value {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(words) => Ok(Some(words)),
    }
}

/// The filesystem and the options of the mount on top at each place: the last line of it. proc_pid_mountinfo(5)
fn mounts(table: &str) -> BTreeMap<String, String> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let (place, options) = (fields.next()?, fields.next()?);
        let filesystem = fields.skip_while(|field| *field != "-").nth(1)?;
        Some((unescape(place).into_owned(), [filesystem, options].join(" ")))
    };
    table.lines().filter_map(mount).collect()
}

/// The kind of an address, which stands in the line below it: `/32 host LOCAL`.
fn kind_of(trie: &str, address: &str) -> Option<String> {
    let mut lines = trie.lines();
    lines.find(|line| line.split_whitespace().last() == Some(address))?;
    Some(lines.next()?.trim().to_owned())
}

/// The gateway of a route. /proc/net/route prints the bytes of an address as a number of this machine.
fn gateway_of(routes: &str, network: &str) -> Option<String> {
    let address = |word: &str| Some(Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()));
    let mut lines = routes.lines().skip(1).map(|line| line.split_whitespace());
    let mut words = lines.find_map(|mut words| {
        let destination = address(words.nth(1)?)?;
        (destination.to_string() == network).then_some(words)
    })?;
    Some(address(words.next()?)?.to_string())
}

pub(super) fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel writes as many fields before the dash as a mount's propagation takes, and a blank as `\\040`.
    #[test]
    fn a_mount_is_known_by_its_place_and_the_last_one_counts() {
        let table = "1 0 8:1 / / ro,nosuid shared:1 master:2 - ext4 /dev/x rw\n\
            2 1 0:5 / /a\\040b rw - proc proc rw,hidepid=2\n3 1 0:6 / /a\\040b ro,nodev - tmpfs - rw\n";
        let mounts = mounts(table);
        assert_eq!(mounts["/"], "ext4 ro,nosuid");
        assert_eq!(mounts["/a b"], "tmpfs ro,nodev");
        assert_eq!(mounts.len(), 2);
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
        assert_eq!(gateway_of(&routes, "0.0.0.0").as_deref(), Some("10.111.0.1"));
        assert_eq!(gateway_of(&routes, "10.111.0.0").as_deref(), Some("0.0.0.0"));
        assert_eq!(gateway_of(&routes, "10.112.0.0"), None);
    }
}
