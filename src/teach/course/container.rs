//! Facts about the container of a process, as `sandbox` has recorded them: the one that stays, and the image of any.
//!
//! They are read from the files of the supervisor's own HOME. A record counts only if it names this supervisor, so no other
//! process can pass for one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::data::{ContainerPart, ImagePart};
use super::fact::FactValue;
use super::relatives;
use crate::config::container::Config;
use crate::container::events::{EVENTS, Event, EventAction};
use crate::container::id::Id;
use crate::container::record::{ContainerRecord, ContainerState, RecordedProcess};
use crate::container::store::STATE;
use crate::host::containers::{MAX_CONFIG, read_bounded, run_of};
use crate::host::home::HomePlace;
use crate::host::own_run::CONFIG;
use crate::host::private_directory::PrivateDirectory;
use crate::observe::file;
use crate::sys::in_root;
use crate::teach::supervised::SupervisedContainer;

/// The path of the layers in HOME.
const LAYERS: &str = "layers";

/// The most files of an image that are listed.
const MAX_FILES: usize = 20_000;

/// How many digits of the name of a layer are printed.
const SHORT: usize = 12;

/// A container that stays, and runs.
struct Supervised {
    home: PrivateDirectory,
    id: Id,
    record: ContainerRecord,
}

fn read_json<T: serde::de::DeserializeOwned>(directory: &PrivateDirectory, name: &str) -> Option<T> {
    let content = read_bounded(directory.file_to_read(name).ok()??, MAX_CONFIG).ok()?;
    serde_json::from_slice(&content).ok()
}

impl Supervised {
    /// The container whose supervisor is among the starters of a process.
    fn of(process: &str) -> Option<Supervised> {
        relatives::starters_of(process).into_iter().find_map(Supervised::supervised_by)
    }

    /// The container of this supervisor.
    fn supervised_by(pid: i32) -> Option<Supervised> {
        let SupervisedContainer { id, home } = SupervisedContainer::of(pid)?;
        let home = HomePlace { path: home, instead_of: None }.open().ok()??;
        let directory =
            home.directory("containers".as_ref()).ok()??.directory(id.as_str().as_ref()).ok()??;
        let state: ContainerState = read_json(&directory, STATE)?;
        let record = read_json(&directory, CONFIG)?;
        (state.supervisor == RecordedProcess::of(pid)).then_some(Supervised { home, id, record })
    }

    /// Its name, which can have changed since its start.
    fn name(&self) -> Option<String> {
        let names = self.home.directory("names".as_ref()).ok()??;
        let all = names.names().ok()?.0.into_iter().filter_map(|name| name.into_string().ok());
        let is_own = |name: &String| {
            let target = names.link(name).ok().flatten();
            target.is_some_and(|target| Path::new(&target).file_name() == Some(self.id.as_str().as_ref()))
        };
        all.into_iter().find(is_own)
    }

    /// How often it was started.
    fn starts(&self) -> usize {
        let is_start = |event: &Event| {
            event.kind == "container"
                && event.word() == EventAction::Start.word()
                && event.id == self.id.as_str()
        };
        let file = self.home.file_to_read(EVENTS).ok().flatten();
        let lines = file.into_iter().flat_map(|file| BufReader::new(file).lines().map_while(Result::ok));
        lines.filter_map(|line| serde_json::from_str(&line).ok()).filter(is_start).count()
    }
}

/// What is recorded about the container of a process. Without one, the reason names its starters.
pub(super) fn about(process: &str, part: ContainerPart) -> FactValue {
    let Some(kept) = Supervised::of(process) else {
        return FactValue::refused(relatives::file_of_starters(process, "cmdline").text());
    };
    match part {
        ContainerPart::Name => match kept.name() {
            Some(name) => FactValue::one(&name),
            None => FactValue::refused("no name"),
        },
        ContainerPart::Starts => FactValue::one(&kept.starts().to_string()),
        ContainerPart::Request => match kept.record.client {
            Some(request) => FactValue::one(&request.to_string()),
            None => FactValue::refused("no request"),
        },
    }
}

/// The layers of the container of a process, the topmost first. Containers that are thrown away have them too.
fn layers(process: &str) -> Option<Vec<PathBuf>> {
    let mut pids = relatives::starters_of(process);
    pids.extend(relatives::pid_of(process));
    let config: Config = read_json(&run_of(&pids).ok()??, CONFIG)?;
    config.environment.root.map(|root| root.lowers)
}

/// HOME and the name of a layer of an image: `HOME/layers/[MAP/]CHAIN-ID/files`. None: it is another directory.
fn layer_of_image(files: &Path) -> Option<(&Path, &str)> {
    let directory = files.parent().filter(|_| files.ends_with("files"))?;
    let home = directory.ancestors().find(|path| path.ends_with(LAYERS))?.parent()?;
    Some((home, directory.file_name()?.to_str()?))
}

