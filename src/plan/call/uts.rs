//! Host name and NIS domain name.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UtsCall {
    /// sethostname(2).
    SetHostname(#[serde(with = "crate::value::bytes")] OsString),
    /// setdomainname(2).
    SetDomainname(#[serde(with = "crate::value::bytes")] OsString),
}

impl fmt::Display for UtsCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UtsCall::SetHostname(name) => write!(f, "sethostname({}, {})", c_string(name), name.len()),
            UtsCall::SetDomainname(name) => write!(f, "setdomainname({}, {})", c_string(name), name.len()),
        }
    }
}

impl UtsCall {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        match self {
            UtsCall::SetHostname(name) => nix::unistd::sethostname(name).map(|()| 0),
            UtsCall::SetDomainname(name) => {
                rustix::system::setdomainname(name.as_bytes()).map(|()| 0).map_err(errno)
            }
        }
    }
}
