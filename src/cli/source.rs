//! What `run` and `create` make a container from: a spec, or an image; and the flags that change it.

mod volumes;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use self::volumes::allow_mount_points;
#[cfg(feature = "images")]
use super::docker::Pull;
use super::docker::{DockerArgs, Wanted};
use super::kept::create::KeptArgs;
use super::namespaces::NamespaceArgs;
use super::prepare::{self, Adjustments, Layered, Prepared, Wishes};
use super::spec::SpecText;
use super::words;
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::spec::Spec;
use crate::container::explain::Explainer;
use crate::container::store::ContainerStore;
use crate::error::{Error, ExitKind, Result};
use crate::feature::Feature;
use crate::namespaces::net::{Mode, Net};
use crate::network::ports::Port;
use crate::plan::{Plan, Problem};
use crate::render;
use crate::rootfs::Rootfs;
use crate::rootfs::dev::SHARED_MEMORY;
use crate::text::{printed, text, text_with, word};
use crate::value::join::JoinTarget;
use crate::value::shell::quote;

/// The flags that change a spec.
pub(super) struct SourceFlags<'a> {
    pub(super) namespaces: &'a NamespaceArgs,
    pub(super) docker: &'a DockerArgs,
    pub(super) tty: bool,
}

/// A spec with the flags of the command line, and what the flags ask for besides.
pub(super) struct MadeSpec {
    pub(super) spec: Spec,
    pub(super) wanted: Wanted,
    /// The names of the variables that the spec and the flags set, in their order.
    pub(super) variables: Vec<String>,
    pub(super) wishes: Wishes,
    /// The image, if it is not a spec that names it.
    pub(super) image: Option<String>,
    /// Whether the network is the default one, for which another one can stand in.
    has_default_network: bool,
    /// Whether the container has no /dev/shm.
    has_no_shm: bool,
    text: SpecText,
}

impl MadeSpec {
    /// Reads a spec, or makes one for an image. `command` takes the place of its command.
    ///
    /// # Errors
    /// The spec cannot be read, or a flag has a wrong value.
    pub(super) fn of(source: &OsStr, flags: &SourceFlags<'_>, command: Vec<OsString>) -> Result<MadeSpec> {
        let mut wanted = flags.docker.wanted()?;
        let (mut spec, text, image) = match words::is_spec(source) {
            true => {
                let (spec, text) = prepare::read(Path::new(source))?;
                (spec, text, None)
            }
            false => {
                let image = image_name(source)?;
                (spec_of(&image)?, SpecText::none(), Some(image))
            }
        };
        wanted.shares_memory = flags.namespaces.joins_ipc();
        // Those of the spec come first. A map has no order but that of the names.
        let mut variables: Vec<String> = spec.env.keys().cloned().collect();
        spec = wanted.apply(spec)?;
        variables.append(&mut wanted.names);
        flags.namespaces.apply(&mut spec);
        // A container of a spec leaves nothing on the host: its mounts are checked as those of the spec.
        if let Some(mounts) = spec.mnt.as_mut().filter(|_| image.is_some()) {
            allow_mount_points(mounts, &wanted.targets(), spec.workdir.as_deref(), Path::to_owned);
        }
        if !command.is_empty() {
            spec.command = command;
        }
        spec.tty |= flags.tty;
        let wishes = Wishes {
            user: wanted.user.clone(),
            groups: wanted.groups.clone(),
            entrypoint: wanted.entrypoint.clone(),
            unset: wanted.unset.clone(),
            follows_entrypoint: image.is_some(),
        };
        if image.is_some() {
            refuse_conflicts(&spec, &wanted)?;
        }
        let has_default_network = image.is_some() && !flags.namespaces.has_network();
        let has_no_shm = flags.namespaces.has_no_shm();
        Ok(MadeSpec { spec, wanted, variables, wishes, image, has_default_network, has_no_shm, text })
    }

    /// The spec that means the same as the command line, and the flags that have no key in it. The command of an image that is here has its
    /// entrypoint, and its user has an ID.
    pub(super) fn as_spec(&self, mut spec: Spec, kept: &KeptArgs) -> (Spec, Vec<String>) {
        let mut flags = [self.wanted.without_key.clone(), kept.without_key()].concat();
        spec.name = kept.name.clone().filter(|name| !name.is_empty()).or(spec.name);
        let program = self.wanted.entrypoint.clone();
        let is_usual = spec.command.is_empty() && program.is_none() && self.wanted.user.is_none();
        let layered = if is_usual { None } else { self.looked_up(&spec) };
        match layered {
            Some(layered) => {
                if !spec.command.is_empty() || program.is_some() {
                    spec.command.clone_from(&layered.command);
                }
                if self.wanted.user.is_some() && self.wanted.groups.is_empty() && layered.run_as.is_some() {
                    spec.run_as = layered.run_as;
                    flags.retain(|flag| !flag.starts_with("--user "));
                }
            }
            // The image is not here, or there is none.
            None => {
                if let Some(program) = program.filter(|program| !program.is_empty()) {
                    spec.command.insert(0, program);
                }
            }
        }
        (spec, flags)
    }

