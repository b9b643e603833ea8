//! The shell commands that build a new root. The plan makes the mounts by file descriptors. mount(8) needs paths, so
//! the commands build the root in a tmpfs that is mounted on /mnt.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::host::sysfs::CGROUPS;
use crate::plan::Actor;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::{ADDRESS, Held, held_in};
use crate::value::shell::quote;

/// The directory in which the root is built. It is meant for temporary mounts: hier(7).
const BASE: &str = "/mnt";

/// The paths of the new root, and of the layer that takes what is written.
const PATHS: [(Held, &str); 2] = [(Held::Root, "/mnt/root"), (Held::Layer, "/mnt/layer")];

/// The mount in a slot.
#[derive(Debug, Clone)]
enum Source {
    /// A new filesystem.
    New { kind: String, options: Vec<(String, OsString)> },
    /// A mount that was made on [`BASE`].
    Moved,
    /// A bind mount of a path. `below`: with the mounts below it.
    Bind { path: PathBuf, below: bool },
}

#[derive(Debug, Clone)]
struct BuiltMount {
    source: Source,
    attributes: Attributes,
    /// Its mount point. None as long as it is not mounted.
    place: Option<PathBuf>,
}

/// The commands, collected while the calls of a plan are read.
#[derive(Debug, Default)]
pub(super) struct Root {
    slots: BTreeMap<Held, BuiltMount>,
    lines: Vec<String>,
    is_from_host: bool,
    /// Whether the plan has mounted its layer over the old root.
    has_layer: bool,
}

