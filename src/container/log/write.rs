//! Writes a log. A log that cannot be written never stops the container: what is lost is counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::super::record::LogOptions;
use super::{LOG, LogLine, OutputStream, number, older};
use crate::host::private_directory::PrivateDirectory;
use crate::value::bytes;
use crate::value::timestamp::Timestamp;

/// The maximum length of a line of the output in one line of the file: Docker's.
pub const MAX_PART: usize = 16 << 10;

/// How many bytes of lines are kept, before they are written.
const MAX_BUFFER: usize = 256 << 10;

/// A log that is written.
#[derive(Debug)]
pub struct LogWriter {
    directory: PrivateDirectory,
    options: LogOptions,
    /// What each line says about the container.
    attributes: BTreeMap<String, String>,
    file: Option<File>,
    /// The size of the file.
    size: u64,
    /// How many files there have been, with this one.
    number: u64,
    /// The beginnings of lines that have no end yet, of standard output and standard error.
    pending: [Vec<u8>; 2],
    /// Lines for the file.
    buffer: Vec<u8>,
    /// How many bytes of the output are in these lines.
    buffered: u64,
    /// How many bytes of the output could not be written.
    pub dropped: u64,
}

impl LogWriter {
    /// Opens the log in the directory of a container, at its end.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(directory: PrivateDirectory, options: LogOptions) -> io::Result<LogWriter> {
        let number = number::read(&directory).unwrap_or_default();
        let mut log = LogWriter {
            directory,
            options,
            attributes: BTreeMap::new(),
            file: None,
            size: 0,
            number,
            pending: [Vec::new(), Vec::new()],
            buffer: Vec::new(),
            buffered: 0,
            dropped: 0,
        };
        log.open_file()?;
        Ok(log)
    }

    /// The same, with lines that say this about the container.
    pub fn with_attributes(self, attributes: BTreeMap<String, String>) -> LogWriter {
        LogWriter { attributes, ..self }
    }

    fn open_file(&mut self) -> io::Result<()> {
        let found = self.directory.file(LOG).map_err(|unusable| unusable.into_io())?;
        let mut file = match found {
            Some(file) => file,
            None => {
                // Before the file is there: a reader that finds the file must find its number.
                self.number += 1;
                number::write(&self.directory, self.number);
                self.directory.make_file(LOG)?.ok_or(io::ErrorKind::AlreadyExists)?
            }
        };
        // A process that was killed may have written a part of a line. The next line would be glued to it.
        let size = whole_lines(&file)?;
        if size != file.metadata()?.len() {
            file.set_len(size)?;
        }
        self.size = io::Seek::seek(&mut file, io::SeekFrom::Start(size))?;
        self.file = Some(file);
        Ok(())
    }

    /// Takes bytes that the command has printed. Whole lines are written; the rest waits for its end.
    pub fn write(&mut self, stream: OutputStream, mut content: &[u8]) {
        let time = Timestamp::now();
        let mut pending = std::mem::take(&mut self.pending[usize::from(stream.number()) - 1]);
        while !content.is_empty() {
            let room = MAX_PART - pending.len();
            let window = &content[..content.len().min(room)];
            let end = window.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(window.len());
            if end.is_none() && pending.len() + taken < MAX_PART {
                pending.extend_from_slice(window);
                break;
            }
            // Neither a line nor a part is copied if it is whole.
            let part = match pending.is_empty() {
                true => Cow::Borrowed(&content[..taken]),
                false => {
                    pending.extend_from_slice(&content[..taken]);
                    Cow::Owned(std::mem::take(&mut pending))
                }
            };
            content = &content[taken..];
            // A character that a part would end in the middle of belongs to the next part.
            let cut = if end.is_some() { 0 } else { incomplete(&part) };
            let (part, rest) = part.split_at(part.len() - cut);
            pending = rest.to_vec();
            self.encode(stream, part, time);
        }
        self.pending[usize::from(stream.number()) - 1] = pending;
        self.flush();
    }

    /// Writes what waits for its end: the command has ended, or is waiting for an answer.
    pub fn write_pending(&mut self) {
        let time = Timestamp::now();
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let pending = std::mem::take(&mut self.pending[usize::from(stream.number()) - 1]);
            if !pending.is_empty() {
                self.encode(stream, &pending, time);
            }
        }
        self.flush();
    }

    /// Whether something waits for its end.
    pub fn has_pending(&self) -> bool {
        self.pending.iter().any(|pending| !pending.is_empty())
    }

    fn encode(&mut self, stream: OutputStream, content: &[u8], time: Timestamp) {
        let before = self.buffer.len();
        let log = String::from_utf8_lossy(content);
        let is_text = matches!(log, Cow::Borrowed(_));
        let bytes = (!is_text).then(|| Cow::Owned(bytes::encoded(content)));
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(
            &mut self.buffer,
            &LogLine { log, bytes, stream, attrs: Cow::Borrowed(&self.attributes), time },
        );
        self.buffer.push(b'\n');
        // A file is never larger than its limit, except for one long line.
        if let Some(most) = self.options.max_size
            && self.size + self.buffer.len() as u64 > most
            && self.size + before as u64 > 0
        {
            let line = self.buffer.split_off(before);
            self.flush();
            self.rotate();
            self.buffer = line;
        }
        self.buffered += content.len() as u64;
        if self.buffer.len() >= MAX_BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.buffer),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match written {
            Ok(()) => self.size += self.buffer.len() as u64,
            Err(_) => {
                self.dropped += self.buffered;
                // A part of a line would make the next one unreadable.
                if let Some(file) = &mut self.file {
                    let _ = file.set_len(self.size);
                    let _ = io::Seek::seek(file, io::SeekFrom::Start(self.size));
                }
            }
        }
        self.buffered = 0;
        self.buffer.clear();
    }

    /// Begins a new file. The oldest one is removed if there are too many.
    fn rotate(&mut self) {
        let files = self.options.max_files.max(1);
        let mut rotated =
            self.directory.remove_file(&*if files == 1 { LOG.to_owned() } else { older(files - 1) });
        for number in (1..files.saturating_sub(1)).rev() {
            rotated = rotated.and(self.rename(&older(number), &older(number + 1)));
        }
        if files > 1 {
            rotated = rotated.and(self.rename(LOG, &older(1)));
        }
        // Otherwise the log goes on in the same file.
        if rotated.is_ok() && self.open_file().is_err() {
            self.file = None;
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self.directory.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        }
    }
}

