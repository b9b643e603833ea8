//! Reads a tar archive, entry by entry.
//!
//! The `tar` crate finds the fields of a header. The numbers in them and what is around them are read here, because there
//! the readers of tar differ, and where two of them see different entries, an image is not what a scanner has seen. So an entry has the
//! name and the size that GNU tar and Python find too, or the archive is refused: a sparse file, an unknown type, two
//! names for one entry. tar(5), pax(1)

mod number;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::io_text;
use crate::text::{printed, text, text_with};

/// The size of a block of a tar archive.
const BLOCK: usize = 512;

/// The maximum size of an extension of a header, in bytes. Linux allows names of 4 KiB and attributes of 64 KiB.
const MAX_EXTENSION: u64 = 1 << 20;

/// The maximum number of attributes of a file. Linux lists at most 64 KiB of their names.
const MAX_ATTRIBUTES: usize = 1_000;

/// The maximum number of entries. The largest images that are in use have less than half of it.
const MAX_ENTRIES: u64 = 1_000_000;

/// The number of entries after which those that are left are counted before their files are made.
pub const MANY_ENTRIES: u64 = 20_000;

/// How much of an archive is read to count its entries. A larger archive takes long to unpack in any case.
const MAX_COUNTED: u64 = 1 << 30;

/// Reads the headers of an archive alone, and finds out whether there are too many of them. To make a million files takes a
/// minute, to read their headers a second. Other errors are those of the reader that makes the files.
///
/// # Errors
/// There are too many entries.
pub fn check_count(archive: impl Read) -> Result<(), Unreadable> {
    let mut entries = ArchiveEntries::new(archive.take(MAX_COUNTED));
    loop {
        match entries.next_entry() {
            Ok(Some(_)) => {}
            Err(error) if entries.count > MAX_ENTRIES => return Err(error),
            Ok(None) | Err(_) => return Ok(()),
        }
    }
}

/// The ID of an owner. 4294967295 is none: as (uid_t) -1, it means "leave as it is" to chown(2).
fn owner(id: u64) -> Option<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
}

/// Why an archive cannot be read: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Unreadable {
    fn because(key: &str, entry: &[u8]) -> Unreadable {
        Unreadable(text_with(key, &[("entry", &printed_bytes(entry))]))
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Unreadable {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Unreadable(text("image.tar.end")),
            _ => Unreadable(io_text(&error)),
        }
    }
}

/// A name of the archive, for a person.
pub(super) fn printed_bytes(name: &[u8]) -> String {
    use std::os::unix::ffi::OsStrExt;
    let (start, is_cut) = if name.len() > 200 { (&name[..200], "...") } else { (name, "") };
    printed(std::ffi::OsStr::from_bytes(start)) + is_cut
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file. Its content follows.
    File,
    /// A further name of a file that an earlier entry has made.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// An entry of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Its path, as it is written.
    pub name: Vec<u8>,
    /// The target of a link, as it is written.
    pub link: Vec<u8>,
    /// The size of its content.
    pub size: u64,
    /// The permissions.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was changed: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// The major and minor number of a device.
    pub device: (u32, u32),
    /// The extended attributes.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The entries of an archive. The content of the last one is read by [`Read`].
pub struct ArchiveEntries<R> {
    input: R,
    /// The content of the last entry that was not read.
    left: u64,
    /// What follows it to the end of the block.
    padding: u64,
    count: u64,
}

/// What a PAX header says about the next entry.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The types of the headers before the entry.
    kinds: Vec<u8>,
}

impl<R: Read> ArchiveEntries<R> {
    /// The entries of an archive that is not compressed.
    pub fn new(input: R) -> ArchiveEntries<R> {
        ArchiveEntries { input, left: 0, padding: 0, count: 0 }
    }

