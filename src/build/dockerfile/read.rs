//! From an instruction as text to a typed instruction.

use std::ops::Range;
use std::time::Duration;

use super::flags::{FlagKind, Flags};
use super::heredoc;
use super::instruction::*;
use super::mount::RunMount;
use super::split::{Json, Split};
use crate::text::{printed, text, text_with};
use crate::value::nearest::nearest;

/// The names of all instructions.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// How much of an unknown name is printed, in characters.
const MAX_SHOWN: usize = 40;

/// What is wrong in an instruction.
#[derive(Debug)]
pub(super) struct InstructionFlaw {
    /// The place in the text of the instruction.
    pub(super) range: Range<usize>,
    pub(super) what: String,
    pub(super) near: Option<String>,
}

impl InstructionFlaw {
    pub(super) fn new(range: Range<usize>, what: String) -> InstructionFlaw {
        InstructionFlaw { range, what, near: None }
    }
}

/// A typed instruction.
pub(super) enum Parsed {
    From(FromImage),
    Step(Instruction),
}

/// Reads an instruction.
pub(super) fn read(line: &str, escape: char, heredocs: &[Heredoc]) -> Result<Parsed, InstructionFlaw> {
    let split = Split::new(line, escape);
    let name = split.name.to_ascii_uppercase();
    let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
        let near = nearest(split.name, NAMES).map(str::to_owned);
        let shown: String = split.name.chars().take(MAX_SHOWN).collect();
        let what = text_with("dockerfile.unknown", &[("name", &printed(shown))]);
        return Err(InstructionFlaw { range: 0..split.name.len(), what, near });
    };
    let reader = InstructionReader { line, escape, name, split, heredocs };
    match name {
        "FROM" => reader.from().map(Parsed::From),
        _ => reader.step().map(Parsed::Step),
    }
}

struct InstructionReader<'a> {
    line: &'a str,
    escape: char,
    name: &'static str,
    split: Split<'a>,
    heredocs: &'a [Heredoc],
}

