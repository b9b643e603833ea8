//! The flags of `run` that choose namespaces: a new one, the caller's, that of a container, or that of a path.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::config::spec::Spec;
use crate::feature::Feature;
use crate::namespaces::net::Mode;
use crate::namespaces::user::Map;
use crate::rootfs::Rootfs;
use crate::text::text;
use crate::value::join::JoinTarget;

/// These flags. They have the names that docker gives them.
#[derive(Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "Namespaces")]
pub(super) struct NamespaceArgs {
    /// Network: none, bridge, user, host (yours), container:NAME, or a PATH such as /proc/123/ns/net
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = OsStringValueParser::new().try_map(read_network))]
    network: Option<NetworkFlag>,
    /// PID namespace: private (a new one), host (yours), container:NAME, or a PATH such as /proc/123/ns/pid
    #[arg(long, value_name = "NAMESPACE", value_parser = OsStringValueParser::new().try_map(read))]
    pid: Option<NamespaceFlag>,
    /// IPC namespace, in the same form; shareable means private, and none a private one without /dev/shm
    #[arg(long, value_name = "NAMESPACE", value_parser = OsStringValueParser::new().try_map(read_ipc))]
    ipc: Option<NamespaceFlag>,
    /// UTS namespace (hostname), in the same form
    #[arg(long, value_name = "NAMESPACE", value_parser = OsStringValueParser::new().try_map(read))]
    uts: Option<NamespaceFlag>,
    /// User namespace, in the same form
    #[arg(long, value_name = "NAMESPACE", value_parser = OsStringValueParser::new().try_map(read))]
    userns: Option<NamespaceFlag>,
    /// Cgroup namespace, in the same form
    #[arg(long, value_name = "NAMESPACE", value_parser = OsStringValueParser::new().try_map(read))]
    cgroupns: Option<NamespaceFlag>,
}

/// The value of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NamespaceFlag {
    /// An empty value: what a container has without the flag.
    Default,
    /// `private`: a new one.
    New,
    /// `none`: a new IPC namespace, and no filesystem for shared memory.
    Bare,
    /// One that exists already.
    Join(JoinTarget),
}

/// The value of `--network`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NetworkFlag {
    /// `default`: what a container has without the flag.
    Default,
    /// A mode, as `mode` of the spec has it.
    Mode(Mode),
    /// A network that exists already.
    Join(JoinTarget),
}

fn read(value: OsString) -> Result<NamespaceFlag, String> {
    match value.to_str() {
        Some("") => Ok(NamespaceFlag::Default),
        Some("private") => Ok(NamespaceFlag::New),
        _ => JoinTarget::read(&value).map(NamespaceFlag::Join).map_err(|_| text("join.flag.form")),
    }
}

/// A container can join the IPC namespace of any other one here, so each is what Docker calls shareable.
fn read_ipc(value: OsString) -> Result<NamespaceFlag, String> {
    match value.to_str() {
        Some("shareable") => Ok(NamespaceFlag::New),
        Some("none") => Ok(NamespaceFlag::Bare),
        _ => read(value),
    }
}

fn read_network(value: OsString) -> Result<NetworkFlag, String> {
    match value.to_str() {
        Some("" | "default") => Ok(NetworkFlag::Default),
        Some("none") => Ok(NetworkFlag::Mode(Mode::None)),
        Some("bridge") => Ok(NetworkFlag::Mode(Mode::Bridge)),
        Some("user") => Ok(NetworkFlag::Mode(Mode::User)),
        Some("host") => Ok(NetworkFlag::Mode(Mode::Host)),
        _ => JoinTarget::read(&value).map(NetworkFlag::Join).map_err(|_| text("join.network.form")),
    }
}

impl NamespaceArgs {
    /// Whether a network was chosen.
    pub(super) fn has_network(&self) -> bool {
        self.network.as_ref().is_some_and(|network| *network != NetworkFlag::Default)
    }

    /// Whether the container has no /dev/shm.
    pub(super) fn has_no_shm(&self) -> bool {
        self.ipc == Some(NamespaceFlag::Bare)
    }

    /// Whether the container has the IPC namespace of others, and so their shared memory.
    pub(super) fn joins_ipc(&self) -> bool {
        matches!(self.ipc, Some(NamespaceFlag::Join(_)))
    }

    /// Puts the flags into the spec, in place of its own keys.
    pub(super) fn apply(&self, spec: &mut Spec) {
        let flags = [
            (Feature::Pid, &self.pid),
            (Feature::Ipc, &self.ipc),
            (Feature::Uts, &self.uts),
            (Feature::User, &self.userns),
            (Feature::Cgroup, &self.cgroupns),
        ];
        for (feature, flag) in flags {
            match flag {
                Some(NamespaceFlag::New | NamespaceFlag::Bare) => spec.set_join(feature, None),
                Some(NamespaceFlag::Join(target)) => {
                    spec.set_join(feature, Some(target.clone()));
                    // A namespace that exists has its maps. These were not asked for: they are those of each image.
                    if let (Feature::User, Some(Rootfs::Image(_)), Some(user)) =
                        (feature, &spec.rootfs, &mut spec.user)
                        && user.map == [Map::Auto]
                    {
                        user.map.clear();
                    }
                }
                Some(NamespaceFlag::Default) | None => {}
            }
        }
        let chosen = match &self.network {
            None | Some(NetworkFlag::Default) => return,
            Some(NetworkFlag::Mode(mode)) => (*mode, None),
            Some(NetworkFlag::Join(target)) => (Mode::None, Some(target.clone())),
        };
        let net = spec.net.get_or_insert_default();
        (net.mode, net.join) = chosen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_the_key_of_the_spec() {
        let read_as = |value: &str| read(value.into());
        assert_eq!(read_as("private"), Ok(NamespaceFlag::New));
        assert_eq!(read_as("host"), Ok(NamespaceFlag::Join(JoinTarget::Host)));
        assert!(read_as("shareable").is_err() && read_network("private".into()).is_err());
        assert_eq!(read_ipc("shareable".into()), Ok(NamespaceFlag::New));
        assert_eq!(read_ipc("none".into()), Ok(NamespaceFlag::Bare));
        assert!(read_as("none").is_err());
        let mut spec = Spec::default();
        let flags = NamespaceArgs {
            network: Some(read_network("host".into()).unwrap()),
            pid: Some(read_as("container:web").unwrap()),
            ipc: Some(NamespaceFlag::New),
            uts: None,
            userns: None,
            cgroupns: None,
        };
        flags.apply(&mut spec);
        // The ID maps that each image has are none of a namespace that is joined.
        let mut image = crate::config::of_image::spec_of_image(Rootfs::Image("a".into()));
        image.user = crate::config::of_image::user_of_image();
        let joins =
            NamespaceArgs { userns: Some(read_as("container:web").unwrap()), ..NamespaceArgs::default() };
        joins.apply(&mut image);
        assert!(image.user.is_some_and(|user| user.map.is_empty() && user.join.is_some()));
        let written = "net: { mode: host }\npid: { join: 'container:web' }\nipc:\n";
        assert_eq!(spec, crate::config::spec::yaml::read(written, "spec").unwrap());
    }
}
