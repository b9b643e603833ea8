//! The command line: parses it, and calls what each subcommand does. There are no system calls here.

#[cfg(test)]
mod advised;
#[cfg(feature = "images")]
mod build;
mod caller;
mod cards;
mod commands;
mod compare;
mod completions;
#[cfg(feature = "daemon")]
mod daemon;
#[cfg(feature = "daemon")]
mod daemon_service;
mod docker;
mod doctor;
mod enter;
mod exec;
mod exec_limits;
mod explain;
mod feature;
mod gc;
mod habits;
#[cfg(feature = "images")]
mod image;
mod kept;
mod ledger;
mod lesson;
mod namespaces;
mod output;
mod pages;
mod paging;
mod prepare;
mod run;
mod source;
mod spec;
#[cfg(feature = "images")]
mod system;
mod target;
mod terminal;
mod verify;
mod watch;
mod welcome;
mod without;
mod words;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use self::commands::{Cli, Command};
use self::kept::arguments::WrongLine;
use self::output::Format;
#[cfg(test)]
pub(crate) use self::pages::key_of;
use crate::error::{Error, ExitKind, Result};
use crate::exec::sweep::{self, Swept};
use crate::host::home;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{Language, printed, text, text_with, wrap};

/// Parses the command line, performs it, and returns the exit status.
///
/// Rust's runtime has already opened /dev/null for each standard descriptor that was closed. It also ignores SIGPIPE,
/// so a write to a pipe without a reader is an error and does not kill the process.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    crate::sys::signal::take_over();
    if let Some(error) = caller::refused_privilege().or_else(caller::small_stack) {
        return report(Color::Auto, &error);
    }
    Language::of_locale().set();
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.len() < 2 {
        decide(Color::Auto, Stream::Out);
        render::out(&welcome::text_of());
        return finish(Color::Auto, Ok(0));
    }
    let (cli, is_json) = match parse(&arguments).and_then(|parsed| started(parsed, &arguments)) {
        Ok(parsed) => parsed,
        Err(mut error) => {
            // An answer has a line to paste. For arguments that are not UTF-8, there is none.
            let words: Option<Vec<String>> =
                arguments.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
            // The exit status is that of the typed command.
            let with_status =
                |wrong: Error| match kept::arguments::wrong_line(&arguments, &error, &Cli::command()) {
                    Some(_) => kept::as_dockers_line(wrong),
                    None => wrong,
                };
            if let Some(answer) = words.and_then(|words| habits::answer(&words, &error)) {
                return report(Color::Auto, &with_status(answer));
            }
            if error.kind() == ErrorKind::InvalidUtf8 {
                return report(Color::Auto, &caller::bad_bytes(&arguments));
            }
            if let Some(wrong) = wrong_switch(&error) {
                return report(Color::Auto, &with_status(wrong));
            }
            if error.kind() == ErrorKind::UnknownArgument {
                // clap advises `-- --foo`, which would be a word of the command, or the name of an image.
                let _ = error.remove(ContextKind::Suggested);
            }
            // clap reports help and the version as errors too, but for standard output.
            if error.use_stderr() {
                let status = match kept::arguments::wrong_line(&arguments, &error, &Cli::command()) {
                    Some(WrongLine::Told(error)) => return report(Color::Auto, &error),
                    Some(WrongLine::Status(status)) => status,
                    None => ExitKind::Usage.status(),
                };
                decide(Color::Auto, Stream::Err);
                let words = styled(&error);
                let words = match number_error(&error) {
                    Some(why) => words.replace(&why, &text("common.number")),
                    None => words,
                };
                render::err(&narrow(&words));
                return status;
            }
            decide(Color::Auto, Stream::Out);
            // The help is built again with examples. They are added only here, because they would slow down every run.
            let longer = match error.kind() {
                ErrorKind::DisplayHelp => definition().try_get_matches_from(&arguments).err(),
                _ => None,
            };
            render::out(&styled(&longer.unwrap_or(error)));
            return finish(Color::Auto, Ok(0));
        }
    };
    render::set_stable(cli.global.stable);
    // Programs read JSON: its texts are the same everywhere.
    let language = if is_json { Some(Language::En) } else { cli.global.lang };
    language.unwrap_or_else(Language::current).set();
    cli.global.home.iter().for_each(|home| home::choose(home));
    // The ledger shows what was left, so it must not be removed before.
    let swept = match cli.command {
        Command::Ledger(_) => Swept::default(),
        // Another command has started it, after its own sweep.
        #[cfg(feature = "images")]
        Command::Unpack(_) | Command::BuildStep(_) => Swept::default(),
        _ => sweep::sweep(),
    };
    if !matches!(cli.command, Command::Gc(_)) {
        gc::warn(&swept);
    }
    let result = cli.command.perform(&cli.global, swept);
    finish(cli.global.color, result)
}

