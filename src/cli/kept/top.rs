//! `sandbox top`: the processes of a running container, by ps(1).

use std::ffi::OsString;
use std::process::Command;

use clap::Args;

use super::{as_docker, find, tell_reading};
use crate::cli::explain::ExplainArg;
use crate::container::events::EventAction;
use crate::container::processes::pids;
use crate::container::record::{ContainerStatus, ProcessPlace};
use crate::container::refusal;
use crate::container::store::ContainerStore;
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};

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
    let container = find(&store, name).map_err(as_docker)?;
    container.is_here().map_err(as_docker)?;
    if container.state.status == ContainerStatus::Restarting {
        return Err(refusal::restarting(&container));
    }
    let Some(command) = container.state.command.filter(|_| container.state.status.is_active()) else {
        return Err(refusal::not_running(&container));
    };
    if container.state.lives(&ProcessPlace::here()).is_none() {
        return Err(Error::failed(text("container.top.namespace")));
    }
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
    let listed_by = |more: &[String]| Command::new("ps").args(options).args(more).output().map_err(cannot);
    // Some options are not allowed together with -q. Docker tries it first, because it makes ps faster.
    let all: Vec<String> = pids.iter().map(i32::to_string).collect();
    let mut listed = listed_by(&[format!("-q{}", all.join(","))])?;
    if !listed.status.success() {
        listed = listed_by(&[])?;
    }
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
    let (mut shown, mut is_own) = (vec![titles], false);
    for line in lines.filter(|line| !line.is_empty()) {
        match line.split_whitespace().nth(column).unwrap_or_default() {
            // A thread of the process before it.
            "-" => {}
            pid => {
                let number = pid.parse::<i32>().map_err(|_| {
                    as_docker(Error::failed(text_with("container.top.unexpected", &[("pid", &printed(pid))])))
                })?;
                is_own = pids.contains(&number);
            }
        }
        shown.extend(is_own.then_some(line));
    }
    store.note_of(&container, |event| event, EventAction::Top);
    let lines = shown.into_iter();
    let count = titles.split_whitespace().count();
    render::out(&in_columns(lines.map(|line| cells(line, count)).collect()));
    Ok(0)
}

/// The values of a line of ps(1): the last one has all the words that are left.
fn cells(line: &str, count: usize) -> Vec<String> {
    let mut words = line.split_whitespace();
    let mut cells: Vec<String> = words.by_ref().take(count.saturating_sub(1)).map(str::to_owned).collect();
    cells.push(words.collect::<Vec<_>>().join(" "));
    cells
}

/// Docker's table of `top`: each column is at least 20 characters wide, with three of them between two values.
fn in_columns(rows: Vec<Vec<String>>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count() + 3);
        widths.max().unwrap_or_default().max(20)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let last = row.len().saturating_sub(1);
        let cell = |(at, cell): (usize, &String)| match at == last {
            true => cell.clone(),
            false => format!("{cell:0$}", widths[at]),
        };
        row.iter().enumerate().map(cell).collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_dockers() {
        let rows = ["PID   COMMAND", "7     sh -c  ls"].map(|line| cells(line, 2)).to_vec();
        let first = format!("{:20}COMMAND\n", "PID");
        assert_eq!(in_columns(rows), format!("{first}{:20}sh -c ls\n", "7"));
    }
}
