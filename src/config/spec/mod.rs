//! The spec: a description of a container, as types. The flags of a subcommand and the keys of a YAML file are the same
//! structs.

mod contradictions;
mod escapes;
mod fault;
mod fields;
mod flaw;
mod instead;
#[cfg(test)]
pub(crate) mod judge;
mod misplaced;
pub mod profile;
mod reader;
pub mod schema;
pub mod shipped;
mod tree;
mod unclosed;
pub mod yaml;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Not;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::{Feature, features};
use crate::namespaces::sysctls::Sysctls;
use crate::plan::Draft;
use crate::rootfs::Rootfs;
use crate::security::run_as::RunAs;
use crate::value::join::JoinTarget;
use crate::value::units::Length;
use crate::value::{bytes, parse};

macro_rules! spec {
    ($($kind:ident { $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)* })*) => {
        /// A description of a container. A feature is on if its key is present, even without a value. Otherwise it is
        /// off.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Spec {
            /// Name of the container; several running containers may have the same name, and `enter` takes a number for a PID
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::label")]
            #[schemars(regex(pattern = "^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$"), example = &"box")]
            pub name: Option<String>,
            /// The command to run inside, and its arguments
            #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "bytes::list::serialize", deserialize_with = "fields::arguments")]
            #[schemars(with = "Vec<parse::Scalar>", example = ["sh"])]
            pub command: Vec<OsString>,
            /// Root filesystem: `host` (the host's files under a temporary overlay), a directory, or
            /// `{ layers: [./top, ./base], upper: ./changes }` (several directories as one; without `upper`, changes are temporary,
            /// and those of a container that stays are in HOME until `rm`)
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(example = &"host")]
            pub rootfs: Option<Rootfs>,
            /// Whether a directory as rootfs stays unchanged: writes go to a temporary overlay
            #[serde(skip_serializing_if = "Not::not")]
            pub overlay: bool,
            /// Working directory of the command
            #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bytes::option::serialize", deserialize_with = "fields::absolute")]
            #[schemars(regex(pattern = "^/"), example = &"/")]
            pub workdir: Option<PathBuf>,
            /// Environment variables, in addition to PATH, HOME, TERM and HOSTNAME
            #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "bytes::map::serialize", deserialize_with = "fields::variables")]
            #[schemars(with = "BTreeMap<String, parse::Scalar>", example = BTreeMap::from([("GREETING", "hello")]))]
            pub env: BTreeMap<String, OsString>,
            /// Kernel parameters of its own namespaces: `net.*`, `kernel.msg*`, `kernel.sem`, `kernel.shm*`, `fs.mqueue.*`: sysctl(8)
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
            pub sysctls: Option<Sysctls>,
            /// Whether the command gets a new terminal
            #[serde(skip_serializing_if = "Not::not")]
            pub tty: bool,
            /// Whether a small init is process 1; it reaps orphans and forwards signals (same as pid.init)
            #[serde(skip_serializing_if = "Not::not")]
            pub init: bool,
            /// Maximum running time of the command; then it is ended
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(example = &"1h")]
            pub timeout: Option<Length>,
            /// Whether the container stays when its command ends, until `rm` removes it (same as `run --keep`)
            #[serde(skip_serializing_if = "Not::not")]
            pub keep: bool,
            /// Features that may be missing: if this machine lacks one, the container starts without it and a note is printed
            #[serde(skip_serializing_if = "Vec::is_empty")]
            #[schemars(example = [Feature::Memory])]
            pub optional: Vec<Feature>,
            $($(
                #[doc = concat!($about, " [", $page, "]")]
                #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
                pub $name: Option<crate::$directory::$name::$feature>,
            )*)*
            /// Whether execve gives no new privileges, for example by set-user-ID programs: prctl(2)
            #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "yaml::flag")]
            pub no_new_privileges: bool,
            /// Numeric user ID and group ID of the command: UID or UID:GID
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<parse::Scalar>", example = &"1000:1000")]
            pub run_as: Option<RunAs>,
        }

        impl Spec {
            /// Turns a feature on, with its default options.
            pub fn add(&mut self, feature: Feature) {
                match feature {
                    $($(Feature::$feature => self.$name = Some(Default::default()),)*)*
                }
            }

            /// Removes a key, so that its default is used. Returns whether there is such a key.
            pub fn remove(&mut self, key: &str) -> bool {
                let default = Spec::default();
                match key {
                    "name" => self.name = default.name,
                    "command" => self.command = default.command,
                    "rootfs" => self.rootfs = default.rootfs,
                    "overlay" => self.overlay = default.overlay,
                    "workdir" => self.workdir = default.workdir,
                    "env" => self.env = default.env,
                    "sysctls" => self.sysctls = default.sysctls,
                    "tty" => self.tty = default.tty,
                    "init" => self.init = default.init,
                    "timeout" => self.timeout = default.timeout,
                    "keep" => self.keep = default.keep,
                    "optional" => self.optional = default.optional,
                    $($(stringify!($name) => self.$name = default.$name,)*)*
                    "no_new_privileges" => self.no_new_privileges = default.no_new_privileges,
                    "run_as" => self.run_as = default.run_as,
                    _ => return false,
                }
                true
            }

            /// Whether a feature is on.
            pub fn has(&self, feature: Feature) -> bool {
                match feature {
                    $($(Feature::$feature => self.$name.is_some(),)*)*
                }
            }
        }
    };
}
features!(spec);

macro_rules! joins {
    (
        namespaces { $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)* }
        controllers { $($controllers:tt)* }
        hardening { $($hardening:tt)* }
    ) => {
        impl Spec {
            /// What the namespaces join, in place of new ones.
            pub fn joins(&self) -> Vec<(Feature, &JoinTarget)> {
                let mut all = Vec::new();
                $(all.extend(
                    self.$name.iter().filter_map(|options| Some((Feature::$feature, options.join.as_ref()?))),
                );)*
                all
            }

            /// Refuses options that a namespace cannot have that is not the container's alone.
            pub fn check_joins(&self, draft: &mut Draft) {
                $(self.$name.iter().for_each(|options| options.check_join(draft));)*
            }

            /// Joins a namespace, or makes a new one (None). Any other kind of feature is left as it is.
            pub fn set_join(&mut self, feature: Feature, target: Option<JoinTarget>) {
                match feature {
                    $(Feature::$feature => self.$name.get_or_insert_default().join = target,)*
                    _ => {}
                }
            }
        }
    };
}
features!(joins);

impl Spec {
    /// The spec with only this feature, with its default options.
    pub fn of(feature: Feature) -> Spec {
        let mut spec = Spec::default();
        spec.add(feature);
        spec
    }

    /// The features that are on.
    pub fn features(&self) -> Vec<Feature> {
        Feature::ALL.iter().copied().filter(|feature| self.has(*feature)).collect()
    }
}
