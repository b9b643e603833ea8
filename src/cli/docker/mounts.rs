//! `-v`, `--mount` and `--tmpfs`: what is mounted in a container.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::boolean;
use super::notes::string;
use crate::text::{printed, text, text_with, word};
use crate::value::csv;
use crate::value::mount::{ExtraMount, TmpfsOption};
use crate::value::units::Size;

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

impl WantedMount {
    /// Where it is mounted.
    pub(super) fn target(&self) -> &Path {
        match self {
            WantedMount::Extra(extra) => extra.target(),
            WantedMount::Volume(volume) => &volume.target,
        }
    }
}

/// How a shared directory of a virtual machine is synchronized. On Linux it means nothing.
const CONSISTENCIES: [&str; 4] = ["cached", "delegated", "consistent", "default"];

/// What Docker knows besides `private` and `rprivate`.
const PROPAGATIONS: [&str; 4] = ["shared", "rshared", "slave", "rslave"];

/// The reason why a mount has no such propagation.
fn propagation(option: &str) -> String {
    text_with("docker.volume.propagation", &[("option", option)])
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
    let mode = options.map(string).transpose()?.unwrap_or_default();
    let mut kinds = Vec::new();
    for option in mode.split(',').filter(|one| !one.is_empty()) {
        let kind = match option {
            "ro" | "rw" => "write",
            // The labels of SELinux are not changed here.
            "z" | "Z" => "label",
            "private" | "rprivate" => "propagation",
            known if CONSISTENCIES.contains(&known) && known != "default" => "consistency",
            "nocopy" => "copy",
            other if PROPAGATIONS.contains(&other) => return Err(propagation(other)),
            other => return Err(text_with("docker.volume.option", &[("option", &word(other))])),
        };
        // Docker takes one of each kind.
        if kinds.contains(&kind) {
            return Err(text_with("docker.volume.mode", &[("mode", mode)]));
        }
        kinds.push(kind);
        readonly |= option == "ro";
        copies &= option != "nocopy";
    }
    let target = absolute(target)?;
    match source {
        Some(source) if is_path(source) => Ok(WantedMount::Extra(ExtraMount::bind(source, target, readonly))),
        source => {
            let name = source.map(name_of).transpose()?;
            Ok(WantedMount::Volume(WantedVolume { name, target, readonly, copies }))
        }
    }
}

/// `DIR[:size=SIZE,...]`.
pub(super) fn tmpfs(value: &OsStr) -> Result<WantedMount, String> {
    let (target, written) = split_once(value, b':').unwrap_or((value, OsStr::new("")));
    // Docker does not allow programs in it.
    let (mut size, mut options) = (usual_size()?, vec![TmpfsOption::NoExec]);
    for option in string(written)?.split(',').filter(|option| !option.is_empty()) {
        // Of two options that contradict each other, the last one counts.
        match option.split_once('=') {
            Some(("size", written)) => size = size_of(written)?,
            None if option == "rw" => options.retain(|one| *one != TmpfsOption::ReadOnly),
            None if option == "exec" => options.retain(|one| *one != TmpfsOption::NoExec),
            None if option == "nosuid" => options.retain(|one| *one != TmpfsOption::Suid),
            None if option == "nodev" => options.retain(|one| *one != TmpfsOption::Dev),
            // They are the default, or have no effect on a filesystem in memory.
            None if WITHOUT_EFFECT.contains(&option) => {}
            _ => {
                let option: TmpfsOption = option.parse()?;
                options.retain(|known| !known.is_about_same(&option));
                options.push(option);
            }
        }
    }
    Ok(WantedMount::Extra(ExtraMount::Tmpfs { target: absolute(target)?, size, options }))
}

/// Options that Docker accepts, and that change nothing of a filesystem in memory.
const WITHOUT_EFFECT: [&str; 11] = [
    "defaults",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "diratime",
    "relatime",
    "norelatime",
    "nostrictatime",
];

/// The part of the machine's memory that a filesystem in memory may take without an option for its size, in percent. tmpfs(5)
const USUAL_PART: u64 = 50;

/// The size without an option for it.
fn usual_size() -> Result<Size, String> {
    part_of_memory(USUAL_PART)
}

/// A part of the machine's memory, in percent.
fn part_of_memory(percent: u64) -> Result<Size, String> {
    let memory = rustix::system::sysinfo();
    let all = u128::from(memory.totalram) * u128::from(memory.mem_unit.max(1));
    u64::try_from(all * u128::from(percent) / 100).map(Size).map_err(|_| text("docker.number"))
}