/// The size of a file up to the end of its last whole line.
fn whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut buffer = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let part = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// How many bytes at the end are the beginning of a character of UTF-8.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80);
    let Some(back) = last else { return 0 };
    let length = match bytes[bytes.len() - 1 - back] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if length > back + 1 { back + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::LogEntry;
    use super::*;
    use crate::host::home::HomePlace;

    fn private(path: &Path) -> PrivateDirectory {
        let place = HomePlace { path: path.join("private"), instead_of: None };
        place.make().unwrap().0
    }

    fn entries(file: &Path) -> Vec<LogEntry> {
        let content = std::fs::read(file).unwrap();
        content.split_inclusive(|byte| *byte == b'\n').map(|line| LogEntry::parse(line).unwrap()).collect()
    }

    fn text(entries: &[LogEntry]) -> Vec<u8> {
        entries.iter().flat_map(|entry| entry.content.clone()).collect()
    }

    #[test]
    fn no_byte_is_lost_however_the_output_is_cut() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = private(temporary.path());
        let mut output: Vec<u8> = b"first\n\nsecond".to_vec();
        output.extend((0..=255).cycle().take(3000));
        output.extend("\nzwölf €\n".as_bytes());
        output.extend("ä€😀".as_bytes().repeat(20_000));
        output.extend(vec![b'x'; MAX_PART]);
        output.extend(b"\n");
        output.extend(vec![0x80; 2 * MAX_PART + 1]);
        for size in [1, 2, 3, 7, 4096, MAX_PART - 1, MAX_PART, MAX_PART + 1, output.len()] {
            let mut log = LogWriter::open(directory.try_clone().unwrap(), LogOptions::default()).unwrap();
            for piece in output.chunks(size) {
                log.write(OutputStream::Stdout, piece);
            }
            assert!(log.has_pending());
            log.write_pending();
            assert!(!log.has_pending() && log.dropped == 0);
            let entries = entries(&directory.path().join(LOG));
            assert!(text(&entries) == output, "in pieces of {size}");
            assert!(entries.iter().all(|entry| entry.content.len() <= MAX_PART));
            directory.remove_file(LOG).unwrap();
        }
    }

    #[test]
    fn lines_are_entries_with_their_stream() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = private(temporary.path());
        let mut log = LogWriter::open(directory, LogOptions::default()).unwrap();
        log.write(OutputStream::Stdout, b"one\ntw");
        log.write(OutputStream::Stderr, b"err\n");
        log.write(OutputStream::Stdout, b"o\nprompt> ");
        log.write_pending();
        let entries = entries(&temporary.path().join("private/log"));
        let shown: Vec<_> = entries.iter().map(|entry| (entry.stream.number(), &*entry.content)).collect();
        let expected: [(u8, &[u8]); 4] = [(1, b"one\n"), (2, b"err\n"), (1, b"two\n"), (1, b"prompt> ")];
        assert_eq!(shown, expected);
    }

    #[test]
    fn files_have_at_most_their_size_and_the_oldest_is_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = private(temporary.path());
        for files in [1, 2, 4] {
            let options = LogOptions { max_size: Some(1000), max_files: files };
            let mut log = LogWriter::open(directory.try_clone().unwrap(), options).unwrap();
            for number in 0..200 {
                log.write(OutputStream::Stdout, format!("line {number}\n").as_bytes());
            }
            let path =
                |number| directory.path().join(if number == 0 { LOG.to_owned() } else { older(number) });
            let all: Vec<u8> = (0..files).rev().flat_map(|number| text(&entries(&path(number)))).collect();
            let expected: String = (0..200).map(|number| format!("line {number}\n")).collect();
            assert!(!all.is_empty() && expected.as_bytes().ends_with(&all), "{files}");
            assert!(!path(files).exists());
            for number in 0..files {
                assert!(path(number).metadata().unwrap().len() <= 1000);
                std::fs::remove_file(path(number)).unwrap();
            }
        }
    }

    #[test]
    fn the_beginning_of_a_character_is_found() {
        for (bytes, length) in [
            (&b"a"[..], 0),
            (b"\xc3", 1),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            ("€".as_bytes(), 0),
            (b"\x80\x80\x80\x80", 0),
        ] {
            assert_eq!(incomplete(bytes), length, "{bytes:?}");
        }
        assert_eq!(incomplete(b""), 0);
    }
}
