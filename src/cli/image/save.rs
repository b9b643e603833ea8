//! `sandbox save`: images to an archive.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::output_file::OutputFile;
use super::run::suits;
use super::{as_docker, note};
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::Reference;
use crate::image::save;
use crate::image::store::{ImageStore, StoredImage};
use crate::render::paint::{Color, Stream, decide};
use crate::text::text;
use crate::value::paste::command_line;

/// The flags of `save`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SaveArgs {
    /// The images: names, IDs, or beginnings of IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Write to this file; without it, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Refuse images that are for another platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Writes the images.
pub(crate) fn run(color: Color, args: &SaveArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if args.output.is_none() && std::io::stdout().is_terminal() {
        let error = Error::new(ExitKind::Refused, text("image.save.terminal"));
        let words = ["sandbox", "save", "-o", "image.tar"].into_iter();
        return Err(error.paste(command_line(words.chain(args.images.iter().map(String::as_str)))));
    }
    let store = ImageStore::open().map_err(as_docker)?;
    let mut images: Vec<(StoredImage, Vec<Reference>)> = Vec::new();
    for written in &args.images {
        let image = store.find(written).map_err(as_docker)?;
        if let Some(platform) = &args.platform {
            suits(&store, &image, platform).map_err(as_docker)?;
        }
        // An image that was asked for by its ID gets no name.
        let is_name = written.parse::<Reference>().is_ok_and(|name| Some(name.or_latest()) == image.name);
        let name = image.name.clone().filter(|name| is_name && name.digest.is_none());
        match images.iter_mut().find(|(other, _)| other.descriptor.digest == image.descriptor.digest) {
            Some((_, names)) => names.extend(name),
            None => images.push((image, name.into_iter().collect())),
        }
    }
    let tell = args.explain.tell();
    for (image, _) in &images {
        tell(
            &format!("read(<blobs/sha256/{}>); write(<archive>)", image.descriptor.digest.hex()),
            "image.explain.save",
        );
    }
    let note_all = || images.iter().for_each(|(image, _)| note("save", &image.id, &image.id));
    let Some(path) = &args.output else {
        save::save(&store, &images, &mut BufWriter::new(std::io::stdout())).map_err(as_docker)?;
        note_all();
        return Ok(0);
    };
    let file = OutputFile::create(path).map_err(as_docker)?;
    let mut output = BufWriter::new(file.to_write().map_err(as_docker)?);
    let saved = save::save(&store, &images, &mut output)
        .and_then(|()| output.flush().map_err(|error| file.unwritten(&error)));
    saved.and_then(|()| file.finish()).map_err(as_docker)?;
    note_all();
    Ok(0)
}
