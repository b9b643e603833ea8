//! An image of this machine's own programs: `image from-host`.
//!
//! It has the programs, the libraries that they load, the dynamic loader, the interpreters of scripts, and the directories and symbolic
//! links on the way to them. All is found by reading: no program is executed. Owners and times are left out, so the same files give
//! the same digest, on each machine and for each user.

mod elf;
mod library;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use self::elf::ElfFile;
use self::library::{Libraries, NamedDirectories};
use super::Tell;
use super::entries::{ArchiveEntry, EntryKind};
use super::manifest::Platform;
use super::new_image::NewImage;
use super::store::{Ingest, StagedBlob};
use super::tar_writer::ArchiveWriter;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::{printed, text, text_with};

/// The maximum number of symbolic links on the way to a file, as in the kernel.
const MAX_LINKS: usize = 40;

/// The maximum length of the first line of a script, as in the kernel.
const MAX_FIRST_LINE: usize = 256;

/// Where programs are looked for in the image, and here if PATH is not set.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file of this machine that belongs to the image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HostEntry {
    Directory(u32),
    Symlink(Vec<u8>),
    File(u32),
}

/// The files that belong to the image.
pub struct HostFiles<'t> {
    entries: BTreeMap<PathBuf, HostEntry>,
    /// The programs, by the names under which the image has them.
    programs: Vec<PathBuf>,
    libraries: Libraries,
    /// What was looked into.
    seen: BTreeSet<PathBuf>,
    tell: Tell<'t>,
}

