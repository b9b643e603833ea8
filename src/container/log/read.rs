//! Reads a log, from its oldest file to its newest, and follows it while it is written.
//!
//! A file that is renamed keeps its inode. So the reader reads its open file to the end, looks under which name that is
//! now, and goes on with the next newer one. No line is read twice. Lines are missed only if a file is removed before it was
//! opened: the numbers of the files show this, and it is noted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::{LOG, LogEntry, number, older};
use crate::host::private_directory::PrivateDirectory;

/// The number of bytes that are read at a time.
const CHUNK: usize = 16 << 10;

/// What a log has next.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// This.
    Entry(LogEntry),
    /// A line that cannot be read.
    Damaged,
    /// Lines that were removed before they were read.
    Missed,
}

/// How often the files are listed again, if they are renamed meanwhile. A log that is renamed more often is read without
/// numbers.
const ATTEMPTS: usize = 100;

/// A file of a log.
#[derive(Debug)]
struct LogFile {
    file: File,
    inode: u64,
    /// How many files the log has had, with this one. None: it is not known.
    number: Option<u64>,
}

impl LogFile {
    /// Whether no file was between another one and this one.
    fn follows(&self, former: &LogFile) -> bool {
        self.number.zip(former.number).is_some_and(|(own, former)| own == former + 1)
    }
}

/// A log that is read.
#[derive(Debug)]
pub struct LogReader {
    directory: PrivateDirectory,
    /// The file. None: there is no log yet.
    file: Option<LogFile>,
    /// What was read and is not parsed yet.
    buffer: Vec<u8>,
    /// How many bytes of that are parsed.
    parsed: usize,
    has_missed: bool,
}

impl LogReader {
    /// Opens a log at its beginning, or `tail` lines before its end.
    ///
    /// # Errors
    /// A file cannot be opened or read.
    pub fn open(directory: PrivateDirectory, tail: Option<u64>) -> io::Result<LogReader> {
        let mut reader =
            LogReader { directory, file: None, buffer: Vec::new(), parsed: 0, has_missed: false };
        let mut files = reader.files(|_| false)?;
        let mut start = 0;
        if let Some(lines) = tail {
            let count;
            (count, start) = start_in(&files, lines)?;
            files.truncate(count);
        }
        if let Some(mut oldest) = files.pop() {
            oldest.file.seek(SeekFrom::Start(start))?;
            reader.file = Some(oldest);
        }
        Ok(reader)
    }

    /// Opens the files, the newest first, until one of them is the last that is needed.
    fn files(&self, is_last: impl Fn(&LogFile) -> bool) -> io::Result<Vec<LogFile>> {
        for attempt in 1.. {
            let newest = number::read(&self.directory);
            let mut files: Vec<LogFile> = Vec::new();
            let mut is_renamed = false;
            for number in 0.. {
                let Some(file) = self.open_file(number)? else { break };
                let inode = file.metadata()?.ino();
                // A file that is found under two names was renamed in between.
                is_renamed |= files.last().is_some_and(|newer| newer.inode == inode);
                let number = newest.and_then(|newest| newest.checked_sub(number.into()));
                files.push(LogFile { file, inode, number });
                if files.last().is_some_and(&is_last) {
                    break;
                }
            }
            is_renamed |= number::read(&self.directory) != newest;
            if !is_renamed {
                return Ok(files);
            }
            if attempt == ATTEMPTS {
                files.iter_mut().for_each(|file| file.number = None);
                return Ok(files);
            }
        }
        Ok(Vec::new())
    }

    fn open_file(&self, number: u32) -> io::Result<Option<File>> {
        let name = if number == 0 { LOG.to_owned() } else { older(number) };
        self.directory.file_to_read(&name).map_err(|unusable| unusable.into_io())
    }

    /// The next entry. None: there is none at present.
    ///
    /// # Errors
    /// A file cannot be opened or read.
    pub fn read_next(&mut self) -> io::Result<Option<Reading>> {
        loop {
            if std::mem::take(&mut self.has_missed) {
                return Ok(Some(Reading::Missed));
            }
            let rest = &self.buffer[self.parsed..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let reading = LogEntry::parse(&rest[..end]).map_or(Reading::Damaged, Reading::Entry);
                self.parsed += end + 1;
                return Ok(Some(reading));
            }
            if !self.fill()? && !self.go_on()? {
                // A log may be quiet for long. Its reader keeps no memory meanwhile.
                if self.parsed == self.buffer.len() {
                    (self.buffer, self.parsed) = (Vec::new(), 0);
                }
                return Ok(None);
            }
        }
    }

