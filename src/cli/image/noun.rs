//! `sandbox image ACTION`: what an image is made of.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::as_docker;
use super::contents::{DiffArgs, WhichArgs};
use super::from_host::FromHostArgs;
use super::history::HistoryArgs;
use super::images::ImagesArgs;
use super::import::ImportArgs;
use super::load::LoadArgs;
use super::prune::ImagePruneArgs;
use super::pull::PullArgs;
use super::push::PushArgs;
use super::rmi::RmiArgs;
use super::save::SaveArgs;
use super::tag::TagArgs;
use crate::cli::build::{self, BuildArgs};
use crate::cli::explain::ExplainArg;
use crate::cli::kept::inspect::{description_format, print_all};
use crate::cli::output::FormatArgs;
use crate::container::explain::Explainer;
use crate::error::Result;
use crate::image::history::{self, HistoryStep, ImageStep};
use crate::image::inspected::inspected;
use crate::image::store::{ImageStore, StoredImage};
use crate::image::verify::{self, VerifiedPart};
use crate::render;
use crate::render::paint::{self, Color, Stream, decide};
use crate::text::{printed, text, text_with, wrap};
use crate::value::units::human;

/// What `image` does.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    action: ImageAction,
}

#[derive(Debug, Subcommand)]
enum ImageAction {
    /// Make an image from a Dockerfile, as `sandbox build`
    Build(Box<BuildArgs>),
    /// Print everything about images, as JSON
    Inspect(DescribedImages),
    /// Print the layers of an image: sizes, commands, digests, and how each digest is computed
    Tree(ShownImages),
    /// Compute every digest of images again, from what is on the disk
    Verify(ShownImages),
    /// Print which layer a path comes from, and which layers hide it
    Which(WhichArgs),
    /// Print what a second image adds (A), changes (C) and deletes (D)
    Diff(DiffArgs),
    /// Make an image of this machine's own programs, with the libraries that they load
    FromHost(FromHostArgs),
    /// Print how an image was made, as `sandbox history`
    History(HistoryArgs),
    /// List the images, as `sandbox images`
    Ls(ImagesArgs),
    /// Download an image from a registry, as `sandbox pull`
    Pull(PullArgs),
    /// Send an image to a registry, as `sandbox push`
    Push(PushArgs),
    /// Load images from an archive, as `sandbox load`
    Load(LoadArgs),
    /// Make an image of an archive of files, as `sandbox import`
    Import(ImportArgs),
    /// Write images to an archive, as `sandbox save`
    Save(SaveArgs),
    /// Give an image a further name, as `sandbox tag`
    Tag(TagArgs),
    /// Remove images, as `sandbox rmi`
    Rm(RmiArgs),
    /// Remove the images without a name, or all that no container has
    Prune(ImagePruneArgs),
}

#[derive(Debug, Args)]
#[group(skip)]
struct NamedImages {
    /// The images: names, IDs, or beginnings of IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    explain: ExplainArg,
}

#[derive(Debug, Args)]
#[group(skip)]
struct ShownImages {
    #[command(flatten)]
    output: FormatArgs,
    #[command(flatten)]
    named: NamedImages,
}

#[derive(Debug, Args)]
#[group(skip)]
struct DescribedImages {
    /// json: one object on each line; or a template of Go. Without it, a list with indents
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    named: NamedImages,
}

/// Does it.
pub(crate) fn run(color: Color, args: &ImageArgs) -> Result<u8> {
    match &args.action {
        ImageAction::Build(args) => build::run(color, args),
        ImageAction::Inspect(described) => inspect(color, described),
        ImageAction::Tree(shown) => each(color, shown, "image.explain.documents", tree),
        ImageAction::Verify(shown) => each(color, shown, "image.explain.verify", verify_one),
        ImageAction::Which(args) => super::contents::which(color, args),
        ImageAction::Diff(args) => super::contents::diff(color, args),
        ImageAction::Import(args) => super::import::run(color, args),
        ImageAction::Prune(args) => super::prune::run(color, args),
        ImageAction::FromHost(args) => super::from_host::run(color, args),
        ImageAction::History(args) => super::history::run(color, args),
        ImageAction::Ls(args) => super::images::run(color, args),
        ImageAction::Pull(args) => super::pull::run(color, args),
        ImageAction::Push(args) => super::push::run(color, args),
        ImageAction::Load(args) => super::load::run(color, args),
        ImageAction::Save(args) => super::save::run(color, args),
        ImageAction::Tag(args) => super::tag::run(color, args),
        ImageAction::Rm(args) => super::rmi::run(color, args),
    }
}

/// What is found out about an image.
struct ImageFinding {
    /// For people.
    lines: Vec<String>,
    /// For programs.
    json: Value,
    /// Whether all of it is right.
    is_good: bool,
}

