//! The functions of the table of Docker's flags: each notes in [`Wanted`] what a flag with this value asks for.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::mounts::{self, WantedMount, absolute};
use super::put;
use super::wanted::{Pull, Wanted};
use crate::cgroups::cpu::Cpus;
use crate::cgroups::devices::Rule;
use crate::container::links::ContainerLink;
use crate::container::record::lifted;
use crate::network::HOST_GATEWAY;
use crate::rootfs::dev;
use crate::text::{text, text_with};
use crate::value::detach_keys::parse_keys;
use crate::value::mount::ExtraMount;
use crate::value::units::Size;

type Noted = std::result::Result<(), String>;

pub(super) fn string(value: &OsStr) -> std::result::Result<&str, String> {
    value.to_str().ok_or_else(|| text("docker.utf8"))
}

pub(super) fn env(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.env.push(value.to_owned());
    Ok(())
}

pub(super) fn env_file(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.env_files.push(value.into());
    Ok(())
}

pub(super) fn volume(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let mount = mounts::volume(value)?;
    if let WantedMount::Extra(ExtraMount::Bind { source, .. }) = &mount {
        wanted.sources.push(source.clone());
    }
    wanted.mounts.push(mount);
    Ok(())
}

pub(super) fn mount(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let (mount, makes_source) = mounts::mount(value)?;
    if let WantedMount::Extra(ExtraMount::Bind { source, .. }) = &mount
        && makes_source
    {
        wanted.sources.push(source.clone());
    }
    wanted.mount_flags.push(mount.target().to_owned());
    wanted.mounts.push(mount);
    Ok(())
}

pub(super) fn tmpfs(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.mounts.push(mounts::tmpfs(value)?);
    Ok(())
}

pub(super) fn volumes_from(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.volumes_from.push(string(value)?.to_owned());
    Ok(())
}

pub(super) fn user(wanted: &mut Wanted, value: &OsStr) -> Noted {
    // Without one it is the image's, as for Docker: scripts pass a variable that may be empty.
    wanted.user = Some(value.to_owned()).filter(|user| !user.is_empty());
    Ok(())
}

pub(super) fn group_add(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.groups.push(value.to_owned());
    Ok(())
}

pub(super) fn workdir(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.workdir = if value.is_empty() { None } else { Some(absolute(value)?) };
    Ok(())
}

pub(super) fn publish_all(wanted: &mut Wanted, _: &OsStr) -> Noted {
    wanted.publishes_all = true;
    Ok(())
}

pub(super) fn expose(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.exposed.push(string(value)?.parse()?);
    Ok(())
}

pub(super) fn memory_swap(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.memory_swap = Some(string(value)?.to_owned());
    wanted.lifted.remove(lifted::MEMORY_SWAP);
    if value == "-1" {
        wanted.lifted.insert(lifted::MEMORY_SWAP.to_owned(), -1);
    }
    Ok(())
}

/// `--memory`: 0 is no limit, as for Docker.
pub(super) fn memory(wanted: &mut Wanted, value: &OsStr) -> Noted {
    size_unless_zero(wanted, "memory", "memory: { limit: {} }", value)
}

/// `--memory-reservation`: 0 is none.
pub(super) fn memory_reservation(wanted: &mut Wanted, value: &OsStr) -> Noted {
    size_unless_zero(wanted, "memory-reservation", "memory: { reservation: {} }", value)
}

/// `--memory-swappiness`: -1 is the usual one.
pub(super) fn memory_swappiness(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let written = string(value)?;
    let keys = (written != "-1").then(|| put("memory: { swappiness: {} }", "{}", written));
    wanted.last_key("memory-swappiness", value, keys);
    Ok(())
}

/// `--blkio-weight`: 0 is the usual part.
pub(super) fn blkio_weight(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_zero(wanted, "blkio-weight", "blkio: { weight: {} }", value)
}

