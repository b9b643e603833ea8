//! The command line: parses it, and calls what each subcommand does. There are no system calls here.

#[cfg(test)]
mod advised;
mod caller;
mod cards;
mod compare;
mod completions;
mod docker;
mod doctor;
mod enter;
mod exec;
mod feature;
mod gc;
mod habits;
#[cfg(feature = "images")]
mod image;
mod kept;
mod ledger;
mod lesson;
mod namespaces;
mod output;
mod pages;
mod paging;
mod prepare;
mod run;
mod source;
mod spec;
#[cfg(feature = "images")]
mod system;
mod target;
mod terminal;
mod verify;
mod watch;
mod welcome;
mod without;
mod words;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::compare::CompareArgs;
use self::completions::CompletionsArgs;
use self::doctor::DoctorArgs;
use self::enter::EnterArgs;
use self::exec::ExecArgs;
use self::feature::FeatureArgs;
#[cfg(feature = "images")]
use self::image::{
    UnpackArgs,
    container::{ChangesArgs, CommitArgs, ContainerExportArgs},
    cp::CpArgs,
    history::HistoryArgs,
    images::ImagesArgs,
    import::ImportArgs,
    load::LoadArgs,
    login::{LoginArgs, LogoutArgs},
    noun::ImageArgs,
    pull::PullArgs,
    push::PushArgs,
    rmi::RmiArgs,
    save::SaveArgs,
    search::SearchArgs,
    tag::TagArgs,
};
use self::kept::SuperviseArgs;
use self::kept::create::CreateArgs;
use self::kept::events::EventsArgs;
use self::kept::inspect::InspectArgs;
use self::kept::life::{KillArgs, NamedArgs, PortArgs, RenameArgs, RestartArgs, RmArgs, StopArgs};
use self::kept::logs::LogsArgs;
use self::kept::noun::ContainerArgs;
use self::kept::ps::PsArgs;
use self::kept::start::{AttachArgs, StartArgs};
use self::kept::stats::StatsArgs;
use self::kept::top::TopArgs;
use self::kept::update::UpdateArgs;
use self::kept::volume::VolumeArgs;
use self::ledger::LedgerArgs;
use self::lesson::LessonArgs;
use self::output::{Format, FormatArgs};
use self::pages::ManArgs;
#[cfg(test)]
pub(crate) use self::pages::key_of;
use self::run::RunArgs;
use self::spec::SpecArgs;
#[cfg(feature = "images")]
use self::system::SystemArgs;
use self::verify::VerifyArgs;
use crate::error::{Error, ExitKind, Result};
use crate::exec::sweep::{self, Swept};
use crate::feature::{Feature, features};
use crate::host::home;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{Language, text};

/// Learn how containers work: use each feature alone, see every system call, read /proc outside and inside
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

