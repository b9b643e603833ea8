//! Texts that are generated from the definition of the command line: help with examples, manual pages, completions.
//! They are generated only when they are requested.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use clap_mangen::Man;

use super::definition;
use super::explain::{ExplainArg, ExplainedStep};
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::render;
use crate::text::{printed, text, text_if_any, text_with};

/// The flags of `man`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ManArgs {
    /// The subcommand; without it, the page of `sandbox` itself is printed
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Option<String>,
    /// Write the pages of all commands to files in this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 1] = [("write(<output>, <page>)", "man.explain")];

/// Prints one manual page, or writes all of them to files.
pub(super) fn man(args: &ManArgs) -> Result<u8> {
    args.explain.steps(&STEPS);
    let sandbox = built();
    if let Some(directory) = &args.dir {
        return write_all(&sandbox, directory);
    }
    let command = match &args.command {
        None => Some(&sandbox),
        Some(name) => sandbox.find_subcommand(name),
    };
    let Some(command) = command else {
        let names: Vec<&str> = sandbox.get_subcommands().map(Command::get_name).collect();
        let name = args.command.as_deref().unwrap_or_default();
        return Err(Error::usage(text_with("man.unknown", &[("name", name)])).todo(names.join(", ")));
    };
    render::out(&page(command).map_err(|error| unwritten(Path::new("-"), &error))?);
    Ok(0)
}

fn write_all(sandbox: &Command, directory: &Path) -> Result<u8> {
    fs::create_dir_all(directory).map_err(|error| unwritten(directory, &error))?;
    for command in std::iter::once(sandbox).chain(visible(sandbox)) {
        let path = directory.join(format!("{}.1", name_of(command)));
        page(command).and_then(|page| fs::write(&path, page)).map_err(|error| unwritten(&path, &error))?;
        render::out(&format!("{}\n", printed(&path)));
    }
    Ok(0)
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    Error::failed(text_with("man.unwritten", &[("path", &printed(path))])).why(crate::error::io_text(error))
}

/// The subcommands that a user can see.
fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

/// The complete definition: clap has added global flags and full names to every subcommand.
pub(super) fn built() -> Command {
    let mut command = definition();
    command.build();
    command
}

/// `sandbox` or `sandbox-uts`.
fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// A manual page in roff(7): the sections that clap generates, then our own.
fn page(command: &Command) -> io::Result<String> {
    let name = name_of(command);
    // The other sections follow below, in the order of man-pages(7).
    let man = Man::new(command.clone().after_help("").version(env!("CARGO_PKG_VERSION")))
        .title(name)
        .source(concat!("sandbox ", env!("CARGO_PKG_VERSION")))
        .manual("sandbox");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    let is_whole = command.get_name() == "sandbox";
    if !is_whole {
        command.get_subcommands().for_each(|action| page.push_str(&section(action)));
    } else {
        page.push_str(".SH SUBCOMMANDS\n");
        for sub in visible(command) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(&name_of(sub)), escaped(&about)));
        }
    }
    page.push_str(&format!(".SH EXIT STATUS\n{}\n", escaped(&text("common.man.status"))));
    if !is_whole {
        let extras = Extras::of(command.get_name());
        for note in &extras.notes {
            page.push_str(&format!(".SH NOTES\n{}\n", escaped(note)));
        }
        page.push_str(".SH EXAMPLES\n.nf\n");
        for example in &extras.examples {
            page.push_str(&format!("{}\n", escaped(example)));
        }
        page.push_str(".fi\n");
        page.push_str(&format!(".SH SEE ALSO\n{}\n", escaped(&extras.see_also())));
    } else {
        page.push_str(&format!(".SH SEE ALSO\n{}\n", escaped(&text("common.man.also"))));
    }
    Ok(page)
}

/// A section such as `.SH INIT` for a subcommand of a subcommand, which has no page of its own.
fn section(action: &Command) -> String {
    let about = action.get_about().map(ToString::to_string).unwrap_or_default();
    let mut section = format!(".SH {}\n{}\n", action.get_name().to_uppercase(), escaped(&about));
    let own = |argument: &&Arg| !argument.is_global_set() && argument.get_id() != "help";
    for argument in action.get_arguments().filter(own) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let (name, help) = (escaped(&argument.to_string()), escaped(&help));
        section.push_str(&format!(".TP\n\\fB{name}\\fR\n{help}\n"));
    }
    section
}

/// Escapes a text for roff(7). Otherwise `-` would become a hyphen, which cannot be pasted into a shell, and a dot or
/// a quote at the start of a line would be a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// The key of a message about a subcommand. Those about images are in one file, and those about containers that stay.
pub(crate) fn key_of(subcommand: &str, part: &str) -> String {
    let own = format!("{subcommand}.{part}");
    let all = [own.clone(), format!("image.{own}"), format!("daemon.{own}")];
    all.into_iter().find(|key| text_if_any(key).is_some()).unwrap_or_else(|| format!("container.{own}"))
}

