//! `-v`, `--mount` and `--tmpfs`: what is mounted in a container.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::boolean;
use crate::text::{text, text_with};
use crate::value::mount::{ExtraMount, default_size};

/// A volume that a command line asks for. It exists when the container is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedVolume {
    /// Its name. None: a new one without a name, of this container alone.
    pub(crate) name: Option<String>,
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    /// Whether it is read-only.
    pub(crate) readonly: bool,
    /// Whether a new one gets the files that the image has there.
    pub(crate) copies: bool,
}

/// A mount of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WantedMount {
    /// One that a spec can have.
    Extra(ExtraMount),
    /// A volume.
    Volume(WantedVolume),
}

/// `[SOURCE:]DIR[:OPTIONS]`.
pub(super) fn volume(value: &OsStr) -> Result<WantedMount, String> {
    let parts: Vec<&OsStr> = value.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes).collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, None),
        [source, target] => (Some(source), target, None),
        [source, target, options] => (Some(source), target, Some(options)),
        _ => return Err(text("docker.volume.form")),
    };
    let (mut readonly, mut copies) = (false, true);
    for option in options.and_then(OsStr::to_str).unwrap_or_default().split(',').filter(|one| !one.is_empty())
    {
        match option {
            "ro" => readonly = true,
            // The labels of SELinux are not changed here.
            "rw" | "z" | "Z" | "rprivate" => {}
            "nocopy" => copies = false,
            other => return Err(text_with("docker.volume.option", &[("option", other)])),
        }
    }
    let target = absolute(target)?;
    match source {
        Some(source) if is_path(source) => {
            Ok(WantedMount::Extra(ExtraMount::Bind { source: source.into(), target, readonly }))
        }
        source => {
            let name = source.map(name_of).transpose()?;
            Ok(WantedMount::Volume(WantedVolume { name, target, readonly, copies }))
        }
    }
}

/// `DIR[:size=SIZE,...]`.
pub(super) fn tmpfs(value: &OsStr) -> Result<WantedMount, String> {
    let value = value.to_str().ok_or_else(|| text("docker.utf8"))?;
    let (target, options) = value.split_once(':').unwrap_or((value, ""));
    let mut size = default_size();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", written)) => size = written.parse()?,
            // Each of these mounts has these options already.
            None if ["rw", "nosuid", "nodev"].contains(&option) => {}
            _ => return Err(text_with("docker.volume.option", &[("option", option)])),
        }
    }
    Ok(WantedMount::Extra(ExtraMount::Tmpfs { target: absolute(OsStr::new(target))?, size }))
}

/// `type=bind,source=/srv,target=/srv,readonly`.
pub(super) fn mount(value: &OsStr) -> Result<WantedMount, String> {
    let value = value.to_str().ok_or_else(|| text("docker.utf8"))?;
    let (mut kind, mut source, mut target) = ("volume", None, None);
    let (mut readonly, mut copies, mut size) = (false, true, default_size());
    for field in value.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => kind = value,
            "source" | "src" => source = Some(value),
            "target" | "dst" | "destination" => target = Some(value),
            "readonly" | "ro" => readonly = boolean(value)?,
            "volume-nocopy" => copies = !boolean(value)?,
            "tmpfs-size" => size = value.parse()?,
            "bind-propagation" if value == "rprivate" => {}
            other => return Err(text_with("docker.volume.option", &[("option", other)])),
        }
    }
    let target = absolute(OsStr::new(target.ok_or_else(|| text("docker.mount.target"))?))?;
    match (kind, source) {
        ("bind", Some(source)) => {
            Ok(WantedMount::Extra(ExtraMount::Bind { source: source.into(), target, readonly }))
        }
        ("volume", source) => {
            let name = source.map(|source| name_of(OsStr::new(source))).transpose()?;
            Ok(WantedMount::Volume(WantedVolume { name, target, readonly, copies }))
        }
        ("tmpfs", None) => Ok(WantedMount::Extra(ExtraMount::Tmpfs { target, size })),
        ("bind", None) => Err(text("docker.mount.source")),
        _ => Err(text_with("docker.mount.type", &[("type", kind)])),
    }
}

/// Whether a source is a path of the host. Any other word is the name of a volume.
fn is_path(source: &OsStr) -> bool {
    source.as_bytes().starts_with(b"/") || source.as_bytes().starts_with(b".")
}

fn name_of(source: &OsStr) -> Result<String, String> {
    let name = source.to_str().filter(|name| crate::container::name::is_valid(name));
    name.map(str::to_owned).ok_or_else(|| text("docker.volume.name"))
}

fn absolute(target: &OsStr) -> Result<PathBuf, String> {
    match Path::new(target) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(text("docker.volume.target")),
    }
}
