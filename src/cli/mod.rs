//! The command line: flags become a spec and a way to run it. No system calls here.

mod deferred;
mod feature;
mod terminal;
mod watch;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::deferred::Deferred;
use self::feature::FeatureArgs;
use crate::error::{Error, Kind};
use crate::exec::journal;
use crate::feature::Feature;
use crate::namespaces::{
    cgroup::Cgroup, ipc::Ipc, mnt::Mnt, net::Net, pid::Pid, time::Time, user::User, uts::Uts,
};
use crate::render;
use crate::render::paint::{Color, Stream, decide};

/// Learn containers by building one in the open: each feature alone, every system call shown, /proc from both sides
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Name what changes on every run by relation (<pidns#1>), for handouts
    #[arg(long, global = true)]
    stable: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Process numbers, and a process 1 [pid_namespaces(7)]
    Pid(Deferred<FeatureArgs<Pid>>),
    /// A mount table of one's own [mount_namespaces(7)]
    #[command(visible_alias = "mount")]
    Mnt(Deferred<FeatureArgs<Mnt>>),
    /// Network devices, addresses, routes, ports [network_namespaces(7)]
    #[command(visible_alias = "network")]
    Net(Deferred<FeatureArgs<Net>>),
    /// Hostname and domain name [uts_namespaces(7)]
    Uts(Deferred<FeatureArgs<Uts>>),
    /// System V IPC and POSIX message queues [ipc_namespaces(7)]
    Ipc(Deferred<FeatureArgs<Ipc>>),
    /// User and group ids, and capabilities [user_namespaces(7)]
    User(Deferred<FeatureArgs<User>>),
    /// The root of the cgroup tree [cgroup_namespaces(7)]
    Cgroup(Deferred<FeatureArgs<Cgroup>>),
    /// The boot-time and monotonic clocks [time_namespaces(7)]
    Time(Deferred<FeatureArgs<Time>>),
}

/// Parses the command line, does what it says, and gives the exit status of the contract.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are no errors; clap knows which stream each belongs to. A broken pipe is none either.
            let _ = error.print();
            return if error.use_stderr() { Kind::Usage.status() } else { 0 };
        }
    };
    render::set_stable(cli.stable);
    journal::sweep();
    let result = match cli.command {
        Command::Pid(Deferred(args)) => {
            feature::run(Feature::Pid, cli.color, args, |spec, pid| spec.pid = Some(pid))
        }
        Command::Mnt(Deferred(args)) => {
            feature::run(Feature::Mnt, cli.color, args, |spec, mnt| spec.mnt = Some(mnt))
        }
        Command::Net(Deferred(args)) => {
            feature::run(Feature::Net, cli.color, args, |spec, net| spec.net = Some(net))
        }
        Command::Uts(Deferred(args)) => {
            feature::run(Feature::Uts, cli.color, args, |spec, uts| spec.uts = Some(uts))
        }
        Command::Ipc(Deferred(args)) => {
            feature::run(Feature::Ipc, cli.color, args, |spec, ipc| spec.ipc = Some(ipc))
        }
        Command::User(Deferred(args)) => {
            feature::run(Feature::User, cli.color, args, |spec, user| spec.user = Some(user))
        }
        Command::Cgroup(Deferred(args)) => {
            feature::run(Feature::Cgroup, cli.color, args, |spec, cgroup| spec.cgroup = Some(cgroup))
        }
        Command::Time(Deferred(args)) => {
            feature::run(Feature::Time, cli.color, args, |spec, time| spec.time = Some(time))
        }
    };
    result.unwrap_or_else(|error| report(cli.color, &error))
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    // Not dropped: taking thousands of small things apart takes time, and the process ends soon.
    let mut definition = ManuallyDrop::new(Cli::command());
    let matches = definition.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

fn report(color: Color, error: &Error) -> u8 {
    decide(color, Stream::Err);
    render::err(&render::error::text(error));
    error.kind.status()
}

/// The definitions, for completions, man pages and tests.
pub fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_are_sound() {
        super::definition().debug_assert();
    }
}
