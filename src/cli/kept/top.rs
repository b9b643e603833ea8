//! `sandbox top`: the processes of a running container, by ps(1).

use std::ffi::OsString;
use std::process::Command;

use clap::Args;

use super::{as_docker, find, tell_reading};
use crate::cli::explain::ExplainArg;
use crate::container::processes::pids;
use crate::container::refusal;
use crate::container::store::ContainerStore;
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text};

/// The flags of `top`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(override_usage = "sandbox top CONTAINER [PS_OPTION]...")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    explain: ExplainArg,
    /// The container, and then options of ps(1); without any, `-ef`
    #[arg(value_names = ["CONTAINER", "PS_OPTION"], num_args = 1.., required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    container: Vec<OsString>,
}

/// Prints the processes.
pub(crate) fn run(color: Color, args: &TopArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let [name, options @ ..] = &args.container[..] else { return Err(Error::usage(text("run.target.form"))) };
    let container = find(&store, name)?;
    container.is_here()?;
    let Some(command) = container.state.command.filter(|_| container.state.status.is_active()) else {
        return Err(refusal::not_running(&container));
    };
    let explain = args.explain.explainer();
    tell_reading(explain, &container);
    explain.step("read(</proc/PID/stat>), …", "container.explain.pids");
    let pids = pids(&container, command.pid);
    let options = if options.is_empty() { &["-ef".into()] } else { options };
    let cannot = |error: std::io::Error| {
        as_docker(Error::failed(text("container.top.cannot")).call("execve(\"ps\")", error))
    };
    let words = options.iter().map(|word| format!("{:?}", printed(word))).collect::<Vec<_>>().join(", ");
    explain.step(format!("execve(\"ps\", [\"ps\", {words}])"), "container.explain.ps");
    let listed = Command::new("ps").args(options).output().map_err(cannot)?;
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
        return Err(as_docker(Error::failed(text("container.top.options")).why(why)));
    }
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut lines = listed.lines();
    let titles = lines.next().unwrap_or_default();
    let Some(column) = titles.split_whitespace().position(|title| title == "PID") else {
        return Err(as_docker(Error::failed(text("container.top.pid"))));
    };
    let is_own = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse::<i32>().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines = std::iter::once(titles).chain(lines.filter(is_own));
    render::out(&lines.map(|line| format!("{line}\n")).collect::<String>());
    Ok(0)
}
