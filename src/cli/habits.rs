//! Answers to command lines of docker, unshare and nsenter: the error names the command line of `sandbox` that does
//! the same.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::words::is_spec;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::command;
use crate::host::resolver::Resolver;
use crate::text::{text, text_with};
use crate::value::nearest::nearest;
use crate::value::paste::command_line;

/// Flags of other tools that `sandbox` does not have, each with the message that says why.
const FLAGS: &[(&[&str], &str)] = &[
    (&["--fork", "-f"], "habit.flag.fork"),
    (&["--mount-proc"], "habit.flag.mountproc"),
    (&["--kill-child"], "habit.flag.killchild"),
    (&["-i", "-t", "-it", "-ti", "--interactive", "--tty"], "habit.flag.terminal"),
    (&["--rm"], "habit.flag.rm"),
    (&["-d", "--detach"], "habit.flag.detach"),
    (&["--privileged"], "habit.flag.privileged"),
];

/// Subcommands of other tools, each with the messages `what` and `why`, and the command line to type instead.
const SUBCOMMANDS: &[(&[&str], &str, &str, &str)] = &[
    (&["nsenter"], "habit.join.what", "habit.join.hint", "sandbox enter NAME -- sh"),
    (&["ls", "list"], "habit.list.what", "habit.list.hint", "sandbox ps -a"),
    (&["shell"], "habit.run.what", "habit.run.hint", "sandbox pid -- bash"),
    (&["prune"], "habit.remove.what", "habit.remove.hint", "sandbox container prune"),
];

/// Command lines that create a spec and run it.
pub(super) const SPEC: &str = "sandbox spec init --for shell > box.yaml; sandbox run box.yaml";

/// The short flags of unshare(1) and nsenter(1).
const LETTERS: &[(char, Feature)] = &[
    ('p', Feature::Pid),
    ('m', Feature::Mnt),
    ('n', Feature::Net),
    ('u', Feature::Uts),
    ('i', Feature::Ipc),
    ('U', Feature::User),
    ('C', Feature::Cgroup),
    ('T', Feature::Time),
];

/// The answer to a command line that clap refused. None if it does not look like one of another tool. `words` are the
/// arguments of `sandbox`.
pub(super) fn answer(words: &[String], error: &clap::Error) -> Option<Error> {
    let words = &words[words.len() - after_global_flags(words)..];
    let first = words.first()?.as_str();
    if let Some(feature) = feature_of(first) {
        let refused = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(ContextValue::String(refused))) => refused,
            _ => return None,
        };
        return of_feature(feature, words, refused_at(words, refused)?);
    }
    match first {
        "help" => {
            let line = match words.get(1) {
                Some(word) => line([word.as_str(), "--help"]),
                None => "sandbox --help".into(),
            };
            return Some(Error::usage(text("habit.help.what")).paste(line));
        }
        "unshare" => return Some(unshare(&words[1..])),
        "run" if error.kind() == ErrorKind::UnknownArgument => {
            let refused = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(refused)) => refused.as_str(),
                _ => "",
            };
            if let Some((flag, why)) =
                FLAGS.iter().find_map(|(known, why)| known.contains(&refused).then_some((refused, why)))
            {
                let what = text_with("habit.flag.what", &[("feature", "run"), ("flag", flag)]);
                return Some(Error::usage(what).why(text(why)).paste("sandbox run --help"));
            }
            // There is a spec: an unknown flag is reported by clap with the nearest one, and a command needs its `--`.
            if words[1..].iter().any(|word| is_spec(word.as_ref())) {
                let place = refused_at(words, refused)?;
                return (!refused.starts_with('-')).then(|| without_dashes("run", words, place));
            }
            // There is an image.
            if words[1..].iter().any(|word| !word.starts_with('-')) {
                return None;
            }
            return Some(Error::usage(text("habit.spec.what")).why(text("habit.spec.hint")).paste(SPEC));
        }
        _ => {}
    }
    if first.starts_with('-') {
        return is_namespaces(first)
            .then(|| unshare(words))
            .or_else(|| (first == "--" && words.len() > 1).then(|| of_command(&words[1..])));
    }
    // A subcommand of `sandbox`, even if a program has the same name, as compare and man.
    if super::definition().find_subcommand(first).is_some() {
        return None;
    }
    if let Some((_, what, why, instead)) = SUBCOMMANDS.iter().find(|(known, ..)| known.contains(&first)) {
        return Some(Error::usage(text_with(what, &[("word", first)])).why(text(why)).paste(*instead));
    }
    let is_program = error.get(ContextKind::SuggestedSubcommand).is_none()
        && command::resolve(first.as_ref(), &Resolver::default(), &command::callers_path()).is_ok();
    if is_program {
        return Some(of_command(words));
    }
    (error.kind() == ErrorKind::InvalidSubcommand).then(|| unknown(first, &words[1..]))
}

