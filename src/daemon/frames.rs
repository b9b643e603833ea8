//! The types of the streams of output.

/// A stream without frames.
pub(super) const RAW: &str = "application/vnd.docker.raw-stream";

/// A stream with frames.
pub(super) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The type of a stream, as far as the version of the client has one for it.
pub(super) fn kind(terminal: bool, version: super::request::ApiVersion) -> &'static str {
    if terminal || version < super::request::ApiVersion(1, 42) { RAW } else { MULTIPLEXED }
}