// The global flags. This is no doc comment, because clap would print that as the first line of the help.
#[derive(Debug, Args)]
#[group(skip)]
struct Global {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Print names like <pidns#1> instead of values that change on every run
    #[arg(long, global = true)]
    stable: bool,
    /// The directory of the containers that stay; the default is $SANDBOX_HOME, /var/lib/sandbox for root, and
    /// ~/.local/share/sandbox for others
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<std::path::PathBuf>,
    /// The language of demonstrations, views and lessons; the default is that of the locale
    #[arg(long, global = true, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

macro_rules! commands {
    (
        namespaces { $($n_about:literal, $n:ident, $n_name:ident, $n_dir:ident, $n_page:literal, $n_also:tt;)* }
        controllers { $($c_about:literal, $c:ident, $c_name:ident, $c_dir:ident, $c_page:literal, $c_also:tt;)* }
        hardening { $($hardening:tt)* }
    ) => {
        // With `defer`, clap defines the arguments of a subcommand only when that subcommand is invoked.
        #[derive(Debug, Subcommand)]
        #[command(defer = true)]
        enum Command {
            $(
                #[command(about = concat!($n_about, " [", $n_page, "]"), visible_aliases = aliases(Feature::$n))]
                $n(Described<FeatureArgs<crate::$n_dir::$n_name::$n>>),
            )*
            $(
                #[command(about = concat!($c_about, " [", $c_page, "]"), visible_aliases = aliases(Feature::$c))]
                $c(Described<FeatureArgs<crate::$c_dir::$c_name::$c>>),
            )*
            /// Run a container, described by a YAML spec or made from an image [namespaces(7)]
            Run(Described<RunArgs>),
            /// Create a container that stays, from a YAML spec or an image, and do not start it [namespaces(7)]
            Create(Described<CreateArgs>),
            /// Start containers that stay
            Start(Described<StartArgs>),
            /// Stop containers: send a signal, and after a timeout SIGKILL [signal(7)]
            Stop(Described<StopArgs>),
            /// Stop containers and start them again
            Restart(Described<RestartArgs>),
            /// Send a signal to containers [signal(7)]
            Kill(Described<KillArgs>),
            /// Freeze all processes of containers [cgroups(7)]
            Pause(Described<NamedArgs>),
            /// Let the processes of paused containers run on
            Unpause(Described<NamedArgs>),
            /// Wait until containers end, and print their exit statuses
            Wait(Described<NamedArgs>),
            /// Remove containers that stay
            Rm(Described<RmArgs>),
            /// Give a container another name
            Rename(Described<RenameArgs>),
            /// List the containers that stay
            Ps(Described<PsArgs>),
            /// Print what a container has printed
            Logs(Described<LogsArgs>),
            /// Show a running container as if its command were your own
            Attach(Described<AttachArgs>),
            /// Print everything about containers, as JSON
            Inspect(Described<InspectArgs>),
            /// Print what running containers use: CPU time, memory, network, disks, processes [cgroups(7)]
            Stats(Described<StatsArgs>),
            /// Change the limits of containers, also of those that run [cgroups(7)]
            Update(Described<UpdateArgs>),
            /// Print what happens to containers
            Events(Described<EventsArgs>),
            /// Print the published ports of a container
            Port(Described<PortArgs>),
            /// List the processes of a running container [ps(1)]
            Top(Described<TopArgs>),
            /// The commands of containers that stay, and prune: container ls, container rm, ...
            Container(Described<ContainerArgs>),
            /// Make, list and remove volumes: directories that stay when a container is removed
            Volume(Described<VolumeArgs>),
            /// List the images
            #[cfg(feature = "images")]
            Images(Described<ImagesArgs>),
            /// Download an image from a registry
            #[cfg(feature = "images")]
            Pull(Described<PullArgs>),
            /// Send an image to a registry
            #[cfg(feature = "images")]
            Push(Described<PushArgs>),
            /// Search for images in the index of Docker Hub
            #[cfg(feature = "images")]
            Search(Described<SearchArgs>),
            /// Store the password for a registry
            #[cfg(feature = "images")]
            Login(Described<LoginArgs>),
            /// Remove the password for a registry
            #[cfg(feature = "images")]
            Logout(Described<LogoutArgs>),
            /// Load images from an archive of `docker save`, `podman save` or skopeo
            #[cfg(feature = "images")]
            Load(Described<LoadArgs>),
            /// Write images to an archive that `docker load`, podman and skopeo read
            #[cfg(feature = "images")]
            Save(Described<SaveArgs>),
            /// Make an image of an archive of files, as `docker export` and tar(1) write it
            #[cfg(feature = "images")]
            Import(Described<ImportArgs>),
            /// Print how an image was made
            #[cfg(feature = "images")]
            History(Described<HistoryArgs>),
            /// Look into images: their documents, layers and digests
            #[cfg(feature = "images")]
            Image(Described<ImageArgs>),
            /// Print what a container has changed: added (A), changed (C) and deleted (D) files
            #[cfg(feature = "images")]
            Diff(Described<ChangesArgs>),
            /// Write all files of a container to an archive
            #[cfg(feature = "images")]
            Export(Described<ContainerExportArgs>),
            /// Copy files between a container and the host
            #[cfg(feature = "images")]
            Cp(Described<CpArgs>),
            /// Make an image of a container: what it has written becomes a layer
            #[cfg(feature = "images")]
            Commit(Described<CommitArgs>),
            /// Give an image a further name
            #[cfg(feature = "images")]
            Tag(Described<TagArgs>),
            /// Remove images
            #[cfg(feature = "images")]
            Rmi(Described<RmiArgs>),
            /// Look at all that is kept: how much space it takes
            #[cfg(feature = "images")]
            System(Described<SystemArgs>),
            /// Run a further command in a running container, with the container's own restrictions [setns(2)]
            Exec(Described<ExecArgs>),
            /// Run a command in the namespaces of a running process, like nsenter [setns(2)]
            Enter(Described<EnterArgs>),
            /// Check a running container against its spec, by what the kernel reports [proc(5)]
            Verify(Described<VerifyArgs>),
            /// Remove what killed sandbox processes left behind: cgroups, mounts, network devices
            Gc(Described<FormatArgs>),
            /// Create and check specs: YAML files that describe a container
            Spec(Described<SpecArgs>),
            /// Compare the namespaces of two processes, side by side [ioctl_nsfs(2)]
            Compare(Described<CompareArgs>),
            /// Test what works on this machine, and print the narrowest fix for what does not
            Doctor(Described<DoctorArgs>),
            /// Learn what a container is: lessons, with exercises that are checked by what the kernel reports
            Lesson(Described<LessonArgs>),
            /// Record what this machine has, and print later what is new: what a container or a lesson has left
            Ledger(Described<LedgerArgs>),
            /// Print a completion script for a shell
            Completions(Described<CompletionsArgs>),
            /// Supervise a container that stays
            #[command(name = "__supervise", hide = true)]
            Supervise(Described<SuperviseArgs>),
            /// Unpack a layer of an image
            #[cfg(feature = "images")]
            #[command(name = "__unpack", hide = true)]
            Unpack(Described<UnpackArgs>),
            /// Print the names of running containers, for completion
            #[command(name = "__names", hide = true)]
            Names,
            /// Print a manual page in roff, or write all of them to files
            Man(Described<ManArgs>),
        }

        impl Command {
            /// Performs the subcommand. Before, a sweep has removed what killed `sandbox` processes had left.
            fn perform(self, global: &Global, swept: Swept) -> Result<u8> {
                let color = global.color;
                match self {
                    $(
                        Command::$n(Described(args)) => {
                            feature::run(Feature::$n, color, args, |spec, options| spec.$n_name = Some(options))
                        }
                    )*
                    $(
                        Command::$c(Described(args)) => {
                            feature::run(Feature::$c, color, args, |spec, options| spec.$c_name = Some(options))
                        }
                    )*
                    Command::Run(Described(args)) => run::run(color, args),
                    Command::Create(Described(args)) => kept::create::run(color, args),
                    Command::Start(Described(args)) => kept::start::start(color, &args),
                    Command::Stop(Described(args)) => kept::life::stop(color, &args),
                    Command::Restart(Described(args)) => kept::life::restart(color, &args),
                    Command::Kill(Described(args)) => kept::life::kill(color, &args),
                    Command::Pause(Described(args)) => kept::life::pause(color, true, &args),
                    Command::Unpause(Described(args)) => kept::life::pause(color, false, &args),
                    Command::Wait(Described(args)) => kept::life::wait(color, &args),
                    Command::Rm(Described(args)) => kept::life::rm(color, &args),
                    Command::Rename(Described(args)) => kept::life::rename(color, &args),
                    Command::Ps(Described(args)) => kept::ps::run(color, &args),
                    Command::Logs(Described(args)) => kept::logs::run(color, &args),
                    Command::Attach(Described(args)) => kept::start::attach(color, &args),
                    Command::Inspect(Described(args)) => kept::inspect::run(color, &args),
                    Command::Stats(Described(args)) => kept::stats::run(color, &args),
                    Command::Update(Described(args)) => kept::update::run(color, &args),
                    Command::Events(Described(args)) => kept::events::run(color, &args),
                    Command::Port(Described(args)) => kept::life::port(color, &args),
                    Command::Top(Described(args)) => kept::top::run(color, &args),
                    Command::Container(Described(args)) => kept::noun::run(color, args),
                    Command::Volume(Described(args)) => kept::volume::run(color, &args),
                    Command::Supervise(Described(args)) => kept::supervise(&args),
                    #[cfg(feature = "images")]
                    Command::Images(Described(args)) => image::images::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Pull(Described(args)) => image::pull::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Push(Described(args)) => image::push::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Search(Described(args)) => image::search::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Login(Described(args)) => image::login::login(color, &args),
                    #[cfg(feature = "images")]
                    Command::Logout(Described(args)) => image::login::logout(color, &args),
                    #[cfg(feature = "images")]
                    Command::Load(Described(args)) => image::load::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Save(Described(args)) => image::save::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Import(Described(args)) => image::import::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::System(Described(args)) => system::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Diff(Described(args)) => image::container::changes(color, &args),
                    #[cfg(feature = "images")]
                    Command::Cp(Described(args)) => image::cp::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Export(Described(args)) => image::container::export(color, &args),
                    #[cfg(feature = "images")]
                    Command::Commit(Described(args)) => image::container::commit(color, &args),
                    #[cfg(feature = "images")]
                    Command::History(Described(args)) => image::history::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Image(Described(args)) => image::noun::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Tag(Described(args)) => image::tag::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Rmi(Described(args)) => image::rmi::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Unpack(Described(args)) => image::unpack(&args),
                    Command::Exec(Described(args)) => exec::run(color, args),
                    Command::Enter(Described(args)) => enter::run(color, args),
                    Command::Verify(Described(args)) => verify::run(color, &args),
                    Command::Gc(Described(args)) => gc::run(color, swept, &args),
                    Command::Spec(Described(args)) => spec::run(color, &args),
                    Command::Compare(Described(args)) => compare::run(color, &args),
                    Command::Lesson(Described(args)) => lesson::run(color, global.lang, &args),
                    Command::Ledger(Described(args)) => ledger::run(color, &args),
                    Command::Completions(Described(args)) => completions::completions(&args),
                    Command::Names => completions::names(),
                    Command::Man(Described(args)) => pages::man(&args),
                    Command::Doctor(Described(args)) => doctor::run(color, &args),
                }
            }
        }
    };
}
features!(commands);

/// The aliases of a feature's subcommand.
fn aliases(feature: Feature) -> impl Iterator<Item = &'static str> {
    feature.aliases().iter().copied()
}

