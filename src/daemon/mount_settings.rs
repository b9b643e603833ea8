//! The mounts in the body of a request, as flags of `sandbox`.

use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::settings::{Flags, flag, keys, list, number, pairs, part, string, truth, wrong};
use crate::rootfs::kernel;
use crate::text::{printed, text_with};

/// `[{"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true}]`.
pub(super) fn mounts(value: &Value) -> Answered<Flags> {
    let all = match &value["Mounts"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(all) => all,
        _ => return Err(wrong("Mounts")),
    };
    let mut flags = Flags::new();
    for mount in all {
        let kind = string(mount, "Type")?.unwrap_or("volume");
        let refused =
            |why: &str| ApiError::bad(format!("invalid mount config for type \"{}\": {why}", printed(kind)));
        let source = string(mount, "Source")?;
        let target = string(mount, "Target")?.ok_or_else(|| refused("field Target must not be empty"))?;
        let not_absolute = |path: &str| {
            refused(&format!("invalid mount path: '{}' mount path must be absolute", printed(path)))
        };
        match (kind, source) {
            ("tmpfs", Some(_)) => return Err(refused("field Source must not be specified")),
            ("bind", None) => return Err(refused("field Source must not be empty")),
            ("bind", Some(source)) if !source.starts_with('/') => return Err(not_absolute(source)),
            ("volume", Some(name)) if !may_be_volume(name) => return Err(no_volume(name)),
            _ => {}
        }
        if !target.starts_with('/') {
            return Err(not_absolute(target));
        }
        if target.bytes().all(|byte| byte == b'/') {
            return Err(refused("invalid specification: destination can't be '/'"));
        }
        let mut parts = vec![format!("type={kind}")];
        parts.extend(source.map(|source| format!("source={source}")));
        parts.push(format!("target={target}"));
        if truth(mount, "ReadOnly")? {
            parts.push("readonly".to_owned());
        }
        parts.extend(mount_options(mount)?);
        let parts: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
        flags.push(flag("mount", &parts.join(",")));
    }
    Ok(flags)
}

/// Docker's words for a source that is neither an absolute path nor the name of a volume. A relative path would be one of the daemon.
fn no_volume(name: &str) -> ApiError {
    let name = printed(name);
    ApiError::bad(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    ))
}

/// Whether a name has only the characters of the names of volumes. The command finds what else is wrong with it.
fn may_be_volume(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.bytes().all(is_inner) && !name.starts_with(['_', '.', '-'])
}

/// Checks `Binds` as Docker does: `SOURCE:DIR[:OPTIONS]`.
pub(super) fn check_binds(value: &Value) -> Answered<()> {
    for bind in list(value, "Binds")? {
        let mut parts = bind.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else { continue };
        if !source.starts_with('/') && !may_be_volume(source) {
            return Err(no_volume(source));
        }
        if !target.is_empty() && target.bytes().all(|byte| byte == b'/') {
            let kind = if source.starts_with('/') { "bind" } else { "volume" };
            let bind = printed(&bind);
            return Err(ApiError::bad(format!(
                "invalid volume specification: '{bind}': invalid mount config for type \"{kind}\": invalid specification: \
                 destination can't be '/'"
            )));
        }
    }
    Ok(())
}

