//! The options of docker(1) for what a plan does.

use crate::feature::Feature;
use crate::network::ports::{Port, PortRange};
use crate::plan::call::mount::MountCall;
use crate::plan::call::net::NetCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::publish::PublishCall;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::uts::UtsCall;
use crate::plan::{Call, Plan, Step};
use crate::security::capabilities;
use crate::text::{text, text_if_any};
use crate::value::shell::quote;

/// The options of docker for each namespace, each call and each limit.
pub(super) fn docker(plan: &Plan) -> Vec<String> {
    let is_join = |step: &Step| matches!(step.call, Call::Process(ProcessCall::Join { pid: Some(_), .. }));
    if plan.steps.iter().any(is_join) {
        return vec![docker_exec(plan)];
    }
    let mut lines: Vec<String> =
        plan.namespaces.iter().filter_map(|feature| docker_flags(*feature)).collect();
    for step in &plan.steps {
        match &step.call {
            Call::Uts(UtsCall::SetHostname(name)) => {
                lines.push(format!("docker run --hostname {} ...", quote(name)))
            }
            Call::Uts(UtsCall::SetDomainname(name)) => {
                lines.push(format!("docker run --domainname {} ...", quote(name)))
            }
            Call::Mount(MountCall::Filesystem { kind, target, .. }) if kind == "tmpfs" => {
                lines.push(format!("docker run --tmpfs {} ...", quote(target)));
            }
            Call::Net(NetCall::AddVeth { .. }) => lines.push("docker run --network bridge ...".into()),
            Call::Publish(PublishCall::Listen { protocol, at, last, inside }) => {
                let range = |first, last| PortRange { first, last };
                let port = Port {
                    address: at.ip(),
                    host: (at.port() != 0).then(|| range(at.port(), last.unwrap_or(at.port()))),
                    inside: range(*inside, *inside),
                    protocol: *protocol,
                };
                lines.push(format!("docker run -p {port} ..."));
            }
            _ => {}
        }
    }
    let mut limits: Vec<String> = plan.intents.iter().map(|intent| intent.docker.clone()).collect();
    limits.extend(plan.steps.iter().filter_map(docker_restriction));
    if limits.iter().any(|flag| !flag.is_empty()) {
        lines.push(format!("docker run {} ...", limits.join(" ").trim()));
    } else if plan.namespaces.is_empty() {
        lines.push(text("limits.docker"));
    }
    lines
}

/// The same as `exec` and `enter`.
fn docker_exec(plan: &Plan) -> String {
    let (mut options, mut group) = (String::new(), None);
    for step in &plan.steps {
        match &step.call {
            Call::Process(ProcessCall::SetGroup(id)) => group = Some(*id),
            Call::Process(ProcessCall::SetUser(user)) if *user != 0 => {
                options.push_str(&match group {
                    Some(group) => format!(" --user {user}:{group}"),
                    None => format!(" --user {user}"),
                });
            }
            Call::Mount(MountCall::ChdirInside { path }) => {
                options.push_str(&format!(" --workdir {}", quote(path)));
            }
            _ => {}
        }
    }
    let arguments: Vec<String> = plan.arguments().iter().map(quote).collect();
    format!("docker exec{options} ... {}", arguments.join(" "))
}

/// The option of docker for a restriction. Docker's default capabilities and its default seccomp filter need none.
fn docker_restriction(step: &Step) -> Option<String> {
    match &step.call {
        Call::Restrict(RestrictCall::Limit { resource, soft, hard }) => {
            Some(format!("--ulimit {resource}={soft}:{hard}"))
        }
        Call::Restrict(RestrictCall::Bound { keep, .. }) if *keep != capabilities::DEFAULT => {
            let kept: String =
                keep.iter().map(|one| format!(" --cap-add {}", capabilities::short_name(one))).collect();
            Some(format!("--cap-drop all{kept}"))
        }
        Call::Process(ProcessCall::SetUser(id)) if *id != 0 => Some(format!("--user {id}")),
        Call::Restrict(RestrictCall::NoNewPrivileges) => Some("--security-opt no-new-privileges".into()),
        _ => None,
    }
}

/// The options of docker for a namespace. Those of a limit are in the plan's intent, those of a restriction are made
/// from its step.
fn docker_flags(feature: Feature) -> Option<String> {
    let flags = text_if_any(&format!("{feature}.docker"))?;
    Some(format!("{:<8}{flags}", feature.name()))
}
