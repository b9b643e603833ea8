//! Which files a container sees: the value of the key `rootfs`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{EnumAccessDeserializer, MapAccessDeserializer};
use serde::de::{EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{text, text_with};
use crate::value::{bytes, parse};

/// The maximum number of lower directories. Docker allows as many layers in an image.
const MAX_LAYERS: usize = 127;

/// Which files the container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// `host`: the files of this machine, under a temporary overlay.
    Host,
    /// `./dir`: the files of a directory.
    Dir(PathBuf),
    /// `{ layers: [./top, ./base] }`: the files of several directories, under an overlay.
    Layers(Layers),
    /// Any other word, as `ubuntu:15.10`: the files of an image. Before a plan is made, it becomes its layers.
    Image(String),
}

/// Directories that an overlay shows as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// The lower directories, the topmost first: a file in one of them hides a file of the same name in those after it. None
    /// of them is changed
    #[serde(serialize_with = "written_paths", deserialize_with = "read_paths")]
    #[schemars(with = "Vec<parse::Scalar>", length(min = 1, max = 127))]
    pub layers: Vec<PathBuf>,
    /// The upper directory, which keeps what is written, for the next run. Without it, writes go to a temporary upper
    /// layer. overlayfs needs a second directory beside it, for `upper` the directory `upper.work`: it is made
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "written_path",
        deserialize_with = "read_path"
    )]
    #[schemars(with = "Option<parse::Scalar>")]
    pub upper: Option<PathBuf>,
}

impl Rootfs {
    /// The same with absolute paths. `base` is the directory of the file that it was read from.
    pub fn resolve(self, base: &Path) -> Rootfs {
        match self {
            Rootfs::Dir(path) => Rootfs::Dir(base.join(path)),
            Rootfs::Host | Rootfs::Image(_) => self,
            Rootfs::Layers(Layers { layers, upper }) => Rootfs::Layers(Layers {
                layers: layers.into_iter().map(|layer| base.join(layer)).collect(),
                upper: upper.map(|upper| base.join(upper)),
            }),
        }
    }
}

/// Reads the path of a directory. It begins with `.` or `/`: any other string could be the name of an image.
fn directory(path: &str) -> Result<PathBuf, String> {
    match path {
        path if path.starts_with(['.', '/']) => Ok(path.into()),
        path if path.starts_with('~') => Err(text("spec.tilde")),
        _ => Err(text("rootfs.directory.form")),
    }
}

impl FromStr for Rootfs {
    type Err = String;

    fn from_str(rootfs: &str) -> Result<Self, String> {
        match rootfs {
            "host" => Ok(Rootfs::Host),
            path if path.starts_with(['.', '/', '~']) => directory(path).map(Rootfs::Dir),
            // Whether it can be the name of an image is decided where images are known.
            word if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Rootfs::Image(word.to_owned()))
            }
            _ => Err(text("rootfs.form")),
        }
    }
}

/// The path of a directory in a spec.
struct DirectoryPath(PathBuf);

impl<'de> Deserialize<'de> for DirectoryPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |path: &OsStr| match path.to_str() {
            Some(path) => directory(path).map(DirectoryPath),
            None => Ok(DirectoryPath(path.into())),
        };
        parse::parsed_bytes(deserializer, read)
    }
}

fn read_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let all = Vec::<DirectoryPath>::deserialize(deserializer)?;
    if all.len() > MAX_LAYERS {
        return Err(D::Error::custom(text_with("rootfs.layers.many", &[("most", &MAX_LAYERS.to_string())])));
    }
    Ok(all.into_iter().map(|DirectoryPath(path)| path).collect())
}

fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<DirectoryPath>::deserialize(deserializer)?.map(|DirectoryPath(path)| path))
}

/// A path as a spec has it. A relative path that does not begin with a dot gets one, so that it is read as a path again.
fn written(path: &Path) -> Cow<'_, Path> {
    match path {
        path if path.starts_with(".") || path.starts_with("..") || path.is_absolute() => path.into(),
        path => Path::new(".").join(path).into(),
    }
}

fn written_path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => bytes::serialize(written(path).as_os_str(), serializer),
        None => serializer.serialize_none(),
    }
}

fn written_paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    let paths: Vec<OsString> = paths.iter().map(|path| written(path).as_os_str().to_owned()).collect();
    bytes::list::serialize(&paths, serializer)
}

