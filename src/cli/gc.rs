//! `sandbox gc`, and the line that every other command prints if something could not be removed.

use clap::Args;

use super::explain::{ExplainArg, ExplainedStep};
use super::output::FormatArgs;
use crate::error::{Error, Result};
use crate::exec::sweep::{Kept, Swept};
use crate::host::run_directory;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// The flags of `gc`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct GcArgs {
    #[command(flatten)]
    output: FormatArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 4] = [
    ("getdents64(<RUN>)", "gc.explain.list"),
    ("flock(<RUN/ID/lock>, LOCK_EX|LOCK_NB)", "gc.explain.lock"),
    ("read(<RUN/ID/journal>)", "gc.explain.journal"),
    ("rmdir(<cgroup>); umount2(<mount>, MNT_DETACH); unlinkat(<RUN>, ID)", "gc.explain.undo"),
];

/// Prints what was removed. Every subcommand removes it first; `gc` only prints it.
///
/// # Errors
/// RUN could not be read, or something in it.
pub(super) fn run(color: Color, swept: Swept, args: &GcArgs) -> Result<u8> {
    decide(color, Stream::Out);
    args.explain.steps(&STEPS);
    let output = &args.output;
    let lines: String = match output.is_json() {
        true => {
            let removed: Vec<String> = swept.removed.iter().map(ToString::to_string).collect();
            render::print_json(Stream::Out, &serde_json::json!({ "removed": removed }));
            String::new()
        }
        false => {
            let removed = swept.removed.iter().map(|undo| format!("{undo}\n"));
            let unknown = swept.unknown.iter().map(|pid| {
                let values = [("pid", &*pid.to_string())];
                text_with("gc.unknown", &values) + "\n"
            });
            removed.chain(unknown).collect()
        }
    };
    render::out(&lines);
    if let Some(error) = swept.refused {
        return Err(error);
    }
    if swept.kept.is_empty() {
        if lines.is_empty() && !output.is_json() {
            render::out(&(text("gc.nothing") + "\n"));
        }
        return Ok(0);
    }
    let run = run_directory::path();
    let is_unread = |kept: &&Kept| !kept.is_ending;
    let paths =
        swept.kept.iter().filter(is_unread).filter(|kept| kept.path != run).map(|kept| quote(&kept.path));
    let reasons = swept.kept.iter().map(|kept| format!("{}: {}", quote(&kept.path), kept.why));
    let mut error = match swept.kept.iter().any(|kept| is_unread(&kept)) {
        true => Error::failed(text("gc.kept.what")).why(text("gc.kept.reason")),
        false => Error::failed(text("gc.ending.what")).todo(text("gc.example")),
    };
    error.why.extend(reasons.take(MAX_KEPT));
    let paths: Vec<String> = paths.take(MAX_KEPT).collect();
    if !paths.is_empty() {
        error.todo.push(format!("rm -r {}", paths.join(" ")));
    }
    Err(error)
}

/// The maximum number of files that `gc` reports. The next `gc` reports the others.
const MAX_KEPT: usize = 10;

/// Says in one line that something in RUN could not be read. It does not stop a command that needs nothing of it.
pub(super) fn warn(swept: &Swept) {
    if let Some(error) = &swept.refused {
        render::note(&format!("{error}; {}", text("gc.refused.hint")));
    } else if swept.kept.iter().any(|kept| !kept.is_ending) {
        render::note(&format!("{}; {}", text("gc.kept.what"), text("gc.refused.hint")));
    }
}
