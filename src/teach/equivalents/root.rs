//! A root by hand. What is made by descriptors here, mount(8) makes by paths: in a tmpfs that is laid on /mnt.

use std::collections::BTreeMap;

use crate::plan::Actor;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::value::shell::quote;

/// Where all of it is built: nobody's directory.
const SITE: &str = "/mnt";

/// The new root there, and the layer that takes what is written.
const PLACES: [(Held, &str); 2] = [(Held::Root, "/mnt/root"), (Held::Layer, "/mnt/layer")];

/// What a slot holds.
#[derive(Debug, Clone)]
enum Source {
    /// A filesystem that is mounted where it's put.
    New { kind: String, options: Vec<(String, String)> },
    /// A part of the tree that is bound there.
    Of { path: String, below: bool },
}

#[derive(Debug, Clone)]
struct BuiltMount {
    source: Source,
    attributes: Attributes,
    /// Where it is, once it's somewhere.
    place: Option<String>,
}

/// The lines, while the calls are read.
#[derive(Debug, Default)]
pub(super) struct Root {
    slots: BTreeMap<Held, BuiltMount>,
    lines: Vec<String>,
    is_handed_in: bool,
}

impl Root {
    /// Reads one call.
    pub(super) fn add(&mut self, actor: Actor, call: &DetachedMountCall) {
        match call {
            DetachedMountCall::Open { path, to } => {
                self.hold(*to, Source::Of { path: path.clone(), below: false }, Attributes::NONE)
            }
            DetachedMountCall::Clone { path, below, to } => {
                self.is_handed_in |= actor == Actor::Host;
                self.hold(*to, Source::Of { path: path.clone(), below: *below }, Attributes::NONE);
            }
            DetachedMountCall::CloneOwn { of, path, to } => {
                let path = self.within(*of, path);
                self.hold(*to, Source::Of { path, below: false }, Attributes::NONE);
            }
            DetachedMountCall::Make { kind, options, attributes, to } => {
                let options = options.iter().map(|(key, value)| (key.clone(), self.filled(value))).collect();
                self.hold(*to, Source::New { kind: kind.clone(), options }, *attributes);
            }
            DetachedMountCall::Restrict { mount, attributes, .. } => self.restrict(*mount, *attributes),
            DetachedMountCall::Attach { mount, at, path } => {
                let place = self.within(*at, path);
                self.put(*mount, place);
            }
            DetachedMountCall::Hide { at, path, directory } => {
                let place = self.within(*at, path);
                let options = Attributes::PROTECTED.options().join(",");
                let cover = match directory {
                    true => format!("mount -t tmpfs -o {options},size=4k,nr_inodes=1 tmpfs"),
                    false => format!("mount --bind {}", self.within(Held::Dev, "null")),
                };
                self.lines.push(format!("[ ! -e {place} ] || {cover} {place}"));
            }
            DetachedMountCall::Protect { at, path } => {
                let place = self.within(*at, path);
                let again = remount(&place, Attributes::PROTECTED, true);
                self.lines.push(format!("[ ! -e {place} ] || {{ mount --rbind {place} {place}; {again}; }}"));
            }
            DetachedMountCall::MakeDirectory { at, path, mode } => {
                let line = format!("mkdir -m {mode:o} {}", self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::MakeFile { at, path, content } => {
                let line = format!("printf \"{}\" > {}", printed(content), self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                let line = format!("ln -s {} {}", quote(target), self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor) } => {
                let line = format!("mknod -m 666 {} c {major} {minor}", self.within(*at, path));
                self.lines.push(line);
            }
            DetachedMountCall::Enter => self.lines.push(format!("cd {}", self.within(Held::Root, ""))),
            // A path leads to what lies on top; a map of ids is said above.
            DetachedMountCall::Stack { .. } | DetachedMountCall::Idmap { .. } => {}
        }
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The lines of what was read since the last time.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Whether the host hands in a copy of a mount, which no path leads to: then there are no lines for it.
    pub(super) fn is_handed_in(&self) -> bool {
        self.is_handed_in
    }

    /// Fills a slot. A root and a layer are put somewhere at once, since a path must lead to them.
    fn hold(&mut self, to: Held, source: Source, attributes: Attributes) {
        let site = PLACES.iter().find(|(held, _)| *held == to).map(|(_, place)| (*place).to_owned());
        let (place, site) = match &source {
            // The root that there is: its paths are today's.
            Source::Of { path, .. } if to == Held::Root && path == "/" => (Some(String::new()), None),
            Source::Of { path, .. } if to == Held::Lower => (Some(path.clone()), None),
            _ => (None, site),
        };
        self.slots.insert(to, BuiltMount { source, attributes, place });
        if let Some(site) = site {
            let is_site =
                |made: &BuiltMount| made.place.as_ref().is_some_and(|place| place.starts_with(SITE));
            if !self.slots.values().any(is_site) {
                self.lines.push(format!("mount -t tmpfs tmpfs {SITE}"));
            }
            self.lines.push(format!("mkdir {site}"));
            self.put(to, site);
        }
    }

    /// Mounts what a slot holds.
    fn put(&mut self, mount: Held, place: String) {
        let Some(made) = self.slots.get_mut(&mount) else { return };
        let attributes = made.attributes.options();
        match &made.source {
            Source::New { kind, options } => {
                let own = options.iter().map(|(key, value)| match value.as_str() {
                    "" => key.clone(),
                    value => format!("{key}={value}"),
                });
                let all: Vec<String> = attributes.iter().map(|word| (*word).to_owned()).chain(own).collect();
                let all = if all.is_empty() { String::new() } else { format!(" -o {}", all.join(",")) };
                self.lines.push(format!("mount -t {kind}{all} {kind} {place}"));
            }
            Source::Of { path, below } => {
                let bind = if *below { "--rbind" } else { "--bind" };
                self.lines.push(format!("mount {bind} {} {place}", quote(path)));
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
            let place = if place.is_empty() { "/" } else { place };
            self.lines.push(remount(place, made.attributes, false));
        }
    }

    fn within(&self, at: Held, path: &str) -> String {
        let above = self.slots.get(&at).and_then(|made| made.place.as_deref()).unwrap_or_default();
        let path = path.trim_start_matches('/');
        let place = if path.is_empty() { above.to_owned() } else { format!("{above}/{path}") };
        if place.is_empty() { place } else { quote(&place) }
    }

    /// A value with the place of what a slot in it holds.
    fn filled(&self, words: &str) -> String {
        self.slots.iter().fold(words.to_owned(), |words, (held, made)| match &made.place {
            Some(place) => words.replace(&held.to_string(), place),
            None => words,
        })
    }
}

/// Gives a mount its attributes. mount(8) can do so to those below as well since util-linux 2.39 only.
fn remount(place: &str, attributes: Attributes, below: bool) -> String {
    let options = attributes.options().join(",");
    match below {
        false => format!("mount -o remount,bind,{options} {place}"),
        true => format!("findmnt -Rrno TARGET {place} | xargs -n 1 mount -o remount,bind,{options}"),
    }
}

/// The words in double quotes of which printf(1) makes these.
fn printed(words: &str) -> String {
    let sign = |sign: char| match sign {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '%' => "%%".to_owned(),
        '"' | '\\' | '$' | '`' => format!("\\{:03o}", u32::from(sign)),
        sign => sign.to_string(),
    };
    words.chars().map(sign).collect()
}
