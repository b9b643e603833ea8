//! Files with holes: blocks of zeros take no space on the disk, and are read as zeros. A program makes such a file of 1 GiB with
//! `truncate -s 1G`; without this, its layer and its blob would take 1 GiB each.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// The size of a block.
const BLOCK: usize = 4096;

/// A new file, in which no block of zeros is written.
#[derive(Debug)]
pub(super) struct SparseFile<F> {
    file: F,
    at: u64,
}

impl<F: Borrow<File>> SparseFile<F> {
    /// Writes to this file, which is empty.
    pub(super) fn new(file: F) -> SparseFile<F> {
        SparseFile { file, at: 0 }
    }
}

/// The number of zeros at the start, or else the number of bytes before the next zeros. A part of a block counts too: a writer that
/// does not begin at a block would otherwise fill every second one.
fn run(bytes: &[u8], at: u64) -> (usize, usize) {
    let border = |at: usize, start: u64| {
        let offset = usize::try_from((start + at as u64) % BLOCK as u64).unwrap_or(0);
        (at + BLOCK - offset).min(bytes.len())
    };
    let is_zero = |from: usize, to: usize| bytes[from..to] == [0; BLOCK][..to - from];
    let mut end = border(0, at);
    let starts_with_zeros = is_zero(0, end);
    while end < bytes.len() {
        let next = border(end, at);
        if is_zero(end, next) != starts_with_zeros {
            break;
        }
        end = next;
    }
    if starts_with_zeros { (end, 0) } else { (0, end) }
}

impl<F: Borrow<File>> Write for SparseFile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (zeros, others) = run(bytes, self.at);
        let count = zeros + others;
        match zeros {
            // The file is as long as what was written, whenever the writer ends.
            1.. => self.file.borrow().set_len(self.at + zeros as u64)?,
            0 => self.file.borrow().write_all_at(&bytes[..others], self.at)?,
        }
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_has_what_was_written_in_whatever_pieces() {
        let mut content = vec![0; 300 << 10];
        for at in [0, 1, 4095, 20_000, 65_536, 150_000, 299 << 10] {
            content[at] = 1;
        }
        let ends = [&content[..], &content[..280 << 10], &content[1..250_000], &vec![0; 100_000], b"x", b""];
        for content in ends {
            for piece in [1 << 20, 8 << 10, 4096, 5000, 777] {
                let mut file = tempfile::tempfile().unwrap();
                let mut sparse = SparseFile::new(&file);
                content.chunks(piece).for_each(|part| sparse.write_all(part).unwrap());
                let mut found = Vec::new();
                file.rewind().unwrap();
                file.read_to_end(&mut found).unwrap();
                assert!(found == content, "{} in pieces of {piece}", content.len());
            }
        }
        let file = tempfile::tempfile().unwrap();
        let mut sparse = SparseFile::new(&file);
        // As after the header of an archive.
        sparse.write_all(&[1; 512]).unwrap();
        for _ in 0..1024 {
            sparse.write_all(&[0; 8 << 10]).unwrap();
        }
        sparse.write_all(b"end").unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.len(), 512 + (8 << 20) + 3);
        assert!(found.blocks() * 512 < 1 << 20, "{}", found.blocks());
    }
}