    /// The spec with what the image says, if it is here.
    fn looked_up(&self, spec: &Spec) -> Option<Spec> {
        self.image.as_ref()?;
        prepare::with_layers(spec.clone(), &self.wishes, Explainer::default()).ok().map(Layered::into_spec)
    }

    /// Gets the image, if it is not here.
    ///
    /// # Errors
    /// It cannot be pulled.
    #[cfg(feature = "images")]
    pub(super) fn ensure_image(&self, explain: Explainer) -> Result<()> {
        let name = match &self.spec.rootfs {
            Some(Rootfs::Image(name)) => name,
            _ => return Ok(()),
        };
        let pull = match (self.wanted.pull, &self.image) {
            (Some(pull), _) => pull,
            (None, Some(_)) => Pull::Missing,
            // A spec that names an image may be checked where nothing should be downloaded.
            (None, None) => return Ok(()),
        };
        use super::image::run::{ProgressPlace, ensure};
        let platform = self.wanted.platform.as_deref();
        ensure(name, pull, platform, ProgressPlace::Errors, explain)
    }

    #[cfg(not(feature = "images"))]
    pub(super) fn ensure_image(&self, _: Explainer) -> Result<()> {
        Ok(())
    }

    /// An image without a command, and no other one: Docker's words, because there is no spec that lacks one.
    ///
    /// # Errors
    /// There is no command.
    pub(super) fn check_command(&self, spec: &Spec) -> Result<()> {
        match &self.image {
            Some(image) if spec.command.is_empty() => {
                let run = format!("sandbox run {} sh", quote(image));
                Err(Error::new(ExitKind::Refused, text("docker.nocommand")).paste(run))
            }
            _ => Ok(()),
        }
    }

    /// Adds what depends on the image. `hostname` is that of a container of an image without another one.
    ///
    /// # Errors
    /// The image exposes something that is no port.
    pub(super) fn complete(&self, spec: &mut Spec, layered: &Layered, hostname: Option<&str>) -> Result<()> {
        if self.image.is_some()
            && let Some(uts) = spec.uts.as_mut().filter(|uts| uts.join.is_none() && uts.hostname.is_none())
        {
            let name = |target: &JoinTarget| matches!(target, JoinTarget::Container(_));
            uts.hostname = match &spec.net {
                // As for Docker: a name is known in a network. The container whose network is joined has it in its /etc/hosts.
                Some(net) if net.join.as_ref().is_some_and(name) => None,
                Some(net) if net.is_host() => Some(own_name()),
                _ => hostname.map(OsString::from),
            };
        }
        join_by_id(spec);
        if self.wanted.publishes_all {
            let net = spec.net.get_or_insert_default();
            // A port that is published already is not published twice.
            for port in self.exposed_ports(layered)? {
                if !net.publish.iter().any(|known| known.is_inside_as(&port)) {
                    net.publish.push(port);
                }
            }
        }
        if self.image.is_some()
            && let Some(net) = spec.net.as_mut().filter(|net| net.is_host() && !net.publish.is_empty())
        {
            // As Docker: the ports of the command are ports of the host already.
            net.publish.clear();
            render::err(&format!("WARNING: {}\n", text("docker.publish.host")));
        }
        Ok(())
    }

    /// The ports that the image and the command line expose.
    fn exposed_ports(&self, layered: &Layered) -> Result<Vec<Port>> {
        let of_image = layered.exposed.iter().map(|port| {
            port.parse::<Port>().map_err(|why| {
                Error::failed(text_with("docker.exposed", &[("port", &printed(port))])).why(why)
            })
        });
        let mut all = of_image.collect::<Result<Vec<Port>>>()?;
        all.extend(self.wanted.exposed.clone());
        Ok(all)
    }

    /// The same, one by one, as Docker writes them: `80/tcp`. What an image exposes that is no port is left out.
    pub(super) fn exposed(&self, layered: &Layered) -> Vec<String> {
        let of_image = layered.exposed.iter().filter_map(|port| port.parse::<Port>().ok());
        let all: BTreeSet<(u16, &str)> = of_image
            .chain(self.wanted.exposed.iter().copied())
            .flat_map(|port| {
                (port.inside.first..=port.inside.last).map(move |number| (number, port.protocol.word()))
            })
            .collect();
        all.into_iter().map(|(number, protocol)| format!("{number}/{protocol}")).collect()
    }

    /// What changes the config.
    pub(super) fn adjustments(&self, layered: &Layered) -> Adjustments {
        Adjustments {
            groups: layered.groups.clone(),
            is_privileged: self.wanted.privileged,
            is_unmasked: self.wanted.privileged || self.wanted.is_unmasked,
            // What the command line mounts there is in place of it.
            has_no_shm: self.has_no_shm
                && !self.wanted.targets().iter().any(|target| target == Path::new(SHARED_MEMORY)),
            has_no_term: false,
            hosts: self.wanted.hosts.clone(),
            nameservers: self.wanted.nameservers.clone(),
        }
    }