/// The arguments of a subcommand. Keeps the description of the subcommand, which clap's derive would replace by the
/// doc comment of `A`.
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

/// Parses the command line, performs it, and returns the exit status.
///
/// Rust's runtime has already opened /dev/null for each standard descriptor that was closed. It also ignores SIGPIPE,
/// so a write to a pipe without a reader is an error and does not kill the process.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    if let Some(error) = caller::refused_privilege().or_else(caller::small_stack) {
        return report(Color::Auto, &error);
    }
    crate::sys::signal::take_over();
    Language::of_locale().set();
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.len() < 2 {
        decide(Color::Auto, Stream::Out);
        render::out(&welcome::text_of());
        return finish(Color::Auto, Ok(0));
    }
    let (cli, is_json) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // An answer has a line to paste. For arguments that are not UTF-8, there is none.
            let words: Option<Vec<String>> =
                arguments.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
            if let Some(answer) = words.and_then(|words| habits::answer(&words, &error)) {
                return report(Color::Auto, &answer);
            }
            if error.kind() == ErrorKind::InvalidUtf8 {
                return report(Color::Auto, &caller::bad_bytes(&arguments));
            }
            // clap reports help and the version as errors too, but for standard output.
            if error.use_stderr() {
                decide(Color::Auto, Stream::Err);
                let words = styled(&error);
                render::err(&match number_error(&error) {
                    Some(why) => words.replace(&why, &text("common.number")),
                    None => words,
                });
                return ExitKind::Usage.status();
            }
            decide(Color::Auto, Stream::Out);
            // The help is built again with examples. They are added only here, because they would slow down every run.
            let longer = match error.kind() {
                ErrorKind::DisplayHelp => definition().try_get_matches_from(&arguments).err(),
                _ => None,
            };
            render::out(&styled(&longer.unwrap_or(error)));
            return finish(Color::Auto, Ok(0));
        }
    };
    render::set_stable(cli.global.stable);
    // Programs read JSON: its texts are the same everywhere.
    let language = if is_json { Some(Language::En) } else { cli.global.lang };
    language.unwrap_or_else(Language::current).set();
    cli.global.home.iter().for_each(|home| home::choose(home));
    // The ledger shows what was left, so it must not be removed before.
    let swept = match cli.command {
        Command::Ledger(_) => Swept::default(),
        // Another command has started it, after its own sweep.
        #[cfg(feature = "images")]
        Command::Unpack(_) => Swept::default(),
        _ => sweep::sweep(),
    };
    if !matches!(cli.command, Command::Gc(_)) {
        gc::warn(&swept);
    }
    let result = cli.command.perform(&cli.global, swept);
    finish(cli.global.color, result)
}

