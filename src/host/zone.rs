//! The time zone of this process.

use crate::sys;
use crate::value::timestamp::{Timestamp, Zone};

/// The local time zone at a moment.
pub fn local(moment: Timestamp) -> Zone {
    let seconds = i64::try_from(moment.seconds()).ok();
    let found = seconds.and_then(sys::zone::at);
    found.map_or_else(Zone::utc, |(offset, name)| Zone { offset: offset.into(), name })
}