/// What the help of a subcommand has below its flags.
struct Extras {
    /// Command lines to paste.
    examples: Vec<String>,
    /// The Linux manual page about the feature.
    page: Option<&'static str>,
    /// Further paragraphs.
    notes: Vec<String>,
}

impl Extras {
    fn of(name: &str) -> Extras {
        let feature = Feature::WITH_SUBCOMMAND.iter().copied().find(|feature| feature.name() == name);
        let mut examples = vec![text(&key_of(name, "example"))];
        let mut notes = Vec::new();
        match (name, feature) {
            ("pid", _) => notes.extend([text("pid.help"), text("common.help.killedpid")]),
            ("cgroup", _) => notes.extend([text("cgroup.help"), text("common.help.killed")]),
            ("memory", _) => notes.extend([text("memory.help"), text("limits.help")]),
            ("pids", _) => notes.extend([text("pids.help"), text("limits.help")]),
            (_, Some(feature)) if !feature.is_namespace() => notes.push(text("limits.help")),
            (_, Some(_)) => notes.push(text("common.help.killed")),
            ("run", _) => notes.push(text("run.help")),
            ("exec", _) => notes.push(text("exec.help")),
            ("create", _) => notes.push(text("container.create.help")),
            ("start", _) => notes.push(text("container.start.help")),
            ("stop", _) => notes.push(text("container.stop.help")),
            ("kill", _) => notes.push(text("container.kill.help")),
            ("stats", _) => notes.push(text("container.stats.help")),
            ("update", _) => notes.push(text("container.update.help")),
            ("events", _) => notes.push(text("container.events.help")),
            ("pause", _) => notes.push(text("container.pause.help")),
            ("ps", _) => notes.push(text("container.ps.help")),
            ("inspect", _) => notes.push(text("container.inspect.help")),
            ("attach", _) => notes.push(text("container.attach.help")),
            ("volume", _) => notes.push(text("volume.help")),
            ("pull", _) => notes.push(text("image.pull.help")),
            ("push", _) => notes.push(text("image.push.help")),
            ("login", _) => notes.push(text("image.login.help")),
            ("search", _) => notes.push(text("image.search.help")),
            ("load", _) => notes.push(text("image.load.help")),
            ("image", _) => notes.push(text("image.help")),
            ("cp", _) => notes.push(text("image.copy.help")),
            ("build", _) => notes.push(text("build.help")),
            ("builder", _) => notes.push(text("image.builder.help")),
            ("commit", _) => notes.push(text("image.commit.help")),
            ("import", _) => notes.push(text("image.import.help")),
            ("system", _) => notes.push(text("image.system.help")),
            ("daemon", _) => notes.push(text("daemon.help")),
            ("api", _) => notes.push(text("daemon.api.help")),
            ("rmi", _) => notes.push(text("image.rmi.help")),
            ("enter", _) => notes.push(text("enter.help")),
            ("verify", _) => notes.push(text("verify.why")),
            ("spec", _) => notes.push(text("spec.help")),
            ("ledger", _) => notes.push(text("ledger.help")),
            ("compare", _) => {
                examples.push(text("compare.example.docker"));
                notes.push(text("compare.help"));
            }
            _ => {}
        }
        let page = match name {
            "compare" => Some("ioctl_nsfs(2)"),
            "run" => Some("namespaces(7)"),
            "enter" | "exec" => Some("setns(2)"),
            "stop" | "kill" => Some("signal(7)"),
            "pause" | "stats" | "update" => Some("cgroups(7)"),
            "verify" => Some("proc(5)"),
            "doctor" => Some("user_namespaces(7)"),
            "ledger" => Some("namespaces(7)"),
            "daemon" | "api" => Some("unix(7)"),
            _ => feature.map(Feature::man_page),
        };
        Extras { examples, page, notes }
    }

    fn see_also(&self) -> String {
        let pages: Vec<&str> = ["sandbox(1)", "namespaces(7)"].into_iter().chain(self.page).collect();
        pages.join(", ")
    }

    /// The command that shows the manual page: `man 7 uts_namespaces`, or the page of this program if there is no
    /// other.
    fn manual(&self, name: &str) -> String {
        match self.page.and_then(|page| page.strip_suffix(')')?.split_once('(')) {
            Some((page, section)) => format!("man {section} {page}"),
            None => format!("sandbox man {name} | man -l -"),
        }
    }

    fn help(&self, name: &str) -> String {
        let mut help = format!("{}\n", text("common.help.example"));
        for example in &self.examples {
            help.push_str(&format!("  {example}\n"));
        }
        help.push_str(&format!("\n{}  {}", text("common.help.manual"), self.manual(name)));
        for note in &self.notes {
            help.push_str(&format!("\n\n{note}"));
        }
        help
    }
}

/// Adds the text below the flags to the help of each subcommand.
pub(super) fn with_examples(command: Command) -> Command {
    command.mut_subcommands(|subcommand| {
        let name = subcommand.get_name().to_owned();
        if subcommand.is_hide_set() {
            return subcommand;
        }
        subcommand.after_help(Extras::of(&name).help(&name))
    })
}
