//! `sandbox push`: an image to a registry.

use clap::Args;

use super::progress::{ProgressKind, PullProgress};
use super::pull::RegistryArgs;
use super::{as_docker, name_from, note};
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::Reference;
use crate::image::registry::push::{PushRequest, push};
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};

/// The flags of `push`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PushArgs {
    /// The image: [REGISTRY/]REPOSITORY[:TAG]
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Push all tags of the repository
    #[arg(long, short)]
    all_tags: bool,
    /// Print only errors and the name of the image
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Pushes the image, or all images of the repository.
pub(crate) fn run(color: Color, args: &PushArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let reference = name_from(&args.name)?;
    let store = ImageStore::open().map_err(as_docker)?;
    let all = store.all().map_err(as_docker)?;
    let is_wanted = |name: &Reference| match args.all_tags {
        true => name.name() == reference.name() && name.tag.is_some(),
        false => *name == reference,
    };
    let wanted =
        all.iter().filter_map(|image| Some((image, image.name.as_ref().filter(|name| is_wanted(name))?)));
    let wanted: Vec<(&StoredImage, &Reference)> = wanted.collect();
    if args.all_tags && args.name.parse::<Reference>().is_ok_and(|name| name.tag.is_some()) {
        return Err(Error::new(ExitKind::Refused, text("image.push.tag")));
    }
    say(args, text_with("image.push.to", &[("repository", &reference.name())]));
    if wanted.is_empty() {
        let name = if args.all_tags { reference.familiar_name() } else { reference.familiar() };
        let what = text_with("image.push.none", &[("name", &name)]);
        return Err(Error::new(ExitKind::Refused, what).paste("sandbox images"));
    }
    wanted.into_iter().try_for_each(|(image, name)| push_one(&store, image, name, args))?;
    Ok(0)
}

fn say(args: &PushArgs, line: String) {
    if !args.quiet {
        render::out(&(line + "\n"));
    }
}

fn push_one(store: &ImageStore, image: &StoredImage, reference: &Reference, args: &PushArgs) -> Result<()> {
    let progress = PullProgress::new(ProgressKind::Push, !args.quiet, args.explain.is_on());
    let request = PushRequest { image, reference };
    let options = args.registry.options();
    let pushed = progress.while_shown(|| push(store, &request, &options, &progress, &args.explain.tell()));
    let (digest, size) = pushed.map_err(as_docker)?;
    note("push", reference.familiar(), reference.familiar_name());
    let tag = reference.tag.clone().unwrap_or_default();
    let values = [("tag", &*tag), ("digest", &digest.to_string()), ("size", &size.to_string())];
    say(args, text_with("image.push.done", &values));
    if args.quiet {
        render::out(&format!("{reference}\n"));
    }
    Ok(())
}
