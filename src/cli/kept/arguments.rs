//! Wrong command lines of the commands that are Docker's: the exit statuses and the messages of its client. 125: a wrong flag or value;
//! 1: missing or surplus arguments, an unknown subcommand, and a value that Docker's daemon reads.
//!
//! Commands that Docker does not have return 2 for all of these. So do `run` and `create` of a spec, which only we have, and
//! `build`, which has flags and arguments of ours. Only for values that Docker's daemon reads, they have Docker's statuses too.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::words;
use crate::error::{Error, ExitKind};
use crate::text::{printed, text_with};

/// The commands that are Docker's.
const COMMANDS: [&str; 40] = [
    "attach",
    "builder",
    "commit",
    "container",
    "cp",
    "diff",
    "events",
    "exec",
    "export",
    "history",
    "image",
    "images",
    "import",
    "inspect",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "pause",
    "port",
    "ps",
    "pull",
    "push",
    "rename",
    "restart",
    "rm",
    "rmi",
    "save",
    "search",
    "start",
    "stats",
    "stop",
    "system",
    "tag",
    "top",
    "unpause",
    "update",
    "volume",
    "wait",
];

/// The commands of these nouns that are ours, or that are excluded as `build` is.
const OURS: [&str; 6] = ["build", "diff", "from-host", "tree", "verify", "which"];

/// How a wrong command line ends.
pub(in crate::cli) enum WrongLine {
    /// With this message instead of clap's.
    Told(Error),
    /// With clap's message and this status.
    Status(u8),
}

/// Whether Docker has this command.
pub(in crate::cli) fn is_dockers(command: &str) -> bool {
    COMMANDS.contains(&command)
}

/// How a wrong line of one of Docker's commands ends. None: it ends as a wrong line of a command of ours.
pub(in crate::cli) fn wrong_line(
    arguments: &[OsString],
    error: &clap::Error,
    definition: &Command,
) -> Option<WrongLine> {
    let (place, own, path) = words::subcommand(arguments, definition)?;
    let names: Vec<&str> = path.split(' ').collect();
    let command = names.last().copied().unwrap_or_default();
    if let Some(status) = value_status(command, error) {
        return Some(WrongLine::Status(status));
    }
    let is_ours = match names[..] {
        ["run" | "create"] | ["container", "run" | "create"] => !words::has_image(arguments, place, &own),
        [one] => !is_dockers(one),
        [noun, action, ..] => {
            !is_dockers(noun) || OURS.contains(&action) && (noun, action) != ("container", "diff")
        }
        [] => true,
    };
    if is_ours {
        return None;
    }
    let refused = || WrongLine::Status(ExitKind::Refused.status());
    Some(match error.kind() {
        // Docker's client prints the help to standard error here.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            WrongLine::Status(0)
        }
        ErrorKind::InvalidSubcommand => {
            let word = match error.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(word)) => printed(word),
                _ => String::new(),
            };
            let line = ["sandbox", &path, &word].join(" ");
            let told = Error::new(ExitKind::Refused, text_with("docker.unknown", &[("command", &line)]));
            WrongLine::Told(told.paste(format!("sandbox {path} --help")))
        }
        ErrorKind::MissingRequiredArgument => WrongLine::Told(counted(&path, &own, true)),
        ErrorKind::UnknownArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) if !word.starts_with('-') || word == "-" => {
                WrongLine::Told(counted(&path, &own, false))
            }
            _ => WrongLine::Status(ExitKind::Failed.status()),
        },
        // Two flags that exclude each other: of `update` the daemon says so; other such flags are ours.
        ErrorKind::ArgumentConflict if command == "update" => refused(),
        ErrorKind::ArgumentConflict => return None,
        // `exec` needs a command too.
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues if !is_of_flag(error) => {
            WrongLine::Told(counted(&path, &own, true))
        }
        ErrorKind::InvalidValue
        | ErrorKind::ValueValidation
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::NoEquals => WrongLine::Status(ExitKind::Failed.status()),
        _ => return None,
    })
}

/// The exit status of a wrong value of a flag whose value Docker's daemon reads. None: that of any wrong value.
fn value_status(command: &str, error: &clap::Error) -> Option<u8> {
    let (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(ContextValue::String(flag))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    match (command, flag.split(' ').next().unwrap_or_default()) {
        ("kill" | "stop" | "restart", "--signal")
        | ("events" | "logs", "--since" | "--until")
        | ("inspect", "--type")
        | ("create", "--restart" | "--stop-signal")
        | ("update", _) => Some(ExitKind::Refused.status()),
        ("run", "--restart" | "--stop-signal") => Some(ExitKind::Failed.status()),
        _ => None,
    }
}

/// Whether an error is about a flag, and not about an argument, which clap writes as `<NAME>`.
fn is_of_flag(error: &clap::Error) -> bool {
    matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if word.starts_with('-'))
}

/// That a command has too few or too many arguments, in Docker's words.
fn counted(path: &str, own: &Command, is_missing: bool) -> Error {
    let positionals: Vec<_> = own.get_positionals().collect();
    let bounds = |argument: &&clap::Arg| argument.get_num_args().unwrap_or_else(|| 1.into());
    let most = positionals.iter().fold(0_usize, |sum, one| {
        let is_list = matches!(one.get_action(), clap::ArgAction::Append);
        sum.saturating_add(if is_list { usize::MAX } else { bounds(one).max_values() })
    });
    let needed = positionals.iter().filter(|one| one.is_required_set());
    let least: usize = needed.map(|one| bounds(one).min_values().max(1)).sum();
    // `stop` needs a name only without --demo.
    let least = if is_missing { least.max(1) } else { least };
    let key = match (least, most) {
        (_, 0) => "docker.arguments.none",
        (least, most) if least == most => "docker.arguments.exactly",
        (_, usize::MAX) => "docker.arguments.least",
        (0, _) => "docker.arguments.most",
        _ => "docker.arguments.range",
    };
    let counts = |count: usize| format!("{count} argument{}", if count == 1 { "" } else { "s" });
    let values = [
        ("path", &*format!("sandbox {path}")),
        ("least", &*counts(least)),
        ("least_number", &*least.to_string()),
        ("most", &*counts(most)),
    ];
    Error::new(ExitKind::Refused, text_with(key, &values)).paste(format!("sandbox {path} --help"))
}

/// Makes each flag that needs a value take the next word for it, whatever that is, as Docker's client does.
pub(in crate::cli) fn with_any_values(command: Command) -> Command {
    let has_value = |argument: &clap::Arg| {
        !argument.is_positional()
            && argument.get_action().takes_values()
            && argument.get_num_args().is_none_or(|count| count.min_values() > 0)
    };
    command
        .mut_args(|argument| if has_value(&argument) { argument.allow_hyphen_values(true) } else { argument })
        .mut_subcommands(|inner| match OURS.contains(&inner.get_name()) {
            true => inner,
            false => with_any_values(inner),
        })
}
