//! gzip, zstd, xz and bzip2, with limits: a few bytes can expand to very many.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::text::{text, text_with};

/// How many bytes are decompressed before their number is compared with that of the compressed ones.
const FREE: u64 = 64 << 20;

/// The maximum number of bytes for which one compressed byte stands. Real layers have 2 to 10; gzip can do 1,032.
const MAX_RATIO: u64 = 200;

/// The maximum memory that a zstd frame may ask for. Encoders use up to 8 MiB, unless they are told otherwise.
const MAX_WINDOW: u64 = 64 << 20;

/// What compresses a layer, as the types of OCI name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip(1).
    Gzip,
    /// zstd(1).
    Zstd,
}

impl Compression {
    /// Reads it from the first bytes. What the name or the media type says may be wrong, and is not needed.
    pub fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A zstd frame that a reader skips.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// What else compresses an archive. OCI has no type for such a layer, but Docker reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherCompression {
    Xz,
    Bzip2,
}

impl OtherCompression {
    fn of(start: &[u8]) -> Option<OtherCompression> {
        match start {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(OtherCompression::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(OtherCompression::Bzip2),
            _ => None,
        }
    }
}

/// The number of bytes at the start that show how a file is compressed.
pub const MAGIC: u64 = 6;

/// Whether a file with this start is compressed in a way that [`decompressed`] knows.
pub fn is_compressed(start: &[u8]) -> bool {
    Compression::of(start) != Compression::None || OtherCompression::of(start).is_some()
}

/// Decompresses what `input` has, if it is compressed.
///
/// # Errors
/// Those of read(2).
pub fn decompressed<'r>(mut input: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut start = Vec::new();
    // A pipe can give fewer bytes at once.
    input.by_ref().take(MAGIC).read_to_end(&mut start)?;
    let (compression, other) = (Compression::of(&start), OtherCompression::of(&start));
    let read = Rc::new(Cell::new(0));
    let input = Counted { input: io::Cursor::new(start).chain(input), count: read.clone() };
    let input = BufReader::with_capacity(64 << 10, input);
    let inner: Box<dyn Read + 'r> = match (compression, other) {
        (Compression::Gzip, _) => Box::new(MultiGzDecoder::new(input)),
        (Compression::Zstd, _) => Box::new(ZstdFrames { state: Some(FrameState::Between(input)) }),
        (Compression::None, Some(OtherCompression::Bzip2)) => Box::new(MultiBzDecoder::new(input)),
        (Compression::None, Some(OtherCompression::Xz)) => {
            // In KiB.
            let limit = u32::try_from(MAX_WINDOW >> 10).unwrap_or(u32::MAX) + 1024;
            Box::new(XzReader::new_mem_limit(input, true, limit))
        }
        (Compression::None, None) => return Ok(Box::new(input)),
    };
    Ok(Box::new(Bounded { inner, read, written: 0 }))
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Ends with an error when the decompressed bytes are too many for the compressed ones.
struct Bounded<R> {
    inner: R,
    read: Rc<Cell<u64>>,
    written: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // XzReader takes an answer of 0 bytes for the end of a block, also where none are asked for.
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.written += count as u64;
        if self.written > FREE && self.written / MAX_RATIO > self.read.get() {
            let values = [("ratio", &*MAX_RATIO.to_string())];
            return Err(io::Error::other(text_with("image.tar.bomb", &values)));
        }
        Ok(count)
    }
}

/// All frames of a zstd file, one after the other.
struct ZstdFrames<R: Read> {
    state: Option<FrameState<R>>,
}

/// The first bytes of a frame, which the decoder reads again, and what follows them.
type FrameInput<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

enum FrameState<R: Read> {
    Between(R),
    Inside(Box<StreamingDecoder<FrameInput<R>, FrameDecoder>>),
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state.take() {
                // After an error, or at the end.
                None => return Ok(0),
                Some(FrameState::Between(mut input)) => {
                    let mut magic = Vec::new();
                    input.by_ref().take(4).read_to_end(&mut magic)?;
                    if magic.is_empty() {
                        return Ok(0);
                    }
                    self.state = Some(next_frame(magic, input)?);
                }
                Some(FrameState::Inside(mut decoder)) => {
                    let count = decoder.read(buffer)?;
                    self.state = Some(match count {
                        0 => FrameState::Between(decoder.into_inner().into_inner().1),
                        _ => FrameState::Inside(decoder),
                    });
                    if count > 0 {
                        return Ok(count);
                    }
                }
            }
        }
    }
}

