//! `sandbox image which` and `image diff`: what the layers of an image have at a path, and what two images differ in.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use serde_json::{Value, json};

use super::as_docker;
use crate::cli::explain::ExplainArg;
use crate::cli::output::FormatArgs;
use crate::error::Result;
use crate::image::contents::{ImageContents, ImagePath, LayerChange, LayerFile};
use crate::image::differences::{ImageDifference, differences};
use crate::image::entries::EntryKind;
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{self, Color, Stream, decide};
use crate::text::{printed, text, text_with, wrap};
use crate::value::units::human;

/// The arguments of `image which`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct WhichArgs {
    /// The image: a name, an ID, or the beginning of an ID
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A path in the image
    #[arg(value_name = "PATH")]
    path: OsString,
    #[command(flatten)]
    output: FormatArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The arguments of `image diff`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct DiffArgs {
    /// The first image
    #[arg(value_name = "IMAGE")]
    one: String,
    /// The second image
    #[arg(value_name = "IMAGE")]
    other: String,
    #[command(flatten)]
    output: FormatArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Reads the layers of an image.
fn read(store: &ImageStore, name: &str, explain: &ExplainArg) -> Result<ImageContents> {
    let image = store.find(name)?;
    let call = format!("read(<blobs/sha256/{}>); ...", image.descriptor.digest.hex());
    explain.tell()(&call, "image.explain.contents");
    ImageContents::of(store, &image)
}

/// Prints what each layer has at the path, the topmost first. The status is 1 if the image does not have it.
pub(crate) fn which(color: Color, args: &WhichArgs) -> Result<u8> {
    decide(color, Stream::Out);
    let store = ImageStore::open().map_err(as_docker)?;
    let contents = read(&store, &args.image, &args.explain).map_err(as_docker)?;
    let shown = |path: &[u8]| format!("/{}", printed(OsStr::from_bytes(path)));
    let place = contents.place_of(args.path.as_bytes());
    let Some(place) = place else {
        if args.output.is_json() {
            render::print_json(Stream::Out, &json!({ "path": null, "from": null, "layers": [] }));
            return Ok(1);
        }
        render::out(&(text("image.which.loop") + "\n"));
        return Ok(1);
    };
    let mut lines = Vec::new();
    let written = args.path.as_bytes();
    if shown(&place) != shown(written.strip_prefix(b"/").unwrap_or(written)) {
        let values = [("path", &*printed(&args.path)), ("place", &shown(&place))];
        lines.push(text_with("image.which.place", &values));
    }
    let seen = contents.at(&place).map(|(layer, _)| layer);
    let path = shown(&place);
    let status = u8::from(seen.is_none() && !place.is_empty());
    if args.output.is_json() {
        let layers: Vec<Value> =
            (1..=contents.layers).rev().map(|layer| in_layer(&contents, &place, layer)).collect();
        render::print_json(Stream::Out, &json!({ "path": path, "from": seen, "layers": layers }));
        return Ok(status);
    }
    lines.push(match seen {
        // Most archives have no entry for it, and there is a root directory in any case.
        _ if place.is_empty() => wrap(&text("image.which.root"), paint::width()).join("\n"),
        Some(layer) => text_with("image.which.from", &[("path", &path), ("layer", &layer.to_string())]),
        None => text_with("image.which.none", &[("path", &path)]),
    });
    for layer in (1..=contents.layers).rev() {
        let change = contents.changes(&place).iter().find(|(own, _)| *own == layer).map(|(_, change)| change);
        let what = match change {
            None => text("image.which.nothing"),
            Some(LayerChange::Deletes) => text("image.which.deletes"),
            Some(LayerChange::Hides) => text("image.which.hides"),
            Some(LayerChange::Has(file)) => {
                let about = described(file);
                match hidden_by(&contents, &place, layer) {
                    None => about,
                    Some(by) => {
                        let values = [("file", &*about), ("layer", &by.to_string())];
                        text_with("image.which.hidden", &values)
                    }
                }
            }
        };
        let values = [("layer", &*layer.to_string()), ("what", &what)];
        lines.push(format!("  {}", text_with("image.which.layer", &values)));
    }
    render::out(&(lines.join("\n") + "\n"));
    Ok(status)
}

/// The next layer above this one that changes the path too.
fn hidden_by(contents: &ImageContents, place: &[u8], layer: usize) -> Option<usize> {
    contents.changes(place).iter().map(|(own, _)| *own).find(|own| *own > layer)
}

/// What a layer has at a path, for programs.
fn in_layer(contents: &ImageContents, place: &[u8], layer: usize) -> Value {
    let change = contents.changes(place).iter().find(|(own, _)| *own == layer).map(|(_, change)| change);
    let (change, file) = match change {
        None => (None, None),
        Some(LayerChange::Deletes) => (Some("deletes"), None),
        Some(LayerChange::Hides) => (Some("hides"), None),
        Some(LayerChange::Has(file)) => (Some("has"), Some(file)),
    };
    let file = file.map(|file| {
        json!({
            "kind": kind(file).trim_start_matches(KIND), "mode": format!("{:04o}", file.mode), "uid": file.owner.0, "gid": file.owner.1,
            "size": file.size, "link": printed(OsStr::from_bytes(&file.link)),
        })
    });
    json!({ "layer": layer, "change": change, "file": file, "hidden_by": hidden_by(contents, place, layer) })
}

/// The prefix of the messages that say what a file is. The rest of their keys is the word for programs.
const KIND: &str = "image.kind.";

/// The message that says what a file is.
fn kind(file: &LayerFile) -> &'static str {
    match file.kind {
        EntryKind::File | EntryKind::HardLink => "image.kind.file",
        EntryKind::Symlink => "image.kind.link",
        EntryKind::CharDevice | EntryKind::BlockDevice => "image.kind.device",
        EntryKind::Directory => "image.kind.directory",
        EntryKind::Fifo => "image.kind.fifo",
    }
}

