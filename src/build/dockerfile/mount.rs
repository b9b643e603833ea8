//! `RUN --mount=type=TYPE,KEY=VALUE,...`.

use std::ffi::OsString;

use crate::text::{printed, text, text_with};
use crate::value::csv;
use crate::value::nearest::nearest;
use crate::value::units::Size;

/// What `RUN --mount` mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// What kind of mount it is, and what only this kind has.
    pub kind: RunMountKind,
    /// `target`: where it is mounted. A secret without one is at `/run/secrets/ID`.
    pub target: Option<String>,
    /// Whether it is mounted read-only. Without `ro` and `rw`, `bind` and `secret` are.
    pub read_only: bool,
}

/// The kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// `bind`: files of the context, of a stage or of an image.
    Bind {
        /// `from`: a stage or an image. Without it, it is the context.
        from: Option<String>,
        /// `source`: the path there.
        source: String,
    },
    /// `cache`: a directory that stays from build to build.
    Cache {
        /// `id`: its name. Without one, it is the target.
        id: Option<String>,
        /// `sharing`.
        sharing: CacheSharing,
        /// `from`: a stage or an image with the first content.
        from: Option<String>,
        /// `source`: the path there.
        source: String,
        /// `mode`, `uid` and `gid` of the directory.
        owner: MountOwner,
    },
    /// `tmpfs`: an empty directory in memory.
    Tmpfs {
        /// `size`: the maximum size, in bytes.
        size: Option<u64>,
    },
    /// `secret`: a file of `build --secret` that is in no layer.
    Secret {
        /// `id`: its name in `build --secret`.
        id: String,
        /// `required`: the step fails if there is no such secret.
        required: bool,
        /// `env`: it is an environment variable of this name too, or instead.
        env: Option<String>,
        /// `mode`, `uid` and `gid` of the file.
        owner: MountOwner,
    },
}

/// Who may use a `cache` at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSharing {
    /// `shared`: several builds.
    #[default]
    Shared,
    /// `private`: each build gets one of its own.
    Private,
    /// `locked`: a second build waits.
    Locked,
}

/// The mode and the owner of what is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOwner {
    /// `mode`, an octal number.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
}

/// The keys that a mount can have.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// The keys that only some kinds have, with these kinds.
const ONLY: [(&str, &[&str]); 8] = [
    ("from", &["bind", "cache"]),
    ("sharing", &["cache"]),
    ("required", &["secret"]),
    ("size", &["tmpfs"]),
    ("mode", &["cache", "secret"]),
    ("uid", &["cache", "secret"]),
    ("gid", &["cache", "secret"]),
    ("env", &["secret"]),
];

impl RunMount {
    /// Reads the value of `--mount`. `expand` replaces the variables of a value.
    ///
    /// # Errors
    /// A key or a value is wrong, or a variable cannot be replaced: why.
    pub fn read(
        written: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<RunMount, String> {
        let mut pairs = Vec::new();
        for (key, value) in fields(written)? {
            pairs.push((key, value.map(|value| expand(&value)).transpose()?));
        }
        MountFields { pairs }.mount()
    }

    /// The value of `from`. It has no variables, so it is known before the others have values.
    pub fn stage_of(written: &str) -> Option<String> {
        let (_, value) = fields(written).ok()?.into_iter().rfind(|(key, _)| *key == "from")?;
        value.filter(|value| !value.is_empty())
    }

    /// Checks what can be checked before the variables have values: the keys, and that `from` has no variable.
    pub(super) fn check(written: &str) -> Result<(), String> {
        let is_from = |(key, value): &(&str, Option<String>)| {
            *key == "from" && value.as_ref().is_some_and(|value| value.contains('$'))
        };
        let has_variable = fields(written)?.iter().any(is_from);
        if has_variable { Err(text("dockerfile.mount.from")) } else { Ok(()) }
    }
}

/// The parts of `KEY=VALUE,KEY,...`, as in Docker's flags.
fn fields(written: &str) -> Result<Vec<(&'static str, Option<String>)>, String> {
    let parts = csv::fields(written.as_ref()).ok_or_else(|| text("dockerfile.mount.quote"))?;
    let field = |part: OsString| {
        let part = part.to_string_lossy();
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (&*part, None),
        };
        let lower = key.to_ascii_lowercase();
        let known = KEYS.into_iter().find(|known| *known == lower);
        known.map(|key| (key, value)).ok_or_else(|| {
            let what =
                text_with("dockerfile.mount.key", &[("key", &printed(key)), ("known", &KEYS.join(", "))]);
            match nearest(key, KEYS) {
                Some(near) => format!("{what} ({})", text_with("spec.near", &[("word", near)])),
                None => what,
            }
        })
    };
    parts.into_iter().map(field).collect()
}

struct MountFields {
    pairs: Vec<(&'static str, Option<String>)>,
}

impl MountFields {
    /// The value of the last of these keys.
    fn text(&self, keys: &[&str]) -> Result<Option<String>, String> {
        let Some((key, value)) = self.pairs.iter().rev().find(|(key, _)| keys.contains(key)) else {
            return Ok(None);
        };
        match value {
            Some(value) => Ok(Some(value.clone())),
            None => Err(text_with("dockerfile.mount.value", &[("key", key)])),
        }
    }

    /// As [`text`](Self::text). An empty value counts as no value.
    fn filled(&self, keys: &[&str]) -> Result<Option<String>, String> {
        Ok(self.text(keys)?.filter(|value| !value.is_empty()))
    }