/// `--shm-size`: 0 is the usual size.
pub(super) fn shm_size(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let size = Size::of_docker(string(value)?)?;
    wanted.shm_size = Some(size).filter(|size| size.0 > 0);
    Ok(())
}

/// `--cpus`: 0 is no limit.
pub(super) fn cpus(wanted: &mut Wanted, value: &OsStr) -> Noted {
    if let Ok(cpus) = string(value)?.parse::<Cpus>() {
        cpus.of_machine()?;
    }
    unless_zero(wanted, "cpus", "cpu: { cpus: {} }", value)
}

pub(super) fn cpu_period(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_zero(wanted, "cpu-period", "cpu: { period: {} }", value)
}

/// `--cpu-quota`: a negative number is no limit, and `inspect` shows it.
pub(super) fn cpu_quota(wanted: &mut Wanted, value: &OsStr) -> Noted {
    above_zero(wanted, "cpu-quota", "cpu: { quota: {} }", value)?;
    wanted.lifted.remove(lifted::CPU_QUOTA);
    let number = string(value)?.parse::<i64>().ok().filter(|number| *number < 0);
    wanted.lifted.extend(number.map(|number| (lifted::CPU_QUOTA.to_owned(), number)));
    Ok(())
}

/// `--cpu-shares`: 0 is the usual part.
pub(super) fn cpu_shares(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_zero(wanted, "cpu-shares", "cpu: { shares: {} }", value)
}

fn size_unless_zero(wanted: &mut Wanted, flag: &'static str, keys: &str, value: &OsStr) -> Noted {
    let size = Size::of_docker(string(value)?)?;
    wanted.last_key(flag, value, (size.0 > 0).then(|| put(keys, "{}", &size.0.to_string())));
    Ok(())
}

/// A flag whose empty value means the usual: scripts pass a variable that may be empty.
fn unless_empty(wanted: &mut Wanted, flag: &'static str, keys: &str, value: &OsStr) -> Noted {
    let written = string(value)?;
    wanted.last_key(flag, value, (!written.is_empty()).then(|| put(keys, "{}", written)));
    Ok(())
}

pub(super) fn hostname(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_empty(wanted, "hostname", "uts: { hostname: \"{}\" }", value)
}

pub(super) fn domainname(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_empty(wanted, "domainname", "uts: { domainname: \"{}\" }", value)
}

pub(super) fn cpuset(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_empty(wanted, "cpuset-cpus", "cpu: { cpuset: \"{}\" }", value)
}

pub(super) fn mems(wanted: &mut Wanted, value: &OsStr) -> Noted {
    unless_empty(wanted, "cpuset-mems", "cpu: { mems: \"{}\" }", value)
}

/// `DEVICE:SIZE`, in bytes a second.
pub(super) fn read_bps(wanted: &mut Wanted, value: &OsStr) -> Noted {
    throttle(wanted, "device-read-bps", "read_bps", value)
}

pub(super) fn write_bps(wanted: &mut Wanted, value: &OsStr) -> Noted {
    throttle(wanted, "device-write-bps", "write_bps", value)
}

/// `DEVICE:NUMBER`, a second.
pub(super) fn read_iops(wanted: &mut Wanted, value: &OsStr) -> Noted {
    throttle(wanted, "device-read-iops", "read_iops", value)
}

pub(super) fn write_iops(wanted: &mut Wanted, value: &OsStr) -> Noted {
    throttle(wanted, "device-write-iops", "write_iops", value)
}

fn throttle(wanted: &mut Wanted, flag: &'static str, key: &str, value: &OsStr) -> Noted {
    let (device, rate) = string(value)?.rsplit_once(':').ok_or_else(|| text("docker.pair"))?;
    let rate: u64 = match flag.ends_with("bps") {
        true => Size::of_docker(rate)?.0,
        false => rate.parse().map_err(|_| text("docker.number"))?,
    };
    let device = serde_json::Value::from(device);
    wanted.key(flag, value, format!("blkio: {{ {key}: {{ {device}: {rate} }} }}"));
    Ok(())
}