/// The place of the word that clap refused. An equal word before it may be the value of a flag, so the first part of the line
/// counts that clap refuses for the same word. For `--flag=value` clap reports `--flag`, and for `-xyz` it reports `-x`.
fn refused_at(words: &[String], refused: &str) -> Option<usize> {
    let ends_there = |place: &usize| {
        let part: Vec<OsString> = std::iter::once("sandbox")
            .chain(words[..=*place].iter().map(String::as_str))
            .map(Into::into)
            .collect();
        super::parse(&part).is_err_and(|error| {
            let word = error.get(ContextKind::InvalidArg);
            error.kind() == ErrorKind::UnknownArgument
                && matches!(word, Some(ContextValue::String(word)) if word == refused)
        })
    };
    (0..words.len()).filter(|place| words[*place].starts_with(refused)).find(ends_there)
}

/// The number of words after the global flags, which come before the subcommand.
fn after_global_flags(words: &[String]) -> usize {
    match words {
        [flag, rest @ ..] if flag == "--stable" || flag.starts_with("--color=") => after_global_flags(rest),
        [flag, _, rest @ ..] if flag == "--color" => after_global_flags(rest),
        rest => rest.len(),
    }
}

/// The answer to an unknown subcommand: the same line with the nearest known one, if that is a whole command line, or
/// `--help`.
fn unknown(word: &str, rest: &[String]) -> Error {
    let mut all = super::definition();
    let names = all.get_subcommands().map(clap::Command::get_name);
    match nearest(word, names).map(str::to_owned) {
        Some(name) => {
            let error = Error::usage(text_with("habit.unknown.near", &[("word", word), ("near", &name)]));
            let words = ["sandbox", &name].into_iter().chain(rest.iter().map(String::as_str));
            match all.try_get_matches_from_mut(words.clone()) {
                Ok(_) => error.paste(command_line(words)),
                Err(_) => error.paste(format!("sandbox {name} --help")),
            }
        }
        None => Error::usage(text_with("habit.unknown.what", &[("word", word)])).paste("sandbox --help"),
    }
}

/// `sandbox pid bash`, `sandbox run box.yaml bash`: the command, at `place`, has no `--` before it.
fn without_dashes(subcommand: &str, words: &[String], place: usize) -> Error {
    let (before, after) = (&words[..place], &words[place + 1..]);
    // `sandbox time --boottime -- true`: the flag has taken the `--` as its value.
    if let [.., flag, dashes] = before
        && dashes == "--"
        && flag.starts_with("--")
    {
        let what = text_with("habit.value.what", &[("subcommand", subcommand), ("flag", flag)]);
        return Error::usage(what).paste(format!("sandbox {subcommand} --help"));
    }
    let what = text_with("habit.dashes.what", &[("word", &words[place])]);
    let after = after.iter().filter(|word| *word != "--");
    let line = line(before.iter().chain([&"--".to_owned(), &words[place]]).chain(after));
    Error::usage(format!("{subcommand}: {what}")).why(text("habit.dashes.hint")).paste(line)
}

