//! `sandbox image from-host`: an image of this machine's own programs.

use std::ffi::OsString;

use clap::Args;

use super::{as_docker, name_from, own_maps, print_added};
use crate::cli::explain::ExplainArg;
use crate::error::Result;
use crate::image::from_host::HostFiles;
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};

/// The arguments of `image from-host`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct FromHostArgs {
    /// The name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// The programs: paths, or names that are looked for in PATH. The first one is the command of the image
    #[arg(value_name = "PROGRAM", required = true)]
    programs: Vec<OsString>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Makes the image, and prints its ID.
pub(crate) fn run(color: Color, args: &FromHostArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let name = name_from(&args.name)?;
    let tell = args.explain.tell();
    let files = HostFiles::of(&args.programs, &tell).map_err(as_docker)?;
    let (store, note) = ImageStore::make().map_err(as_docker)?;
    note.iter().for_each(|note| render::note(note));
    let added = (|| {
        let ingest = store.ingest()?;
        let image = files.image(&ingest)?.named(Some(name));
        let counts = image.unpack(&store, &ingest, own_maps().as_ref(), &tell)?;
        image.add(&store, &ingest, counts, &tell)
    })();
    print_added(&store, added)
}
