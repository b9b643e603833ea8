//! The root filesystem of a container, complete and explicit.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{Layers, Rootfs};
use crate::value::bytes;
use crate::value::mount::default_size;
use crate::value::units::Size;

/// The root filesystem of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootFilesystem {
    /// Whether it has the files of this machine: then the lower directory is `/`.
    pub host: bool,
    /// The lower directories, as absolute paths, the topmost first. Without an overlay there is one, which is the root itself.
    #[serde(with = "bytes::list")]
    #[schemars(with = "Vec<bytes::Form>")]
    pub lowers: Vec<PathBuf>,
    /// The upper directory, if it is kept. None: an upper layer in memory.
    #[serde(with = "bytes::option")]
    #[schemars(with = "Option<bytes::Form>")]
    pub upper: Option<PathBuf>,
    /// Whether it is read-only.
    pub readonly: bool,
    /// Whether the lower directories stay unchanged: writes go to an upper layer. For `host` they always do.
    pub overlay: bool,
    /// The maximum size of the filesystem in memory.
    pub size: Size,
    /// Directories whose files the container does not get.
    pub hidden: Vec<HiddenDirectory>,
    /// Whether any device file in it can be opened, also where no device rules deny the other devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
}

/// A directory of the host that is empty in the container. An empty tmpfs is mounted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenDirectory {
    /// Its name in `/`.
    pub name: String,
    /// The mode that it has in the container.
    pub mode: u32,
    /// The maximum size of the tmpfs.
    pub size: Size,
}

impl RootFilesystem {
    /// Whether the working directory of the command is made if it does not exist: in an overlay of images or of a directory. In
    /// the files of this machine, a wrong path is an error.
    pub fn makes_working_directory(&self) -> bool {
        self.overlay && !self.host
    }

    /// The root filesystem that a spec asks for. `overlay` is whether a directory stays unchanged. All of it that can be
    /// written without a change of the host is in memory, so writes use no disk, unless an upper directory is given.
    pub fn of(rootfs: &Rootfs, overlay: bool, readonly: bool) -> RootFilesystem {
        let host = *rootfs == Rootfs::Host;
        let hidden =
            |(name, mode): (&str, u32)| HiddenDirectory { name: name.into(), mode, size: default_size() };
        let (lowers, upper) = match rootfs {
            Rootfs::Host => (vec!["/".into()], None),
            Rootfs::Dir(directory) => (vec![directory.clone()], None),
            Rootfs::Layers(Layers { layers, upper }) => (layers.clone(), upper.clone()),
            // Its layers are not known here.
            Rootfs::Image(_) => (Vec::new(), None),
        };
        RootFilesystem {
            host,
            lowers,
            upper,
            readonly,
            overlay: overlay || !matches!(rootfs, Rootfs::Dir(_)),
            size: default_size(),
            devices: false,
            hidden: if host { HIDDEN.map(hidden).into() } else { Vec::new() },
        }
    }
}

/// The directories of the host whose files a container does not get, each with its mode.
const HIDDEN: [(&str, u32); 4] = [("home", 0o755), ("root", 0o700), ("run", 0o755), ("tmp", 0o1777)];
