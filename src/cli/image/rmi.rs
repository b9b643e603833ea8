//! `sandbox rmi`: removes names of images, and images without a name.

use clap::Args;

use super::{as_docker, in_use, note};
use crate::cli::explain::ExplainArg;
use crate::container::store::ContainerStore;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};

/// The arguments of `rmi`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RmiArgs {
    /// The images: names, IDs, or beginnings of IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Remove an image with several names, or one that a container has that does not run
    #[arg(long, short)]
    force: bool,
    /// Accepted as Docker's: an image has no parents here that could be removed with it
    #[arg(long)]
    no_prune: bool,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Removes the images. Each error is printed, and the others are removed all the same.
pub(crate) fn run(color: Color, args: &RmiArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ImageStore::open().map_err(as_docker)?;
    let mut status = 0;
    for written in &args.images {
        if let Err(error) = remove(&store, written, args) {
            let is_unknown = matches!(store.look_for(written), Ok(None));
            render::err(&render::error::text(&as_docker(error)));
            // With -f, an image that does not exist is an error for the user to read, but none for a script.
            status = if args.force && is_unknown { status } else { 1 };
        }
    }
    Ok(status)
}

fn remove(store: &ImageStore, written: &str, args: &RmiArgs) -> Result<()> {
    let image = store.find(written)?;
    let all = store.all()?;
    let names: Vec<&Reference> =
        all.iter().filter(|other| other.id == image.id).filter_map(|other| other.name.as_ref()).collect();
    let by_name = image
        .name
        .as_ref()
        .filter(|name| written.parse::<Reference>().is_ok_and(|of| of.or_latest() == **name));
    if by_name.is_none() && names.len() > 1 && !args.force {
        let what = text_with("image.rmi.names", &[("id", image.id.short())]);
        return Err(Error::new(ExitKind::Refused, what).paste(format!("sandbox rmi -f {}", image.id.short())));
    }
    // The last name takes the image with it.
    if by_name.is_none() || names.len() <= 1 {
        refuse_if_used(&image, args.force)?;
        // If this is not known, no files can be removed, and the image keeps its name too.
        in_use()?;
    }
    let tell = args.explain.tell();
    tell(&"write(<index.json.new>); rename(\"index.json.new\", \"index.json\")", "image.explain.untag");
    for name in store.unname(&image, by_name)? {
        render::out(&(text_with("image.rmi.untagged", &[("name", &name.familiar())]) + "\n"));
        note("untag", &image.id, &image.id);
    }
    if store.all()?.iter().any(|other| other.id == image.id) {
        return Ok(());
    }
    render::out(&(text_with("image.rmi.deleted", &[("digest", &image.id.to_string())]) + "\n"));
    note("delete", &image.id, &image.id);
    tell(&"unlinkat(<blobs>, ...); unlinkat(<layers>, ...)", "image.explain.sweep");
    let freed = store.sweep(in_use)?;
    for layer in &freed.layers {
        render::out(&(text_with("image.rmi.deleted", &[("digest", &layer.to_string())]) + "\n"));
    }
    if freed.is_postponed {
        render::note(&text("image.rmi.postponed"));
    }
    Ok(())
}

/// Refuses to remove an image that a kept container is made from. A running one is refused with -f too.
fn refuse_if_used(image: &StoredImage, force: bool) -> Result<()> {
    let (kept, _) = ContainerStore::open()?.all()?;
    let is_of_image = |made_from: &str| {
        let name = made_from.parse::<Reference>().map(Reference::or_latest).ok();
        (name.is_some() && name == image.name)
            || (made_from.len() >= 4 && image.id.hex().starts_with(made_from))
    };
    // Its image may have lost the name that the container was made from.
    let id = Some(image.id.to_string());
    let has_image = kept
        .iter()
        .filter(|container| container.record.image_id == id || is_of_image(&container.record.image));
    let mut found = has_image.filter(|container| !force || container.state.status.is_active());
    let Some(container) = found.next() else { return Ok(()) };
    let id = container.record.id.short();
    let values = [("name", &*image.shown()), ("container", id)];
    Err(match container.state.status.is_active() {
        true => Error::new(ExitKind::Refused, text_with("image.rmi.running", &values))
            .paste(format!("sandbox rm -f {id}")),
        false => Error::new(ExitKind::Refused, text_with("image.rmi.used", &values))
            .paste(format!("sandbox rm {id}")),
    })
}
