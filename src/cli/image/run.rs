//! `run IMAGE` and `create IMAGE`: the spec of a container that is made from an image.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::cli::docker::Pull;
use crate::config::of_image::spec_of_image;
use crate::config::spec::Spec;
use crate::container::explain::Explainer;
use crate::container::message::SentError;
use crate::error::{Error, ExitKind, Result};
use crate::host::home::VARIABLE;
use crate::image::manifest::{ImageConfig, Platform};
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::rootfs::Rootfs;
use crate::sys::signal;
use crate::text::{printed, text_with};

/// The spec of a container of an image, before flags and the image add to it: what Docker gives each container, as far as this
/// caller can have it.
pub(in crate::cli) fn spec_of(image: &str) -> Spec {
    spec_of_image(Rootfs::Image(image.to_owned()))
}

/// Where the progress of a download is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ProgressPlace {
    /// On standard output, as part of what a build prints.
    Output,
    /// On standard error: standard output belongs to the command of the container.
    Errors,
    /// Nowhere: only errors are printed.
    Nowhere,
}

/// Gets the image, if it is not here, or in any case.
///
/// # Errors
/// It is not here, and cannot be pulled.
pub(in crate::cli) fn ensure(
    image: &str,
    pull: Pull,
    platform: Option<&str>,
    place: ProgressPlace,
    explain: Explainer,
) -> Result<()> {
    let as_failed = |error: Error| Error { kind: ExitKind::Failed, ..error };
    let store = ImageStore::open().map_err(as_failed)?;
    // A store that cannot be read is an error: the image may be in it.
    let found = store.look_for(image).map_err(as_failed)?;
    // The image that is here is for another platform.
    let other = match (&found, platform) {
        (Some(found), Some(wanted)) => is_for(&store, found, wanted).map_err(as_failed)?.err(),
        _ => None,
    };
    let is_here = found.is_some() && other.is_none();
    match pull {
        Pull::Missing | Pull::Never if is_here => {
            if let Some(found) = found.as_ref().filter(|_| platform.is_none()) {
                warn_of_platform(&store, found);
            }
            return Ok(());
        }
        Pull::Never => {
            let found = store.find(image).map_err(as_failed)?;
            return platform.map_or(Ok(()), |wanted| suits(&store, &found, wanted)).map_err(as_failed);
        }
        Pull::Missing | Pull::Always => {}
    }
    let name = image.parse::<Reference>().map_err(Error::failed)?.or_latest().familiar();
    if !is_here && place == ProgressPlace::Errors {
        render::err(&(text_with("image.run.missing", &[("name", &name)]) + "\n"));
    }
    let store = ImageStore::make().map_err(as_failed)?.0;
    let platform = platform.map(|platform| ["--platform", platform]);
    let words = ["pull", "--report"].into_iter().chain(platform.into_iter().flatten()).chain([&*name]);
    let words: Vec<&str> = words.collect();
    let shown: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    explain.step(
        format!("execve(\"/proc/self/exe\", [\"sandbox\", {}])", shown.join(", ")),
        "image.run.explain",
    );
    let cannot = |error: std::io::Error| {
        Error::failed(text_with("image.run.nopull", &[("name", &printed(&name))]))
            .call("execve(\"/proc/self/exe\")", error)
    };
    let output = match place {
        ProgressPlace::Output => Stdio::inherit(),
        ProgressPlace::Errors => std::io::stderr().as_fd().try_clone_to_owned().map_err(cannot)?.into(),
        ProgressPlace::Nowhere => Stdio::null(),
    };
    // It sends its error there: this command prints it, and a build adds the line of the Dockerfile.
    let (mut report, end) = std::io::pipe().map_err(cannot)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").args(&words).env(VARIABLE, store.home()).stdin(end).stdout(output);
    // A build has blocked the signals that end it.
    signal::restore_before(&mut command);
    let mut pulling = command.spawn().map_err(cannot)?;
    // The pipe ends when its last writer has ended.
    drop(command);
    let mut sent = Vec::new();
    let read = report.read_to_end(&mut sent);
    let has_pulled = pulling.wait().map_err(cannot)?.success();
    read.map_err(cannot)?;
    match (has_pulled, serde_json::from_slice::<SentError>(&sent), other) {
        (true, ..) => Ok(()),
        (false, Ok(error), None) => Err(as_failed(error.into())),
        // As Docker: the image that is here is named, and then why no other one was found.
        (false, Ok(error), Some(other)) => {
            let Error { what, why, todo, call, .. } = error.into();
            Err(as_failed(Error { why: [vec![what], why].concat(), todo, call, ..other }))
        }
        // It was ended by a signal, or has printed why its command line is wrong.
        (false, Err(_), Some(error)) => Err(as_failed(error)),
        (false, Err(_), None) => {
            Err(Error::failed(text_with("image.run.nopull", &[("name", &printed(&name))]))
                .todo("sandbox load -i image.tar"))
        }
    }
}

/// Warns, as Docker does, of an image for another processor: its programs cannot be executed here, unless an emulator is installed.
fn warn_of_platform(store: &ImageStore, image: &StoredImage) {
    // Where the image cannot be read, the next step says why.
    let Ok(parts) = store.parts(&image.descriptor) else { return };
    let here = Platform::here();
    let own = Platform { architecture: parts.config.architecture, os: parts.config.os, ..Platform::here() };
    if !own.architecture.is_empty() && !own.suits(&here) {
        let values = [("own", &*printed(own.to_string())), ("here", &here.to_string())];
        render::err(&format!("WARNING: {}\n", text_with("image.run.otherplatform", &values)));
    }
}

/// Checks that an image is for a platform, `OS/ARCH[/VARIANT]`. One that names none is for any.
pub(super) fn suits(store: &ImageStore, image: &StoredImage, wanted: &str) -> Result<()> {
    is_for(store, image, wanted)?
}

/// The same. The inner error is that of an image for another platform; the outer one says that this cannot be known.
fn is_for(store: &ImageStore, image: &StoredImage, wanted: &str) -> Result<Result<()>> {
    let ImageConfig { architecture, os, .. } = store.parts(&image.descriptor)?.config;
    let own = Platform { architecture, os, variant: None, others: BTreeMap::new() };
    if own.architecture.is_empty() || own.suits(&wanted.parse().map_err(Error::failed)?) {
        return Ok(Ok(()));
    }
    let name = image.name.as_ref().map_or_else(|| image.id.short().to_owned(), Reference::familiar);
    let values =
        [("name", &*printed(&name)), ("wanted", &printed(wanted)), ("own", &printed(own.to_string()))];
    Ok(Err(Error::failed(text_with("image.run.platform", &values))))
}