/// Reads the header of the next frame, which begins with `magic`. For a frame that is skipped, the decoder would return an error without
/// its input. So such a frame is read here.
fn next_frame<R: Read>(magic: Vec<u8>, mut input: R) -> io::Result<FrameState<R>> {
    if let [0x50..=0x5f, 0x2a, 0x4d, 0x18] = magic[..] {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        if io::copy(&mut (&mut input).take(length), &mut io::sink())? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(FrameState::Between(input));
    }
    match StreamingDecoder::new_with_max_window_size(io::Cursor::new(magic).chain(input), MAX_WINDOW) {
        Ok(decoder) => Ok(FrameState::Inside(Box::new(decoder))),
        Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
            let values = [("most", &*(MAX_WINDOW >> 20).to_string())];
            Err(io::Error::other(text_with("image.tar.window", &values)))
        }
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::MagicNumberReadError(_))) => {
            Err(io::Error::other(text("image.tar.frames")))
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decompressed(bytes)?.read_to_end(&mut all).map(|_| all)
    }

    /// A zstd frame of blocks that are not compressed.
    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
        frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        let block = (u32::try_from(bytes.len()).unwrap() << 3) | 1;
        frame.extend(&block.to_le_bytes()[..3]);
        frame.extend(bytes);
        frame
    }

    #[test]
    fn each_compression_is_known_by_its_first_bytes() {
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
        // Several members or frames are one content.
        assert_eq!(read(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        let skipped: &[u8] = &[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        assert_eq!(read(&[skipped, &zstd(b"one "), skipped, &zstd(b"two")].concat()).unwrap(), b"one two");
    }

    /// The header of a frame that is skipped may be in two parts of the buffer.
    #[test]
    fn a_frame_may_begin_anywhere() {
        let skipped: &[u8] = &[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let small = zstd(b"one ").repeat(4_095);
        for length in 1..100 {
            let last = zstd(&vec![b'x'; length]);
            let all = read(&[&small[..], &last, skipped, &zstd(b"two")].concat()).unwrap();
            assert_eq!(all.len(), 16_383 + length);
            assert!(all.ends_with(b"xtwo"), "{length}");
        }
    }

    #[test]
    fn archives_can_be_xz_and_bzip2() {
        // "some text", by xz(1) and bzip2(1).
        let xz: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x08some text\x00\x00\x00\x00\x91\x80Tc\xbb/p\xaf\x00\x01!\x09l\x18\xc5\xd5\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ";
        let bzip2: &[u8] = b"BZh91AY&SY\xfb,\xe7\xc2\x00\x00\x02\x91\x80@\x00\x02\x02\x8c@ \x001\x0c\x01\x06OG#\xc4IE\xdc\x91N\x14$>\xcb9\xf0\x80";
        for whole in [xz, bzip2] {
            assert!(is_compressed(whole));
            assert_eq!(read(whole).unwrap(), b"some text");
            assert_eq!(read(&whole.repeat(2)).unwrap(), b"some textsome text");
            for at in 6..whole.len() {
                assert!(read(&whole[..at]).is_err(), "{at} of {}", whole.len());
            }
            // OCI has no type for such a layer.
            assert_eq!(Compression::of(whole), Compression::None);
        }
        assert_eq!(read(b"BZh").unwrap(), b"BZh");
        assert_eq!(read(&gzip(b"gzip")).unwrap(), b"gzip");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for whole in [gzip(b"some text"), zstd(b"some text")] {
            for at in 4..whole.len() {
                assert!(read(&whole[..at]).is_err(), "{at} of {}", whole.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = decompressed(io::Cursor::new(gzip(&vec![0; 128 << 20]))).unwrap();
        let error = io::copy(&mut bomb, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("200"), "{error}");
        // A window of 1 GiB.
        let window: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0];
        let error = read(window).unwrap_err();
        assert!(error.to_string().contains("64"), "{error}");
    }
}
