//! `sandbox push`: an image to a registry.

use clap::Args;

use super::progress::{ProgressKind, PullProgress};
use super::pull::RegistryArgs;
use super::{as_docker, name_from};
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::image::registry::push::{PushRequest, push};
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::text_with;

/// The flags of `push`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PushArgs {
    /// The image: [REGISTRY/]REPOSITORY[:TAG]
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Print only errors and the name of the image
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Pushes the image.
pub(crate) fn run(color: Color, args: &PushArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let reference = name_from(&args.name)?;
    let store = ImageStore::open().map_err(as_docker)?;
    let image =
        store.all().map_err(as_docker)?.into_iter().find(|image| image.name.as_ref() == Some(&reference));
    let say = |line: String| {
        if !args.quiet {
            render::out(&(line + "\n"))
        }
    };
    say(text_with("image.push.to", &[("repository", &reference.name())]));
    let image = image.ok_or_else(|| {
        let what = text_with("image.push.none", &[("name", &reference.familiar())]);
        Error::new(ExitKind::Refused, what).paste("sandbox images")
    })?;
    let progress = PullProgress::new(ProgressKind::Push, !args.quiet, args.explain.is_on());
    let request = PushRequest { image: &image, reference: &reference };
    let options = args.registry.options();
    let pushed = progress.while_shown(|| push(&store, &request, &options, &progress, &args.explain.tell()));
    let (digest, size) = pushed.map_err(as_docker)?;
    let tag = reference.tag.clone().unwrap_or_default();
    let values = [("tag", &*tag), ("digest", &digest.to_string()), ("size", &size.to_string())];
    say(text_with("image.push.done", &values));
    if args.quiet {
        render::out(&format!("{reference}\n"));
    }
    Ok(0)
}