impl Serialize for Rootfs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rootfs::Host => serializer.serialize_str("host"),
            Rootfs::Dir(path) => bytes::serialize(written(path).as_os_str(), serializer),
            Rootfs::Layers(layers) => layers.serialize(serializer),
            Rootfs::Image(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Rootfs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RootfsForm;

        impl<'de> Visitor<'de> for RootfsForm {
            type Value = Rootfs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text("rootfs.wanted"))
            }

            fn visit_str<E: Error>(self, rootfs: &str) -> Result<Rootfs, E> {
                rootfs.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Rootfs, A::Error> {
                Layers::deserialize(MapAccessDeserializer::new(entries)).map(Rootfs::Layers)
            }

            // The tag of YAML, for a path that is not UTF-8.
            fn visit_enum<A: EnumAccess<'de>>(self, path: A) -> Result<Rootfs, A::Error> {
                let DirectoryPath(path) = DirectoryPath::deserialize(EnumAccessDeserializer::new(path))?;
                Ok(Rootfs::Dir(path))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Rootfs, A::Error> {
                Err(A::Error::custom(text("rootfs.list")))
            }
        }

        deserializer.deserialize_any(RootfsForm)
    }
}

impl JsonSchema for Rootfs {
    fn schema_name() -> Cow<'static, str> {
        "Rootfs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let layers = generator.subschema_for::<Layers>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": "^[!-}][!-~]*$" }, layers] })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_rootfs_is_host_or_a_path() {
        assert_eq!("host".parse(), Ok(Rootfs::Host));
        assert_eq!("./host".parse(), Ok(Rootfs::Dir("./host".into())));
        assert_eq!("alpine:3".parse(), Ok(Rootfs::Image("alpine:3".into())));
        assert_eq!(serde_yaml::to_string(&Rootfs::Image("alpine:3".into())).unwrap(), "alpine:3\n");
        for wrong in ["", "~/a", "a b", "ä"] {
            assert!(wrong.parse::<Rootfs>().is_err(), "{wrong}");
        }
        let resolved = Rootfs::Dir("./dir".into()).resolve(Path::new("/specs"));
        assert_eq!(resolved, Rootfs::Dir("/specs/dir".into()));
        assert_eq!(serde_yaml::to_string(&Rootfs::Dir("dir".into())).unwrap(), "./dir\n");
    }

    #[test]
    fn layers_are_read_and_written() {
        let layers = |layers: &[&str], upper: Option<&str>| {
            Rootfs::Layers(Layers {
                layers: layers.iter().map(PathBuf::from).collect(),
                upper: upper.map(PathBuf::from),
            })
        };
        let read = |yaml: &str| serde_yaml::from_str::<Rootfs>(yaml).map_err(|error| error.to_string());
        let two = layers(&["./a", "/b"], Some("../u"));
        assert_eq!(read("{ layers: [./a, /b], upper: ../u }"), Ok(two.clone()));
        assert_eq!(read("layers: [./a]"), Ok(layers(&["./a"], None)));
        assert_eq!(read(&serde_yaml::to_string(&two).unwrap()), Ok(two.clone()));
        assert_eq!(
            two.resolve(Path::new("/specs/x")),
            layers(&["/specs/x/./a", "/b"], Some("/specs/x/../u"))
        );
        let strange = |name: &[u8]| PathBuf::from(OsStr::from_bytes(name));
        let paths = vec![strange(b"/l/\xff"), strange(b"\xff"), "/b".into()];
        let strange_layers = Rootfs::Layers(Layers { layers: paths, upper: Some(strange(b"/u\xff")) });
        let json = serde_json::to_string(&strange_layers).unwrap();
        let again: Rootfs = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
        for one in [strange_layers, Rootfs::Dir(strange(b"/\xff"))] {
            let yaml = serde_yaml::to_string(&one).unwrap();
            assert_eq!(serde_yaml::to_string(&read(&yaml).unwrap()).unwrap(), yaml);
        }
        let many = vec!["./x"; MAX_LAYERS + 1].join(", ");
        for (wrong, words) in [
            ("{ upper: ./u }", "missing field `layers`"),
            ("{ layers: [a] }", "./"),
            ("{ layers: [./a], upper: ~/u }", "~"),
            ("{ layers: [./a], work: ./w }", "unknown field `work`"),
            ("[./a, ./b]", "layers:"),
            (&format!("{{ layers: [{many}] }}"), "127"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }
}
