//! The command line: flags become a spec and a way to run it. No system calls here.

mod compare;
mod deferred;
mod doctor;
mod feature;
mod habits;
mod pages;
mod terminal;
mod watch;
mod welcome;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::compare::CompareArgs;
use self::deferred::Deferred;
use self::doctor::DoctorArgs;
use self::feature::FeatureArgs;
use self::pages::{CompletionsArgs, ManArgs};
use crate::error::{Error, Kind, Result};
use crate::exec::journal;
use crate::feature::Feature;
use crate::namespaces::{
    cgroup::Cgroup, ipc::Ipc, mnt::Mnt, net::Net, pid::Pid, time::Time, user::User, uts::Uts,
};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::text;

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
    /// What two processes see, side by side [ioctl_nsfs(2)]
    Compare(Deferred<CompareArgs>),
    /// What works on this machine, found by using it, and the narrowest fix where something doesn't
    Doctor(Deferred<DoctorArgs>),
    /// Print what makes a shell complete sandbox's words
    Completions(Deferred<CompletionsArgs>),
    /// Print a manual page of sandbox in roff, or write them all
    Man(Deferred<ManArgs>),
}

/// Parses the command line, does what it says, and gives the exit status of the contract.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.len() < 2 {
        decide(Color::Auto, Stream::Out);
        render::out(&welcome::text_of());
        return finish(Color::Auto, Ok(0));
    }
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let words: Vec<String> =
                arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            if let Some(answer) = habits::answer(&words, &error) {
                return report(Color::Auto, &answer);
            }
            // Help and the version are no errors.
            if error.use_stderr() {
                let _ = error.print();
                return Kind::Usage.status();
            }
            decide(Color::Auto, Stream::Out);
            // Examples are put below only now that help is wanted: they would cost every run its time.
            let longer = match error.kind() {
                ErrorKind::DisplayHelp => definition().try_get_matches_from(&arguments).err(),
                _ => None,
            };
            let help = longer.unwrap_or(error).render();
            let is_plain = !colored::control::SHOULD_COLORIZE.should_colorize();
            render::out(&if is_plain { help.to_string() } else { help.ansi().to_string() });
            return finish(Color::Auto, Ok(0));
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
        Command::Compare(Deferred(args)) => compare::run(cli.color, &args),
        Command::Completions(Deferred(args)) => pages::completions(&args),
        Command::Man(Deferred(args)) => pages::man(&args),
        Command::Doctor(Deferred(args)) => doctor::run(cli.color, &args),
    };
    finish(cli.color, result)
}

fn parse(arguments: &[OsString]) -> std::result::Result<Cli, clap::Error> {
    // Not dropped: taking thousands of small things apart takes time, and the process ends soon.
    let mut definition = ManuallyDrop::new(Cli::command());
    let matches = definition.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// The exit status of what was done, with the error told, and what was said but couldn't be written.
fn finish(color: Color, result: Result<u8>) -> u8 {
    match (result, render::lost()) {
        (Ok(0), Some(errno)) => {
            report(color, &Error::failed(text("common.lost")).call("write(1, ...)", errno))
        }
        // A command's own status is worth more.
        (Ok(code), _) => code,
        (Err(error), _) => report(color, &error),
    }
}

fn report(color: Color, error: &Error) -> u8 {
    decide(color, Stream::Err);
    render::err(&render::error::text(error));
    error.kind.status()
}

/// The definitions, for completions, man pages and tests.
pub fn definition() -> clap::Command {
    pages::with_examples(Cli::command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_are_sound() {
        super::definition().debug_assert();
    }
}