fn unless_zero(wanted: &mut Wanted, flag: &'static str, keys: &str, value: &OsStr) -> Noted {
    let written = string(value)?;
    wanted.last_key(flag, value, (written.parse() != Ok(0.0)).then(|| put(keys, "{}", written)));
    Ok(())
}

/// `/dev/fuse`, `/dev/fuse:/dev/other`, `/dev/fuse:/dev/other:rw`.
pub(super) fn device(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let parts: Vec<&str> = string(value)?.split(':').collect();
    let is_rights = |part: &str| !part.is_empty() && part.chars().all(|right| "rwm".contains(right));
    let (path, inside, rights) = match parts[..] {
        [path] => (path, path, "rwm"),
        [path, rights] if is_rights(rights) => (path, path, rights),
        [path, inside] => (path, inside, "rwm"),
        [path, inside, rights] => (path, inside, rights),
        _ => return Err(text("docker.device.form")),
    };
    if std::fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return devices_in(wanted, value, (path, inside), rights);
    }
    let mut rule = format!("{path} {rights}");
    // A path that is no device is an error of this flag.
    let device = rule.parse::<Rule>()?.resolve()?;
    if path != inside {
        // By its numbers: a rule with the path would show the file at that path too.
        if let Some(device) = device {
            rule = device.to_string();
        }
        let (source, target) = (path, absolute(OsStr::new(inside))?);
        wanted.mounts.push(WantedMount::Extra(ExtraMount::bind(source, target, true)));
    }
    let rule = serde_json::Value::from(rule);
    wanted.key("device", value, format!("devices: {{ allow: [{rule}] }}"));
    Ok(())
}

/// All devices of a directory, as for Docker: `/dev/snd`.
fn devices_in(wanted: &mut Wanted, value: &OsStr, (directory, inside): (&str, &str), rights: &str) -> Noted {
    let all = dev::devices_below(Path::new(directory));
    if all.is_empty() {
        return Err(text_with("devices.path.none", &[("path", directory)]));
    }
    let inside = absolute(OsStr::new(inside))?;
    for found in all {
        let kind = if found.block { 'b' } else { 'c' };
        let rule = serde_json::Value::from(format!("{kind} {}:{} {rights}", found.major, found.minor));
        wanted.key("device", value, format!("devices: {{ allow: [{rule}] }}"));
        let rest = found.path.strip_prefix(directory).unwrap_or(&found.path);
        let target = inside.join(rest);
        wanted.mounts.push(WantedMount::Extra(ExtraMount::bind(found.path.clone(), target, true)));
    }
    Ok(())
}

pub(super) fn pids_limit(wanted: &mut Wanted, value: &OsStr) -> Noted {
    above_zero(wanted, "pids-limit", "pids: { max: {} }", value)
}

/// A limit for which 0 and any negative number mean none.
fn above_zero(wanted: &mut Wanted, flag: &'static str, keys: &str, value: &OsStr) -> Noted {
    let number: i64 = string(value)?.parse().map_err(|_| text("docker.number"))?;
    wanted.last_key(flag, value, (number > 0).then(|| put(keys, "{}", &number.to_string())));
    Ok(())
}

/// `nofile=1024` or `nofile=1024:2048`.
pub(super) fn ulimit(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let (name, limit) = string(value)?.split_once('=').ok_or_else(|| text("docker.pair"))?;
    let parts = limit.split(':').map(|part| if part == "-1" { "unlimited" } else { part });
    let limit = parts.collect::<Vec<_>>().join(":");
    let (name, limit) = (serde_json::Value::from(name), serde_json::Value::from(limit));
    wanted.key("ulimit", value, format!("rlimits: {{ {name}: {limit} }}"));
    Ok(())
}

