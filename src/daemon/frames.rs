//! The frames in which output without a terminal is sent, so that a client can tell standard output from standard error:
//!
//!     1 or 2, 0, 0, 0, length (4 bytes, the highest first), bytes

use hyper::body::Bytes;

/// A stream without frames.
pub(super) const RAW: &str = "application/vnd.docker.raw-stream";

/// A stream with frames.
pub(super) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The type of a stream, as far as the version of the client has one for it.
pub(super) fn kind(terminal: bool, version: super::request::ApiVersion) -> &'static str {
    if terminal || version < super::request::ApiVersion(1, 42) { RAW } else { MULTIPLEXED }
}

/// A part of a stream of output, with a frame unless the command has a terminal.
pub(super) fn framed(terminal: bool, stream: u8, content: &[u8]) -> Bytes {
    if terminal {
        return Bytes::copy_from_slice(content);
    }
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(content.len() + 8);
    frame.extend_from_slice(&[stream, 0, 0, 0]);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(content);
    Bytes::from(frame)
}