/// A size, or a part of the machine's memory, as tmpfs(5) takes it: `50%`.
fn size_of(written: &str) -> Result<Size, String> {
    let Some(percent) = written.strip_suffix('%') else { return size_of_mount(written) };
    let percent: u64 = percent.parse().map_err(|_| text("docker.number"))?;
    if percent == 0 { usual_size() } else { part_of_memory(percent) }
}

/// `type=bind,source=/srv,target=/srv,readonly`. Returns also whether the source is made if it does not exist.
pub(super) fn mount(value: &OsStr) -> Result<(WantedMount, bool), String> {
    let (mut kind, mut source, mut target) = ("volume".to_owned(), None, None);
    let (mut readonly, mut copies, mut size) = (false, true, usual_size()?);
    let mut makes_source = false;
    let mut options = Vec::new();
    if value.is_empty() {
        return Err(text("docker.mount.target"));
    }
    let fields = csv::fields(value).ok_or_else(|| text("docker.mount.quote"))?;
    let mut of_types = Vec::new();
    for field in &fields {
        let (key, value) = split_once(field, b'=').unwrap_or((field, OsStr::new("true")));
        let key = string(key)?.to_ascii_lowercase();
        match &*key {
            "type" => kind = string(value)?.to_ascii_lowercase(),
            "source" | "src" => source = Some(value),
            "target" | "dst" | "destination" => target = Some(value),
            "readonly" | "ro" => readonly = boolean(string(value)?)?,
            "volume-nocopy" => copies = !boolean(string(value)?)?,
            "tmpfs-size" => size = size_of_mount(string(value)?)?,
            "tmpfs-mode" => options.push(format!("mode={}", string(value)?).parse()?),
            "bind-propagation" if value == "rprivate" || value == "private" => {}
            "bind-propagation" if PROPAGATIONS.iter().any(|known| value == *known) => {
                return Err(propagation(string(value)?));
            }
            "consistency" if CONSISTENCIES.iter().any(|known| value == *known) => {}
            "bind-create-src" => makes_source = boolean(string(value)?)?,
            other => {
                return Err(text_with("docker.mount.key", &[("key", other), ("field", &printed(field))]));
            }
        }
        // `tmpfs-size` is a key of the type tmpfs alone.
        of_types.extend(key.split_once('-').map(|(of, _)| of.to_owned()));
    }
    if let Some(other) = of_types.iter().find(|of| **of != kind) {
        return Err(text_with("docker.mount.mix", &[("options", other), ("type", &kind)]));
    }
    let target = target.filter(|target| !target.is_empty()).ok_or_else(|| text("docker.mount.target"))?;
    let target = absolute(target)?;
    let mount = match (&*kind, source) {
        ("bind", Some(source)) => WantedMount::Extra(ExtraMount::bind(source, target, readonly)),
        ("volume", source) => {
            let name = source.map(name_of).transpose()?;
            WantedMount::Volume(WantedVolume { name, target, readonly, copies })
        }
        ("tmpfs", None) => {
            options.push(TmpfsOption::NoExec);
            if readonly {
                options.push(TmpfsOption::ReadOnly);
            }
            WantedMount::Extra(ExtraMount::Tmpfs { target, size, options })
        }
        ("bind", None) => return Err(text("docker.mount.source")),
        _ => return Err(text_with("docker.mount.type", &[("type", &word(&kind))])),
    };
    Ok((mount, makes_source))
}

/// The size of a filesystem in memory. For 0 it is the usual one: to the kernel, 0 means no limit, and a filesystem without a limit
/// can use up the memory of the machine.
fn size_of_mount(written: &str) -> Result<Size, String> {
    match Size::of_docker(written)? {
        Size(0) => usual_size(),
        size => Ok(size),
    }
}

/// What is before and after the first of these bytes.
pub(super) fn split_once(value: &OsStr, byte: u8) -> Option<(&OsStr, &OsStr)> {
    let at = value.as_bytes().iter().position(|other| *other == byte)?;
    let (before, after) = value.as_bytes().split_at(at);
    Some((OsStr::from_bytes(before), OsStr::from_bytes(&after[1..])))
}

/// Whether a source is a path of the host. Any other word is the name of a volume.
fn is_path(source: &OsStr) -> bool {
    source.as_bytes().starts_with(b"/") || source.as_bytes().starts_with(b".")
}

