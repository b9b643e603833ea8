//! Cgroups: directories of a cgroup hierarchy, and the limits that are set in them. cgroups(7)

use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;
use serde::{Deserialize, Serialize};

use super::c_string;
use super::file::write_once;
use crate::error::errno;
use crate::observe::hierarchy::Controller;
use crate::plan::Setting;
use crate::plan::slots::Slots;
use crate::sys::bpf;
use crate::text::printed;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupCall {
    /// mkdir(2) of a cgroup.
    Make {
        /// Its directory.
        #[serde(with = "crate::value::bytes")]
        directory: PathBuf,
        /// Whether other runs use it too. Then EEXIST counts as success.
        shared: bool,
    },
    /// open(2) of a cgroup: `<cgroup>`, in which the child is created.
    Open {
        /// Its directory.
        #[serde(with = "crate::value::bytes")]
        directory: PathBuf,
    },
    /// write(2) of a limit to a file of a cgroup.
    Set {
        /// The group's directory.
        #[serde(with = "crate::value::bytes")]
        directory: PathBuf,
        /// The controller that enforces it.
        controller: Controller,
        /// The file, and what is written.
        setting: Setting,
    },
    /// write(2) to a file of a cgroup, if this kernel has the file. Otherwise nothing is done, and the result is 0.
    Offer {
        /// The group's directory.
        #[serde(with = "crate::value::bytes")]
        directory: PathBuf,
        /// The controller that would enforce it.
        controller: Controller,
        /// The file, and what is written.
        setting: Setting,
    },
    /// bpf(2): loads a device program and attaches it to a cgroup.
    AttachProgram {
        /// The group's directory.
        #[serde(with = "crate::value::bytes")]
        directory: PathBuf,
        /// The instructions of the program: one struct bpf_insn each. `cgroups::devices` makes them.
        program: Vec<u64>,
    },
}

impl fmt::Display for CgroupCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CgroupCall::Make { directory, .. } => write!(f, "mkdir({}, 0755)", c_string(directory)),
            CgroupCall::Open { directory } => {
                write!(f, "openat(AT_FDCWD, {}, O_PATH|O_DIRECTORY|O_CLOEXEC)", c_string(directory))
            }
            CgroupCall::Set { directory, setting, .. } | CgroupCall::Offer { directory, setting, .. } => {
                let (file, value) = (setting.path_in(directory), &setting.value);
                write!(f, "write(<{}>, {}, {})", printed(file), c_string(value), value.len())?;
                match self {
                    CgroupCall::Offer { .. } => f.write_str("  [if the file exists]"),
                    _ => Ok(()),
                }
            }
            CgroupCall::AttachProgram { directory, program } => {
                let load = bpf::load_text(program.len());
                write!(f, "{load}; {}", bpf::attach_text(&printed(directory)))
            }
        }
    }
}

impl CgroupCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            CgroupCall::Make { directory, shared } => {
                match mkdir(directory, Mode::from_bits_truncate(0o755)) {
                    Err(Errno::EEXIST) if *shared => Ok(0),
                    made => made.map(|()| 0),
                }
            }
            CgroupCall::Open { directory } => {
                slots.cgroup = Some(directory_of(directory, OFlag::O_PATH)?);
                Ok(0)
            }
            CgroupCall::Set { directory, setting, .. } => {
                write_once(setting.path_in(directory), &setting.value)
            }
            CgroupCall::Offer { directory, setting, .. } => {
                let file = setting.path_in(directory);
                match file.try_exists().map_err(errno)? {
                    true => write_once(&file, &setting.value),
                    false => Ok(0),
                }
            }
            CgroupCall::AttachProgram { directory, program } => {
                let program = bpf::load_device_program(program)?;
                bpf::attach(directory_of(directory, OFlag::O_RDONLY)?, program).map(|()| 0)
            }
        }
    }
}

fn directory_of(directory: &Path, flags: OFlag) -> Result<std::os::fd::OwnedFd, Errno> {
    open(directory, flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
