//! A command in a uts namespace, with a terminal of its own: `pty [--init] COMMAND [ARGUMENT...]`.
//!
//! A plan is drawn from a spec, performed, and waited for; see `sandbox::exec`.

use std::process::ExitCode;

use sandbox::error::Result;
use sandbox::exec::{self, Unwatched};
use sandbox::feature::Feature;
use sandbox::host::command;
use sandbox::namespaces::pid::Pid;
use sandbox::spec::Spec;
use sandbox::spec::compose::{self, Ending};

fn run(mut command: Vec<String>) -> Result<u8> {
    let mut spec = Spec { tty: true, ..Spec::of(Feature::Uts) };
    if command.first().is_some_and(|word| word == "--init") {
        command.remove(0);
        spec.pid = Some(Pid { init: true, ..Pid::default() });
    }
    let name = command.first().map_or("sh", String::as_str);
    let path = command::resolve(name, &Default::default())?.to_string_lossy().into_owned();
    let ending = Ending::Command { path, arguments: command };
    let plan = compose::plan(&spec, &compose::gather(&spec), Feature::Uts, ending, false);
    Ok(exec::start(&plan, &mut Unwatched)?.wait(&mut Unwatched)?.status())
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(125)
        }
    }
}
