//! The container in which `RUN` executes its command: as `run IMAGE` makes it, with the layers of the stage below, and an upper
//! directory that becomes the new layer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::complete::Completed;
use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::exec::user_of;
use crate::config::facts::Machine;
use crate::config::of_image::{possible_groups, spec_of_image};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec;
use crate::feature::{Feature, Purpose};
use crate::host::accounts::Accounts;
use crate::host::command;
use crate::namespaces::net::{Mode, Net};
use crate::plan::{Draft, Frame, Plan, Problem, Streams};
use crate::rootfs::{Layers, Rootfs};
use crate::text::text_with;
use crate::value::mount::ExtraMount;

/// The network of the commands of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildNetwork {
    /// That of `run IMAGE`, where it can be made. Otherwise the command has only its loopback device.
    #[default]
    Default,
    /// Only the loopback device.
    None,
    /// The network of the host.
    Host,
}

/// What `RUN` executes.
#[derive(Debug)]
pub struct RunTask {
    /// The directories of the layers, the topmost first.
    pub layers: Vec<PathBuf>,
    /// What the command writes.
    pub upper: PathBuf,
    /// The command.
    pub arguments: Vec<OsString>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub workdir: Option<PathBuf>,
    /// Its user, as the image has it. Empty: root.
    pub user: String,
    /// Its network.
    pub network: BuildNetwork,
    /// Its host name.
    pub hostname: String,
    /// What is mounted for this command only.
    pub mounts: Vec<ExtraMount>,
}

/// A container that is described.
#[derive(Debug)]
pub struct DescribedRun {
    /// The container.
    pub config: Config,
    /// The plan that makes it.
    pub plan: Plan,
    /// A sentence, if it lacks the default network.
    pub note: Option<String>,
}

/// Describes the container. Nothing is made.
///
/// # Errors
/// Its user is not known; this machine does not allow the container; the command is not found (127).
pub fn describe(task: RunTask) -> Result<DescribedRun> {
    let RunTask { layers, upper, arguments, mut env, workdir, user, network, hostname, mounts } = task;
    let accounts = Accounts::of_layers(&layers);
    // Root has the groups and the home that the files of the image give it, as with Docker.
    let found = match user.is_empty() {
        true => user_of("0".as_ref(), &accounts).ok(),
        false => Some(user_of(user.as_ref(), &accounts)?),
    };
    if let Some(home) = found.as_ref().and_then(|found| found.home.to_str()) {
        env.entry("HOME".to_owned()).or_insert_with(|| home.to_owned());
    }
    let mut spec = spec_of_image(Rootfs::Layers(Layers { layers, upper: Some(upper) }));
    let groups = found.as_ref().map(|found| found.groups.clone()).unwrap_or_default();
    let groups = possible_groups(&spec, groups);
    // Groups are set together with a user.
    spec.run_as = found.map(|found| found.ids).filter(|_| !user.is_empty() || !groups.is_empty());
    spec.command = arguments;
    spec.env = env.into_iter().map(|(name, value)| (name, value.into())).collect();
    spec.workdir = workdir;
    if let Some(uts) = &mut spec.uts {
        uts.hostname = Some(hostname.into());
    }
    if let Some(mnt) = &mut spec.mnt {
        mnt.mounts = mounts;
    }
    if let Some(mode) = match network {
        BuildNetwork::Default => None,
        BuildNetwork::None => Some(Mode::None),
        BuildNetwork::Host => Some(Mode::Host),
    } {
        spec.net = Some(Net { mode, ..Net::default() });
    }
    let described = |spec: &Spec| {
        let mut config = Completed::of(spec, Purpose::Container).config;
        config.process.additional_gids.extend(&groups);
        let plan = plan(&config);
        (config, plan)
    };
    let (config, planned) = described(&spec);
    let mode = spec.net.as_ref().map(|net| net.mode);
    let of_net = |problem: &&Problem| problem.purpose.feature() == Some(Feature::Net);
    let problem = planned.problems.iter().find(of_net).map(|problem| &problem.error);
    let note = match (network, mode, problem) {
        (BuildNetwork::Default, Some(Mode::Bridge), Some(error)) => {
            text_with("docker.nobridge", &[("why", &error.what)])
        }
        (BuildNetwork::Default, Some(Mode::User), Some(error)) => {
            text_with("build.nonetwork", &[("why", &error.why.join(" "))])
        }
        _ => {
            exec::accept(&planned)?;
            return Ok(DescribedRun { config, plan: planned, note: None });
        }
    };
    spec.net = Some(Net { mode: Mode::None, ..Net::default() });
    let (config, planned) = described(&spec);
    exec::accept(&planned)?;
    Ok(DescribedRun { config, plan: planned, note: Some(note) })
}

/// The plan of such a container. It changes nothing.
pub fn plan(config: &Config) -> Plan {
    let machine = Machine::of(config);
    let arguments = config.process.args.clone();
    let name = arguments.first().cloned().unwrap_or_default();
    let mut draft = Draft::new(Purpose::Container, Vec::new());
    draft.frame(Frame { streams: Streams::Output, ..Frame::default() });
    let ending = Ending::Command { path: program(config).unwrap_or_else(|_| name.into()), arguments };
    compose::plan(config, &machine, draft, ending, false)
}

/// The file of the command.
///
/// # Errors
/// It is not found in the container (127), or cannot be executed (126).
pub fn program(config: &Config) -> Result<PathBuf> {
    let name = config.process.args.first().cloned().unwrap_or_default();
    let path = config.process.variable("PATH").unwrap_or_default();
    command::resolve(&name, &compose::resolver(config), path)
}