    /// Gives up what was read and is not parsed yet: it is read again. So a reader that waits for long keeps no memory.
    ///
    /// # Errors
    /// Those of lseek(2).
    pub fn forget(&mut self) -> io::Result<()> {
        let unparsed = i64::try_from(self.buffer.len() - self.parsed).unwrap_or_default();
        if let Some(LogFile { file, .. }) = &mut self.file
            && unparsed > 0
        {
            file.seek(SeekFrom::Current(-unparsed))?;
        }
        (self.buffer, self.parsed) = (Vec::new(), 0);
        Ok(())
    }

    /// Reads more of the open file. Returns whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(LogFile { file, .. }) = &mut self.file else { return Ok(false) };
        self.buffer.drain(..self.parsed);
        self.parsed = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let read = loop {
            match file.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        read.map(|length| length > 0)
    }

    /// Opens the next newer file, if there is one. Returns whether there may be more to read.
    fn go_on(&mut self) -> io::Result<bool> {
        let Some(own) = &self.file else {
            self.file = self.files(|_| false)?.pop();
            return Ok(self.file.is_some());
        };
        let own_inode = own.inode;
        let is_own = |file: &LogFile| file.inode == own_inode;
        let mut newer = self.files(is_own)?;
        let is_there = newer.pop_if(|file| is_own(file)).is_some();
        // If the open file was removed and there is no other one, a new one is being made.
        let Some(next) = newer.pop() else { return Ok(false) };
        self.has_missed = !is_there && !next.follows(own);
        self.take(next)
    }

    /// Goes on with another file, when the open one is read to its end: lines may have been added just before it was renamed.
    fn take(&mut self, next: LogFile) -> io::Result<bool> {
        if !self.fill()? {
            // A line without an end was never complete.
            self.buffer.clear();
            self.parsed = 0;
            self.file = Some(next);
        } else {
            self.has_missed = false;
        }
        Ok(true)
    }
}

/// How many of these files have the last `lines` lines, the newest file first, and where these begin in the oldest of them.
fn start_in(files: &[LogFile], lines: u64) -> io::Result<(usize, u64)> {
    let mut left = lines;
    for (at, LogFile { file, .. }) in files.iter().enumerate() {
        match start_of(file, left)? {
            Ok(start) => return Ok((at + 1, start)),
            Err(found) => left -= found,
        }
    }
    Ok((files.len(), 0))
}

/// Where the last `lines` lines of a file begin; or how many lines it has, if it has fewer.
fn start_of(mut file: &File, lines: u64) -> io::Result<std::result::Result<u64, u64>> {
    let mut end = file.metadata()?.len();
    let mut found = 0;
    if lines == 0 {
        return Ok(Ok(end));
    }
    let mut buffer = vec![0; CHUNK];
    let mut is_last = true;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let length = usize::try_from(end - start).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer[..length])?;
        for at in (0..length).rev().filter(|at| buffer[*at] == b'\n') {
            // The last newline ends the last line.
            if is_last {
                is_last = false;
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(Ok(start + at as u64 + 1));
            }
        }
        end = start;
    }
    Ok(Err(found + u64::from(!is_last)))
}

#[cfg(test)]
mod tests {
    use super::super::super::record::LogOptions;
    use super::super::OutputStream;
    use super::super::write::LogWriter;
    use super::*;
    use crate::host::home::HomePlace;

