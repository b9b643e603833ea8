//! Cgroups: directories of a cgroup hierarchy, and the limits that are set in them. cgroups(7)

use std::fmt;
use std::path::Path;

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

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupCall {
    /// mkdir(2) of a group.
    Make {
        /// Its folder.
        folder: String,
        /// Other runs use it too: that it's there already is as good.
        shared: bool,
    },
    /// open(2) of a group: `<cgroup>`, into which the child is cloned.
    Open {
        /// Its folder.
        folder: String,
    },
    /// write(2) of a limit to a file of a group.
    Set {
        /// The group's folder.
        folder: String,
        /// The controller that enforces it.
        controller: Controller,
        /// The file, and what is written.
        setting: Setting,
    },
    /// The same to a file that this kernel may not have: then nothing is done, and 0 returned.
    Offer {
        /// The group's folder.
        folder: String,
        /// The file, and what is written.
        setting: Setting,
    },
    /// bpf(2): loads a device program and attaches it to a group.
    AttachProgram {
        /// The group's folder.
        folder: String,
        /// Its instructions, as the kernel takes them. `cgroups::devices` makes them.
        program: Vec<u64>,
    },
}

impl fmt::Display for CgroupCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CgroupCall::Make { folder, .. } => write!(f, "mkdir({}, 0755)", c_string(folder)),
            CgroupCall::Open { folder } => {
                write!(f, "openat(AT_FDCWD, {}, O_PATH|O_DIRECTORY|O_CLOEXEC)", c_string(folder))
            }
            CgroupCall::Set { folder, setting, .. } | CgroupCall::Offer { folder, setting } => {
                let (file, value) = (setting.path_in(folder), &setting.value);
                write!(f, "write(<{file}>, {}, {})", c_string(value), value.len())
            }
            CgroupCall::AttachProgram { folder, program } => {
                let instructions = program.len();
                write!(
                    f,
                    "bpf(BPF_PROG_ATTACH, <{folder}>, BPF_CGROUP_DEVICE, <{instructions} instructions>)"
                )
            }
        }
    }
}

impl CgroupCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            CgroupCall::Make { folder, shared } => {
                match mkdir(Path::new(folder), Mode::from_bits_truncate(0o755)) {
                    Err(Errno::EEXIST) if *shared => Ok(0),
                    made => made.map(|()| 0),
                }
            }
            CgroupCall::Open { folder } => {
                slots.cgroup = Some(folder_of(folder, OFlag::O_PATH)?);
                Ok(0)
            }
            CgroupCall::Set { folder, setting, .. } => write_once(&setting.path_in(folder), &setting.value),
            CgroupCall::Offer { folder, setting } => {
                let file = setting.path_in(folder);
                match Path::new(&file).try_exists().map_err(errno)? {
                    true => write_once(&file, &setting.value),
                    false => Ok(0),
                }
            }
            CgroupCall::AttachProgram { folder, program } => {
                let program = bpf::load_device_program(program)?;
                bpf::attach(folder_of(folder, OFlag::O_RDONLY)?, program).map(|()| 0)
            }
        }
    }
}

fn folder_of(folder: &str, flags: OFlag) -> Result<std::os::fd::OwnedFd, Errno> {
    open(folder, flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
