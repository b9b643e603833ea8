//! The files of a kept container: what it has written, and all of them together.
//!
//!     stopped    its upper directory, and the layers below it
//!     running    /proc/PID/root: what its processes see, with all that is mounted there
//!
//! A process that can reach nothing else reads and writes them (`image::layer`). As an ordinary user, it is in a user namespace
//! with the ID maps of the container.

use std::path::PathBuf;

use super::listing::bound;
use super::store::KeptContainer;
use crate::error::{Error, ExitKind, Result};
use crate::image::digest::Digest;
use crate::plan::call::user::IdMaps;
use crate::text::{text, text_with};

/// The directories of a container's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLayers {
    /// The upper directory first, then the layers, the topmost first.
    pub directories: Vec<PathBuf>,
    /// The ID maps in which their owners mean something. None: real IDs.
    pub maps: Option<IdMaps>,
    /// Whether they are those of a process.
    pub is_running: bool,
    /// Where volumes and directories of the host are mounted when it runs. Empty if it runs.
    pub mounts: Vec<PathBuf>,
}

impl KeptContainer {
    /// The upper directory and the layers.
    ///
    /// # Errors
    /// It has no upper directory on the disk: it uses the files of the host, or a directory as it is.
    pub fn layers(&self) -> Result<ContainerLayers> {
        let root = self.record.config.environment.root.as_ref();
        let Some((root, upper)) =
            root.filter(|root| root.overlay && !root.host).and_then(|root| Some((root, root.upper.clone()?)))
        else {
            let what = text_with("image.container.nolayers", &[("id", self.record.id.short())]);
            return Err(Error::new(ExitKind::Refused, what).why(text("image.container.nolayers.reason")));
        };
        let directories = [upper].into_iter().chain(root.lowers.iter().cloned()).collect();
        let volumes = self.record.volumes.iter().map(|volume| volume.target.clone());
        let mounts = volumes.chain(bound(self).map(|mount| mount.destination.clone())).collect();
        Ok(ContainerLayers { directories, maps: self.maps(), is_running: false, mounts })
    }

    /// All files of the container: if it runs, as its processes see them.
    ///
    /// # Errors
    /// It does not run, and has no upper directory on the disk.
    pub fn files(&self) -> Result<ContainerLayers> {
        let command = self.state.command.filter(|_| self.state.status.is_active());
        // Another process may have the PID of one that has ended.
        match command.filter(|command| command.lives()) {
            Some(command) => {
                let directories = vec![PathBuf::from(format!("/proc/{}/root/.", command.pid))];
                let maps = self.record.config.environment.namespaces.user.options();
                let maps = maps.filter(|maps| !maps.users.is_empty()).cloned();
                Ok(ContainerLayers { directories, maps, is_running: true, mounts: Vec::new() })
            }
            None => self.layers(),
        }
    }

    /// The chain ID of the topmost layer. None: it is no layer of an image.
    pub fn chain_id(&self) -> Option<Digest> {
        let root = self.record.config.environment.root.as_ref()?;
        Digest::of_hex(root.lowers.first()?.parent()?.file_name()?.to_str()?)
    }

    fn maps(&self) -> Option<IdMaps> {
        let maps = self.record.config.environment.namespaces.user.options();
        let maps = maps.filter(|maps| !nix::unistd::geteuid().is_root() && !maps.users.is_empty());
        maps.cloned()
    }
}
