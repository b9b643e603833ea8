//! The containers for a reader that changes nothing: what killed commands have left is not removed.

use super::{ContainerStore, failed};
use crate::container::id::Id;
use crate::container::record::ProcessPlace;
use crate::container::store::files::Directories;
use crate::error::Result;
use crate::host::home::HomePlace;

impl ContainerStore {
    /// The IDs of all containers, each with its name. A name is empty if a removal was interrupted.
    ///
    /// # Errors
    /// HOME cannot be trusted; it cannot be read.
    pub fn look() -> Result<Vec<(Id, String)>> {
        let place = HomePlace::find();
        let home = place.open()?;
        let directories = home.map(|home| Directories::find(&home)).transpose();
        let directories = directories.map_err(|error| failed(&place, error))?.flatten();
        let store = ContainerStore { place, here: ProcessPlace::here(), directories };
        let Some(directories) = &store.directories else { return Ok(Vec::new()) };
        let names = store.names(directories)?;
        let name_of = |id: &Id| names.iter().find(|(_, of)| of == id).map(|(name, _)| name.clone());
        Ok(store
            .ids(directories)?
            .into_iter()
            .map(|id| (id.clone(), name_of(&id).unwrap_or_default()))
            .collect())
    }
}