/// `file, mode 0644, owner 0:0, 5B`.
fn described(file: &LayerFile) -> String {
    let kind = text(kind(file));
    let (uid, gid) = file.owner;
    let values =
        [("kind", &*kind), ("mode", &format!("{:04o}", file.mode)), ("owner", &format!("{uid}:{gid}"))];
    let mut about = text_with("image.which.file", &values);
    match file.kind {
        EntryKind::File => about += &format!(", {}", human(file.size)),
        EntryKind::Symlink => about += &format!(" -> {}", printed(OsStr::from_bytes(&file.link))),
        _ => {}
    }
    about
}

/// Prints the differences: a line for each path.
pub(crate) fn diff(color: Color, args: &DiffArgs) -> Result<u8> {
    decide(color, Stream::Out);
    let store = ImageStore::open().map_err(as_docker)?;
    let one = read(&store, &args.one, &args.explain).map_err(as_docker)?;
    let other = read(&store, &args.other, &args.explain).map_err(as_docker)?;
    let all = differences(&one, &other);
    if args.output.is_json() {
        render::print_json(Stream::Out, &all.iter().map(of_difference).collect::<Vec<_>>());
        return Ok(0);
    }
    let line = |(path, difference): (Vec<u8>, ImageDifference)| {
        let path = printed(OsStr::from_bytes(&path));
        match difference {
            ImageDifference::Added => format!("A /{path}\n"),
            ImageDifference::Deleted => format!("D /{path}\n"),
            ImageDifference::Changed(parts) => {
                let parts: Vec<String> = parts.into_iter().map(text).collect();
                format!("C /{path}  ({})\n", parts.join(", "))
            }
        }
    };
    render::out(&all.into_iter().map(line).collect::<String>());
    Ok(0)
}

/// A difference, for programs.
fn of_difference((path, difference): &(ImagePath, ImageDifference)) -> Value {
    let (change, parts) = match difference {
        ImageDifference::Added => ("added", &[][..]),
        ImageDifference::Deleted => ("deleted", &[][..]),
        ImageDifference::Changed(parts) => ("changed", &parts[..]),
    };
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_start_matches("image.diff.")).collect();
    json!({ "path": format!("/{}", printed(OsStr::from_bytes(path))), "change": change, "parts": parts })
}
