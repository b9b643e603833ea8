//! `sandbox load`: images from an archive.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::{as_docker, note as note_event, own_maps, print_losses, sweep_quietly};
use crate::cli::explain::ExplainArg;
use crate::error::{Error, Result};
use crate::image::archive;
use crate::image::manifest::Platform;
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};

/// The flags of `load`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct LoadArgs {
    /// The archive of `docker save`, `podman save` or skopeo, or a directory with an image layout; without it,
    /// standard input
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Of an image for several platforms, load the one for this platform; the default is this machine's
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print only errors and the names of the images
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Loads the images.
pub(crate) fn run(color: Color, args: &LoadArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if args.input.is_none() && std::io::stdin().is_terminal() {
        return Err(as_docker(Error::failed(text("image.load.terminal"))).paste("sandbox load -i image.tar"));
    }
    let source = archive::open(args.input.as_deref())?;
    let (store, note) = ImageStore::make().map_err(as_docker)?;
    note.iter().for_each(|note| render::note(note));
    let loaded =
        archive::load(&store, source, args.platform.as_ref(), own_maps().as_ref(), &args.explain.tell())
            .map_err(|error| {
                sweep_quietly(&store);
                as_docker(error)
            })?;
    for image in &loaded {
        note_event("load", &image.image.id, &image.image.id);
        for name in &image.names {
            render::out(&(text_with("image.loaded", &[("name", &name.familiar())]) + "\n"));
        }
        if image.names.is_empty() {
            render::out(&(text_with("image.loaded.id", &[("id", &image.image.id.to_string())]) + "\n"));
        }
        if !args.quiet {
            print_losses(&image.counts);
        }
    }
    Ok(0)
}