    /// The value of the last of these keys: `key` alone is true.
    fn switch(&self, keys: &[&str]) -> Result<Option<bool>, String> {
        let Some((key, value)) = self.pairs.iter().rev().find(|(key, _)| keys.contains(key)) else {
            return Ok(None);
        };
        match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(text_with("dockerfile.mount.switch", &[("key", key)])),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u32>, String> {
        let wrong = |_| text_with("dockerfile.mount.number", &[("key", key)]);
        self.text(&[key])?.map(|value| value.parse().map_err(wrong)).transpose()
    }

    fn mode(&self) -> Result<Option<u32>, String> {
        let read = |mode: String| u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode <= 0o7777);
        let mode = self.text(&["mode"])?.map(|mode| read(mode).ok_or_else(|| text("dockerfile.mount.mode")));
        mode.transpose()
    }

    fn mount(&self) -> Result<RunMount, String> {
        let kind = self.text(&["type"])?.map_or("bind".to_owned(), |kind| kind.to_ascii_lowercase());
        match kind.as_str() {
            "bind" | "cache" | "tmpfs" | "secret" => {}
            "ssh" => return Err(text("dockerfile.mount.ssh")),
            other => return Err(text_with("dockerfile.mount.type", &[("type", &printed(other))])),
        }
        for (key, kinds) in ONLY {
            if self.pairs.iter().any(|(own, _)| *own == key) && !kinds.contains(&&*kind) {
                let values = [("key", key), ("kinds", &*kinds.join(", "))];
                return Err(text_with("dockerfile.mount.only", &values));
            }
        }
        let target = self.filled(&["target", "dst", "destination"])?;
        let writable = self.switch(&["readwrite", "rw"])?;
        let read_only = self.switch(&["readonly", "ro"])?.or(writable.map(|writable| !writable));
        let (kind, is_read_only) = match kind.as_str() {
            "bind" => {
                let from = self.filled(&["from"])?;
                (RunMountKind::Bind { from, source: self.source()? }, true)
            }
            "cache" => (self.cache()?, false),
            "tmpfs" => {
                let size = self.text(&["size"])?.map(|size| size.parse::<Size>()).transpose()?;
                (RunMountKind::Tmpfs { size: size.map(|size| size.0) }, false)
            }
            _ => (self.secret(target.as_deref())?, true),
        };
        if target.is_none() && !matches!(kind, RunMountKind::Secret { .. }) {
            return Err(text("dockerfile.mount.target"));
        }
        // A relative one begins in the working directory.
        let is_root = |target: &String| {
            target.starts_with('/') && target.split('/').all(|part| part.is_empty() || part == ".")
        };
        if target.as_ref().is_some_and(is_root) {
            return Err(text("dockerfile.mount.root"));
        }
        Ok(RunMount { kind, target, read_only: read_only.unwrap_or(is_read_only) })
    }

    /// `source`. Without one, it is the root of what is mounted.
    fn source(&self) -> Result<String, String> {
        Ok(self.filled(&["source", "src"])?.unwrap_or_else(|| "/".to_owned()))
    }

    fn owner(&self) -> Result<MountOwner, String> {
        Ok(MountOwner { mode: self.mode()?, uid: self.number("uid")?, gid: self.number("gid")? })
    }

    fn cache(&self) -> Result<RunMountKind, String> {
        let sharing = match self.text(&["sharing"])?.map(|sharing| sharing.to_ascii_lowercase()).as_deref() {
            None | Some("shared") => CacheSharing::Shared,
            Some("private") => CacheSharing::Private,
            Some("locked") => CacheSharing::Locked,
            Some(_) => return Err(text("dockerfile.mount.sharing")),
        };
        let (id, from) = (self.filled(&["id"])?, self.filled(&["from"])?);
        Ok(RunMountKind::Cache { id, sharing, from, source: self.source()?, owner: self.owner()? })
    }

    fn secret(&self, target: Option<&str>) -> Result<RunMountKind, String> {
        let source = self.filled(&["source", "src"])?;
        let id = match (self.filled(&["id"])?, source) {
            (Some(_), Some(_)) => return Err(text("dockerfile.mount.secret.both")),
            (Some(id), None) | (None, Some(id)) => id,
            // The last part of the target.
            (None, None) => {
                let name = target.and_then(|target| target.rsplit('/').find(|part| !part.is_empty()));
                name.ok_or_else(|| text("dockerfile.mount.secret.none"))?.to_owned()
            }
        };
        let required = self.switch(&["required"])?.unwrap_or(false);
        Ok(RunMountKind::Secret { id, required, env: self.filled(&["env"])?, owner: self.owner()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_no_value() {
        let read = |written: &str| {
            let mount = RunMount::read(written, &mut |value| Ok(value.replace("$NONE", "")));
            mount.unwrap().kind
        };
        assert!(matches!(read("type=secret,id=a,env=$NONE"), RunMountKind::Secret { env: None, .. }));
        let cache = read("type=cache,target=/c,id=,from=$NONE");
        assert!(matches!(cache, RunMountKind::Cache { id: None, from: None, .. }));
    }

    #[test]
    fn a_part_in_quotes_can_have_commas() {
        let read = |written: &str| RunMount::read(written, &mut |value| Ok(value.to_owned()));
        let mount = read("type=tmpfs,\"target=/a,b\"").unwrap();
        assert_eq!(mount.target.as_deref(), Some("/a,b"));
        for wrong in ["type=tmpfs,\"target=/a", "type=tmpfs,target=\"/a\""] {
            assert_eq!(read(wrong), Err(text("dockerfile.mount.quote")), "{wrong}");
        }
    }

    #[test]
    fn the_stage_of_a_mount_is_known_before_its_variables() {
        assert_eq!(RunMount::stage_of("from=first,target=/x,ro=$READ_ONLY").as_deref(), Some("first"));
        for none in ["target=/x", "from=,target=/x", "from,target=/x", "nothing=1,from=x"] {
            assert_eq!(RunMount::stage_of(none), None, "{none}");
        }
    }
}
