//! `sandbox volume`: directories in HOME that stay when a container is removed.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::inspect::{description_format, print_all};
use super::{as_docker, filter_of, format_or_raw, unfilled};
use crate::cli::explain::ExplainArg;
use crate::cli::output::confirms;
use crate::container::events::Event;
use crate::container::object_events::EventKind;
use crate::container::store::ContainerStore;
use crate::container::volumes::{Volume, VolumeStore};
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::units::human;

/// The arguments of `volume`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    action: VolumeAction,
}

#[derive(Debug, Subcommand)]
enum VolumeAction {
    /// Make a volume, and print its name
    Create {
        /// A label of the volume (may be repeated)
        #[arg(long, value_name = "NAME[=VALUE]")]
        label: Vec<String>,
        /// local, the only one
        #[arg(long, short, value_name = "DRIVER", default_value = "local")]
        driver: String,
        #[command(flatten)]
        explain: ExplainArg,
        /// Its name; without one, it gets an ID
        #[arg(value_name = "VOLUME")]
        name: Option<String>,
    },
    /// List the volumes
    #[command(visible_alias = "list")]
    Ls {
        /// Print only names
        #[arg(long, short)]
        quiet: bool,
        /// Show only volumes with this property: name, label, or dangling (true: no container has it) (may be repeated)
        #[arg(long, short, value_name = "NAME=VALUE")]
        filter: Vec<String>,
        /// table, json (one object on each line), table TEMPLATE, or a template of Go
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: String,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Print everything about volumes, as JSON
    Inspect {
        /// json: one object on each line; or a template of Go. Without it, a list with indents
        #[arg(long, short, value_name = "FORMAT")]
        format: Option<String>,
        #[command(flatten)]
        explain: ExplainArg,
        /// The volumes
        #[arg(value_name = "VOLUME", required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container has
    #[command(visible_alias = "remove")]
    Rm {
        /// Report no error for a volume that does not exist
        #[arg(long, short)]
        force: bool,
        #[command(flatten)]
        explain: ExplainArg,
        /// The volumes
        #[arg(value_name = "VOLUME", required = true)]
        names: Vec<String>,
    },
    /// Remove all volumes without a name that no container has
    Prune {
        /// Remove those with a name too
        #[arg(long, short)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        force: bool,
        /// Remove only volumes with this property: label, label! or all (may be repeated)
        #[arg(long, value_name = "NAME=VALUE")]
        filter: Vec<String>,
        #[command(flatten)]
        explain: ExplainArg,
    },
}

/// The fields of the table.
const COLUMNS: [&str; 2] = ["Driver", "Name"];

const TITLES: [(&str, &str); 10] = [
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// What Docker prints for what is not known.
const NONE: &str = "N/A";

/// Performs the action.
pub(crate) fn run(color: Color, args: &VolumeArgs) -> Result<u8> {
    decide(color, Stream::Err);
    match &args.action {
        VolumeAction::Create { label, driver, explain, name } => {
            create(label, driver, name.as_deref(), explain).map_err(as_docker)?;
            Ok(0)
        }
        VolumeAction::Ls { quiet, filter, format, explain } => list(*quiet, filter, format, explain),
        VolumeAction::Inspect { format, explain, names } => inspect(format.as_deref(), names, explain),
        VolumeAction::Rm { force, explain, names } => remove(*force, names, explain),
        VolumeAction::Prune { all, force, filter, explain } => prune(*all, *force, filter, explain),
    }
}

fn create(labels: &[String], driver: &str, name: Option<&str>, explain: &ExplainArg) -> Result<()> {
    if driver != "local" {
        return Err(Error::failed(text_with("volume.driver", &[("driver", driver)])));
    }
    let label = |label: &String| {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        (name.to_owned(), value.to_owned())
    };
    let labels: BTreeMap<String, String> = labels.iter().map(label).collect();
    let store = VolumeStore::make()?;
    // It is not removed meanwhile.
    let lock = store.using()?;
    let created = store.create(name, labels, super::super::prepare::own_maps());
    lock.release();
    let (volume, _) = created?;
    explain.explainer().step(format!("mkdir(\"{}\")", printed(&volume.path)), "volume.explain.create");
    render::out(&format!("{}\n", volume.name));
    Ok(())
}

fn list(is_quiet: bool, filters: &[String], format: &str, explain: &ExplainArg) -> Result<u8> {
    let raw = if is_quiet { "name: {{.Name}}" } else { "name: {{.Name}}\ndriver: {{.Driver}}\n" };
    let is_raw = format == "raw";
    let format = format_or_raw(format, raw)?;
    let known = ["name", "label", "dangling"];
    let filters = filters.iter().map(|filter| filter_of(filter, &known)).collect::<Result<Vec<_>>>()?;
    let store = VolumeStore::open().map_err(as_docker)?;
    explain.explainer().step("getdents64(<HOME/volumes>)", "volume.explain.list");
    let used = match filters.iter().any(|(name, _)| *name == "dangling") {
        true => store.known_users(&ContainerStore::open().map_err(as_docker)?).map_err(as_docker)?,
        false => Default::default(),
    };
    let mut all = store.all().map_err(as_docker)?;
    all.retain(|volume| {
        filters.iter().all(|(name, value)| match *name {
            "name" => volume.name.contains(value),
            "label" => volume.has_label(value),
            _ => ["true", "1"].contains(value) != used.contains_key(&volume.name),
        })
    });
    if is_quiet && !is_raw {
        render::out(&all.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>());
        return Ok(0);
    }
    let row = |volume: &Volume| {
        let labels = volume.about.labels.iter().map(|(name, value)| format!("{name}={value}"));
        // As in Docker, the list does not measure volumes, and only volumes of a cluster have a group and a status.
        json!({
            "Availability": NONE,
            "Driver": "local",
            "Group": NONE,
            "Labels": labels.collect::<Vec<_>>().join(","),
            "Links": NONE,
            "Mountpoint": printed(&volume.path),
            "Name": volume.name,
            "Scope": "local",
            "Size": NONE,
            "Status": NONE,
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    render::out(&format.rows(&TITLES, &COLUMNS, &rows).map_err(|why| unfilled(&why))?);
    Ok(0)
}

fn inspect(format: Option<&str>, names: &[String], explain: &ExplainArg) -> Result<u8> {
    let format = description_format(format)?;
    let store = VolumeStore::open().map_err(as_docker)?;
    explain.explainer().step("read(<HOME/volumes/NAME/volume.json>)", "volume.explain.read");
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match store.find(name) {
            Ok(volume) => found.push(volume.inspected()),
            Err(error) => errors.push(error),
        }
    }
    print_all(&format, found, errors)
}

fn remove(force: bool, names: &[String], explain: &ExplainArg) -> Result<u8> {
    let store = VolumeStore::open().map_err(as_docker)?;
    let containers = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    for name in names {
        explain.explainer().step(format!("unlinkat(<volumes>, \"{name}\", …)"), "volume.explain.remove");
        match store.remove(name, &containers) {
            Ok(()) => render::out(&format!("{name}\n")),
            Err(_) if force && store.find(name).is_err() => {}
            Err(error) => {
                has_failed = true;
                render::err(&render::error::text(&as_docker(error)));
            }
        }
    }
    Ok(u8::from(has_failed))
}

fn prune(is_all: bool, force: bool, filters: &[String], explain: &ExplainArg) -> Result<u8> {
    let mut known = Vec::new();
    for filter in filters {
        match filter.split_once('=') {
            Some((name @ ("all" | "label" | "label!"), value)) => known.push((name, value)),
            _ => {
                let what = text_with("volume.prune.filter", &[("filter", &printed(filter))]);
                return Err(as_docker(Error::failed(what)));
            }
        }
    }
    let is_all = is_all || known.iter().any(|filter| [("all", "true"), ("all", "1")].contains(filter));
    if !force && !confirms(if is_all { "volume.prune.ask.all" } else { "volume.prune.ask" }) {
        return Ok(0);
    }
    let store = VolumeStore::open().map_err(as_docker)?;
    let containers = ContainerStore::open().map_err(as_docker)?;
    explain.explainer().step("unlinkat(<volumes>, …)", "volume.explain.remove");
    let (names, size) =
        store.prune(&containers, |volume| volume.is_prunable(is_all, &known)).map_err(as_docker)?;
    Event::note_prune(EventKind::Volume, size);
    if !names.is_empty() {
        let names: String = names.iter().map(|name| format!("{name}\n")).collect();
        render::out(&format!("{}\n{names}\n", text("volume.prune.deleted")));
    }
    render::out(&format!("{}\n", text_with("volume.prune.space", &[("size", &human(size))])));
    Ok(0)
}
