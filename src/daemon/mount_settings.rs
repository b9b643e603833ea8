//! The mounts in the body of a request, as flags of `sandbox`.

use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::settings::{Flags, flag, keys, list, number, pairs, part, string, truth, wrong};
use crate::text::text_with;

/// `[{"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true}]`.
pub(super) fn mounts(value: &Value) -> Answered<Flags> {
    let all = match &value["Mounts"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(all) => all,
        _ => return Err(wrong("Mounts")),
    };
    let mut flags = Flags::new();
    for mount in all {
        let mut parts = vec![format!("type={}", string(mount, "Type")?.unwrap_or("volume"))];
        if let Some(source) = string(mount, "Source")? {
            parts.push(format!("source={source}"));
        }
        parts.push(format!("target={}", string(mount, "Target")?.ok_or_else(|| wrong("Target"))?));
        if truth(mount, "ReadOnly")? {
            parts.push("readonly".to_owned());
        }
        parts.extend(mount_options(mount)?);
        let parts: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
        flags.push(flag("mount", &parts.join(",")));
    }
    Ok(flags)
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

/// The paths of /proc and /sys that are masked or read-only. Without the lists, these are the usual ones. Empty lists mean none.
pub(super) fn system_paths(value: &Value) -> Answered<Flags> {
    let is_given = ["MaskedPaths", "ReadonlyPaths"].map(|name| !value[name].is_null());
    match is_given {
        [false, false] => Ok(Vec::new()),
        [true, true]
            if list(value, "MaskedPaths")?.is_empty() && list(value, "ReadonlyPaths")?.is_empty() =>
        {
            Ok(vec![flag("security-opt", "systempaths=unconfined")])
        }
        [is_masked, _] => {
            let name = if is_masked { "MaskedPaths" } else { "ReadonlyPaths" };
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
