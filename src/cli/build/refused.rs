//! The flags of `docker build` that `build` does not have. Each is refused by its name, with the reason.

use std::ffi::OsString;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::error::{Error, Result};
use crate::image::manifest::Platform;
use crate::text::{text, text_with};

/// The names of the flags, and the key of the message that says why. A name that ends in `=` takes a value.
const REFUSED: [(&str, &str); 9] = [
    ("platform=", "build.flag.platform"),
    ("add-host= shm-size= ulimit= security-opt= allow= isolation=", "build.flag.container"),
    (
        "memory= memory-swap= cpu-period= cpu-quota= cpu-shares= cpuset-cpus= cpuset-mems= cgroup-parent=",
        "build.flag.limits",
    ),
    ("cache-from= cache-to= no-cache-filter=", "build.flag.cache"),
    ("push", "build.flag.push"),
    ("squash", "build.flag.squash"),
    ("ssh= build-context=", "build.flag.source"),
    ("annotation= attest= provenance= sbom= metadata-file=", "build.flag.attest"),
    ("call= check", "build.flag.check"),
];

/// Those that change nothing here, so that a script which has them works.
const WITHOUT_EFFECT: &str = "compress disable-content-trust load builder=";

/// The flags of a command line that are refused: their names, and the keys of the reasons.
#[derive(Debug)]
pub(super) struct RefusedFlags(Vec<(&'static str, &'static str)>);

/// Whether this machine has the platform.
fn is_here(platform: Platform) -> bool {
    platform.suits(&Platform::here())
}

/// All flags, with the key of the reason.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFUSED.iter().flat_map(|(names, why)| names.split(' ').map(|name| (name, *why)))
}

/// Adds a flag that the help does not show.
fn with(command: clap::Command, written: &'static str) -> clap::Command {
    let name = written.trim_end_matches('=');
    let argument = Arg::new(name)
        .long(name)
        .hide(true)
        .action(ArgAction::Append)
        .value_parser(OsStringValueParser::new());
    let argument = match (name, written.ends_with('=')) {
        ("memory", _) => argument.short('m'),
        ("cpu-shares", _) => argument.short('c'),
        (_, true) => argument,
        (_, false) => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
    };
    command.arg(argument)
}

impl Args for RefusedFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        all().map(|(written, _)| written).chain(WITHOUT_EFFECT.split(' ')).fold(command, with)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        RefusedFlags::augment_args(command)
    }
}

impl FromArgMatches for RefusedFlags {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<RefusedFlags, clap::Error> {
        let is_refused = |name: &str, value: &OsString| match name {
            // What is built is for this machine.
            "platform" if value.is_empty() => false,
            "platform" => !value.to_str().and_then(|value| value.parse().ok()).is_some_and(is_here),
            // An empty value is none, as with Docker: `--memory "$LIMIT"`.
            _ => value != "false" && !value.is_empty(),
        };
        let is_given = |name: &str| {
            let values = matches.get_many::<OsString>(name);
            values.into_iter().flatten().any(|value| is_refused(name, value))
        };
        let named = all().map(|(written, why)| (written.trim_end_matches('='), why));
        Ok(RefusedFlags(named.filter(|(name, _)| is_given(name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = RefusedFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RefusedFlags {
    /// Fails if there is one.
    ///
    /// # Errors
    /// There is one: a wrong command line.
    pub(super) fn check(&self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, why)) => Err(Error::usage(text_with("build.flag", &[("flag", name)])).why(text(why))),
        }
    }
}
