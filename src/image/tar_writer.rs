//! Writes a tar archive, entry by entry: the layers that are made here, and archives for other programs.
//!
//! An entry that fits into a header of POSIX has only that. What does not fit (a long name, a large number, a part of a second, an
//! extended attribute) is in a PAX header before it. tar(5), pax(1)

use std::io::{self, Read, Write};

use super::entries::{ArchiveEntry, EntryKind};

/// The size of a block of a tar archive.
const BLOCK: u64 = 512;

/// The largest number in a field of 8 bytes, of octal digits.
const MAX_ID: u64 = 0o7_777_777;

/// The largest number in a field of 12 bytes.
const MAX_SIZE: u64 = 0o77_777_777_777;

/// An archive that is written.
pub struct ArchiveWriter<W> {
    output: W,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive.
    pub fn new(output: W) -> ArchiveWriter<W> {
        ArchiveWriter { output }
    }

    /// Writes an entry. Exactly `entry.size` bytes of `content` are read for a file.
    ///
    /// # Errors
    /// It cannot be written, or the content is shorter.
    pub fn entry(&mut self, entry: &ArchiveEntry, content: &mut impl Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let header = header(b'x', b"pax", b"", records.len() as u64);
            self.member(&header, &mut &records[..], records.len() as u64)?;
        }
        let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
        let mut header = header(flag(entry.kind), &name_of(entry), &entry.link, size);
        header.set_mode(entry.mode);
        header.set_uid(u64::from(entry.uid).min(MAX_ID));
        header.set_gid(u64::from(entry.gid).min(MAX_ID));
        header.set_mtime(u64::try_from(entry.mtime.0).unwrap_or_default().min(MAX_SIZE));
        if [EntryKind::CharDevice, EntryKind::BlockDevice].contains(&entry.kind) {
            header.set_device_major(entry.device.0)?;
            header.set_device_minor(entry.device.1)?;
        }
        header.set_cksum();
        self.member(&header, content, size)
    }

    fn member(&mut self, header: &tar::Header, content: &mut impl Read, size: u64) -> io::Result<()> {
        self.output.write_all(header.as_bytes())?;
        if io::copy(&mut content.take(size), &mut self.output)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padding = usize::try_from(size.wrapping_neg() % BLOCK).unwrap_or_default();
        self.output.write_all(&[0; BLOCK as usize][..padding])
    }

    /// Ends the archive, with two blocks of zeros.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK as usize])?;
        self.output.flush()?;
        Ok(self.output)
    }
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// The name as an archive has it: that of a directory ends with a slash.
fn name_of(entry: &ArchiveEntry) -> Vec<u8> {
    let mut name = entry.name.clone();
    if entry.kind == EntryKind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// A header with all fields that do not depend on the entry. What is too long is cut: a PAX header has the whole.
fn header(flag: u8, name: &[u8], link: &[u8], size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size.min(MAX_SIZE));
    let fields = header.as_old_mut();
    // Programs that know no PAX headers would take a cut name with a slash at its end for a directory.
    let cut = |bytes: &[u8]| {
        let mut cut = bytes[..bytes.len().min(100)].to_owned();
        while bytes.len() > cut.len() && cut.ends_with(b"/") {
            cut.pop();
        }
        cut
    };
    let (name, link) = (cut(name), cut(link));
    fields.name[..name.len()].copy_from_slice(&name);
    fields.linkname[..link.len()].copy_from_slice(&link);
    header.set_cksum();
    header
}

/// The records of the PAX header, always in the same order. Empty: it needs none.
fn records(entry: &ArchiveEntry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut record = |key: &[u8], value: &[u8]| {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        records.extend_from_slice(format!("{length} ").as_bytes());
        records.extend_from_slice(&[key, b"=", value, b"\n"].concat());
    };
    let name = name_of(entry);
    if name.len() > 100 {
        record(b"path", &name);
    }
    if entry.link.len() > 100 {
        record(b"linkpath", &entry.link);
    }
    if entry.kind == EntryKind::File && entry.size > MAX_SIZE {
        record(b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > MAX_ID {
            record(key, id.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = entry.mtime;
    if nanoseconds > 0 || !(0..=MAX_SIZE as i64).contains(&seconds) {
        record(b"mtime", written_time(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in &entry.attributes {
        record(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// `-1.25` is 1.25 seconds before 1970: -2 seconds and 750,000,000 nanoseconds.
fn written_time(seconds: i64, nanoseconds: u32) -> String {
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (false, _) => ("", seconds, nanoseconds),
        (true, 0) => ("-", seconds.saturating_neg(), 0),
        (true, _) => ("-", (seconds + 1).saturating_neg(), 1_000_000_000 - nanoseconds),
    };
    match nanoseconds {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{}", format!("{nanoseconds:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::entries::ArchiveEntries;

    #[test]
    fn what_is_written_is_read_again() {
        let file = ArchiveEntry {
            kind: EntryKind::File,
            name: b"a/file".to_vec(),
            link: Vec::new(),
            size: 5,
            mode: 0o4755,
            uid: 1000,
            gid: 5,
            mtime: (1_700_000_000, 0),
            device: (0, 0),
            attributes: Vec::new(),
        };
        let of = |kind, size: u64| ArchiveEntry { kind, size, ..file.clone() };
        let long = [&b"d/".repeat(80)[..], b"\xff\n"].concat();
        let all = [
            ArchiveEntry { name: b"d/".to_vec(), ..of(EntryKind::Directory, 0) },
            file.clone(),
            ArchiveEntry { name: vec![b'n'; 100], ..file.clone() },
            ArchiveEntry { name: long.clone(), mtime: (5, 250_000_000), ..file.clone() },
            ArchiveEntry { uid: u32::MAX - 1, gid: 3_000_000, mtime: (-1, 0), ..file.clone() },
            ArchiveEntry { mtime: (-2, 750_000_000), ..file.clone() },
            ArchiveEntry { link: long, ..of(EntryKind::Symlink, 0) },
            ArchiveEntry { link: b"a/file".to_vec(), ..of(EntryKind::HardLink, 0) },
            ArchiveEntry { device: (1, 3), ..of(EntryKind::CharDevice, 0) },
            of(EntryKind::Fifo, 0),
            ArchiveEntry {
                attributes: vec![(b"user.x".to_vec(), b"\0=\n1".to_vec()), (b"user.y".to_vec(), vec![7; 95])],
                ..file.clone()
            },
        ];
        let mut writer = ArchiveWriter::new(Vec::new());
        for entry in &all {
            writer.entry(entry, &mut &b"12345"[..]).unwrap();
        }
        let archive = writer.finish().unwrap();
        assert_eq!(archive.len() % 512, 0);
        let mut entries = ArchiveEntries::new(&archive[..]);
        for wanted in &all {
            let found = entries.next_entry().unwrap().unwrap();
            assert_eq!(found, *wanted);
            let mut content = Vec::new();
            entries.read_to_end(&mut content).unwrap();
            assert_eq!(content, if wanted.kind == EntryKind::File { &b"12345"[..] } else { b"" });
        }
        assert_eq!(entries.next_entry(), Ok(None));
        let short = ArchiveWriter::new(Vec::new()).entry(&file, &mut &b"123"[..]);
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
