//! The frames in which Docker's API sends output without a terminal, so that a client can tell standard output from standard
//! error:
//!
//!     1 or 2, 0, 0, 0, length (4 bytes, the highest first), bytes

/// A part of a stream of output, with a frame unless it is raw.
pub fn framed(is_raw: bool, stream: u8, content: &[u8]) -> Vec<u8> {
    if is_raw {
        return content.to_vec();
    }
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(content.len() + 8);
    frame.extend_from_slice(&[stream, 0, 0, 0]);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(content);
    frame
}