/// Prints what is found out about each image. Each error is printed, and the others are done all the same.
fn each(
    color: Color,
    ShownImages { output, named }: &ShownImages,
    why: &str,
    find: impl Fn(&ImageStore, &StoredImage) -> Result<ImageFinding>,
) -> Result<u8> {
    decide(color, Stream::Out);
    let store = ImageStore::open().map_err(as_docker)?;
    let tell = named.explain.tell();
    let (mut is_good, mut all) = (true, Vec::new());
    for written in &named.images {
        let done = store.find(written).and_then(|image| {
            tell(&format!("read(<blobs/sha256/{}>); ...", image.descriptor.digest.hex()), why);
            find(&store, &image)
        });
        match done {
            Ok(found) => {
                is_good &= found.is_good;
                match output.is_json() {
                    true => all.push(found.json),
                    false => render::out(&(found.lines.join("\n") + "\n")),
                }
            }
            Err(error) => {
                is_good = false;
                render::err(&render::error::text(&as_docker(error)));
            }
        }
    }
    if output.is_json() {
        render::print_json(Stream::Out, &all);
    }
    Ok(u8::from(!is_good))
}

/// Prints images as a list of JSON.
fn inspect(color: Color, DescribedImages { format, named }: &DescribedImages) -> Result<u8> {
    decide(color, Stream::Err);
    let format = description_format(format.as_deref())?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &named.images {
        match described(name, named.explain.explainer()) {
            Ok(value) => found.push(value),
            Err(error) => errors.push(error),
        }
    }
    print_all(&format, found, errors)
}

/// Everything about an image.
///
/// # Errors
/// There is none with this name, or it cannot be read.
pub(in crate::cli) fn described(name: &str, explain: Explainer) -> Result<Value> {
    let store = ImageStore::open().map_err(as_docker)?;
    let image = store.find(name).map_err(as_docker)?;
    let digest = image.descriptor.digest.hex();
    explain.step(format!("read(<blobs/sha256/{digest}>); ..."), "image.explain.documents");
    inspected(&store, &image).map_err(as_docker)
}

/// What an image is made of, from the name down to the layers, and how the digests are computed. A line with a
/// digest is exactly as wide as a terminal of 80 columns.
fn tree(store: &ImageStore, image: &StoredImage) -> Result<ImageFinding> {
    let line = |key: &str, digest: &dyn std::fmt::Display| text_with(key, &[("digest", &digest.to_string())]);
    let mut lines = vec![
        image.shown(),
        line("image.tree.manifest", &image.descriptor.digest),
        line("image.tree.config", &image.id),
    ];
    let steps = history::steps(store, image)?;
    let command = |step: &HistoryStep| {
        let command = wrap(&printed(&step.created_by), paint::width() - 2);
        command.into_iter().map(|line| format!("  {line}")).filter(|line| !line.trim().is_empty())
    };
    let (mut number, mut is_without, mut described) = (0, false, Vec::new());
    for ImageStep { step, layer } in &steps {
        let Some(layer) = layer else {
            described.push(json!({ "command": step.created_by, "layer": null }));
            if !std::mem::replace(&mut is_without, true) {
                lines.extend([String::new(), text("image.tree.none")]);
            }
            lines.extend(command(step));
            continue;
        };
        number += 1;
        is_without = false;
        let about = json!({
            "number": number, "size": layer.size, "media_type": layer.blob.media_type, "blob": layer.blob.digest,
            "diff_id": layer.diff_id, "chain_id": layer.chain_id,
        });
        described.push(json!({ "command": step.created_by, "layer": about }));
        let size = layer.size.map_or_else(|| text("image.tree.packed"), human);
        let values =
            [("number", &*number.to_string()), ("size", &size), ("type", &printed(&layer.blob.media_type))];
        lines.extend([String::new(), text_with("image.tree.layer", &values)]);
        lines.extend(command(step));
        lines.push(line("image.tree.blob", &layer.blob.digest));
        lines.push(line("image.tree.diffid", &layer.diff_id));
        lines.push(line("image.tree.chainid", &layer.chain_id));
    }
    lines.push(String::new());
    lines.extend(wrap(&text("image.tree.computed"), paint::width()));
    let json = json!({
        "image": image.shown(), "manifest": image.descriptor.digest, "config": image.id, "steps": described,
    });
    Ok(ImageFinding { lines, json, is_good: true })
}

fn verify_one(store: &ImageStore, image: &StoredImage) -> Result<ImageFinding> {
    let parts = verify::verify(store, image, super::own_maps().as_ref())?;
    let mut lines = vec![image.shown()];
    for part in &parts {
        let result = part.wrong.clone().unwrap_or_else(|| text("image.verify.good"));
        lines.push(format!("  {:<9}{}  {result}", part.kind, part.digest));
    }
    if parts.iter().any(|part| part.kind == "files") {
        lines.push(format!("  {}", text("image.verify.limits")));
    }
    let described =
        |part: &VerifiedPart| json!({ "kind": part.kind, "digest": part.digest, "wrong": part.wrong });
    let json = json!({ "image": image.shown(), "parts": parts.iter().map(described).collect::<Vec<_>>() });
    Ok(ImageFinding { lines, json, is_good: parts.iter().all(|part| part.wrong.is_none()) })
}
