//! `sandbox inspect`: everything about a container, an image or a volume, as JSON; or the parts of a container, as a picture.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{as_docker, each, find, no_template, tell_reading};
use crate::cli::cards;
use crate::cli::explain::ExplainArg;
use crate::container::anatomy::Anatomy;
use crate::container::description::{add_sizes, described};
use crate::container::explain::Explainer;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::volumes::VolumeStore;
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
    /// json: one object on each line; or a template of Go. Without it, a list with indents. With --tree: json
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// The kind of what is named; without it, containers are looked for first, then images, then volumes
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<ObjectKind>,
    /// Show how much each container has written, and the size of all its files
    #[arg(long, short)]
    size: bool,
    /// Draw the parts of the container: supervisor, processes, namespaces, cgroups, mounts, ports, files
    #[arg(long)]
    tree: bool,
    /// Write the drawing to FILE, as an SVG picture
    #[arg(long, value_name = "FILE", requires = "tree")]
    svg: Option<PathBuf>,
    /// Do not wait for a key after each screen of the drawing
    #[arg(long, requires = "tree")]
    no_pause: bool,
    #[command(flatten)]
    explain: ExplainArg,
    /// Containers, images and volumes: names, IDs, or beginnings of IDs
    #[arg(value_name = "NAME", required = true)]
    objects: Vec<OsString>,
}

/// What `inspect` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ObjectKind {
    Container,
    #[cfg(feature = "images")]
    Image,
    Volume,
}

/// Prints what is named as a list of JSON.
pub(crate) fn run(color: Color, args: &InspectArgs) -> Result<u8> {
    if args.tree {
        return draw(color, args);
    }
    decide(color, Stream::Err);
    let format = description_format(args.format.as_deref())?;
    let search = Search { kind: args.kind, with_size: args.size, explain: args.explain.explainer() };
    let store = ContainerStore::open().map_err(as_docker)?;
    let (found, errors): (Vec<_>, Vec<_>) =
        args.objects.iter().map(|name| search.one(&store, name)).partition(|found| found.is_ok());
    print_all(
        &format,
        found.into_iter().flatten().collect(),
        errors.into_iter().filter_map(Result::err).collect(),
    )
}

/// The same for containers alone.
pub(super) fn containers(color: Color, args: InspectArgs) -> Result<u8> {
    run(color, &InspectArgs { kind: args.kind.or(Some(ObjectKind::Container)), ..args })
}

/// How `inspect` and the other commands of that name print. None: as a list with indents.
pub(in crate::cli) fn description_format(written: Option<&str>) -> Result<Option<OutputFormat>> {
    let Some(written) = written.filter(|written| !written.is_empty()) else { return Ok(None) };
    match OutputFormat::parse_described(written).map_err(|why| no_template(written, &why))? {
        format @ (OutputFormat::Json | OutputFormat::Lines(_)) => Ok(Some(format)),
        _ => {
            let what = text_with("container.format", &[("format", written)]);
            Err(Error::usage(what).why(text("container.inspect.format")))
        }
    }
}

/// Prints what was found, then the errors of the rest. Returns the exit status.
pub(in crate::cli) fn print_all(
    format: &Option<OutputFormat>,
    found: Vec<Value>,
    errors: Vec<Error>,
) -> Result<u8> {
    match format {
        None => render::print_described(&found),
        Some(format) => {
            let unfilled =
                |why: String| Error::failed(text_with("container.format.undescribed", &[("why", &why)]));
            render::out(&format.rows(&[], &[], &found).map_err(|why| as_docker(unfilled(why)))?);
        }
    }
    errors.iter().for_each(|error| render::err(&render::error::text(error)));
    Ok(u8::from(!errors.is_empty()))
}

/// What is looked for, whatever its name.
struct Search {
    kind: Option<ObjectKind>,
    with_size: bool,
    explain: Explainer,
}

impl Search {
    /// The description of what has this name.
    fn one(&self, store: &ContainerStore, name: &OsString) -> Result<Value> {
        let written = printed(name);
        match self.kind {
            Some(ObjectKind::Container) => return self.container(store, name),
            #[cfg(feature = "images")]
            Some(ObjectKind::Image) => return self.image(&written),
            Some(ObjectKind::Volume) => return self.volume(&written),
            None => {}
        }
        let error = match self.container(store, name) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        // It exists, or it may be one of several.
        if name.to_str().is_some_and(|name| !matches!(store.id_of(name), Ok(None))) {
            return Err(error);
        }
        #[cfg(feature = "images")]
        if let Ok(found) = self.image(&written) {
            return Ok(found);
        }
        self.volume(&written).map_err(|_| {
            let what = text_with("container.inspect.none", &[("name", &written)]);
            Error::new(ExitKind::Refused, what).paste("sandbox ps -a")
        })
    }

    fn container(&self, store: &ContainerStore, name: &OsString) -> Result<Value> {
        let container = find(store, name)?;
        tell_reading(self.explain, &container);
        let mut value = described(&container);
        if self.with_size {
            add_sizes(&mut value, &container);
        }
        Ok(value)
    }

    #[cfg(feature = "images")]
    fn image(&self, name: &str) -> Result<Value> {
        let found = crate::cli::image::noun::described(name, self.explain)?;
        self.tell_no_size("image");
        Ok(found)
    }

    fn volume(&self, name: &str) -> Result<Value> {
        let found = VolumeStore::open().and_then(|store| store.find(name)).map_err(as_docker)?;
        self.explain.step("read(<HOME/volumes/NAME/volume.json>)", "volume.explain.read");
        self.tell_no_size("volume");
        Ok(found.inspected())
    }

    /// Only a container has written something.
    fn tell_no_size(&self, kind: &str) {
        if self.with_size {
            render::err(&(text_with("container.inspect.size", &[("kind", kind)]) + "\n"));
        }
    }
}

/// Draws containers, one after the other.
fn draw(color: Color, args: &InspectArgs) -> Result<u8> {
    let names = &args.objects;
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
    let mut page = String::new();
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
        let gap = if page.is_empty() { "" } else { "\n" };
        page.push_str(gap);
        page.push_str(&anatomy::text_of(&parts));
        Ok(None)
    });
    if is_json {
        render::print_json(Stream::Out, &drawn);
    } else if !page.is_empty() {
        cards::print_pages(&page, args.no_pause)?;
    }
    decide(color, Stream::Err);
    status
}
