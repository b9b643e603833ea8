//! Network devices.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::quoted;
use crate::plan::slots::Slots;
use crate::sys;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// ioctl SIOCSIFFLAGS: brings a device up. netdevice(7).
    LinkUp {
        /// The device.
        name: String,
    },
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Net::LinkUp { name } => {
                write!(
                    f,
                    "ioctl(<socket>, SIOCSIFFLAGS, {{ifr_name={}, ifr_flags=IFF_UP|IFF_RUNNING}})",
                    quoted(name)
                )
            }
        }
    }
}

impl Net {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        match self {
            Net::LinkUp { name } => sys::link::set_up(name).map(|()| 0),
        }
    }
}
