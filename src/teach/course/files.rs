//! Facts about files: those of a process, and those of the learner's work directory.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sys::stat::{major, minor};
use rustix::fs::{Dir, OFlags, fstat};
use rustix::termios::tcgetwinsize;

use super::fact::FactValue;
use crate::observe::file;
use crate::sys::in_root;

/// The targets of the links in a directory, one a line. A link that is removed meanwhile has none.
pub(super) fn links_in(directory: &str) -> std::io::Result<String> {
    let entries = std::fs::read_dir(directory)?;
    let targets = entries.flatten().filter_map(|entry| file::read_link(entry.path()).ok());
    Ok(targets.map(|target| target + "\n").collect())
}

/// The type and the numbers of a device file: `c 1:5`. Another file has neither.
pub(super) fn device(path: &str) -> FactValue {
    let found = std::fs::symlink_metadata(path).map(|metadata| {
        let (kind, device) = (metadata.file_type(), metadata.rdev());
        let letter = if kind.is_char_device() { "c" } else { "b" };
        let is_device = kind.is_char_device() || kind.is_block_device();
        is_device.then(|| format!("{letter} {}:{}", major(device), minor(device)))
    });
    match found {
        Ok(Some(numbers)) => FactValue::one(&numbers),
        Ok(None) => FactValue::refused("no device file"),
        Err(error) => FactValue::of(Err(error), FactValue::one),
    }
}

/// What is the file at a path below /proc/PID: its device and its number there. A path in `root` is one of the process: a
/// link in it must not lead to a file of the checker.
fn identity(process: &str, path: &str) -> io::Result<(u64, u64)> {
    match path.strip_prefix("root/") {
        Some(inside) => {
            let root = File::open(format!("{process}/root"))?;
            let found = fstat(in_root::open(root, inside, OFlags::PATH)?)?;
            Ok((found.st_dev, found.st_ino))
        }
        None => std::fs::metadata(format!("{process}/{path}")).map(|found| (found.dev(), found.ino())),
    }
}

/// Whether a path below /proc/PID and another path lead to one and the same file.
pub(super) fn are_one(process: &str, path: &str, other: &Path) -> FactValue {
    let same = identity(process, path).map(|found| {
        // Without the other file, it is another one.
        let is_one = std::fs::metadata(other).is_ok_and(|other| (other.dev(), other.ino()) == found);
        (if is_one { "yes" } else { "no" }).to_owned()
    });
    FactValue::of(same, FactValue::one)
}

/// Whether an executable is that of the checker, or a copy of it, also one to which something was added.
pub(super) fn is_copy_of_checker(path: &str) -> bool {
    let opened = |path: &str| {
        let file = File::open(path)?;
        let found = file.metadata()?;
        Ok::<_, io::Error>((BufReader::with_capacity(BLOCK, file), found))
    };
    let Ok(((mut own, own_found), (mut other, found))) =
        opened("/proc/self/exe").and_then(|own| Ok((own, opened(path)?)))
    else {
        return false;
    };
    if (found.dev(), found.ino()) == (own_found.dev(), own_found.ino()) {
        return true;
    }
    found.len() >= own_found.len() && begins_with(&mut other, &mut own).unwrap_or(false)
}

/// How many bytes of two files are compared at once.
const BLOCK: usize = 1 << 16;

/// Whether a file begins with the whole content of another one.
fn begins_with(file: &mut impl BufRead, beginning: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let (own, wanted) = (file.fill_buf()?, beginning.fill_buf()?);
        let length = own.len().min(wanted.len());
        if length == 0 {
            return Ok(wanted.is_empty());
        }
        if own[..length] != wanted[..length] {
            return Ok(false);
        }
        file.consume(length);
        beginning.consume(length);
    }
}

/// Whether a file of a directory is still one of those that were written there.
pub(super) fn shipped(directory: &Path, name: &str, all: &[(&str, Vec<u8>)]) -> FactValue {
    let Some((_, content)) = all.iter().find(|(known, _)| *known == name) else {
        return FactValue::refused("no such file");
    };
    let state = file::read(directory.join(name))
        .map(|now| (if now == *content { "unchanged" } else { "changed" }).to_owned());
    FactValue::of(state, FactValue::one)
}

/// The names in a directory, as the process sees it.
pub(super) fn names_in(process: &str, directory: &str) -> FactValue {
    let read = || -> io::Result<Vec<String>> {
        let root = File::open(format!("{process}/root"))?;
        let opened = in_root::open(root, directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(OsStr::from_bytes(name).to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    match read() {
        Ok(names) => FactValue::list(names),
        Err(error) => FactValue::of(Err(error), FactValue::one),
    }
}

/// The rows and the columns of the terminal that a link leads to. To open a terminal must not make it that of the checker.
pub(super) fn terminal_size(link: &str) -> FactValue {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let size = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(link)
        .and_then(|terminal| Ok(tcgetwinsize(&terminal)?))
        .map(|size| format!("{} {}", size.ws_row, size.ws_col));
    FactValue::of(size, FactValue::words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_an_executable_is_found_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::copy("/proc/self/exe", path("copy")).unwrap();
        let mut content = std::fs::read("/proc/self/exe").unwrap();
        content.push(0);
        std::fs::write(path("longer"), &content).unwrap();
        std::fs::write(path("shorter"), &content[..content.len() - 2]).unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", path("link")).unwrap();
        assert!(["copy", "longer", "link"].iter().all(|name| is_copy_of_checker(&path(name))));
        assert!(["shorter", "none"].iter().all(|name| !is_copy_of_checker(&path(name))));
        assert!(!is_copy_of_checker("/bin/sh"));
    }
}