pub(super) fn cap_add(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.cap_add.push(string(value)?.to_owned());
    Ok(())
}

pub(super) fn cap_drop(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.cap_drop.push(string(value)?.to_owned());
    Ok(())
}

pub(super) fn security(wanted: &mut Wanted, value: &OsStr) -> Noted {
    // The path of a profile is bytes.
    if let Some([b'=' | b':', file @ ..]) = value.as_bytes().strip_prefix(b"seccomp")
        && !file.is_empty()
    {
        wanted.seccomp = Some(OsStr::from_bytes(file).to_owned());
        return Ok(());
    }
    let value = string(value)?;
    let (name, of) = value.split_once(['=', ':']).unwrap_or((value, ""));
    match (name, of) {
        ("systempaths", "unconfined") => wanted.is_unmasked = true,
        ("no-new-privileges", "" | "true") => wanted.no_new_privileges = true,
        ("no-new-privileges", "false") => wanted.no_new_privileges = false,
        // Nothing of these is used, so it cannot be turned off.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        _ => return Err(text("docker.security")),
    }
    Ok(())
}

pub(super) fn privileged(wanted: &mut Wanted, _: &OsStr) -> Noted {
    wanted.privileged = true;
    Ok(())
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`. An IPv6 address has colons too. `host-gateway` is the address of the host for the container.
pub(super) fn add_host(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let (name, address) = string(value)?.split_once(['=', ':']).ok_or_else(|| text("docker.host"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let address = match address.parse::<IpAddr>() {
        _ if !is_name => return Err(text("docker.host")),
        Ok(address) => address.to_string(),
        Err(_) if address == HOST_GATEWAY => address.to_owned(),
        Err(_) => return Err(text("docker.host")),
    };
    wanted.hosts.push((address, name.to_owned()));
    Ok(())
}

pub(super) fn link(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.links.push(ContainerLink::parse(string(value)?).ok_or_else(|| text("docker.link"))?);
    Ok(())
}

pub(super) fn dns(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.nameservers.push(string(value)?.parse().map_err(|_| text("docker.dns"))?);
    Ok(())
}

/// The name and the value of a label. Without a value, it is empty.
fn label_of(written: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = written.split_once('=').unwrap_or((written, ""));
    if name.is_empty() {
        return Err(text("docker.label"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn label(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let (name, value) = label_of(string(value)?)?;
    wanted.labels.insert(name, value);
    Ok(())
}

pub(super) fn label_file(wanted: &mut Wanted, value: &OsStr) -> Noted {
    let content = std::fs::read_to_string(value).map_err(|error| crate::error::io_text(&error))?;
    // As in a file of variables: a label can have several lines.
    if content.contains('\0') {
        for record in content.split('\0').filter(|record| !record.is_empty()) {
            wanted.file_labels.extend([label_of(record)?]);
        }
        return Ok(());
    }
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let lines =
        content.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        wanted.file_labels.extend([label_of(line)?]);
    }
    Ok(())
}

pub(super) fn entrypoint(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.entrypoint = Some(value.to_owned());
    Ok(())
}

pub(super) fn pull(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.pull = Some(match string(value)? {
        "always" => Pull::Always,
        "missing" => Pull::Missing,
        "never" => Pull::Never,
        _ => return Err(text("docker.pull")),
    });
    Ok(())
}

pub(super) fn platform(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.platform = Some(string(value)?.to_owned());
    Ok(())
}

pub(super) fn detach_keys(wanted: &mut Wanted, value: &OsStr) -> Noted {
    wanted.detach_keys = match string(value)? {
        "" => None,
        written => Some(parse_keys(written).ok_or_else(|| text("docker.keys"))?),
    };
    Ok(())
}

pub(super) fn log_driver(_: &mut Wanted, value: &OsStr) -> Noted {
    match string(value)? {
        "" | "json-file" => Ok(()),
        _ => Err(text("docker.logdriver")),
    }
}
