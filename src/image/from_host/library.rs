//! Where the dynamic loader finds a library. ld.so(8)
//!
//! It looks in the directories that the file itself names (DT_RPATH, DT_RUNPATH), then in /etc/ld.so.cache, then in the
//! system's directories. LD_LIBRARY_PATH is left out: the container has an environment of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::elf::{ElfFile, ElfMachine};

/// The loader's list of libraries.
pub(super) const CACHE: &str = "/etc/ld.so.cache";

/// How the current format of the list begins. An older one may be before it in the file.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";

/// Directories that a file names, with the directory of the file itself for `$ORIGIN`.
#[derive(Debug, Clone)]
pub(super) struct NamedDirectories(Vec<PathBuf>);

impl NamedDirectories {
    /// Reads `/a:$ORIGIN/../lib`.
    pub(super) fn of(written: Option<&[u8]>, file: &Path, machine: ElfMachine) -> NamedDirectories {
        let origin = file.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes();
        let lib = if machine.is_64() { &b"lib64"[..] } else { b"lib" };
        let directory = |part: &[u8]| {
            let mut part = part.to_owned();
            for (variable, value) in
                [(&b"$ORIGIN"[..], origin), (b"${ORIGIN}", origin), (b"$LIB", lib), (b"${LIB}", lib)]
            {
                part = replaced(&part, variable, value);
            }
            PathBuf::from(OsStr::from_bytes(&part))
        };
        let parts = written.unwrap_or_default().split(|byte| *byte == b':').filter(|part| !part.is_empty());
        NamedDirectories(parts.map(directory).collect())
    }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundLibrary {
    pub(super) path: PathBuf,
    /// Only the loader's list leads to it. So the container needs that list too.
    pub(super) is_by_cache: bool,
}

/// The libraries of this machine.
pub(super) struct Libraries {
    /// The loader's list: names and paths.
    cached: Vec<(Vec<u8>, PathBuf)>,
}

impl Libraries {
    /// Reads the loader's list. Without one, only directories are looked at.
    pub(super) fn of_host() -> Libraries {
        Libraries { cached: cached(&fs::read(CACHE).unwrap_or_default()) }
    }

    /// Finds a library for a file of this machine type. `above` are the directories of DT_RPATH and DT_RUNPATH.
    pub(super) fn find(
        &self,
        name: &[u8],
        machine: ElfMachine,
        above: &[&NamedDirectories],
    ) -> Option<FoundLibrary> {
        let fits = |path: &Path| matches!(opened(path), Some(elf) if elf.machine == machine);
        let file = Path::new(OsStr::from_bytes(name));
        if name.contains(&b'/') {
            let path = file.to_owned();
            return fits(&path).then_some(FoundLibrary { path, is_by_cache: false });
        }
        let named = above.iter().flat_map(|directories| &directories.0);
        let system = system_directories(machine);
        let mut all = named.chain(&system).map(|directory| directory.join(file));
        let cached = || self.cached.iter().filter(|(own, _)| own == name).map(|(_, path)| path.clone());
        if let Some(path) = all.find(|path| fits(path)) {
            return Some(FoundLibrary { path, is_by_cache: false });
        }
        let path = cached().find(|path| fits(path))?;
        Some(FoundLibrary { path, is_by_cache: true })
    }
}

/// What a path leads to, if it is an ELF file.
fn opened(path: &Path) -> Option<ElfFile> {
    super::elf::read(&super::open(path).ok()?).ok()?
}

/// The directories in which each loader looks: of Debian, of Fedora, of musl.
fn system_directories(machine: ElfMachine) -> Vec<PathBuf> {
    let multiarch = machine.multiarch().into_iter();
    let multiarch = multiarch.flat_map(|name| [format!("/lib/{name}"), format!("/usr/lib/{name}")]);
    let wide: &[&str] = if machine.is_64() { &["/lib64", "/usr/lib64"] } else { &[] };
    let others = wide.iter().chain(&["/lib", "/usr/lib"]).map(|name| (*name).to_owned());
    multiarch.chain(others).map(PathBuf::from).collect()
}

/// The names and paths of a list. An entry for a special processor is left out: each library has a plain one too, and the image
/// shall not depend on the processor.
fn cached(list: &[u8]) -> Vec<(Vec<u8>, PathBuf)> {
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let Some(start) = list.windows(MAGIC.len()).position(|window| window == MAGIC) else { return Vec::new() };
    let list = &list[start..];
    let number = |at: usize| {
        let bytes: [u8; 4] = list.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes) as usize)
    };
    let text = |at: usize| {
        let rest = list.get(at..)?;
        Some(rest[..rest.iter().position(|byte| *byte == 0)?].to_owned())
    };
    let count = number(MAGIC.len()).unwrap_or_default().min(list.len() / ENTRY);
    let entry = |at: usize| {
        let is_plain = list.get(at + 16..at + 24)?.iter().all(|byte| *byte == 0);
        let path = PathBuf::from(OsStr::from_bytes(&text(number(at + 8)?)?));
        is_plain.then_some((text(number(at + 4)?)?, path))
    };
    (0..count).filter_map(|index| entry(HEADER + index * ENTRY)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_be_relative_to_the_file() {
        let own = super::super::elf::read(&fs::File::open("/proc/self/exe").unwrap()).unwrap().unwrap();
        let named = NamedDirectories::of(
            Some(b"$ORIGIN/../lib:/x::${ORIGIN}"),
            Path::new("/opt/a/bin/a"),
            own.machine,
        );
        assert_eq!(named.0, ["/opt/a/bin/../lib", "/x", "/opt/a/bin"].map(PathBuf::from));
    }

    #[test]
    fn a_damaged_list_is_no_panic() {
        let whole = fs::read(CACHE).unwrap_or_default();
        assert!(cached(&whole).iter().all(|(name, path)| path.ends_with(OsStr::from_bytes(name))));
        for length in (0..whole.len()).step_by(97) {
            cached(&whole[..length]);
        }
        assert!(cached(&[MAGIC, &[0xff; 100]].concat()).is_empty());
    }
}
