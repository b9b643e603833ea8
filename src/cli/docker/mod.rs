//! The flags of `docker run` and `docker create`: their table, what they ask for, and how that becomes a spec.

mod flags;
mod mounts;
mod notes;
mod privileges;
pub(super) mod wanted;

use std::ffi::{OsStr, OsString};

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use self::flags::{DockerFlag, FLAGS, Meaning, Takes};
pub(super) use self::mounts::WantedVolume;
#[cfg(feature = "images")]
pub(super) use self::wanted::Pull;
pub(super) use self::wanted::Wanted;
use self::wanted::wrong_value;
use crate::error::{Error, Result};
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// The flags of a command line, in their order.
#[derive(Debug, Default)]
pub(super) struct DockerArgs {
    /// The number of the flag in the table, and its value.
    given: Vec<(usize, OsString)>,
}

/// The heading of these flags in the help.
const HEADING: &str = "Docker's flags, also with a spec";

impl Args for DockerArgs {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        for flag in FLAGS {
            let mut argument = Arg::new(flag.long)
                .long(flag.long)
                .action(ArgAction::Append)
                .value_parser(OsStringValueParser::new())
                .help_heading(HEADING)
                .hide(matches!(flag.meaning, Meaning::Refused(_)));
            argument = match flag.takes {
                Takes::Nothing => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
                Takes::Value | Takes::Pair(_) => argument.allow_hyphen_values(true),
            };
            if let Some(short) = flag.short {
                argument = argument.short(short);
            }
            let (value, help) = flag.help;
            argument = argument.value_name(if value.is_empty() { "true|false" } else { value });
            command = command.arg(argument.help(help).hide_possible_values(true));
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        DockerArgs::augment_args(command)
    }
}

impl FromArgMatches for DockerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<DockerArgs, clap::Error> {
        let mut given: Vec<(usize, usize, OsString)> = Vec::new();
        for (number, flag) in FLAGS.iter().enumerate() {
            let values = matches.get_many::<OsString>(flag.long).into_iter().flatten();
            let places = matches.indices_of(flag.long).into_iter().flatten();
            given.extend(values.zip(places).map(|(value, place)| (place, number, value.clone())));
        }
        given.sort();
        Ok(DockerArgs { given: given.into_iter().map(|(_, number, value)| (number, value)).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = DockerArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl DockerArgs {
    /// What they ask for.
    ///
    /// # Errors
    /// A flag is not supported, or has a wrong value.
    pub(super) fn wanted(&self) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for (number, value) in &self.given {
            let flag = &FLAGS[*number];
            let wrong = |why: String| wrong_value(flag.long, value).why(why);
            if flag.takes == Takes::Nothing && !boolean(value.to_str().unwrap_or_default()).map_err(wrong)? {
                continue;
            }
            match flag.meaning {
                Meaning::Key(keys) => {
                    wanted.key(flag.long, value, filled(flag, keys, value).map_err(wrong)?);
                }
                Meaning::Note(note) => {
                    note(&mut wanted, value).map_err(wrong)?;
                    if has_no_key(flag.long, value, &wanted) {
                        wanted.without_key.push(written(flag, value));
                    }
                }
                Meaning::Refused(why) => {
                    let what = text_with("docker.refused", &[("flag", &format!("--{}", flag.long))]);
                    return Err(Error::usage(what).why(text(why)));
                }
            }
        }
        // Docker reads the files first.
        let labels = std::mem::take(&mut wanted.labels);
        wanted.labels = std::mem::take(&mut wanted.file_labels);
        wanted.labels.extend(labels);
        Ok(wanted)
    }
}

/// The flags that have no key in a spec.
const WITHOUT_KEY: [&str; 14] = [
    "add-host",
    "detach-keys",
    "dns",
    "expose",
    "group-add",
    "label",
    "label-file",
    "link",
    "platform",
    "privileged",
    "publish-all",
    "pull",
    "user",
    "volumes-from",
];

/// Whether a flag that was noted just now has no key in a spec.
fn has_no_key(flag: &str, value: &OsStr, wanted: &Wanted) -> bool {
    match flag {
        "volume" | "mount" => wanted.ends_with_volume(),
        "security-opt" => {
            let starts = [&b"systempaths"[..], b"seccomp={", b"seccomp:{"];
            starts.iter().any(|start| value.as_encoded_bytes().starts_with(start))
        }
        flag => WITHOUT_KEY.contains(&flag),
    }
}

/// A flag as it is written on a command line.
fn written(flag: &DockerFlag, value: &OsStr) -> String {
    match flag.takes {
        Takes::Nothing => format!("--{}", flag.long),
        _ => format!("--{} {}", flag.long, quote(value)),
    }
}

/// Reads a truth value as Docker does.
fn boolean(value: &str) -> std::result::Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(text("docker.boolean")),
    }
}

/// The keys of a spec for a flag with this value.
fn filled(flag: &DockerFlag, keys: &str, value: &OsStr) -> std::result::Result<String, String> {
    let value = value.to_str().ok_or_else(|| text("docker.utf8"))?;
    Ok(match flag.takes {
        Takes::Nothing => keys.to_owned(),
        Takes::Value => put(keys, "{}", value),
        Takes::Pair(separator) => {
            let (a, b) = value.split_once(separator).ok_or_else(|| text("docker.pair"))?;
            // The name of a kernel parameter has no braces. Its value can have them.
            put(&put(keys, "{a}", a), "{b}", b)
        }
    })
}

/// Puts a value into a line of YAML. It is quoted where it would mean something else than a string.
fn put(spec: &str, place: &str, value: &str) -> String {
    // JSON is YAML.
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let string = spec.split('"').find(|part| part.contains(place)).filter(|_| spec.contains('"'));
    if let Some(string) = string.filter(|string| spec.contains(&format!("\"{string}\""))) {
        return spec.replace(&format!("\"{string}\""), &json(&string.replace(place, value)));
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    let is_safe = !value.is_empty() && value.chars().all(is_plain);
    spec.replace(place, &if is_safe { value.to_owned() } else { json(value) })
}