    /// The plan. If the default network cannot be made and no flag asks for it, the container has no connection to other machines,
    /// and a message says so.
    ///
    /// # Errors
    /// Those of `ending`.
    pub(super) fn plan(
        &self,
        mut spec: Spec,
        adjustments: &Adjustments,
        ending: impl Fn(&Completed) -> Result<Ending>,
        view: bool,
    ) -> Result<Prepared> {
        let has_no_term = self.image.is_some() && !spec.tty && !spec.env.contains_key("TERM");
        let adjustments = &Adjustments { has_no_term, ..adjustments.clone() };
        if !self.has_default_network {
            return prepare::plan_adjusted(spec, adjustments, ending, view);
        }
        let mode = spec.net.as_ref().map(|net| net.mode);
        let prepared = prepare::plan_adjusted(spec.clone(), adjustments, &ending, view)?;
        // A port that cannot be published stays a problem in any mode.
        let of_net = |problem: &&Problem| {
            problem.purpose.feature() == Some(Feature::Net) && problem.key.as_deref() != Some("net.publish")
        };
        match (mode, prepared.plan.problems.iter().find(of_net)) {
            (Some(mode @ (Mode::Bridge | Mode::User)), Some(problem)) => {
                let message = match mode {
                    Mode::Bridge => text_with("docker.nobridge", &[("why", &problem.error.what)]),
                    _ => text_with("docker.nonetwork", &[("why", &problem.error.why.join(" "))]),
                };
                spec.net = spec.net.map(|net| Net { mode: Mode::None, ..net });
                let mut without = prepare::plan_adjusted(spec, adjustments, ending, view)?;
                // Of a container that is not made, nothing is said about its network.
                if without.plan.problems.is_empty() {
                    without.notes.push((Feature::Net, message));
                }
                Ok(without)
            }
            _ => Ok(prepared),
        }
    }

    /// Adds the place in the file to each problem.
    pub(super) fn locate(&self, plan: &mut Plan) {
        self.text.locate(&mut plan.problems);
    }
}

/// Flags that contradict each other, in Docker's words: a container that joins the network of another one has its name, its files
/// and its ports.
fn refuse_conflicts(spec: &Spec, wanted: &Wanted) -> Result<()> {
    let net = spec.net.as_ref().and_then(|net| net.join.as_ref());
    let joins_network = matches!(net, Some(JoinTarget::Container(_)));
    let uts = spec.uts.as_ref().and_then(|uts| uts.join.as_ref());
    let conflicts = [
        (joins_network && wanted.has("hostname"), "docker.conflict.hostname"),
        (uts == Some(&JoinTarget::Host) && wanted.has("hostname"), "docker.conflict.uts"),
        (joins_network && !wanted.nameservers.is_empty(), "docker.conflict.dns"),
        (joins_network && !wanted.hosts.is_empty(), "docker.conflict.hosts"),
        (joins_network && (wanted.has("publish") || wanted.publishes_all), "docker.conflict.publish"),
        (joins_network && !wanted.exposed.is_empty(), "docker.conflict.expose"),
    ];
    match conflicts.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, key)) => Err(Error::new(ExitKind::Refused, text(key))),
        None => Ok(()),
    }
}

/// The name of this machine.
fn own_name() -> OsString {
    let names = nix::sys::utsname::uname();
    names.map(|names| names.nodename().to_owned()).unwrap_or_default()
}

/// The name of an image, as a spec could have it.
fn image_name(source: &OsStr) -> Result<String> {
    let wrong = || Error::usage(text_with("docker.image", &[("name", &word(&printed(source)))]));
    let name = source.to_str().ok_or_else(wrong)?;
    match name.parse::<Rootfs>() {
        Ok(Rootfs::Image(name)) => Ok(name),
        Ok(Rootfs::Host) => Ok("host".to_owned()),
        _ => Err(wrong()),
    }
}

#[cfg(feature = "images")]
fn spec_of(image: &str) -> Result<Spec> {
    Ok(super::image::run::spec_of(image))
}

#[cfg(not(feature = "images"))]
fn spec_of(image: &str) -> Result<Spec> {
    Err(Error::failed(text_with("image.without", &[("name", &printed(image))])))
}

/// Names the containers that stay by their IDs where their namespaces are joined: they may get other names.
fn join_by_id(spec: &mut Spec) {
    let named = spec.joins().into_iter().filter_map(|(feature, target)| match target {
        JoinTarget::Container(name) if target.is_container() => Some((feature, name.clone())),
        _ => None,
    });
    for (feature, name) in named.collect::<Vec<_>>() {
        if let Ok(container) = ContainerStore::open().and_then(|store| store.find(&name)) {
            spec.set_join(feature, Some(JoinTarget::Container(container.record.id.to_string())));
        }
    }
}