    /// What there is to read: the numbers of lines, and -1 for missed lines.
    fn numbers(reader: &mut LogReader) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some(reading) = reader.read_next().unwrap() {
            all.push(match reading {
                Reading::Entry(entry) => String::from_utf8(entry.content).unwrap().trim().parse().unwrap(),
                Reading::Missed => -1,
                Reading::Damaged => -2,
            });
        }
        all
    }

    fn put(log: &mut LogWriter, numbers: std::ops::Range<i64>) {
        for number in numbers {
            log.write(OutputStream::Stdout, format!("{number}\n").as_bytes());
        }
    }

    fn directory(temporary: &tempfile::TempDir) -> PrivateDirectory {
        let place = HomePlace { path: temporary.path().join("private"), instead_of: None };
        place.make().unwrap().0
    }

    #[test]
    fn a_reader_follows_through_rotations() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = directory(&temporary);
        let again = || directory.try_clone().unwrap();
        let options = LogOptions { max_size: Some(500), max_files: 3 };
        let mut log = LogWriter::open(again(), options).unwrap();
        let mut reader = LogReader::open(again(), None).unwrap();
        assert_eq!(numbers(&mut reader), Vec::<i64>::new());
        for start in (0..300).step_by(5) {
            put(&mut log, start..start + 5);
            assert_eq!(numbers(&mut reader), (start..start + 5).collect::<Vec<_>>());
        }
        // So much is written that unread files are removed.
        put(&mut log, 300..400);
        let read = numbers(&mut reader);
        assert_eq!(read.iter().filter(|number| **number == -1).count(), 1, "{read:?}");
        assert_eq!(read.last(), Some(&399));
        assert!(read.iter().filter(|number| **number >= 0).is_sorted());
    }

    #[test]
    fn what_is_given_up_is_read_again() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = directory(&temporary);
        let mut log = LogWriter::open(directory.try_clone().unwrap(), LogOptions::default()).unwrap();
        put(&mut log, 0..100);
        let mut reader = LogReader::open(directory, None).unwrap();
        for number in 0..100 {
            let Ok(Some(Reading::Entry(entry))) = reader.read_next() else { panic!("{number}") };
            assert_eq!(entry.content, format!("{number}\n").as_bytes());
            reader.forget().unwrap();
        }
        assert_eq!(numbers(&mut reader), Vec::<i64>::new());
    }

    /// A single file is removed at each rotation. Only a reader that has not opened one of them has missed lines.
    #[test]
    fn a_reader_of_a_single_file_misses_lines_only_if_a_file_was_removed_unread() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = directory(&temporary);
        let again = || directory.try_clone().unwrap();
        let options = LogOptions { max_size: Some(500), max_files: 1 };
        let mut log = LogWriter::open(again(), options).unwrap();
        let mut reader = LogReader::open(again(), None).unwrap();
        for start in (0..300).step_by(5) {
            put(&mut log, start..start + 5);
            assert_eq!(numbers(&mut reader), (start..start + 5).collect::<Vec<_>>());
        }
        // The file goes on with its number when the container is started again.
        drop(log);
        let mut log = LogWriter::open(again(), options).unwrap();
        put(&mut log, 300..305);
        assert_eq!(numbers(&mut reader), (300..305).collect::<Vec<_>>());
        put(&mut log, 305..330);
        let read = numbers(&mut reader);
        assert_eq!(read.iter().filter(|number| **number == -1).count(), 1, "{read:?}");
        assert_eq!(read.last(), Some(&329));
        // A reader that begins now has missed nothing.
        assert!(!numbers(&mut LogReader::open(again(), Some(1)).unwrap()).contains(&-1));
    }

    #[test]
    fn the_last_lines_are_found_in_all_files() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = directory(&temporary);
        let options = LogOptions { max_size: Some(1000), max_files: 4 };
        let mut log = LogWriter::open(directory.try_clone().unwrap(), options).unwrap();
        put(&mut log, 0..40);
        for tail in [0, 1, 2, 7, 20, 39, 40, 41, 1000] {
            let mut reader = LogReader::open(directory.try_clone().unwrap(), Some(tail)).unwrap();
            let read = numbers(&mut reader);
            let available = numbers(&mut LogReader::open(directory.try_clone().unwrap(), None).unwrap());
            let first = available.len().saturating_sub(usize::try_from(tail).unwrap());
            assert_eq!(read, available[first..], "{tail}");
        }
    }

    #[test]
    fn a_line_that_is_not_complete_is_waited_for_and_a_damaged_one_is_reported() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = directory(&temporary);
        let path = directory.path().join(LOG);
        let line = r#"{"log":"7\n","stream":"stdout","time":"2026-11-29T09:45:11Z"}"#;
        directory.make_file(LOG).unwrap();
        std::fs::write(&path, format!("\0\0\n{line}")).unwrap();
        let mut reader = LogReader::open(directory, None).unwrap();
        assert_eq!(numbers(&mut reader), [-2]);
        std::fs::write(&path, format!("\0\0\n{line}\n")).unwrap();
        assert_eq!(numbers(&mut reader), [7]);
    }
}
