//! What a container joins in place of a new namespace: the value of the key `join` of a namespace.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{bytes, parse};
use crate::text::{printed, text};

/// `host`, `container:NAME` or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinTarget {
    /// `host`: the caller's own namespace stays, and no new one is made.
    Host,
    /// `container:NAME`: the namespace of one of the caller's running containers. A number is a PID.
    Container(String),
    /// `/proc/123/ns/net`, `/run/netns/blue`: a file that refers to a namespace.
    Path(PathBuf),
}

impl JoinTarget {
    /// Reads the value of a flag. A path can be any bytes.
    ///
    /// # Errors
    /// It has none of the three forms: a sentence.
    pub fn read(target: &OsStr) -> Result<JoinTarget, String> {
        if target.as_bytes().starts_with(b"/") {
            return Ok(JoinTarget::Path(target.into()));
        }
        match target.to_str() {
            Some("host") => Ok(JoinTarget::Host),
            Some(other) => match other.strip_prefix("container:") {
                Some(name) if !name.is_empty() => Ok(JoinTarget::Container(name.to_owned())),
                _ => Err(text("join.form")),
            },
            None => Err(text("join.form")),
        }
    }

    /// Whether it is a container by its name or its ID. A process with this PID is always the same one.
    pub fn is_container(&self) -> bool {
        matches!(self, JoinTarget::Container(name) if name.parse::<u32>().is_err())
    }

    /// As a spec has it.
    pub fn written(&self) -> OsString {
        match self {
            JoinTarget::Host => "host".into(),
            JoinTarget::Container(name) => format!("container:{name}").into(),
            JoinTarget::Path(path) => path.into(),
        }
    }
}

impl FromStr for JoinTarget {
    type Err = String;

    fn from_str(target: &str) -> Result<JoinTarget, String> {
        JoinTarget::read(target.as_ref())
    }
}

/// For messages: the ID of a container is shortened.
impl fmt::Display for JoinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinTarget::Container(name) => write!(f, "container:{}", printed(short(name))),
            _ => f.write_str(&printed(self.written())),
        }
    }
}

/// The first 12 digits of the ID of a container, which name it too. A name stays as it is.
pub fn short(container: &str) -> &str {
    let is_id = container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &container[..12] } else { container }
}

impl Serialize for JoinTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(self.written(), serializer)
    }
}

impl<'de> Deserialize<'de> for JoinTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse::parsed_bytes(deserializer, JoinTarget::read)
    }
}

impl JsonSchema for JoinTarget {
    fn schema_name() -> Cow<'static, str> {
        "Join".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = generator.subschema_for::<bytes::Bytes>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": "^(host$|container:.|/)" }, bytes] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_host_a_container_or_a_path() {
        let read = |target: &str| target.parse::<JoinTarget>();
        assert_eq!(read("host"), Ok(JoinTarget::Host));
        assert_eq!(read("container:web"), Ok(JoinTarget::Container("web".into())));
        assert_eq!(read("/proc/1/ns/net"), Ok(JoinTarget::Path("/proc/1/ns/net".into())));
        for wrong in ["", "web", "Host", "container:", "container", "./ns/net", "~/ns", " host", "new"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let bytes = OsStr::from_bytes(b"/run/\xff");
        assert_eq!(JoinTarget::read(bytes).map(|target| target.written()), Ok(bytes.to_owned()));
        for target in [&b"host"[..], b"container:web", b"/a b", b"/run/\xff"] {
            let target = JoinTarget::read(OsStr::from_bytes(target)).unwrap();
            let yaml = serde_yaml::to_string(&target).unwrap();
            assert_eq!(serde_yaml::from_str::<JoinTarget>(&yaml).unwrap(), target);
            let json = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<JoinTarget>(&json).unwrap(), target);
        }
        for wrong in ["{\"bytes\":\"/w==\"}", "{\"bytes\":\"?\"}", "{\"bytes\":1}", "{\"x\":\"\"}"] {
            assert!(serde_json::from_str::<JoinTarget>(wrong).is_err(), "{wrong}");
        }
    }
}
