//! `sandbox container ACTION`: the commands of containers below their noun, as Docker has them too.

use clap::{Args, Subcommand};

use super::create::{self, CreateArgs};
use super::inspect::{self, InspectArgs};
use super::life::{
    self, KillArgs, NamedArgs, PortArgs, PruneArgs, RenameArgs, RestartArgs, RmArgs, StopArgs,
};
use super::logs::{self, LogsArgs};
use super::ps::{self, PsArgs};
use super::start::{self, AttachArgs, StartArgs};
use super::stats::{self, StatsArgs};
use super::top::{self, TopArgs};
use super::update::{self, UpdateArgs};
use crate::cli::exec::{self, ExecArgs};
#[cfg(feature = "images")]
use crate::cli::image::{
    container::{self, ChangesArgs, CommitArgs, ContainerExportArgs},
    cp::{self, CpArgs},
};
use crate::cli::run::{self, RunArgs};
use crate::error::Result;
use crate::render::paint::Color;

/// What `container` does.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ContainerArgs {
    #[command(subcommand)]
    action: ContainerAction,
}

#[derive(Debug, Subcommand)]
enum ContainerAction {
    /// Show a running container, as `sandbox attach`
    Attach(AttachArgs),
    /// Make an image of a container, as `sandbox commit`
    #[cfg(feature = "images")]
    Commit(CommitArgs),
    /// Copy files between a container and the host, as `sandbox cp`
    #[cfg(feature = "images")]
    Cp(CpArgs),
    /// Create a container, as `sandbox create`
    Create(CreateArgs),
    /// Print what a container has changed, as `sandbox diff`
    #[cfg(feature = "images")]
    Diff(ChangesArgs),
    /// Run a further command, as `sandbox exec`
    Exec(ExecArgs),
    /// Write all files of a container to an archive, as `sandbox export`
    #[cfg(feature = "images")]
    Export(ContainerExportArgs),
    /// Print everything about containers, as `sandbox inspect`
    Inspect(InspectArgs),
    /// Send a signal, as `sandbox kill`
    Kill(KillArgs),
    /// Print what a container has printed, as `sandbox logs`
    Logs(LogsArgs),
    /// List the containers that stay, as `sandbox ps`
    #[command(visible_aliases = ["list", "ps"])]
    Ls(PsArgs),
    /// Freeze containers, as `sandbox pause`
    Pause(NamedArgs),
    /// Print the published ports, as `sandbox port`
    Port(PortArgs),
    /// Remove all containers that do not run
    Prune(PruneArgs),
    /// Give a container another name, as `sandbox rename`
    Rename(RenameArgs),
    /// Stop containers and start them again, as `sandbox restart`
    Restart(RestartArgs),
    /// Remove containers, as `sandbox rm`
    Rm(RmArgs),
    /// Run a container, as `sandbox run`
    Run(RunArgs),
    /// Start containers, as `sandbox start`
    Start(StartArgs),
    /// Print what running containers use, as `sandbox stats`
    Stats(StatsArgs),
    /// Stop containers, as `sandbox stop`
    Stop(StopArgs),
    /// List the processes of a running container, as `sandbox top`
    Top(TopArgs),
    /// Let the processes of paused containers run on, as `sandbox unpause`
    Unpause(NamedArgs),
    /// Change the limits of containers, as `sandbox update`
    Update(UpdateArgs),
    /// Wait until containers end, as `sandbox wait`
    Wait(NamedArgs),
}

/// Does it.
pub(crate) fn run(color: Color, args: ContainerArgs) -> Result<u8> {
    match args.action {
        ContainerAction::Attach(args) => start::attach(color, &args),
        #[cfg(feature = "images")]
        ContainerAction::Commit(args) => container::commit(color, &args),
        #[cfg(feature = "images")]
        ContainerAction::Cp(args) => cp::run(color, &args),
        ContainerAction::Create(args) => create::run(color, args),
        #[cfg(feature = "images")]
        ContainerAction::Diff(args) => container::changes(color, &args),
        ContainerAction::Exec(args) => exec::run(color, args),
        #[cfg(feature = "images")]
        ContainerAction::Export(args) => container::export(color, &args),
        ContainerAction::Inspect(args) => inspect::containers(color, args),
        ContainerAction::Kill(args) => life::kill(color, &args),
        ContainerAction::Logs(args) => logs::run(color, &args),
        ContainerAction::Ls(args) => ps::run(color, &args),
        ContainerAction::Pause(args) => life::pause(color, true, &args),
        ContainerAction::Port(args) => life::port(color, &args),
        ContainerAction::Prune(args) => life::prune(color, &args),
        ContainerAction::Rename(args) => life::rename(color, &args),
        ContainerAction::Restart(args) => life::restart(color, &args),
        ContainerAction::Rm(args) => life::rm(color, &args),
        ContainerAction::Run(args) => run::run(color, args),
        ContainerAction::Start(args) => start::start(color, &args),
        ContainerAction::Stats(args) => stats::run(color, &args),
        ContainerAction::Stop(args) => life::stop(color, &args),
        ContainerAction::Top(args) => top::run(color, &args),
        ContainerAction::Unpause(args) => life::pause(color, false, &args),
        ContainerAction::Update(args) => update::run(color, &args),
        ContainerAction::Wait(args) => life::wait(color, &args),
    }
}
