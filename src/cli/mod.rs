//! The command line: flags become a spec and a way to run it. No system calls here.

mod compare;
mod docker;
mod doctor;
mod enter;
mod feature;
mod habits;
mod pages;
mod run;
mod spec;
mod target;
mod telling;
mod terminal;
mod verify;
mod watch;
mod welcome;
mod without;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::compare::CompareArgs;
use self::doctor::DoctorArgs;
use self::enter::EnterArgs;
use self::feature::FeatureArgs;
use self::pages::{CompletionsArgs, ManArgs};
use self::run::RunArgs;
use self::spec::SpecArgs;
use self::verify::VerifyArgs;
use crate::cgroups::{blkio::Blkio, cpu::Cpu, devices::Devices, memory::Memory, pids::Pids};
use crate::error::{Error, Kind, Result};
use crate::exec::journal;
use crate::feature::Feature;
use crate::namespaces::{
    cgroup::Cgroup, ipc::Ipc, mnt::Mnt, net::Net, pid::Pid, time::Time, user::User, uts::Uts,
};
use crate::plan::undo::Undo;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::text;

/// Learn how containers work: use each feature alone, see every system call, read /proc outside and inside
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

// What every subcommand understands. (No doc comment: it would become the help's first line.)
#[derive(Debug, Args)]
#[group(skip)]
struct Global {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Print names like <pidns#1> instead of values that change on every run
    #[arg(long, global = true)]
    stable: bool,
}

// With `defer`, clap defines the arguments of a subcommand only when that subcommand is invoked.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// PID namespace: process IDs, and a process 1 [pid_namespaces(7)]
    Pid(Described<FeatureArgs<Pid>>),
    /// Mount namespace: the mount table [mount_namespaces(7)]
    #[command(visible_alias = "mount")]
    Mnt(Described<FeatureArgs<Mnt>>),
    /// Network namespace: devices, addresses, routes, ports [network_namespaces(7)]
    #[command(visible_alias = "network")]
    Net(Described<FeatureArgs<Net>>),
    /// UTS namespace: hostname and domain name [uts_namespaces(7)]
    Uts(Described<FeatureArgs<Uts>>),
    /// IPC namespace: System V IPC and POSIX message queues [ipc_namespaces(7)]
    Ipc(Described<FeatureArgs<Ipc>>),
    /// User namespace: user IDs, group IDs, capabilities [user_namespaces(7)]
    User(Described<FeatureArgs<User>>),
    /// Cgroup namespace: the root of the cgroup tree [cgroup_namespaces(7)]
    Cgroup(Described<FeatureArgs<Cgroup>>),
    /// Time namespace: the boot-time and monotonic clocks [time_namespaces(7)]
    Time(Described<FeatureArgs<Time>>),
    /// Limit memory and swap [cgroups(7)]
    #[command(visible_alias = "mem")]
    Memory(Described<FeatureArgs<Memory>>),
    /// Limit CPU time, and choose CPUs [cgroups(7)]
    Cpu(Described<FeatureArgs<Cpu>>),
    /// Limit disk reads and writes [cgroups(7)]
    #[command(visible_alias = "io")]
    Blkio(Described<FeatureArgs<Blkio>>),
    /// Allow or deny access to devices [cgroups(7)]
    Devices(Described<FeatureArgs<Devices>>),
    /// Limit the number of processes [cgroups(7)]
    Pids(Described<FeatureArgs<Pids>>),
    /// Run a container, described by a YAML spec [namespaces(7)]
    Run(Described<RunArgs>),
    /// Run a command in the namespaces of a running process, like nsenter [setns(2)]
    Enter(Described<EnterArgs>),
    /// Check a running container against its spec, by what the kernel reports [proc(5)]
    Verify(Described<VerifyArgs>),
    /// Remove what killed sandbox processes left behind: cgroups, mounts, network devices
    Gc,
    /// Create and check specs: YAML files that describe a container
    Spec(Described<SpecArgs>),
    /// Compare the namespaces of two processes, side by side [ioctl_nsfs(2)]
    Compare(Described<CompareArgs>),
    /// Test what works on this machine, and print the narrowest fix for what does not
    Doctor(Described<DoctorArgs>),
    /// Print a completion script for a shell
    Completions(Described<CompletionsArgs>),
    /// Print a manual page in roff, or write all of them to files
    Man(Described<ManArgs>),
}

/// A subcommand's arguments, added to its own description: clap's derive would replace that with the doc comment of `A`.
#[derive(Debug)]
struct Described<A>(A);

impl<A: Args> Args for Described<A> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let about = command.get_about().cloned().unwrap_or_default();
        A::augment_args(command).about(about).long_about(None)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Described::<A>::augment_args(command)
    }
}