    /// The next entry. None: the end of the archive.
    ///
    /// # Errors
    /// The archive cannot be read, or readers differ about it.
    pub fn next_entry(&mut self) -> Result<Option<ArchiveEntry>, Unreadable> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return match !extensions.kinds.is_empty() {
                    true => Err(Unreadable(text("image.tar.end"))),
                    false => Ok(None),
                };
            };
            self.count += 1;
            if self.count > MAX_ENTRIES {
                return Err(Unreadable(text_with("image.tar.many", &[("most", &MAX_ENTRIES.to_string())])));
            }
            let size = number::unsigned(&header.as_old().size).ok_or_else(|| wrong_number(&header))?;
            let name = header.path_bytes().into_owned();
            let kind = header.as_old().linkflag[0];
            // GNU tar and Python differ about what counts of two.
            if extensions.kinds.contains(&kind) {
                return Err(Unreadable::because("image.tar.twice", &name));
            }
            match kind {
                b'x' => self.pax(size, &name, &mut extensions)?,
                b'g' => self.pax_global(size, &name)?,
                b'L' => extensions.long_name = Some(self.long_name(size, &name)?),
                b'K' => extensions.long_link = Some(self.long_name(size, &name)?),
                _ => return self.entry(&header, size, name, extensions).map(Some),
            }
            extensions.kinds.extend((kind != b'g').then_some(kind));
        }
    }

    /// Reads to the end of the input: what follows the archive belongs to its digest.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn finish(mut self) -> Result<(), Unreadable> {
        io::copy(&mut self.input, &mut io::sink())?;
        Ok(())
    }

    /// Skips what is left of the last entry. The padding after the content may be missing at the end of an archive. It is missing
    /// in the context that Docker's client sends with a Dockerfile from another directory.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let (left, rest) = (self.left, self.left + self.padding);
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        (self.left, self.padding) = (0, 0);
        if skipped < left { Err(Unreadable(text("image.tar.end"))) } else { Ok(()) }
    }

    /// The next header. None: a block of zeros, or the end. GNU tar and Docker accept that the last block of zeros is too short.
    fn header(&mut self) -> Result<Option<tar::Header>, Unreadable> {
        let mut block = Vec::with_capacity(BLOCK);
        (&mut self.input).take(BLOCK as u64).read_to_end(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if block.len() < BLOCK {
            return Err(Unreadable(text("image.tar.end")));
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        // The checksum is computed with blanks in its own place.
        let is_own = |at: usize| (148..156).contains(&at);
        let bytes = block.iter().enumerate();
        let sum: u32 = bytes.map(|(at, byte)| if is_own(at) { 32 } else { u32::from(*byte) }).sum();
        if number::unsigned(&header.as_old().cksum) != Some(sum.into()) {
            return Err(Unreadable(text(if self.count == 0 {
                "image.tar.none"
            } else {
                "image.tar.checksum"
            })));
        }
        Ok(Some(header))
    }

    /// The content of an extension.
    fn extension(&mut self, size: u64, name: &[u8]) -> Result<Vec<u8>, Unreadable> {
        if size > MAX_EXTENSION {
            return Err(Unreadable::because("image.tar.extension", name));
        }
        self.set_size(size);
        let mut content = Vec::new();
        self.by_ref().read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(Unreadable(text("image.tar.end")));
        }
        Ok(content)
    }

    fn set_size(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// A long name of GNU tar. It ends with a null byte.
    fn long_name(&mut self, size: u64, name: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut long = self.extension(size, name)?;
        if long.last() == Some(&0) {
            long.pop();
        }
        Ok(long)
    }

    /// A PAX header that is about all entries after it. git-archive(1) writes one with a comment.
    fn pax_global(&mut self, size: u64, name: &[u8]) -> Result<(), Unreadable> {
        let content = self.extension(size, name)?;
        for (key, _) in records(&content).ok_or_else(|| Unreadable::because("image.tar.pax", name))? {
            if key != b"comment" {
                let values = [("key", &*printed_bytes(key))];
                return Err(Unreadable(text_with("image.tar.global", &values)));
            }
        }
        Ok(())
    }

    fn pax(&mut self, size: u64, name: &[u8], to: &mut Extensions) -> Result<(), Unreadable> {
        let wrong = || Unreadable::because("image.tar.pax", name);
        let content = self.extension(size, name)?;
        for (key, value) in records(&content).ok_or_else(wrong)? {
            let id = || decimal(value).and_then(owner).ok_or_else(wrong);
            match key {
                b"path" => to.name = Some(value.to_owned()),
                b"linkpath" => to.link = Some(value.to_owned()),
                b"size" => to.size = Some(decimal(value).ok_or_else(wrong)?),
                b"uid" => to.uid = Some(id()?),
                b"gid" => to.gid = Some(id()?),
                b"mtime" => to.mtime = Some(time(value).ok_or_else(wrong)?),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(Unreadable::because("image.tar.sparse", name));
                }
                _ => {
                    if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                        to.attributes.insert(attribute.to_owned(), value.to_owned());
                        if to.attributes.len() > MAX_ATTRIBUTES {
                            return Err(Unreadable::because("image.tar.attributes", name));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        size: u64,
        short: Vec<u8>,
        extensions: Extensions,
    ) -> Result<ArchiveEntry, Unreadable> {
        let name = one_name(extensions.name, extensions.long_name, &short)?.unwrap_or_else(|| short.clone());
        let link = one_name(extensions.link, extensions.long_link, &name)?;
        let link = link.unwrap_or_else(|| header.link_name_bytes().map(Cow::into_owned).unwrap_or_default());
        // GNU tar and Python write the first 100 bytes of a long name into the header. If the last of these bytes is a slash, readers
        // still find a file. Only with the type of before POSIX, Python finds a directory.
        let is_cut = name != short && !header.as_old().name.contains(&0);
        let kind = match header.as_old().linkflag[0] {
            b'0' | b'7' if is_cut && !name.ends_with(b"/") => EntryKind::File,
            // Before POSIX, a directory was a file whose name ends with a slash.
            0 if short.ends_with(b"/") && name == short => EntryKind::Directory,
            // For some readers it is a directory, for others a file.
            0 | b'0' | b'7' if name.ends_with(b"/") || short.ends_with(b"/") => {
                return Err(Unreadable::because("image.tar.slash", &name));
            }
            0 | b'0' | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(Unreadable::because("image.tar.sparse", &name)),
            other => {
                let values = [("entry", &*printed_bytes(&name)), ("type", &printed_bytes(&[other]))];
                return Err(Unreadable(text_with("image.tar.type", &values)));
            }
        };
        let size = extensions.size.unwrap_or(size);
        let size = match kind {
            EntryKind::File => size,
            // Some writers repeat the size of the file. No reader expects a content.
            EntryKind::HardLink | EntryKind::Symlink => 0,
            // Some readers skip as many bytes, others do not.
            _ if size > 0 => return Err(Unreadable::because("image.tar.content", &name)),
            _ => 0,
        };
        if i64::try_from(size).is_err() {
            return Err(Unreadable::because("image.tar.number", &name));
        }
        let fields = header.as_old();
        let wrong = || wrong_number(header);
        let number = |field: &[u8]| {
            number::unsigned(field).and_then(|number| u32::try_from(number).ok()).ok_or_else(wrong)
        };
        let id = |field: &[u8]| number::unsigned(field).and_then(owner).ok_or_else(wrong);
        let mtime = || number::signed(&fields.mtime).map(|seconds| (seconds, 0)).ok_or_else(wrong);
        let device = match kind {
            // The formats that have the numbers of devices have them at the same place.
            EntryKind::CharDevice | EntryKind::BlockDevice => match (header.as_ustar(), header.as_gnu()) {
                (Some(ustar), _) => (number(&ustar.dev_major)?, number(&ustar.dev_minor)?),
                (None, Some(gnu)) => (number(&gnu.dev_major)?, number(&gnu.dev_minor)?),
                (None, None) => (0, 0),
            },
            _ => (0, 0),
        };
        let entry = ArchiveEntry {
            kind,
            link,
            size,
            mode: number(&fields.mode)? & 0o7777,
            uid: extensions.uid.map_or_else(|| id(&fields.uid), Ok)?,
            gid: extensions.gid.map_or_else(|| id(&fields.gid), Ok)?,
            mtime: extensions.mtime.map_or_else(mtime, Ok)?,
            device,
            attributes: extensions.attributes.into_iter().collect(),
            name,
        };
        self.set_size(size);
        Ok(entry)
    }
}

impl<R: Read> Read for ArchiveEntries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// The one long name of an entry. Readers differ about which of two they use.
fn one_name(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, entry: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(Unreadable::because("image.tar.names", entry)),
        (Some(name), _) | (None, Some(name)) => Ok(Some(name)),
        (None, None) => Ok(None),
    }
}

/// The records `LENGTH KEY=VALUE\n` of a PAX header. None: it does not consist of them.
fn records(mut content: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !content.is_empty() {
        let blank = content.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&content[..blank])?).ok()?;
        let record = content.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        content = &content[length..];
    }
    Some(records)
}

/// A number of digits only.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// `1234.5678`: seconds, with a fraction of up to nine digits that counts. A time before 1970 has a minus sign.
fn time(written: &[u8]) -> Option<(i64, u32)> {
    let (sign, written) = match written.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, written),
    };
    let point = written.iter().position(|byte| *byte == b'.').unwrap_or(written.len());
    let seconds = i64::try_from(decimal(&written[..point])?).ok()? * sign;
    let fraction = written.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    match (sign, nanoseconds) {
        // The kernel counts nanoseconds forwards.
        (-1, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

fn wrong_number(header: &tar::Header) -> Unreadable {
    Unreadable::because("image.tar.number", &header.path_bytes())
}

#[cfg(test)]
mod tests;
