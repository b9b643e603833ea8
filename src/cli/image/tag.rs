//! `sandbox tag`: a further name for an image.

use clap::Args;

use super::{as_docker, name_from, note};
use crate::cli::explain::ExplainArg;
use crate::error::Result;
use crate::image::store::ImageStore;
use crate::render::paint::{Color, Stream, decide};

/// The arguments of `tag`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct TagArgs {
    /// The image: a name, an ID, or the beginning of an ID
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its new name. If another image has it, that one loses it
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    new: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Gives the image a name.
pub(crate) fn run(color: Color, args: &TagArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let name = name_from(&args.new)?;
    let store = ImageStore::open().map_err(as_docker)?;
    let image = store.find(&args.source).map_err(as_docker)?;
    let call =
        format!("write(<index.json.new>, \"...{name}...\"); rename(\"index.json.new\", \"index.json\")");
    args.explain.tell()(&call, "image.explain.tag");
    store.name(&image, Some(&name)).map_err(as_docker)?;
    note("tag", &image.id, name.familiar());
    Ok(0)
}