impl Root {
    /// Adds the commands for one call.
    pub(super) fn add(&mut self, actor: Actor, call: &DetachedMountCall) {
        match call {
            DetachedMountCall::Open { path, to } => {
                self.hold(*to, Source::Bind { path: path.clone(), below: false }, Attributes::NONE)
            }
            // The next mount covers this path, so it is bound to another one first.
            DetachedMountCall::Clone { path, to, .. } if *path == *Path::new(CGROUPS) => {
                self.lines.push(format!("mount --rbind {CGROUPS} {BASE}"));
                self.hold(*to, Source::Moved, Attributes::NONE);
            }
            DetachedMountCall::Clone { path, below, to } => {
                self.is_from_host |= actor == Actor::Host;
                self.hold(*to, Source::Bind { path: path.clone(), below: *below }, Attributes::NONE);
            }
            // mount(8) cannot copy a mount of another mount namespace. A new filesystem replaces it.
            DetachedMountCall::CloneJoined { to, .. } => {
                let kind = "tmpfs".to_owned();
                self.hold(*to, Source::New { kind, options: Vec::new() }, Attributes::NONE);
            }
            DetachedMountCall::OpenOwn { of, path, to } => {
                let path = self.place_in(*of, path);
                self.hold(*to, Source::Bind { path, below: false }, Attributes::NONE);
            }
            DetachedMountCall::CloneOwn { of, path, to } => {
                let path = self.place_in(*of, path);
                self.hold(*to, Source::Bind { path, below: false }, Attributes::NONE);
            }
            DetachedMountCall::Make { kind, options, attributes, to, .. } => {
                let options = options.iter().map(|(key, value)| (key.clone(), self.filled(value)));
                let options = with_one_lowerdir(options.collect());
                self.hold(*to, Source::New { kind: kind.clone(), options }, *attributes);
            }
            DetachedMountCall::Restrict { mount, attributes, .. } => self.restrict(*mount, *attributes),
            DetachedMountCall::Attach { mount, at, path } => {
                let place = self.place_in(*at, path);
                self.put(*mount, place);
            }
            DetachedMountCall::Hide { at, path, directory } => {
                let place = self.within(*at, path);
                let options = Attributes::PROTECTED.options().join(",");
                let cover = match directory {
                    true => format!("mount -t tmpfs -o {options},size=4k,nr_inodes=1 tmpfs"),
                    false => format!("mount --bind {}", self.within(Held::Dev, "null".as_ref())),
                };
                self.lines.push(format!("[ ! -e {place} ] || {cover} {place}"));
            }
            DetachedMountCall::Protect { at, path } => {
                let place = self.within(*at, path);
                let again = remount(&self.place_in(*at, path), Attributes::PROTECTED, true);
                self.lines.push(format!("[ ! -e {place} ] || {{ mount --rbind {place} {place}; {again}; }}"));
            }
            DetachedMountCall::MakeDirectory { at, path, mode } => {
                let line = format!("mkdir -m {mode:o} {}", self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::CopyDirectory { at, path, of, like } => {
                let (place, like) = (self.within(*at, path), self.within(*of, like));
                // An owner that is not mapped cannot be given to a directory.
                self.lines.push(format!("mkdir {place}; chown --reference={like} {place} || :"));
                self.lines.push(format!("chmod --reference={like} {place}"));
            }
            DetachedMountCall::MakePlace { at, path, directory } => {
                let place = self.within(*at, path);
                let make = if *directory { "mkdir" } else { "touch" };
                self.lines.push(format!("[ -e {place} ] || {make} {place}"));
            }
            DetachedMountCall::MakeFile { at, path, content } => {
                let mut format = printf_format(content);
                if format.contains(ADDRESS) {
                    format = format.replace(ADDRESS, "%s") + " \"$address\"";
                }
                let line = format!("printf {format} > {}", self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                let line = format!("ln -s {} {}", quote(target), self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor), block, mode } => {
                let kind = if *block { 'b' } else { 'c' };
                let line = format!("mknod -m {mode:o} {} {kind} {major} {minor}", self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::Enter => {
                self.lines.push(format!("cd {}", self.within(Held::Root, "".as_ref())))
            }
            // By paths, a stacked mount is always the one on top. Only a mount from the host has an ID map.
            DetachedMountCall::Stack { mount } => self.has_layer |= *mount == Held::Layer,
            DetachedMountCall::Idmap { .. } => {}
        }
    }

    /// Whether the plan makes no mounts by descriptors.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The commands for the calls since the last time.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Whether a step unmounts the layer, which the commands have mounted elsewhere: on the old root, so it goes with that.
    pub(super) fn takes_layer(&mut self) -> bool {
        std::mem::take(&mut self.has_layer)
    }

    /// Whether the host passes the copy of a mount to the child. No path leads to it, so there are no commands for it.
    pub(super) fn is_from_host(&self) -> bool {
        self.is_from_host
    }

    /// Fills a slot. A new root and a layer are mounted at once, because the next commands need a path to them.
    fn hold(&mut self, to: Held, source: Source, attributes: Attributes) {
        let target = PATHS.iter().find(|(held, _)| *held == to).map(|(_, path)| PathBuf::from(path));
        let (place, target) = match &source {
            // The present root stays the root, so paths in it stay the same.
            Source::Bind { path, .. } if to == Held::Root && path == Path::new("/") => {
                (Some("/".into()), None)
            }
            Source::Bind { path, .. }
                if matches!(to, Held::Lower(_) | Held::Kept | Held::Upper | Held::Work) =>
            {
                (Some(path.clone()), None)
            }
            _ => (None, target),
        };
        self.slots.insert(to, BuiltMount { source, attributes, place });
        if let Some(target) = target {
            let is_in_base =
                |made: &BuiltMount| made.place.as_ref().is_some_and(|place| place.starts_with(BASE));
            if !self.slots.values().any(is_in_base) {
                self.lines.push(format!("mount -t tmpfs tmpfs {BASE}"));
            }
            self.lines.push(format!("mkdir {}", quote(&target)));
            self.put(to, target);
        }
    }

    /// Mounts the mount in a slot.
    fn put(&mut self, mount: Held, place: PathBuf) {
        let Some(made) = self.slots.get_mut(&mount) else { return };
        let attributes = made.attributes.options();
        match &made.source {
            Source::New { kind, options } => {
                let own = options.iter().map(|(key, value)| {
                    let mut option = OsString::from(key);
                    if !value.is_empty() {
                        option.push("=");
                        option.push(value);
                    }
                    option
                });
                let all: Vec<OsString> = attributes.iter().map(OsString::from).chain(own).collect();
                let all = all.join(OsStr::new(","));
                let all = if all.is_empty() { String::new() } else { format!(" -o {}", quote(all)) };
                self.lines.push(format!("mount -t {kind}{all} {kind} {}", quote(&place)));
            }
            Source::Moved => self.lines.push(format!("mount --rbind {BASE} {}", quote(&place))),
            Source::Bind { path, below } => {
                let bind = if *below { "--rbind" } else { "--bind" };
                self.lines.push(format!("mount {bind} {} {}", quote(path), quote(&place)));
                if !attributes.is_empty() {
                    self.lines.push(remount(&place, made.attributes, *below));
                }
            }
        }
        made.place = Some(place);
    }

    fn restrict(&mut self, mount: Held, attributes: Attributes) {
        let Some(made) = self.slots.get_mut(&mount) else { return };
        made.attributes = made.attributes.and(attributes);
        if let Some(place) = &made.place {
            self.lines.push(remount(place, made.attributes, false));
        }
    }

    /// The path of a file in the mount in a slot.
    fn place_in(&self, at: Held, path: &Path) -> PathBuf {
        let above = self.slots.get(&at).and_then(|made| made.place.as_deref()).unwrap_or(Path::new("/"));
        let path = path.strip_prefix("/").unwrap_or(path);
        // Joined to an empty path, it would end in a slash.
        if path.as_os_str().is_empty() { above.to_owned() } else { above.join(path) }
    }

    /// The same, as a word of a command.
    fn within(&self, at: Held, path: &Path) -> String {
        quote(self.place_in(at, path))
    }

    /// The value of an option, with the name of a slot at its start replaced by the mount point.
    fn filled(&self, value: &OsStr) -> OsString {
        let filled = || {
            let (held, rest) = held_in(value)?;
            let mut path = self.slots.get(&held)?.place.clone()?.into_os_string();
            path.push(rest);
            Some(path)
        };
        filled().unwrap_or_else(|| value.to_owned())
    }
}

/// The options of an overlay with all lower directories in one `lowerdir`, which every version of mount(8) takes.
fn with_one_lowerdir(options: Vec<(String, OsString)>) -> Vec<(String, OsString)> {
    let (lowers, mut others): (Vec<_>, Vec<_>) = options.into_iter().partition(|(key, _)| key == "lowerdir+");
    if !lowers.is_empty() {
        // A colon separates two directories, so one in a name is escaped.
        let escape = |path: &OsString| {
            path.as_bytes().iter().fold(Vec::new(), |mut all, byte| {
                if b":\\".contains(byte) {
                    all.push(b'\\');
                }
                all.push(*byte);
                all
            })
        };
        let all: Vec<Vec<u8>> = lowers.iter().map(|(_, path)| escape(path)).collect();
        others.insert(0, ("lowerdir".into(), OsString::from_vec(all.join(&b':'))));
    }
    others
}

/// The command that sets the attributes of a mount. mount(8) can set them for the mounts below only since util-linux
/// 2.39, so findmnt(8) lists those.
fn remount(place: &Path, attributes: Attributes, below: bool) -> String {
    let place = quote(place);
    let options = attributes.options().join(",");
    match below {
        false => format!("mount -o remount,bind,{options} {place}"),
        true => format!("findmnt -Rrno TARGET {place} | xargs -n 1 mount -o remount,bind,{options}"),
    }
}

/// The format string of printf(1), in double quotes of a shell, that prints this text.
fn printf_format(text: &OsStr) -> String {
    let escaped = |byte: &u8| match byte {
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'%' => "%%".to_owned(),
        b' '..=b'~' if !b"\"\\$`".contains(byte) => char::from(*byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    format!("\"{}\"", text.as_bytes().iter().map(escaped).collect::<String>())
}