impl<'t> HostFiles<'t> {
    /// Finds the files of these programs: paths, or names that are looked for in PATH.
    ///
    /// # Errors
    /// A program or a library does not exist or cannot be read.
    pub fn of(programs: &[OsString], tell: Tell<'t>) -> Result<HostFiles<'t>> {
        let mut files = HostFiles {
            entries: BTreeMap::new(),
            programs: Vec::new(),
            libraries: Libraries::of_host(),
            seen: BTreeSet::new(),
            tell,
        };
        for program in programs {
            let path = in_path(program).ok_or_else(|| {
                let what = text_with("image.host.none", &[("program", &printed(program))]);
                Error::new(ExitKind::Refused, what).why(text("image.host.path"))
            })?;
            files.program(&path)?;
            files.programs.push(path);
        }
        files.top_links()?;
        Ok(files)
    }

    /// The number of regular files.
    pub fn count(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry, HostEntry::File(_))).count()
    }

    /// Adds a program, with all that it loads.
    fn program(&mut self, path: &Path) -> Result<()> {
        let file = self.add(path)?;
        if !self.seen.insert(file.clone()) {
            return Ok(());
        }
        let opened = open(&file).map_err(|error| unread(&file, &error))?;
        let mode = opened.metadata().map_err(|error| unread(&file, &error))?.mode();
        let not = |key: &str| {
            let what = text_with("image.host.program", &[("program", &printed(path))]);
            Err(Error::new(ExitKind::Refused, what).why(text(key)))
        };
        if mode & 0o111 == 0 {
            return not("image.host.mode");
        }
        let mut start = [0; MAX_FIRST_LINE];
        let count = (&opened).read(&mut start).map_err(|error| unread(&file, &error))?;
        if let Some(line) = start[..count].strip_prefix(b"#!") {
            return self.script(&file, line);
        }
        match elf::read(&opened).map_err(|error| unread(&file, &error))? {
            Some(elf) => self.elf_program(&file, elf),
            None => not("image.host.format"),
        }
    }

    /// Adds the interpreter of a script: of `#!/usr/bin/env sh` also the program that env(1) starts.
    fn script(&mut self, file: &Path, line: &[u8]) -> Result<()> {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let interpreter = Path::new(OsStr::from_bytes(words.next().unwrap_or_default()));
        (self.tell)(
            &format!("read(<{}>) = \"#!{}\"", printed(file), printed(OsStr::from_bytes(line))),
            "image.explain.script",
        );
        self.program(interpreter)?;
        if interpreter.file_name() == Some(OsStr::new("env")) {
            let started = words.find(|word| *word != b"-S" && !word.contains(&b'='));
            if let Some(program) = started.and_then(|name| in_path(OsStr::from_bytes(name))) {
                self.program(&program)?;
            }
        }
        Ok(())
    }

    /// Adds the dynamic loader and the libraries of a program, and the libraries of these.
    fn elf_program(&mut self, file: &Path, elf: ElfFile) -> Result<()> {
        let Some(loader) = elf.interpreter.clone() else {
            (self.tell)(&format!("read(<{}>)", printed(file)), "image.explain.static");
            return Ok(());
        };
        let loader = PathBuf::from(OsString::from_vec(loader));
        self.add(&loader)?;
        let machine = elf.machine;
        // Each file with the DT_RPATHs of those that need it.
        let mut left = VecDeque::from([(file.to_owned(), elf, Vec::<NamedDirectories>::new())]);
        let mut done = BTreeSet::new();
        while let Some((file, elf, mut above)) = left.pop_front() {
            let names: Vec<String> = elf.needed.iter().map(|name| printed(OsStr::from_bytes(name))).collect();
            let names = format!("read(<{}>): DT_NEEDED {}", printed(&file), names.join(" "));
            (self.tell)(&names, "image.explain.needed");
            above.insert(0, NamedDirectories::of(elf.rpath.as_deref(), &file, machine));
            let own = NamedDirectories::of(elf.runpath.as_deref(), &file, machine);
            for name in &elf.needed {
                if loader.file_name() == Some(OsStr::from_bytes(name)) {
                    continue;
                }
                // ld.so ignores each DT_RPATH for a file that has a DT_RUNPATH.
                let named: Vec<&NamedDirectories> = match elf.runpath {
                    Some(_) => vec![&own],
                    None => above.iter().collect(),
                };
                let found = self.libraries.find(name, machine, &named).ok_or_else(|| {
                    let name = printed(OsStr::from_bytes(name));
                    let values = [("library", &*name), ("file", &printed(&file))];
                    Error::new(ExitKind::Refused, text_with("image.host.library", &values))
                })?;
                if found.is_by_cache {
                    self.add(Path::new(library::CACHE))?;
                }
                let real = self.add(&found.path)?;
                if done.insert(real) {
                    let opened = open(&found.path).map_err(|error| unread(&found.path, &error))?;
                    let library = elf::read(&opened).map_err(|error| unread(&found.path, &error))?;
                    left.extend(library.map(|library| (found.path, library, above.clone())));
                }
            }
        }
        Ok(())
    }

    /// Adds a path: its directories, the symbolic links on the way, and the file. Returns the path of the file without links.
    fn add(&mut self, path: &Path) -> Result<PathBuf> {
        let failed = |why: String| {
            let what = text_with("image.host.unread", &[("path", &printed(path))]);
            Error::new(ExitKind::Refused, what).why(why)
        };
        let absolute = std::path::absolute(path).map_err(|error| failed(io_text(&error)))?;
        let mut left: VecDeque<OsString> = names(&absolute);
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let found = fs::symlink_metadata(&next).map_err(|error| failed(io_text(&error)))?;
            // The new owner is root: a program must not get more rights by that.
            let set_id = if found.uid() == 0 && found.gid() == 0 { 0o6000 } else { 0 };
            let mode = found.mode() & (0o1777 | set_id);
            if found.is_symlink() {
                links += 1;
                let target = fs::read_link(&next).map_err(|error| failed(io_text(&error)))?;
                if links > MAX_LINKS {
                    return Err(failed(text("image.tar.loop")));
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                names(&target).into_iter().rev().for_each(|name| left.push_front(name));
                self.entries.insert(next, HostEntry::Symlink(target.into_os_string().into_vec()));
                continue;
            }
            match (found.is_dir(), left.is_empty()) {
                (true, false) => self.entries.insert(next.clone(), HostEntry::Directory(mode)),
                (false, true) if found.is_file() => self.entries.insert(next.clone(), HostEntry::File(mode)),
                _ => return Err(failed(text("image.archive.nofile"))),
            };
            at = next;
        }
        Ok(at)
    }

    /// Adds the links in `/` that lead to a directory of the image: a script says `/bin/sh`, also where `/bin` is a link to `usr/bin`.
    fn top_links(&mut self) -> Result<()> {
        let entries = fs::read_dir("/").map_err(|error| unread(Path::new("/"), &error))?;
        for entry in entries.filter_map(std::result::Result::ok) {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let absolute = Path::new("/").join(&target);
            if matches!(self.entries.get(&absolute), Some(HostEntry::Directory(_))) {
                self.entries.insert(entry.path(), HostEntry::Symlink(target.into_os_string().into_vec()));
            }
        }
        Ok(())
    }

    /// Writes the files as a layer: in the order of their paths, all of root, all of 1970.
    fn layer(&self, ingest: &Ingest<'_>) -> Result<StagedBlob> {
        let mut writer = ArchiveWriter::new(io::BufWriter::new(ingest.blob()?));
        for (path, entry) in &self.entries {
            self.write(&mut writer, path, entry).map_err(|error| unread(path, &error))?;
        }
        let written = writer.finish().map_err(|error| ingest.unwritten(&error))?;
        let blob = written.into_inner().map_err(|error| ingest.unwritten(error.error()))?;
        Ok(ingest.staged(blob))
    }

    fn write(
        &self,
        writer: &mut ArchiveWriter<impl io::Write>,
        path: &Path,
        entry: &HostEntry,
    ) -> io::Result<()> {
        let name = path.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default().to_owned();
        let mut written = ArchiveEntry {
            kind: EntryKind::File,
            name,
            link: Vec::new(),
            size: 0,
            mode: 0o777,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: (0, 0),
            attributes: Vec::new(),
        };
        match entry {
            HostEntry::Directory(mode) => {
                (written.kind, written.mode) = (EntryKind::Directory, *mode);
                writer.entry(&written, &mut io::empty())
            }
            HostEntry::Symlink(target) => {
                (written.kind, written.link) = (EntryKind::Symlink, target.clone());
                writer.entry(&written, &mut io::empty())
            }
            HostEntry::File(mode) => {
                let mut file = open(path)?;
                (written.size, written.mode) = (file.metadata()?.len(), *mode);
                (self.tell)(&format!("read(<{}>)", printed(path)), "image.explain.hostfile");
                writer.entry(&written, &mut file)
            }
        }
    }

    /// Makes the image of these files. Its command is the first program.
    ///
    /// # Errors
    /// A file cannot be read, or the store cannot be written.
    pub fn image(&self, ingest: &Ingest<'_>) -> Result<NewImage> {
        let layer = self.layer(ingest)?;
        let named: Vec<String> = self.programs.iter().map(printed).collect();
        let here = Platform::here();
        let config = json!({
            "architecture": here.architecture,
            "os": here.os,
            "config": { "Env": [format!("PATH={PATH}")], "Cmd": named[..1] },
            "history": [{ "created_by": format!("from-host {}", named.join(" ")) }],
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        NewImage::of_layer(ingest, layer, &config)
    }
}

/// The names in a path, without `.` and the root.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

/// The path of a program. A name without a slash is looked for in PATH.
fn in_path(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return std::path::absolute(program).ok();
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let is_program =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0);
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(is_program)
}

/// Opens a regular file. A named pipe would block otherwise.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(text("image.archive.nofile"))),
    }
}

fn unread(path: &Path, error: &io::Error) -> Error {
    let what = text_with("image.host.unread", &[("path", &printed(path))]);
    Error::new(ExitKind::Refused, what).why(io_text(error))
}
