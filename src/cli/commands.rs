//! The subcommands: their arguments, and the function that performs each.

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "images")]
use super::build::{self, BuildArgs, BuildStepArgs, builder::BuilderArgs};
use super::compare::CompareArgs;
use super::completions::CompletionsArgs;
#[cfg(feature = "daemon")]
use super::daemon;
#[cfg(feature = "daemon")]
use super::daemon::{ApiArgs, CarryArgs, DaemonArgs};
use super::doctor::DoctorArgs;
use super::enter::EnterArgs;
use super::exec::ExecArgs;
use super::feature::FeatureArgs;
use super::gc::GcArgs;
#[cfg(feature = "images")]
use super::image::{
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
use super::kept::SuperviseArgs;
use super::kept::create::CreateArgs;
use super::kept::events::EventsArgs;
use super::kept::inspect::InspectArgs;
use super::kept::life::{KillArgs, NamedArgs, PortArgs, RenameArgs, RestartArgs, RmArgs, StopArgs};
use super::kept::logs::LogsArgs;
use super::kept::noun::ContainerArgs;
use super::kept::ps::PsArgs;
use super::kept::start::{AttachArgs, StartArgs};
use super::kept::stats::StatsArgs;
use super::kept::top::TopArgs;
use super::kept::update::UpdateArgs;
use super::kept::volume::VolumeArgs;
use super::ledger::LedgerArgs;
use super::lesson::LessonArgs;
use super::pages::ManArgs;
use super::run::RunArgs;
use super::spec::SpecArgs;
#[cfg(feature = "images")]
use super::system::SystemArgs;
use super::verify::VerifyArgs;
use super::{
    compare, completions, doctor, enter, exec, feature, gc, kept, ledger, lesson, pages, run, spec, verify,
};
#[cfg(feature = "images")]
use super::{image, system};
use crate::error::Result;
use crate::exec::sweep::Swept;
use crate::feature::{Feature, features};
use crate::render::paint::Color;
use crate::text::Language;

/// Learn how containers work: use each feature alone, see every system call, read /proc outside and inside
#[derive(Debug, Parser)]
#[command(
    name = "sandbox",
    version,
    max_term_width = 80,
    disable_help_subcommand = true,
    args_override_self = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

// The global flags. This is no doc comment, because clap would print that as the first line of the help.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Global {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
    /// Print names like <pidns#1> instead of values that change on every run
    #[arg(long, global = true)]
    pub(super) stable: bool,
    /// The directory of the containers that stay; the default is $SANDBOX_HOME, /var/lib/sandbox for root, and
    /// ~/.local/share/sandbox for others
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) home: Option<std::path::PathBuf>,
    /// The language of demonstrations, views and lessons; the default is that of the locale
    #[arg(long, global = true, value_name = "LANGUAGE")]
    pub(super) lang: Option<Language>,
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
        pub(super) enum Command {
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
            /// Build an image from a Dockerfile
            #[cfg(feature = "images")]
            Build(Described<BuildArgs>),
            /// The cache of builds: builder prune
            #[cfg(feature = "images")]
            Builder(Described<BuilderArgs>),
            /// Make the container of a command of a build
            #[cfg(feature = "images")]
            #[command(name = "__build-step", hide = true)]
            BuildStep(Described<BuildStepArgs>),
            /// Give an image a further name
            #[cfg(feature = "images")]
            Tag(Described<TagArgs>),
            /// Remove images
            #[cfg(feature = "images")]
            Rmi(Described<RmiArgs>),
            /// Print how much disk space images and containers take
            #[cfg(feature = "images")]
            System(Described<SystemArgs>),
            /// Answer Docker's HTTP API, so that docker's own client works: run, start, stop, restart, status [unix(7)]
            #[cfg(feature = "daemon")]
            Daemon(Described<DaemonArgs>),
            /// Send one request to the daemon, and print the answer [unix(7)]
            #[cfg(feature = "daemon")]
            Api(Described<ApiArgs>),
            /// Run a further command in a running container, with the container's own restrictions [setns(2)]
            Exec(Described<ExecArgs>),
            /// Run a command in the namespaces of a running process, like nsenter [setns(2)]
            Enter(Described<EnterArgs>),
            /// Check a running container against its spec, by what the kernel reports [proc(5)]
            Verify(Described<VerifyArgs>),
            /// Remove what killed sandbox processes left behind: cgroups, mounts, network devices
            Gc(Described<GcArgs>),
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
            /// Carry the streams of a further command in a container
            #[cfg(feature = "daemon")]
            #[command(name = "__exec", hide = true)]
            Carry(Described<CarryArgs>),
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
            pub(super) fn perform(self, global: &Global, swept: Swept) -> Result<u8> {
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
                    #[cfg(feature = "daemon")]
                    Command::Carry(Described(args)) => daemon::carry(&args),
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
                    Command::Build(Described(args)) => build::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::Builder(Described(args)) => build::builder::run(color, &args),
                    #[cfg(feature = "images")]
                    Command::BuildStep(Described(_)) => build::build_step(),
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
                    #[cfg(feature = "daemon")]
                    Command::Daemon(Described(args)) => daemon::run(color, &args),
                    #[cfg(feature = "daemon")]
                    Command::Api(Described(args)) => daemon::api(color, &args),
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
pub(super) struct Described<A>(pub(super) A);

impl<A: Args> Args for Described<A> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let about = command.get_about().cloned().unwrap_or_default();
        let is_dockers = kept::arguments::is_dockers(command.get_name());
        let command = A::augment_args(command).about(about).long_about(None);
        if is_dockers { kept::arguments::with_any_values(command) } else { command }
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
