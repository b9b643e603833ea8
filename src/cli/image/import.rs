//! `sandbox import`: an image of an archive of files.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{as_docker, name_from, note as note_event, own_maps, print_added};
use crate::build::change::changed;
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::image::import::{self, NewConfig};
use crate::image::manifest::Platform;
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;
use crate::value::timestamp::Timestamp;

/// The flags of `import`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ImportArgs {
    /// The archive, which may be compressed by gzip, zstd, xz or bzip2; `-` is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Change the config by an instruction of a Dockerfile, for example 'CMD ["sh"]' (may be repeated)
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What `history` shows as the comment
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// The platform that the files are for; the default is this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Makes the image, and prints its ID.
pub(crate) fn run(color: Color, args: &ImportArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let name = args.name.as_deref().map(name_from).transpose()?;
    let config = changed(json!({}), &args.change)?;
    let source: Box<dyn Read> = match args.file.to_str() {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            let url = quote(url);
            let line = match &args.name {
                Some(name) => format!("curl -fL {url} | sandbox import - {}", quote(name)),
                None => format!("curl -fL {url} | sandbox import -"),
            };
            return Err(Error::new(ExitKind::Refused, text("image.import.url")).paste(line));
        }
        Some("-") if std::io::stdin().is_terminal() => {
            return Err(as_docker(Error::failed(text("image.load.terminal"))));
        }
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(&args.file).map_err(|error| {
            let path = printed(&args.file);
            let what = text_with("image.archive.cannot", &[("path", &path)]);
            Error::new(ExitKind::Refused, what).call(format!("openat(\"{path}\")"), error)
        })?),
    };
    let comment = args
        .message
        .clone()
        .unwrap_or_else(|| text_with("image.import.from", &[("file", &printed(&args.file))]));
    let about = NewConfig {
        config,
        created: Timestamp::now().to_string(),
        comment,
        platform: args.platform.clone(),
        ..NewConfig::default()
    };
    let tell = args.explain.tell();
    let (store, note) = ImageStore::make().map_err(as_docker)?;
    note.iter().for_each(|note| render::note(note));
    let added = (|| {
        let ingest = store.ingest()?;
        tell(&"read(<archive>); write(<ingest>)", "image.explain.import");
        let image = import::import(&ingest, source, &about)?.named(name);
        let counts = image.unpack(&store, &ingest, own_maps().as_ref(), &tell)?;
        image.add(&store, &ingest, counts, &tell)
    })();
    if let Ok(added) = &added {
        note_event("import", &added.image.id, &added.image.id);
    }
    print_added(&store, added)
}