impl<A: FromArgMatches> FromArgMatches for Described<A> {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Described<A>, clap::Error> {
        A::from_arg_matches(matches).map(Described)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Parses the command line, does what it says, and gives the exit status of the contract.
///
/// Rust's runtime has already opened closed standard descriptors on /dev/null, and ignores SIGPIPE: a write to a pipe without
/// a reader is an error, not the end of the process.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    crate::sys::default_child_signal();
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.len() < 2 {
        decide(Color::Auto, Stream::Out);
        render::out(&welcome::text_of());
        return finish(Color::Auto, Ok(0));
    }
    let cli = match Cli::try_parse_from(&arguments) {
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
    render::set_stable(cli.global.stable);
    let swept = journal::sweep();
    let result = match cli.command {
        Command::Pid(Described(args)) => {
            feature::run(Feature::Pid, cli.global.color, args, |spec, pid| spec.pid = Some(pid))
        }
        Command::Mnt(Described(args)) => {
            feature::run(Feature::Mnt, cli.global.color, args, |spec, mnt| spec.mnt = Some(mnt))
        }
        Command::Net(Described(args)) => {
            feature::run(Feature::Net, cli.global.color, args, |spec, net| spec.net = Some(net))
        }
        Command::Uts(Described(args)) => {
            feature::run(Feature::Uts, cli.global.color, args, |spec, uts| spec.uts = Some(uts))
        }
        Command::Ipc(Described(args)) => {
            feature::run(Feature::Ipc, cli.global.color, args, |spec, ipc| spec.ipc = Some(ipc))
        }
        Command::User(Described(args)) => {
            feature::run(Feature::User, cli.global.color, args, |spec, user| spec.user = Some(user))
        }
        Command::Cgroup(Described(args)) => {
            feature::run(Feature::Cgroup, cli.global.color, args, |spec, cgroup| spec.cgroup = Some(cgroup))
        }
        Command::Time(Described(args)) => {
            feature::run(Feature::Time, cli.global.color, args, |spec, time| spec.time = Some(time))
        }
        Command::Memory(Described(args)) => {
            feature::run(Feature::Memory, cli.global.color, args, |spec, memory| spec.memory = Some(memory))
        }
        Command::Cpu(Described(args)) => {
            feature::run(Feature::Cpu, cli.global.color, args, |spec, cpu| spec.cpu = Some(cpu))
        }
        Command::Blkio(Described(args)) => {
            feature::run(Feature::Blkio, cli.global.color, args, |spec, blkio| spec.blkio = Some(blkio))
        }
        Command::Devices(Described(args)) => {
            feature::run(Feature::Devices, cli.global.color, args, |spec, devices| {
                spec.devices = Some(devices);
            })
        }
        Command::Pids(Described(args)) => {
            feature::run(Feature::Pids, cli.global.color, args, |spec, pids| spec.pids = Some(pids))
        }
        Command::Run(Described(args)) => run::run(cli.global.color, args),
        Command::Enter(Described(args)) => enter::run(cli.global.color, args),
        Command::Verify(Described(args)) => verify::run(cli.global.color, &args),
        Command::Gc => Ok(gc(cli.global.color, &swept)),
        Command::Spec(Described(args)) => spec::run(cli.global.color, &args),
        Command::Compare(Described(args)) => compare::run(cli.global.color, &args),
        Command::Completions(Described(args)) => pages::completions(&args),
        Command::Man(Described(args)) => pages::man(&args),
        Command::Doctor(Described(args)) => doctor::run(cli.global.color, &args),
    };
    finish(cli.global.color, result)
}

/// The exit status of what was done, with the error told, and what was said but couldn't be written.
fn finish(color: Color, result: Result<u8>) -> u8 {
    match (result, render::lost()) {
        (Ok(0), Some(error)) => {
            report(color, &Error::failed(text("common.lost")).call("write(1, ...)", error))
        }
        // A command's own status is worth more.
        (Ok(code), _) => code,
        (Err(error), _) => report(color, &error),
    }
}

/// What was ended and removed: every command does that first; this one tells.
fn gc(color: Color, swept: &[Undo]) -> u8 {
    decide(color, Stream::Out);
    let lines: String = swept.iter().map(|undo| format!("{undo}\n")).collect();
    render::out(&if lines.is_empty() { text("gc.nothing") + "\n" } else { lines });
    0
}

fn report(color: Color, error: &Error) -> u8 {
    decide(color, Stream::Err);
    render::err(&render::error::text(error));
    error.kind.status()
}

/// The definitions, for completions, man pages and tests. `build` adds the arguments of the subcommands.
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