impl InstructionReader<'_> {
    fn step(&self) -> Result<Instruction, InstructionFlaw> {
        Ok(match self.name {
            "RUN" => Instruction::Run(self.run()?),
            "COPY" => Instruction::Copy(self.copy()?),
            "ADD" => Instruction::Add(self.copy()?),
            "HEALTHCHECK" => Instruction::Healthcheck(self.healthcheck()?),
            "ONBUILD" => Instruction::Onbuild(self.onbuild()?),
            _ => {
                self.flags(&[])?;
                self.plain()?
            }
        })
    }

    /// The instructions that have no flags.
    fn plain(&self) -> Result<Instruction, InstructionFlaw> {
        Ok(match self.name {
            "CMD" => Instruction::Cmd(self.command(self.split.rest.clone())?),
            "ENTRYPOINT" => Instruction::Entrypoint(self.command(self.split.rest.clone())?),
            "ENV" => Instruction::Env(self.assignments()?),
            "LABEL" => Instruction::Label(self.assignments()?),
            "ARG" => Instruction::Arg(self.arguments()?),
            "EXPOSE" => Instruction::Expose(self.words(self.needed("dockerfile.form.expose")?)),
            "VOLUME" => Instruction::Volume(self.volumes()?),
            "USER" => Instruction::User(self.needed_text("dockerfile.form.user")?),
            "WORKDIR" => Instruction::Workdir(self.needed_text("dockerfile.form.workdir")?),
            "STOPSIGNAL" => Instruction::StopSignal(self.needed_text("dockerfile.form.stopsignal")?),
            "MAINTAINER" => Instruction::Maintainer(self.needed_text("dockerfile.form.maintainer")?),
            _ => match self.json(&self.split.rest)? {
                Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
                _ => return self.wrong(self.split.rest.clone(), text("dockerfile.form.shell")),
            },
        })
    }

    fn flags(&self, known: &[(&'static str, FlagKind)]) -> Result<Flags<'_>, InstructionFlaw> {
        Flags::read(self.name, &self.split.flags, known)
    }

    /// An error at a part of the line, or at the name if the part is empty.
    fn wrong<T>(&self, range: Range<usize>, what: String) -> Result<T, InstructionFlaw> {
        let range = if range.is_empty() { 0..self.split.name.len() } else { range };
        Err(InstructionFlaw::new(range, what))
    }

    /// The words of the rest, of which there is at least one. `form` is the message if there is none.
    fn needed(&self, form: &str) -> Result<Vec<Range<usize>>, InstructionFlaw> {
        let words = self.split.plain_words();
        if words.is_empty() { self.wrong(0..0, text(form)) } else { Ok(words) }
    }

    fn needed_text(&self, form: &str) -> Result<String, InstructionFlaw> {
        self.needed(form).map(|_| self.split.rest_text().to_owned())
    }

    fn words(&self, ranges: Vec<Range<usize>>) -> Vec<String> {
        ranges.into_iter().map(|range| self.line[range].to_owned()).collect()
    }

    /// The list of strings at this place, if one is there.
    fn json(&self, range: &Range<usize>) -> Result<Option<Vec<String>>, InstructionFlaw> {
        match Json::read(&self.line[range.clone()]) {
            Json::List(list) if list.iter().any(|string| string.contains('\0')) => {
                self.wrong(range.clone(), text("dockerfile.null"))
            }
            Json::List(list) => Ok(Some(list)),
            Json::Other => self.wrong(range.clone(), text("dockerfile.json")),
            Json::No => Ok(None),
        }
    }

    /// A command in one of its two forms.
    fn command(&self, range: Range<usize>) -> Result<CommandForm, InstructionFlaw> {
        if range.is_empty() {
            return self.wrong(range, text_with("dockerfile.form.command", &[("name", self.name)]));
        }
        let list = self.json(&range)?;
        Ok(list.map_or_else(|| CommandForm::Shell(self.line[range].to_owned()), CommandForm::Exec))
    }

    fn from(&self) -> Result<FromImage, InstructionFlaw> {
        let flags = self.flags(&[("platform", FlagKind::Text)])?;
        let words = self.split.plain_words();
        let word = |range: &Range<usize>| &self.line[range.clone()];
        let (image, stage) = match &*words {
            [image] => (word(image), None),
            [image, as_word, stage] if word(as_word).eq_ignore_ascii_case("as") => (word(image), Some(stage)),
            _ => return self.wrong(self.split.rest.clone(), text("dockerfile.form.from")),
        };
        if let Some(range) = stage.filter(|stage| !is_stage_name(&word(stage).to_lowercase())) {
            return self
                .wrong(range.clone(), text_with("dockerfile.stage", &[("name", &printed(word(range)))]));
        }
        let stage = stage.map(|stage| word(stage).to_lowercase());
        Ok(FromImage { image: image.to_owned(), stage, platform: flags.text("platform") })
    }

    fn run(&self) -> Result<RunCommand, InstructionFlaw> {
        let flags = self.flags(&[
            ("mount", FlagKind::List),
            ("network", FlagKind::Text),
            ("security", FlagKind::Text),
        ])?;
        let network = match flags.word("network") {
            None => None,
            Some(("default", _)) => Some(RunNetwork::Default),
            Some(("none", _)) => Some(RunNetwork::None),
            Some(("host", _)) => Some(RunNetwork::Host),
            Some((_, word)) => return self.wrong(word.range.clone(), text("dockerfile.run.network")),
        };
        let security = match flags.word("security") {
            None => None,
            Some(("sandbox", _)) => Some(RunSecurity::Sandbox),
            Some(("insecure", _)) => Some(RunSecurity::Insecure),
            Some((_, word)) => return self.wrong(word.range.clone(), text("dockerfile.run.security")),
        };
        let mut mounts = Vec::new();
        for (mount, word) in flags.list("mount") {
            // What variables stand for is known only when the step is executed.
            let checked = if mount.contains('$') {
                RunMount::check(&mount)
            } else {
                RunMount::read(&mount, &mut |value| Ok(value.to_owned())).map(drop)
            };
            checked.or_else(|what| self.wrong(word.range.clone(), what))?;
            mounts.push(mount);
        }
        let form = self.command(self.split.rest.clone())?;
        if form == CommandForm::Exec(vec![]) {
            return self
                .wrong(self.split.rest.clone(), text_with("dockerfile.form.command", &[("name", "RUN")]));
        }
        Ok(RunCommand { form, mounts, network, security, heredocs: self.heredocs.to_vec() })
    }

    fn copy(&self) -> Result<CopyFiles, InstructionFlaw> {
        let is_add = self.name == "ADD";
        let mut known = vec![
            ("chown", FlagKind::Text),
            ("chmod", FlagKind::Text),
            ("link", FlagKind::Switch),
            ("exclude", FlagKind::List),
        ];
        known.extend(match is_add {
            true => [
                ("checksum", FlagKind::Text),
                ("keep-git-dir", FlagKind::Switch),
                ("unpack", FlagKind::Switch),
            ]
            .as_slice(),
            false => [("from", FlagKind::Text), ("parents", FlagKind::Switch)].as_slice(),
        });
        let flags = self.flags(&known)?;
        if let Some((_, word)) = flags.word("from").filter(|(from, _)| from.contains('$')) {
            return self.wrong(word.range.clone(), text("dockerfile.copy.from"));
        }
        let form = || text_with("dockerfile.form.copy", &[("name", self.name)]);
        let mut sources = match self.json(&self.split.rest)? {
            Some(list) => list,
            None => self.words_beside_heredocs()?,
        };
        if let Some(unnamed) = self.heredocs.iter().find(|heredoc| heredoc.file_name().is_none()) {
            let what = text_with("dockerfile.copy.name", &[("name", &printed(&unnamed.name))]);
            return self.wrong(self.split.rest.clone(), what);
        }
        let destination = sources.pop().filter(|_| !sources.is_empty() || !self.heredocs.is_empty());
        let Some(destination) = destination else { return self.wrong(self.split.rest.clone(), form()) };
        if destination.is_empty() || sources.iter().any(String::is_empty) {
            return self.wrong(self.split.rest.clone(), text("dockerfile.copy.empty"));
        }
        Ok(CopyFiles {
            sources,
            heredocs: self.heredocs.to_vec(),
            destination,
            from: flags.text("from").filter(|from| !from.is_empty()),
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.switch("link") == Some(true),
            exclude: flags.list("exclude").into_iter().map(|(pattern, _)| pattern).collect(),
            parents: flags.switch("parents") == Some(true),
            checksum: flags.text("checksum"),
            keep_git_dir: flags.switch("keep-git-dir") == Some(true),
            unpack: flags.switch("unpack"),
        })
    }

    /// The words that are not the beginning of a here-document. The last word, the destination, cannot be one.
    fn words_beside_heredocs(&self) -> Result<Vec<String>, InstructionFlaw> {
        let markers = heredoc::markers(self.line);
        let mut marker = markers.iter().map(|marker| &marker.range).peekable();
        // Both are in the order of the line.
        let (of_heredocs, others): (Vec<_>, Vec<_>) =
            self.split.plain_words().into_iter().partition(|word| {
                while marker.next_if(|range| range.end <= word.start).is_some() {}
                marker.peek().is_some_and(|range| range.start <= word.start && word.end <= range.end)
            });
        let last = of_heredocs.last().filter(|last| others.last().is_none_or(|other| other.end < last.end));
        match last {
            Some(last) => {
                self.wrong(last.clone(), text_with("dockerfile.copy.heredoc", &[("name", self.name)]))
            }
            None => Ok(self.words(others)),
        }
    }

    /// `NAME=value ...`, or the old form `NAME value`.
    fn assignments(&self) -> Result<Vec<Assignment>, InstructionFlaw> {
        let words = self.split.quoted_words(self.escape);
        let form = || text_with("dockerfile.form.assignment", &[("name", self.name)]);
        let Some(first) = words.first() else { return self.wrong(0..0, form()) };
        if !self.line[first.clone()].contains('=') {
            let plain = self.split.plain_words();
            let [name, value, ..] = &*plain else { return self.wrong(first.clone(), form()) };
            let value = self.line[value.start..self.split.rest.end].to_owned();
            return Ok(vec![Assignment {
                name: self.line[name.clone()].to_owned(),
                value,
                is_old_form: true,
            }]);
        }
        let read = |range: Range<usize>| match self.line[range.clone()].split_once('=') {
            None => {
                let values = [("name", self.name), ("word", &*printed(&self.line[range.clone()]))];
                self.wrong(range, text_with("dockerfile.assignment.none", &values))
            }
            Some(("", _)) => {
                self.wrong(range, text_with("dockerfile.assignment.blank", &[("name", self.name)]))
            }
            Some((name, value)) => {
                Ok(Assignment { name: name.to_owned(), value: value.to_owned(), is_old_form: false })
            }
        };
        words.into_iter().map(read).collect()
    }

    fn arguments(&self) -> Result<Vec<Argument>, InstructionFlaw> {
        let words = self.split.quoted_words(self.escape);
        if words.is_empty() {
            return self.wrong(0..0, text("dockerfile.form.arg"));
        }
        let read = |range: Range<usize>| match self.line[range.clone()].split_once('=') {
            Some(("", _)) => self.wrong(range, text_with("dockerfile.assignment.blank", &[("name", "ARG")])),
            Some((name, default)) => {
                Ok(Argument { name: name.to_owned(), default: Some(default.to_owned()) })
            }
            None => Ok(Argument { name: self.line[range].to_owned(), default: None }),
        };
        words.into_iter().map(read).collect()
    }

    fn volumes(&self) -> Result<Vec<String>, InstructionFlaw> {
        let words = self.needed("dockerfile.form.volume")?;
        let list = self.json(&self.split.rest)?.unwrap_or_else(|| self.words(words));
        let list: Vec<String> = list.iter().map(|path| path.trim().to_owned()).collect();
        if list.is_empty() || list.iter().any(String::is_empty) {
            return self.wrong(self.split.rest.clone(), text("dockerfile.form.volume"));
        }
        Ok(list)
    }

    fn healthcheck(&self) -> Result<Healthcheck, InstructionFlaw> {
        let names = ["interval", "timeout", "start-period", "start-interval", "retries"];
        let flags = self.flags(&names.map(|name| (name, FlagKind::Text)))?;
        let kind = self.needed("dockerfile.form.healthcheck")?.swap_remove(0);
        let rest = self.line[kind.end..self.split.rest.end].trim_start();
        let rest = self.split.rest.end - rest.len()..self.split.rest.end;
        match self.line[kind.clone()].to_ascii_uppercase().as_str() {
            "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
            "NONE" => return self.wrong(rest, text("dockerfile.health.none")),
            "CMD" => {}
            _ => return self.wrong(kind, text("dockerfile.form.healthcheck")),
        }
        let form = self.command(rest.clone())?;
        if form == CommandForm::Exec(vec![]) {
            return self.wrong(rest, text_with("dockerfile.form.command", &[("name", "HEALTHCHECK CMD")]));
        }
        let time = |name: &str| match flags.word(name) {
            None | Some(("", _)) => Ok(None),
            Some((value, word)) => match duration(value) {
                None => self.wrong(word.range.clone(), text("dockerfile.health.time")),
                // Zero is the default.
                Some(Duration::ZERO) => Ok(None),
                Some(time) if time < Duration::from_millis(1) => {
                    self.wrong(word.range.clone(), text("dockerfile.health.short"))
                }
                Some(time) => Ok(Some(time)),
            },
        };
        let retries = match flags.word("retries") {
            None | Some(("", _)) => None,
            Some((value, word)) => {
                match value.parse::<i32>().ok().and_then(|count| u32::try_from(count).ok()) {
                    None => return self.wrong(word.range.clone(), text("dockerfile.health.retries")),
                    Some(count) => Some(count).filter(|count| *count > 0),
                }
            }
        };
        Ok(Healthcheck::Command {
            form,
            interval: time("interval")?,
            timeout: time("timeout")?,
            start_period: time("start-period")?,
            start_interval: time("start-interval")?,
            retries,
        })
    }

    fn onbuild(&self) -> Result<Trigger, InstructionFlaw> {
        self.flags(&[])?;
        self.needed("dockerfile.form.onbuild")?;
        let inner = self.split.rest_text();
        let name = inner.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if ["ONBUILD", "FROM", "MAINTAINER"].contains(&&*name) {
            let range = self.split.rest.start..self.split.rest.start + name.len();
            return self.wrong(range, text_with("dockerfile.onbuild", &[("name", &name)]));
        }
        let moved = |flaw: InstructionFlaw| {
            let Range { start, end } = flaw.range;
            InstructionFlaw { range: start + self.split.rest.start..end + self.split.rest.start, ..flaw }
        };
        let instruction = match read(inner, self.escape, self.heredocs).map_err(moved)? {
            Parsed::Step(step) => Box::new(step),
            Parsed::From(_) => return self.wrong(0..0, text_with("dockerfile.onbuild", &[("name", "FROM")])),
        };
        let documents = self.heredocs.iter().map(|own| format!("\n{}{}", own.original, own.name));
        Ok(Trigger { instruction, text: inner.to_owned() + &documents.collect::<String>() })
    }
}

/// `[a-z][a-z0-9-_.]*`
fn is_stage_name(name: &str) -> bool {
    let is_other = |next: char| next.is_ascii_lowercase() || next.is_ascii_digit() || "-_.".contains(next);
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_other)
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`.
fn duration(written: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    if written == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (written.strip_prefix('+').unwrap_or(written), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let after = &rest[end..];
        let length = after.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(after.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &after[..length])?;
        total += number * factor;
        rest = &after[length..];
    }
    // Go's durations are 64-bit numbers of nanoseconds.
    (total < i64::MAX as f64 / 1e9).then(|| Duration::from_nanos((total * 1e9).round() as u64))
}