/// A field of comma-separated values. With a comma or a quote, it is in quotes, and each quote in it is doubled. RFC 4180
fn quoted(field: &str) -> String {
    match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

/// The options of the kinds of mounts. The command refuses by name what it does not have.
fn mount_options(mount: &Value) -> Answered<Vec<String>> {
    let mut options = Vec::new();
    let of_bind = part(mount, "BindOptions")?;
    options.extend(string(of_bind, "Propagation")?.map(|of| format!("bind-propagation={of}")));
    for (name, option) in [
        ("NonRecursive", "bind-recursive=disabled"),
        ("ReadOnlyNonRecursive", "bind-recursive=writable"),
        ("ReadOnlyForceRecursive", "bind-recursive=readonly"),
    ] {
        if truth(of_bind, name)? {
            options.push(option.to_owned());
        }
    }
    if truth(of_bind, "CreateMountpoint")? {
        options.push("bind-create-src".to_owned());
    }
    let of_volume = part(mount, "VolumeOptions")?;
    if truth(of_volume, "NoCopy")? {
        options.push("volume-nocopy".to_owned());
    }
    options.extend(string(of_volume, "Subpath")?.map(|path| format!("volume-subpath={path}")));
    let labels = pairs(of_volume, "Labels")?;
    options.extend(labels.iter().map(|(key, of)| format!("volume-label={key}={of}")));
    let driver = part(of_volume, "DriverConfig")?;
    let other = string(driver, "Name")?.filter(|name| *name != "local");
    options.extend(other.map(|name| format!("volume-driver={name}")));
    options.extend(pairs(driver, "Options")?.iter().map(|(key, of)| format!("volume-opt={key}={of}")));
    let of_tmpfs = part(mount, "TmpfsOptions")?;
    options.extend(number(of_tmpfs, "SizeBytes")?.map(|size| format!("tmpfs-size={size}")));
    options.extend(number(of_tmpfs, "Mode")?.map(|mode| format!("tmpfs-mode={mode:o}")));
    Ok(options)
}

/// Further paths in the lists of Docker's versions. An older one asks for what a newer one has left out.
const DOCKERS_PATHS: [&str; 5] = [
    "/proc/asound",
    "/proc/interrupts",
    "/proc/sched_debug",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu",
];

/// Whether a list is the usual one: that of this program, as `inspect` shows it, or Docker's. A container that is made again from its
/// description has it.
fn is_usual(given: &[String], own: &[String]) -> bool {
    let is_dockers = |path: &String| DOCKERS_PATHS.iter().any(|known| path.starts_with(known));
    let has = |path: &String| given.contains(path) || is_dockers(path);
    own.iter().all(has) && given.iter().all(|path| own.contains(path) || is_dockers(path))
}

/// The paths of /proc and /sys that are masked or read-only. Without the lists, these are the usual ones. Empty lists mean none.
pub(super) fn system_paths(value: &Value) -> Answered<Flags> {
    let masked: Vec<String> =
        kernel::masked_paths(false).iter().map(|masked| printed(&masked.path)).collect();
    let read_only: Vec<String> = kernel::readonly_paths().iter().map(printed).collect();
    let mut are_empty = Vec::new();
    for (name, own) in [("MaskedPaths", masked), ("ReadonlyPaths", read_only)] {
        let given = list(value, name)?;
        let is_empty = !value[name].is_null() && given.is_empty();
        if !given.is_empty() && !is_usual(&given, &own) {
            return Err(ApiError::bad(text_with("daemon.setting.value", &[("name", name)])));
        }
        are_empty.push(is_empty);
    }
    match are_empty[..] {
        [true, true] => Ok(vec![flag("security-opt", "systempaths=unconfined")]),
        [false, false] => Ok(Vec::new()),
        _ => {
            let name = if are_empty[0] { "MaskedPaths" } else { "ReadonlyPaths" };
            Err(ApiError::bad(text_with("daemon.setting.value", &[("name", name)])))
        }
    }
}

/// The paths in the container on which HostConfig mounts something.
pub(super) fn targets(value: &Value) -> Answered<Vec<String>> {
    let binds = list(value, "Binds")?;
    let mut all: Vec<String> =
        binds.iter().filter_map(|bind| bind.split(':').nth(1)).map(str::to_owned).collect();
    all.extend(keys(value, "Tmpfs")?);
    let mounts = value["Mounts"].as_array().into_iter().flatten();
    all.extend(mounts.filter_map(|mount| mount["Target"].as_str()).map(str::to_owned));
    Ok(all)
}