/// `sandbox pid bash`, `sandbox pid --fork`, `sandbox pid --hostname box`.
fn of_feature(feature: Feature, words: &[String], place: usize) -> Option<Error> {
    let refused = words[place].as_str();
    let (before, after) = (&words[..place], &words[place + 1..]);
    if !refused.starts_with('-') {
        return Some(without_dashes(&words[0], words, place));
    }
    let flag = refused.split('=').next().unwrap_or(refused);
    let what = text_with("habit.flag.what", &[("feature", feature.name()), ("flag", flag)]);
    // All such flags of the line are removed at once, up to the command, whose flags stay.
    let habit = |word: &String| FLAGS.iter().any(|(known, _)| known.contains(&word.as_str()));
    let end = after.iter().position(|word| !word.starts_with('-') || word == "--").unwrap_or(after.len());
    let (flags, command) = after.split_at(end);
    let rest = before.iter().chain(flags.iter().filter(|word| !habit(word))).chain(command);
    if let Some((_, why)) = FLAGS.iter().find(|(known, _)| known.contains(&flag)) {
        return Some(Error::usage(what).why(text(why)).paste(line(with_dashes(rest))));
    }
    // Only long flags: in Docker, `-p` and `-u` have another meaning.
    if flag.starts_with("--") && is_namespaces(flag) {
        let first = std::iter::once(feature);
        let other = namespaces_of(flag).into_iter().filter(|other| *other != feature);
        let line = nested(&first.chain(other).collect::<Vec<_>>(), &command_of(after));
        return Some(Error::usage(what).why(text("habit.flag.nest")).paste(line));
    }
    let other = owner_of(flag)?;
    let why = text_with("habit.flag.other", &[("other", &other)]);
    Some(Error::usage(what).why(why).paste(format!("sandbox {other} --help")))
}

/// `sandbox --pid --net bash`, `sandbox unshare -pf bash`.
fn unshare(words: &[String]) -> Error {
    let flags = words.iter().take_while(|word| word.starts_with('-') && *word != "--");
    let mut features: Vec<Feature> = flags.flat_map(|flag| namespaces_of(flag)).collect();
    features.dedup();
    let error = Error::usage(text("habit.unshare.what"));
    let error = if features.len() > 1 { error.why(text("habit.flag.nest")) } else { error };
    if features.is_empty() {
        features.push(Feature::Pid);
    }
    error.paste(nested(&features, &command_of(words)))
}

/// `sandbox bash`.
fn of_command(words: &[String]) -> Error {
    let error = Error::usage(text_with("habit.command.what", &[("word", &words[0])]));
    error.why(text("habit.command.hint")).paste(nested(&[Feature::Pid], words))
}

/// `sandbox pid -- sandbox net -- bash`.
fn nested(features: &[Feature], command: &[String]) -> String {
    let mut out = String::new();
    for feature in features {
        out.push_str(&format!("sandbox {feature} -- "));
    }
    let bash = ["bash".to_owned()];
    let command = if command.is_empty() { &bash[..] } else { command };
    out + &command_line(command)
}

/// The words after the flags.
fn command_of(words: &[String]) -> Vec<String> {
    words.iter().skip_while(|word| word.starts_with('-')).cloned().collect()
}

/// Inserts `--` before the command, which unshare(1) takes without it.
fn with_dashes<'a>(words: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut out: Vec<String> = words.cloned().collect();
    let command = out.iter().skip(1).position(|word| !word.starts_with('-'));
    if let Some(place) = command.filter(|_| !out.iter().any(|word| word == "--")) {
        out.insert(place + 1, "--".into());
    }
    out
}

fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let words: Vec<S> = words.into_iter().collect();
    command_line(std::iter::once("sandbox").chain(words.iter().map(AsRef::as_ref)))
}

/// The feature whose subcommand has this name or alias.
fn feature_of(word: &str) -> Option<Feature> {
    let has_name = |feature: &Feature| feature.name() == word || feature.aliases().contains(&word);
    Feature::WITH_SUBCOMMAND.iter().copied().find(has_name)
}

fn is_namespaces(flag: &str) -> bool {
    !namespaces_of(flag).is_empty()
}

/// The namespaces that flags of unshare(1) name: `--pid`, `--mount=...`, `-p`, `-pf`.
fn namespaces_of(flag: &str) -> Vec<Feature> {
    if let Some(name) = flag.strip_prefix("--") {
        return feature_of(name.split('=').next().unwrap_or(name)).into_iter().collect();
    }
    let letters = flag.strip_prefix('-').unwrap_or_default();
    let of = |letter| LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, feature)| *feature);
    if letters.chars().all(|letter| of(letter).is_some() || "rfc".contains(letter)) {
        letters.chars().filter_map(of).collect()
    } else {
        Vec::new()
    }
}

/// The subcommand that has this flag.
fn owner_of(flag: &str) -> Option<String> {
    let name = flag.strip_prefix("--")?;
    let mut all = super::definition();
    all.build();
    let has = |command: &clap::Command| command.get_arguments().any(|own| own.get_long() == Some(name));
    all.get_subcommands().find(|command| has(command)).map(|command| command.get_name().to_owned())
}
