//! `sandbox inspect`: everything about a container, as JSON; or its parts, as a picture.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Names, as_docker, each, find, format_of, tell_reading, unfilled};
use crate::cli::explain::ExplainArg;
use crate::container::anatomy::Anatomy;
use crate::container::description::{add_sizes, described};
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, ExitKind, Result};
use crate::render;
use crate::render::anatomy;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, text, text_with};

/// The flags of `inspect`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct InspectArgs {
    /// json: the whole, which is the default; or a template of Go. With --tree: json
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// The kind of what is named. It is always a container: images and volumes have an `inspect` of their own
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container"])]
    kind: Option<String>,
    /// Show how much each container has written, and the size of all its files
    #[arg(long, short)]
    size: bool,
    /// Draw the parts of the container: supervisor, processes, namespaces, cgroups, mounts, ports, files
    #[arg(long)]
    tree: bool,
    /// Write the drawing to FILE, as an SVG picture
    #[arg(long, value_name = "FILE", requires = "tree")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

/// Prints containers as a list of JSON.
pub(crate) fn run(color: Color, args: &InspectArgs) -> Result<u8> {
    if args.tree {
        return draw(color, args);
    }
    decide(color, Stream::Err);
    let written = args.format.as_deref().unwrap_or("json");
    let format = format_of(written)?;
    let template = match &format {
        OutputFormat::Json => None,
        OutputFormat::Lines(_) => Some(&format),
        _ => {
            let what = text_with("container.format", &[("format", written)]);
            return Err(Error::usage(what).why(text("container.inspect.format")));
        }
    };
    let store = ContainerStore::open().map_err(as_docker)?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names.containers {
        match find(&store, name) {
            Ok(container) => {
                tell_reading(args.explain.explainer(), &container);
                let mut value = described(&container);
                if args.size {
                    add_sizes(&mut value, &container);
                }
                found.push(value);
            }
            Err(error) => errors.push(unknown(&store, name).unwrap_or(error)),
        }
    }
    match template {
        None => render::print_json(Stream::Out, &found),
        Some(format) => render::out(&format.rows(&[], &[], &found).map_err(|why| unfilled(&why))?),
    }
    errors.iter().for_each(|error| render::err(&render::error::text(error)));
    Ok(u8::from(!errors.is_empty()))
}

/// Docker's words for what does not exist.
fn unknown(store: &ContainerStore, name: &OsString) -> Option<Error> {
    let is_none = name.to_str().is_none_or(|name| matches!(store.id_of(name), Ok(None)));
    let error =
        Error::new(ExitKind::Refused, text_with("container.inspect.none", &[("name", &printed(name))]));
    is_none.then(|| error.paste("sandbox ps -a"))
}

/// Draws containers, one after the other.
fn draw(color: Color, args: &InspectArgs) -> Result<u8> {
    let names = &args.names.containers;
    let file = match (&args.svg, &names[..]) {
        (Some(_), [_, _, ..]) => return Err(Error::usage(text("container.tree.several"))),
        (file, _) => file,
    };
    let is_json = match args.format.as_deref() {
        None => false,
        Some("json") => true,
        Some(format) => {
            let what = text_with("container.format", &[("format", format)]);
            return Err(Error::usage(what).why(text("container.tree.format")));
        }
    };
    let explain = args.explain.explainer();
    let mut drawn = Vec::new();
    let mut is_first = true;
    let status = each(color, names, |_, container: KeptContainer| {
        container.is_here()?;
        tell_reading(explain, &container);
        explain.step("read(</proc/PID/stat>), …", "container.explain.pids");
        explain.step(
            "readlink(</proc/PID/ns/*>); read(</proc/PID/{mountinfo,cgroup}>)",
            "container.explain.tree",
        );
        let parts = Anatomy::of(&container);
        if let Some(file) = file {
            let unwritten = |error: std::io::Error| {
                let what = text_with("common.svg.unwritten", &[("path", &printed(file))]);
                Error::failed(what).why(crate::error::io_text(&error))
            };
            std::fs::write(file, anatomy::svg_of(&parts)).map_err(unwritten)?;
        }
        if is_json {
            drawn.push(parts.to_json());
            return Ok(None);
        }
        decide(color, Stream::Out);
        let gap = if std::mem::take(&mut is_first) { "" } else { "\n" };
        render::out(&format!("{gap}{}", anatomy::text_of(&parts)));
        Ok(None)
    });
    if is_json {
        render::print_json(Stream::Out, &drawn);
    }
    decide(color, Stream::Err);
    status
}