/// The beginning of the name of a layer.
fn short(name: &str) -> String {
    name.chars().take(SHORT).collect()
}

/// What is known about the image of the container of a process.
pub(super) fn image(process: &str, part: ImagePart) -> FactValue {
    let layers = layers(process).unwrap_or_default();
    let known: Option<Vec<(&Path, &str)>> = layers.iter().map(|layer| layer_of_image(layer)).collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return FactValue::refused("no image") };
    match part {
        ImagePart::Layers => FactValue::list(known.iter().map(|(_, name)| short(name)).collect()),
        ImagePart::Files => {
            let mut paths = BTreeSet::new();
            match layers.iter().try_for_each(|layer| add_files(layer, Path::new("/"), &mut paths)) {
                Ok(()) => FactValue::list(paths.iter().map(|path| file::path_text(path)).collect()),
                Err(error) => FactValue::of(Err(error), FactValue::one),
            }
        }
        _ => stored(process, part, known[0]),
    }
}

/// What the store says about the image with this layer as its topmost one.
#[cfg(feature = "images")]
fn stored(process: &str, part: ImagePart, (home, top): (&Path, &str)) -> FactValue {
    use crate::image::history;
    use crate::image::store::{ImageStore, StoredImage};

    let recorded = Supervised::of(process).and_then(|kept| kept.record.image_id);
    let read = || -> crate::error::Result<Option<Vec<String>>> {
        let store = ImageStore::in_home(home)?;
        // Several images can have the same layers. The record of a container that stays has the right one.
        let is_it = |image: &StoredImage| match &recorded {
            Some(id) => image.id.to_string() == *id,
            None => store.parts(&image.descriptor).is_ok_and(|parts| {
                parts.config.rootfs.chain_ids().last().is_some_and(|chain| chain.hex() == top)
            }),
        };
        let images: Vec<StoredImage> = store.all()?.into_iter().filter(is_it).collect();
        let Some(first) = images.first() else { return Ok(None) };
        Ok(Some(match part {
            ImagePart::Steps => {
                history::steps(&store, first)?.into_iter().map(|step| step.step.created_by).collect()
            }
            _ => {
                let names = images.iter().filter_map(|image| image.name.as_ref());
                let latest = |name: String| name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name);
                names.map(|name| latest(name.familiar())).collect()
            }
        }))
    };
    match read() {
        Ok(Some(items)) if part == ImagePart::Steps => FactValue::lines(&(items.join("\n"))),
        Ok(Some(items)) => FactValue::list(items),
        Ok(None) => FactValue::refused("no image of the store"),
        Err(error) => FactValue::refused(error.to_string()),
    }
}

/// This build has no images.
#[cfg(not(feature = "images"))]
fn stored(_: &str, _: ImagePart, _: (&Path, &str)) -> FactValue {
    FactValue::refused("no images")
}

/// The layers of the image of a process that have this path. A layer that removes it has it too, as a whiteout.
pub(super) fn layers_with(process: &str, path: &str) -> FactValue {
    let layers = layers(process).unwrap_or_default();
    if layers.is_empty() {
        return FactValue::refused("no image");
    }
    let mut found = Vec::new();
    for layer in &layers {
        match has_path(layer, path) {
            Ok(true) => found
                .push(layer_of_image(layer).map_or_else(|| file::path_text(layer), |(_, name)| short(name))),
            Ok(false) => {}
            Err(error) => return FactValue::of(Err(error), FactValue::one),
        }
    }
    FactValue::list(found)
}

/// Adds the paths of a layer that are no directories, below one of its directories. Links are not followed.
fn add_files(layer: &Path, below: &Path, paths: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let directory = layer.join(below.strip_prefix("/").unwrap_or(below));
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => add_files(layer, &path, paths)?,
            false if paths.len() >= MAX_FILES => return Err(io::Error::other("too many files")),
            false => drop(paths.insert(path)),
        }
    }
    Ok(())
}

/// Whether a layer has this path. A link in the layer leads to a file of the layer, not of the host.
fn has_path(layer: &Path, path: &str) -> io::Result<bool> {
    match in_root::open(File::open(layer)?, path, OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_a_layer_leads_to_a_file_of_the_layer() {
        let directory = tempfile::tempdir().unwrap();
        let layer = directory.path();
        std::fs::create_dir(layer.join("own")).unwrap();
        std::fs::write(layer.join("own/file"), "").unwrap();
        symlink("/own", layer.join("link")).unwrap();
        symlink("/proc", layer.join("host")).unwrap();
        let has = |path: &str| has_path(layer, path).unwrap();
        assert!(has("/own/file") && has("own") && has("/link/file") && has("/host"));
        assert!(!has("/host/self") && !has("/own/file/below") && !has("/none"));
        std::fs::create_dir(layer.join("own/empty")).unwrap();
        let mut files = BTreeSet::new();
        add_files(layer, Path::new("/"), &mut files).unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["/host", "/link", "/own/file"].map(PathBuf::from));
    }
}