/// The command line, and whether its result is JSON: the flag `--format` of its subcommand, or of a subcommand of that.
fn parse(arguments: &[OsString]) -> std::result::Result<(Cli, bool), clap::Error> {
    let mut command = Cli::command();
    let mut matches = command.try_get_matches_from_mut(words::for_clap(arguments, &Cli::command()))?;
    let (mut at, mut is_json) = (&matches, false);
    while let Some((_, sub)) = at.subcommand() {
        is_json |= matches!(sub.try_get_one::<Format>("format"), Ok(Some(Format::Json)));
        at = sub;
    }
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, is_json))
}

/// The text of clap's error or help, with colours if the output has them.
fn styled(error: &clap::Error) -> String {
    let text = error.render();
    match colored::control::SHOULD_COLORIZE.should_colorize() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    }
}

/// What Rust's library reports about a flag that must be a number. It is written for programmers.
fn number_error(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    let is_number = source.is::<std::num::ParseIntError>() || source.is::<std::num::ParseFloatError>();
    is_number.then(|| source.to_string())
}

/// The exit status. Reports an error, and whether output could not be written.
fn finish(color: Color, result: Result<u8>) -> u8 {
    match (result, render::lost()) {
        (Ok(0), Some(error)) => {
            report(color, &Error::failed(text("common.lost")).call("write(1, ...)", error))
        }
        // The status of the command is more important than lost output.
        (Ok(code), _) => code,
        (Err(error), _) => report(color, &error),
    }
}

fn report(color: Color, error: &Error) -> u8 {
    decide(color, Stream::Err);
    render::err(&render::error::text(error));
    error.kind.status()
}

/// The definition of the command line, for completions, manual pages and tests. clap's `build` adds the arguments of
/// the subcommands.
pub fn definition() -> clap::Command {
    pages::with_examples(Cli::command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_accepts_the_definition() {
        super::definition().debug_assert();
    }

    #[test]
    fn help_is_in_plain_words() {
        let mut definition = super::definition();
        let mut texts = vec![definition.render_long_help().to_string()];
        for subcommand in definition.get_subcommands_mut() {
            texts.push(subcommand.render_long_help().to_string());
            texts
                .extend(subcommand.get_subcommands_mut().map(|action| action.render_long_help().to_string()));
        }
        texts.push(crate::config::spec::schema::schema().to_string());
        texts.extend(crate::config::spec::shipped::ALL.iter().map(|spec| spec.text.to_owned()));
        let lines = texts.iter().flat_map(|text| text.split(['\n', '"']));
        let banned: Vec<String> = lines.flat_map(crate::text::plain::banned_in).collect();
        assert!(banned.is_empty(), "{banned:#?}");
    }
}
