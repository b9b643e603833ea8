//! The plan by which a supervisor makes its container.

use std::os::unix::ffi::OsStrExt;

use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::facts::Machine;
use crate::config::inherited::Inherited;
use crate::container::explain::Explainer;
use crate::container::links;
use crate::container::record::ContainerRecord;
use crate::container::store::KeptContainer;
use crate::error::Result;
use crate::exec;
use crate::feature::Purpose;
use crate::host::cgroups::{CgroupParent, LeftLimits};
use crate::host::command;
use crate::host::joined::JoinedNamespace;
use crate::observe::hierarchy::Controller;
use crate::plan::call::Call;
use crate::plan::call::user_network::UserNetworkCall;
use crate::plan::{Draft, Frame, Plan, Streams};

/// The controllers for which a container gets a cgroup also where it has no limits, so that it can be paused, its use can be
/// counted, and limits can be set later.
const COUNTED: [Controller; 7] = [
    Controller::Freezer,
    Controller::Memory,
    Controller::Pids,
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Cpuset,
    Controller::Io,
];

/// Tells that a supervisor is asked to make its container, and which program it starts for the network: that one runs beside the
/// container.
pub fn explain_start(container: &KeptContainer, explain: Explainer) {
    explain.step("send(<socket>, \"start\")", "container.explain.start");
    // A plan that cannot be made is reported by the supervisor.
    let plan = if explain.is_on() { plan(container, &[]).ok() } else { None };
    for step in plan.iter().flat_map(|plan| &plan.steps) {
        if let Call::UserNetwork(call @ UserNetworkCall::Start { .. }) = &step.call {
            explain.step(format!("{call}  [by the supervisor]"), step.why);
        }
    }
}

/// The plan for the start of a kept container. It changes nothing. `left` are the limits of the cgroups that the supervisor has left.
///
/// # Errors
/// The command is not found in the container (127), or cannot be executed (126). A container to which it has a link does not run.
pub(super) fn plan(container: &KeptContainer, left: &[LeftLimits]) -> Result<Plan> {
    let mut config = container.record.config.clone();
    links::add(&mut config, container)?;
    plan_of(container, config, left)
}

/// The plan without links: limits do not depend on other containers, which may have stopped.
///
/// # Errors
/// The command is not found in the container (127), or cannot be executed (126).
pub fn plan_without_links(container: &KeptContainer) -> Result<Plan> {
    plan_of(container, container.record.config.clone(), &[])
}

fn plan_of(container: &KeptContainer, config: Config, left: &[LeftLimits]) -> Result<Plan> {
    let ContainerRecord { open_stdin, id, .. } = &container.record;
    let id = id.as_str();
    let mut config = Config { name: Some(container.name.clone()), ..config };
    // The command is started by the supervisor, which has another umask and other signals than the process that has made the
    // container.
    config.process.inherited = Inherited::gather();
    config.environment.namespaces.rename_joined(|_, target, name| {
        // Another container may have been started again since then. Then it has new namespaces.
        if target.is_container() {
            *name = None;
        }
    });
    let mut machine = Machine::with_cgroups(&config, &COUNTED);
    if let Some(cgroups) = &mut machine.host.cgroups {
        cgroups.keep_within(left);
        // The last run may have left a cgroup of this name that could not be removed.
        let is_free = |parent: &CgroupParent| !parent.shared().join(id).exists();
        if cgroups.parents.iter().all(is_free) {
            id.clone_into(&mut cgroups.name);
        }
    }
    config.environment.namespaces.rename_joined(|kind, _, name| {
        *name = machine.host.joined(kind).map(JoinedNamespace::name).or_else(|| name.take());
    });
    let arguments = config.process.args.clone();
    let name = arguments.first().cloned().unwrap_or_default();
    let path = config.process.variable("PATH").unwrap_or_default();
    // A relative path begins in the directory of the command, which this process does not have.
    let program = match &config.process.cwd {
        Some(directory) if name.as_bytes().contains(&b'/') => directory.join(&name).into(),
        _ => name.clone(),
    };
    let found = command::resolve(&program, &compose::resolver(&config), path);
    let streams = if *open_stdin { Streams::Pipes } else { Streams::Output };
    let mut draft = Draft::new(Purpose::Container, Vec::new());
    draft.frame(Frame { streams, ..Frame::default() });
    let ending = Ending::Command { path: found.clone().unwrap_or_else(|_| name.into()), arguments };
    let mut plan = compose::plan(&config, &machine, draft, ending, false);
    // If the root filesystem cannot be used, no command is found in it. Then the problem of the plan is reported.
    exec::accept(&plan)?;
    found?;
    plan.config = Some(config.to_json());
    Ok(plan)
}