fn name_of(source: &OsStr) -> Result<String, String> {
    let name = source.to_str().filter(|name| crate::container::name::is_valid(name));
    name.map(str::to_owned).ok_or_else(|| match source.as_bytes().contains(&b'/') {
        true => text_with("docker.volume.relative", &[("path", &printed(Path::new(".").join(source)))]),
        false => text("docker.volume.name"),
    })
}

pub(super) fn absolute(target: &OsStr) -> Result<PathBuf, String> {
    match Path::new(target) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(text("docker.volume.target")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_passed_on_byte_for_byte() {
        let path = OsStr::from_bytes(b"/a\xff");
        let target = |wanted: WantedMount| wanted.target().to_owned();
        for written in [&b"/a\xff"[..], b"/a\xff:size=1m,mode=700"] {
            assert_eq!(target(tmpfs(OsStr::from_bytes(written)).unwrap()), path);
        }
        for written in
            [&b"type=tmpfs,target=/a\xff"[..], b"type=bind,source=/b\xff,target=/a\xff", b"dst=/a\xff"]
        {
            assert_eq!(target(mount(OsStr::from_bytes(written)).unwrap().0), path);
        }
    }

    #[test]
    fn the_options_of_a_filesystem_in_memory_are_those_of_docker() {
        let options = |written: &str| match tmpfs(OsStr::new(written)) {
            Ok(WantedMount::Extra(ExtraMount::Tmpfs { options, .. })) => options,
            other => panic!("{written}: {other:?}"),
        };
        assert_eq!(options("/t"), [TmpfsOption::NoExec]);
        assert_eq!(options("/t:rw,noexec,nosuid,size=65536k"), [TmpfsOption::NoExec]);
        assert_eq!(options("/t:noexec,exec,ro,rw,async"), []);
        let owned = [TmpfsOption::Mode(0o1700), TmpfsOption::Uid(5), TmpfsOption::ReadOnly];
        assert_eq!(options("/t:exec,mode=1700,uid=5,ro"), owned);
        let counted = TmpfsOption::Count("nr_inodes", Size(1 << 10));
        let others = [TmpfsOption::Suid, TmpfsOption::Dev, TmpfsOption::AccessTime("noatime"), counted];
        assert_eq!(options("/t:exec,suid,dev,noatime,nr_inodes=1k"), others);
        let last = [
            TmpfsOption::AccessTime("nodiratime"),
            TmpfsOption::AccessTime("strictatime"),
            TmpfsOption::Count("nr_blocks", Size(2 << 10)),
            TmpfsOption::Count("nr_inodes", Size(3 << 10)),
        ];
        let written = "/t:exec,noatime,nodiratime,strictatime,nr_inodes=1k,nr_blocks=2k,nr_inodes=3k";
        assert_eq!(options(written), last);
        for wrong in ["/t:mode=8", "/t:mode=77777", "/t:uid=-1", "/t:rbind", "/t:huge=always"] {
            assert!(tmpfs(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_filesystem_in_memory_is_without_a_limit() {
        let written = ["/t", "/t:size=0", "/t:size=0%", "/t:size=50%"];
        let mounts = written.map(|written| tmpfs(OsStr::new(written)).unwrap());
        assert!(mounts.iter().all(|mount| *mount == mounts[0]), "{mounts:?}");
    }

    #[test]
    fn a_field_in_quotes_has_commas_and_quotes() {
        let quoted = mount(OsStr::new(r#"type=bind,"source=/a,""b",target=/t"#)).unwrap();
        assert_eq!(quoted, (WantedMount::Extra(ExtraMount::bind("/a,\"b", "/t", false)), false));
        for wrong in [r#"type=bind,source=/a"b,target=/t"#, r#"type=bind,"source=/a,target=/t"#] {
            assert!(mount(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_source_of_a_mount_is_made_only_on_request() {
        for (option, expected) in [
            ("readonly", false),
            ("bind-create-src", true),
            ("Bind-Create-Src=1", true),
            ("bind-create-src,bind-create-src=false", false),
        ] {
            let written = format!("type=bind,source=/a,target=/t,{option}");
            assert_eq!(mount(OsStr::new(&written)).unwrap().1, expected, "{option}");
        }
    }

    #[test]
    fn options_that_cannot_be_read_are_refused() {
        assert!(volume(OsStr::from_bytes(b"/a:/b:ro\xff")).is_err());
        for of_another_type in ["tmpfs-size=1m,volume-nocopy", "volume-nocopy,tmpfs-size=1m"] {
            assert!(mount(OsStr::new(&format!("type=volume,target=/b,{of_another_type}"))).is_err());
        }
    }
}
