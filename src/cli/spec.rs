//! `sandbox spec`: creates, checks and describes specs for `run`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::explain::{ExplainArg, ExplainedStep};
use super::output::FormatArgs;
use super::prepare::{self, Wishes};
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::spec::{Spec, schema, shipped, yaml};
use crate::container::explain::Explainer;
use crate::error::{Error, Mistake, Result, io_text};
use crate::feature::{Feature, Purpose};
use crate::plan::Problem;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::nearest::nearest;
use crate::value::shell::quote;
use crate::value::typed::TypedCommand;

/// The arguments of `spec`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct SpecArgs {
    #[command(subcommand)]
    action: Action,
}

const INIT_STEPS: [ExplainedStep; 1] = [("write(1, <spec>)", "spec.explain.init")];

const CHECK_STEPS: [ExplainedStep; 2] = [
    ("openat(FILE); read(<file>)", "spec.explain.read"),
    ("uname(); read(/proc/self/*)", "spec.explain.plan"),
];

const SCHEMA_STEPS: [ExplainedStep; 1] = [("write(1, <schema>)", "spec.explain.schema")];

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a spec to start from: every key with its meaning, or a short spec for a purpose
    Init {
        /// Print a spec for this purpose; `list` prints the purposes
        #[arg(long = "for", value_name = "PURPOSE")]
        purpose: Option<String>,
        #[command(flatten)]
        output: FormatArgs,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Read specs and print every mistake with its line and column; the exit status is 0 if there is none
    Check {
        /// The files; - is standard input
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: FormatArgs,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Print the JSON Schema of specs, for completion in editors, or of what --format json prints
    Schema {
        /// What the schema describes; `list` prints the names
        #[arg(value_name = "WHAT", default_value = "spec")]
        what: String,
        #[command(flatten)]
        explain: ExplainArg,
    },
}

/// A purpose of a shipped spec, as JSON.
#[derive(Debug, Serialize)]
struct PurposeLine {
    /// Its name.
    name: &'static str,
    /// What it is, in one sentence.
    about: &'static str,
}

/// The result of a check, as JSON.
#[derive(Debug, Serialize)]
struct Checked {
    /// The file, as the user wrote it.
    file: String,
    /// Whether it has no mistake.
    good: bool,
    /// What is wrong, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    /// The reasons, if the mistake has no place in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    todo: Vec<String>,
    /// Each mistake with its place.
    mistakes: Vec<Mistake>,
}

/// Performs the action.
pub(super) fn run(color: Color, args: &SpecArgs) -> Result<u8> {
    match &args.action {
        Action::Init { purpose, output, explain } => {
            explain.steps(&INIT_STEPS);
            init(color, purpose.as_deref(), output)
        }
        Action::Check { files, output, explain } => {
            explain.steps(&CHECK_STEPS);
            Ok(check(color, files, output))
        }
        Action::Schema { what, explain } => {
            explain.steps(&SCHEMA_STEPS);
            print_schema(what)
        }
    }
}

/// Prints a schema as it is, also with `--stable`.
fn print_schema(what: &str) -> Result<u8> {
    if what == "list" {
        render::out(&schema::OUTPUTS.iter().map(|(name, _)| format!("{name}\n")).collect::<String>());
        return Ok(0);
    }
    let found = schema::OUTPUTS.iter().find(|(name, _)| *name == what);
    match found {
        Some(("spec", _)) => render::out(&render::json(&schema::schema())),
        Some((_, text)) => render::out(text),
        None => {
            let names = schema::OUTPUTS.iter().map(|(name, _)| *name);
            let error = Error::usage(text_with("spec.schema", &[("what", what)]));
            return Err(error.todo(format!("sandbox spec schema {}", nearest(what, names).unwrap_or("list"))));
        }
    }
    Ok(0)
}

fn init(color: Color, purpose: Option<&str>, output: &FormatArgs) -> Result<u8> {
    decide(color, Stream::Out);
    if output.is_json() && purpose != Some("list") {
        let error = Error::usage(text("spec.init.json"));
        return Err(error.todo("sandbox spec schema").todo("sandbox spec init --for list --format json"));
    }
    let Some(purpose) = purpose else {
        render::out(&schema::template());
        return Ok(0);
    };
    if purpose == "list" && output.is_json() {
        let lines = shipped::ALL.iter().map(|spec| PurposeLine { name: spec.purpose, about: spec.about() });
        render::print_json(Stream::Out, &lines.collect::<Vec<_>>());
        return Ok(0);
    }
    if purpose == "list" {
        for spec in shipped::ALL {
            render::out(&format!("{:<16}{}\n", spec.purpose, spec.about()));
        }
        return Ok(0);
    }
    let names = || shipped::ALL.iter().map(|spec| spec.purpose);
    let Some(spec) = shipped::ALL.iter().find(|spec| spec.purpose == purpose) else {
        let error = Error::usage(text_with("spec.purpose", &[("purpose", purpose)]));
        let nearest_purpose = nearest(purpose, names()).unwrap_or("list");
        return Err(error.paste(format!("sandbox spec init --for {nearest_purpose}")));
    };
    render::out(spec.text);
    Ok(0)
}

/// The error of a spec that cannot be read.
fn unread(file: &Path, name: &str, error: &io::Error) -> Error {
    let failed = Error::failed(text_with("spec.unread", &[("file", name)])).why(io_text(error));
    if name == STANDARD_INPUT || error.kind() != io::ErrorKind::NotFound {
        return failed;
    }
    if file.starts_with("~") {
        return failed.why(text("spec.tilde"));
    }
    // `sandbox run homework` means the spec that comes with this name.
    let purpose = file.file_stem().unwrap_or_default();
    let known = shipped::ALL.iter().map(|spec| spec.purpose).find(|known| *known == purpose);
    let mut file = file.as_os_str().to_owned();
    if Path::new(&file).extension().is_none() {
        file.push(".yaml");
    }
    if file.as_encoded_bytes().starts_with(b"-") {
        file = Path::new(".").join(file).into();
    }
    let (purpose, file) = (known.unwrap_or("shell"), quote(file));
    let then = match &*TypedCommand::of_this_process().subcommand() {
        "create" => format!("sandbox create {file}"),
        _ => format!("sandbox run {file}"),
    };
    failed.paste(format!("sandbox spec init --for {purpose} > {file}; {then}"))
}

/// What prevents that this machine runs a spec: a missing root filesystem, source of a bind mount, disk or command, and
/// values that contradict each other. What the caller may do does not count: a user checks what root runs.
///
/// Also whether it has a command: its own, or that of its image.
fn obstacles(spec: &Spec, source: &SpecText) -> (Vec<Error>, bool) {
    let spec = &match prepare::with_layers(spec.clone(), &Wishes::default(), Explainer::default()) {
        Ok(layered) => layered.into_spec(),
        Err(error) => return (vec![error], true),
    };
    let mut completed = Completed::of(spec, Purpose::Container);
    if let Some(ports) = &mut completed.machine.network.ports {
        ports.first = 0;
    }
    let ending = match spec.command.is_empty() {
        true => Ok(Ending::Demonstration),
        false => prepare::container_ending(&completed),
    };
    let missing = ending.as_ref().err().cloned();
    let ending = ending.unwrap_or(Ending::Demonstration);
    let mut plan = completed.plan(ending, false);
    let missing = missing.or_else(|| prepare::missing_command(&completed, &plan.problems));
    source.locate(&mut plan.problems);
    let of_values = |key: &str| key.starts_with("net.") && key != "net.mode";
    let counts = |problem: &Problem| match (problem.purpose.feature(), &problem.key) {
        (Some(feature), _) if spec.optional.contains(&feature) => false,
        (Some(Feature::Mnt | Feature::Seccomp), _) => true,
        (Some(feature), Some(key)) => feature.is_controller() || of_values(key),
        _ => false,
    };
    let problems = plan.problems.into_iter().filter(counts).map(|problem| problem.error);
    (problems.chain(missing).collect(), !spec.command.is_empty())
}

/// Checks all files, even if one has mistakes.
fn check(color: Color, files: &[PathBuf], output: &FormatArgs) -> u8 {
    let (mut status, mut checked) = (0, Vec::new());
    for file in files {
        let name = printed(file);
        let (errors, has_command) = match prepare::read(file) {
            Ok((spec, source)) => {
                let named = |error: Error| Error { what: format!("{name}: {}", error.what), ..error };
                let (errors, has_command) = obstacles(&spec, &source);
                (errors.into_iter().map(named).collect(), has_command)
            }
            Err(error) => (vec![error], true),
        };
        if output.is_json() {
            let all = |of: fn(&Error) -> &Vec<String>| errors.iter().flat_map(of).cloned().collect();
            checked.push(Checked {
                file: name.clone(),
                good: errors.is_empty(),
                what: errors.first().map(|error| error.what.clone()),
                why: all(|error| &error.why),
                todo: all(|error| &error.todo),
                mistakes: errors.iter().flat_map(|error| error.mistakes.clone()).collect(),
            });
        } else if errors.is_empty() {
            decide(color, Stream::Out);
            let good = if has_command { "spec.good" } else { "spec.good.nocommand" };
            render::out(&format!("{name}: {}\n", text(good)));
        }
        for error in &errors {
            status = super::report(color, error);
        }
    }
    if output.is_json() {
        render::print_json(Stream::Out, &checked);
    }
    status
}

/// The name of standard input in messages.
const STANDARD_INPUT: &str = "standard input";

/// The text of a spec, in which a problem of the plan has a place.
#[derive(Debug)]
pub(super) struct SpecText {
    name: String,
    bytes: Vec<u8>,
}

impl SpecText {
    /// That of a container without a file.
    pub(super) fn none() -> SpecText {
        SpecText { name: String::new(), bytes: Vec::new() }
    }

    /// Adds the place of its key to each problem. A problem of a feature is about the key of that feature.
    pub(super) fn locate(&self, problems: &mut [Problem]) {
        let text = String::from_utf8_lossy(&self.bytes);
        for problem in problems.iter_mut().filter(|problem| problem.error.mistakes.is_empty()) {
            let feature = problem.purpose.feature().map(|feature| feature.name().to_owned());
            let Some(key) = problem.key.clone().or(feature) else { continue };
            let what = &problem.error.what;
            problem.error.mistakes.extend(yaml::mistake_of(&text, &self.name, &key, what));
        }
    }
}

/// Reads a spec from a file; `-` is standard input.
pub(super) fn load(file: &Path) -> Result<(Spec, SpecText)> {
    let is_input = file == Path::new("-");
    let name = &*if is_input { STANDARD_INPUT.to_owned() } else { printed(file) };
    let unread = |error: io::Error| unread(file, name, &error);
    // At most one byte more than the maximum size is read: enough to detect a file that is too long, or a pipe that
    // never ends.
    let mut bytes = Vec::with_capacity(4096);
    let most = yaml::MAX_SIZE as u64 + 1;
    match is_input {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(file).map_err(unread)?.take(most).read_to_end(&mut bytes),
    }
    .map_err(unread)?;
    let spec = yaml::read_bytes(&bytes, name).map_err(|mistakes| Error::mistakes(name, mistakes))?;
    Ok((spec, SpecText { name: name.to_owned(), bytes }))
}