/// The command line, and whether its result is JSON: the flag `--format` of its subcommand, or of a subcommand of that.
fn parse(arguments: &[OsString]) -> std::result::Result<(Cli, bool), clap::Error> {
    let mut command = Cli::command();
    let words = words::for_clap(arguments, &command);
    let mut matches = command.try_get_matches_from_mut(words)?;
    let (mut at, mut is_json) = (&matches, false);
    while let Some((_, sub)) = at.subcommand() {
        is_json |= matches!(sub.try_get_one::<Format>("format"), Ok(Some(Format::Json)));
        at = sub;
    }
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, is_json))
}

/// The text of clap's error or help, with colours if the output has them.
fn styled(error: &clap::Error) -> String {
    let text = error.render();
    match colored::control::SHOULD_COLORIZE.should_colorize() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    }
}

/// The text of clap's error in lines of at most 80 columns. clap wraps only its help. A line that continues another one is indented.
fn narrow(words: &str) -> String {
    let mut all = String::new();
    for line in words.lines() {
        let blanks = line.len() - line.trim_start().len();
        // The line may come from an argument, with any number of blanks before it.
        let indent = " ".repeat(if line.starts_with("Usage: ") { 9 } else { (blanks + 2).min(40) });
        let wrapped = wrap(line.trim_start(), 80 - indent.len());
        for (number, part) in wrapped.iter().enumerate() {
            let margin = if number == 0 { &line[..blanks] } else { &indent };
            all += &format!("{margin}{part}\n");
        }
        if wrapped.is_empty() {
            all.push('\n');
        }
    }
    all
}

/// The error of a switch with a value that is neither true nor false.
fn wrong_switch(error: &clap::Error) -> Option<Error> {
    let is_switch = error.kind() == ErrorKind::TooManyValues;
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) if is_switch => {
            let values = [("flag", flag.as_str()), ("value", &printed(value))];
            Some(Error::usage(text_with("docker.value", &values)).why(text("docker.boolean")))
        }
        _ => None,
    }
}

/// What Rust's library reports about a flag that must be a number. It is written for programmers.
fn number_error(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    let is_number = source.is::<std::num::ParseIntError>() || source.is::<std::num::ParseFloatError>();
    is_number.then(|| source.to_string())
}

/// The exit status. Reports an error, and whether output could not be written.
fn finish(color: Color, result: Result<u8>) -> u8 {
    match (result, render::lost()) {
        (Ok(0), Some(error)) => {
            report(color, &Error::failed(text("common.lost")).call("write(1, ...)", error))
        }
        // The status of the command is more important than lost output.
        (Ok(code), _) => code,
        (Err(error), _) => report(color, &error),
    }
}

fn report(color: Color, error: &Error) -> u8 {
    decide(color, Stream::Err);
    render::err(&render::error::text(error));
    error.kind.status()
}

/// `sandbox lesson NAME --flag` means `sandbox lesson start NAME --flag`. clap takes all words after an unknown one as
/// they are, flags too.
fn started(parsed: (Cli, bool), arguments: &[OsString]) -> std::result::Result<(Cli, bool), clap::Error> {
    let count = match &parsed.0.command {
        Command::Lesson(lesson) => lesson.0.words(),
        _ => 0,
    };
    if count < 2 {
        return Ok(parsed);
    }
    let (before, words) = arguments.split_at(arguments.len() - count);
    let all = before.iter().cloned().chain(std::iter::once("start".into())).chain(words.iter().cloned());
    parse(&all.collect::<Vec<_>>())
}

/// The definition of the command line, for completions, manual pages and tests. clap's `build` adds the arguments of
/// the subcommands.
pub fn definition() -> clap::Command {
    pages::with_examples(Cli::command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_accepts_the_definition() {
        super::definition().debug_assert();
    }

    #[test]
    fn help_is_in_plain_words() {
        let mut definition = super::definition();
        let mut texts = vec![definition.render_long_help().to_string()];
        for subcommand in definition.get_subcommands_mut() {
            texts.push(subcommand.render_long_help().to_string());
            texts
                .extend(subcommand.get_subcommands_mut().map(|action| action.render_long_help().to_string()));
        }
        texts.push(crate::config::spec::schema::schema().to_string());
        texts.extend(crate::config::spec::shipped::ALL.iter().map(|spec| spec.text.to_owned()));
        let lines = texts.iter().flat_map(|text| text.split(['\n', '"']));
        let banned: Vec<String> = lines.flat_map(crate::text::plain::banned_in).collect();
        assert!(banned.is_empty(), "{banned:#?}");
    }
}
