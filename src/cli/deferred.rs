//! A subcommand's flags, defined only when that subcommand is the one. Every run would else build the flags of all of them:
//! about 100 KiB of memory, whose page faults were a tenth of a short run's time.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// `A`, defined late.
#[derive(Debug)]
pub(super) struct Deferred<A>(pub(super) A);

impl<A: Args> Args for Deferred<A> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| keep_about(command, A::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| keep_about(command, A::augment_args_for_update))
    }
}

/// What a subcommand is for stands on it already; the flags' own description would take its place.
fn keep_about(command: Command, define: fn(Command) -> Command) -> Command {
    let about = command.get_about().cloned();
    let command = define(command);
    match about {
        Some(about) => command.about(about),
        None => command,
    }
}

impl<A: FromArgMatches> FromArgMatches for Deferred<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches(matches).map(Deferred)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
