//! `sandbox exec NAME COMMAND`: runs a further process in a running container.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{self, OutputArgs};
use super::target::Target;
use super::watch::Narrator;
use crate::config::exec::{self as config_exec, ExecRequest};
use crate::config::spec::Spec;
use crate::error::{Error, ExitKind, Result};
use crate::exec::{self, Background, sweep};
use crate::host::accounts::Accounts;
use crate::plan::Streams;
use crate::render::paint::{Color, Stream, decide};
use crate::security::run_as::RunAs;
use crate::text::{printed, text, text_with};

/// The flags of `exec`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(override_usage = "sandbox exec [OPTIONS] NAME COMMAND [ARGUMENT]...")]
pub(super) struct ExecArgs {
    /// Give the command your standard input. Without it, the command reads /dev/null
    #[arg(long, short)]
    interactive: bool,
    /// Give the command a new terminal
    #[arg(long, short)]
    tty: bool,
    /// Run the command in the background, with /dev/null as its standard streams. It ends with the container
    #[arg(long, short)]
    detach: bool,
    /// Set an environment variable of the command; without a value, it is the one of your environment (may be repeated)
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Read environment variables from a file: NAME=VALUE or NAME on each line (may be repeated)
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The user of the command. A name is looked up in /etc/passwd and /etc/group of the container; a number is an ID
    #[arg(long, short, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<OsString>,
    /// The working directory of the command, a path in the container
    #[arg(long, short, value_name = "DIRECTORY")]
    workdir: Option<PathBuf>,
    /// Give the command all capabilities that you have. Only for a container that you trust
    #[arg(long)]
    privileged: bool,
    /// A flag of docker exec that is refused by name
    #[arg(long, hide = true, value_name = "KEYS")]
    detach_keys: Option<OsString>,
    #[command(flatten)]
    output: OutputArgs,
    /// A running container: its name (`name` in its spec), or the PID of its command. Then the command, as it is: every
    /// word after NAME belongs to it
    #[arg(value_names = ["NAME", "COMMAND"], num_args = 2.., required = true, trailing_var_arg = true)]
    target: Vec<OsString>,
}

/// Runs the command.
pub(super) fn run(color: Color, mut args: ExecArgs) -> Result<u8> {
    // The container runs already, and was announced when it started.
    args.output.be_quiet();
    let output = &args.output;
    decide(color, if output.dry_run { Stream::Out } else { Stream::Err });
    output.check_format(true)?;
    if args.detach_keys.is_some() {
        return Err(Error::usage(text("exec.with.keys")).why(text("exec.with.keys.reason")));
    }
    if output.print_spec {
        return Err(Error::usage(text("exec.with.spec")));
    }
    let command = args.target.split_off(1);
    let name = args.target.pop().unwrap_or_default();
    let target: Target = match name.to_str() {
        Some(name) => name.parse().map_err(Error::usage)?,
        None => return Err(Error::usage(text("run.target.form"))),
    };
    if !output.dry_run {
        output::protect_program();
    }
    // The subject is open until the end. Its namespaces are opened by what the kernel shows for it, and are checked then.
    let subject = target.open()?;
    let Some((config, container)) = sweep::config_of(subject.pid)? else {
        let pid = subject.pid.to_string();
        return Err(Error::failed(text_with("exec.with.other", &[("pid", &pid)]))
            .todo(text_with("exec.with.other.todo", &[("pid", &pid)])));
    };
    let accounts = Accounts::of(Path::new(&crate::config::enter::root(subject.pid)));
    let accounts =
        accounts.map_err(|error| Error::failed(text("exec.with.root")).why(crate::error::io_text(&error)))?;
    let user = args.user.as_deref().map(|user| user_of(user, &accounts)).transpose()?;
    let request = ExecRequest {
        pid: subject.pid,
        container,
        arguments: command.clone(),
        variables: variables(&args)?,
        home: user.as_ref().map(|(_, home)| home.clone()),
        user: user.map(|(user, _)| user),
        directory: args.workdir.clone(),
        privileged: args.privileged,
        streams: match (args.tty, args.detach, args.interactive) {
            (true, _, _) => Streams::Terminal,
            (false, true, _) => Streams::Null,
            (false, false, true) => Streams::Pipes,
            (false, false, false) => Streams::Output,
        },
        view: output.show_proc,
    };
    let plan = config_exec::plan(config, request)?;
    if subject.has_ended() {
        return Err(Error::failed(text("exec.with.gone")));
    }
    if output.dry_run {
        output::print_plan(&plan, output);
        return Ok(0);
    }
    if args.tty && args.interactive && !args.detach && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Error::failed(text("run.notty.what"))
            .why(text("run.notty.why"))
            .todo(text("run.notty.todo")));
    }
    let copy = match args.detach {
        false => None,
        true => match exec::continue_in_background()? {
            Background::Caller(status) => return Ok(status),
            Background::Copy(copy) => Some(copy),
        },
    };
    let spec = Spec { command, ..Spec::default() };
    let is_background = copy.is_some();
    let container = subject.into_pidfd();
    let watched = container.try_clone().ok();
    let ran = output::run_after(&plan, output, &mut Narrator::new(output, &spec), |started| {
        started.end_with(container);
        if !args.interactive || is_background {
            started.give_no_input();
        }
        copy.into_iter().for_each(exec::Copy::started);
    });
    // A step that fails because the container has ended has an errno that says something else.
    ran.map_err(|error| {
        match error.kind == ExitKind::Failed && watched.is_some_and(|pidfd| exec::is_ending(&pidfd)) {
            true => Error::failed(text("exec.with.gone")),
            false => error,
        }
    })
}

/// The variables that the command line adds, as `NAME=VALUE`: first those of the files.
fn variables(args: &ExecArgs) -> Result<Vec<OsString>> {
    let mut all = Vec::new();
    for path in &args.env_file {
        let content = fs::read(path).map_err(|error| {
            let path = printed(path);
            Error::failed(text_with("exec.with.file", &[("path", &path)])).why(crate::error::io_text(&error))
        })?;
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
            if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
                let place = [("path", &*printed(path)), ("line", &(index + 1).to_string())];
                return Err(Error::failed(text_with("exec.with.line", &place)));
            }
            all.extend(variable(OsStr::from_bytes(line)));
        }
    }
    for one in &args.env {
        if one.is_empty() || one.as_bytes().starts_with(b"=") {
            return Err(Error::usage(text_with("exec.with.env", &[("value", &printed(one))])));
        }
        all.extend(variable(one));
    }
    Ok(all)
}

/// `NAME=VALUE` as it is, and `NAME` with its value in the caller's environment, if it has one.
fn variable(written: &OsStr) -> Option<OsString> {
    if written.as_bytes().contains(&b'=') {
        return Some(written.to_owned());
    }
    let value = std::env::var_os(written)?;
    Some([written, &value].join(OsStr::new("=")))
}

/// The user that `USER[:GROUP]` means, and the home directory of that user.
fn user_of(written: &OsStr, accounts: &Accounts) -> Result<(RunAs, PathBuf)> {
    let shown = printed(written);
    let wrong = |key: &str| Error::failed(text_with(key, &[("user", &shown)]));
    let unread = |error: std::io::Error| wrong("exec.with.unread").why(crate::error::io_text(&error));
    let bytes = written.as_bytes();
    let (user, group) = match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..])),
        None => (bytes, None),
    };
    // What begins like a number is one, or a mistake: /etc/passwd of a container may have a line with the name 1000.
    let id = |part: &[u8]| -> Result<Option<u32>> {
        match part.first() {
            None => Err(wrong("exec.with.user.empty")),
            Some(first) if first.is_ascii_digit() || b"+- ".contains(first) => {
                let number = std::str::from_utf8(part).ok().and_then(|part| part.parse::<RunAs>().ok());
                let number = number.filter(|_| !part.contains(&b':'));
                number.map(|number| Some(number.uid)).ok_or_else(|| wrong("exec.with.user.id"))
            }
            Some(_) => Ok(None),
        }
    };
    let account = match id(user)? {
        Some(uid) => Err(uid),
        None => Ok(accounts.user(user).map_err(unread)?.ok_or_else(|| wrong("exec.with.user.none"))?),
    };
    let (uid, own_gid, home) = match account {
        Ok(account) => (account.uid, account.gid, account.home),
        // Without an account, the group has the same number, as in `run_as`.
        Err(uid) => (uid, uid, accounts.user_of(uid).and_then(|account| account.home)),
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match id(group)? {
            Some(gid) => gid,
            None => accounts.group(group).map_err(unread)?.ok_or_else(|| wrong("exec.with.group.none"))?,
        },
    };
    let home = home.unwrap_or_else(|| if uid == 0 { "/root" } else { "/" }.into());
    Ok((RunAs { uid, gid }, home))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An evil /etc/passwd that gives each name, also those that are numbers, the ID 0.
    #[test]
    fn a_number_is_never_looked_up() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let names =
            ["1", "01", "1:1", "4294967296", "2147483648", "-1", "0x0", "1 ", "99999999999999", "+1", " 1"];
        let lines: String = names.iter().map(|name| format!("{name}:x:0:0::/:/bin/sh\n")).collect();
        fs::write(root.path().join("etc/passwd"), format!("{lines}bob:x:1001:1002::/home/bob:\n")).unwrap();
        fs::write(root.path().join("etc/group"), "1:x:0:\nstaff:x:50:\n").unwrap();
        let accounts = Accounts::of(root.path()).unwrap();
        let user = |user: &str| user_of(user.as_ref(), &accounts).map(|(user, _)| (user.uid, user.gid));
        for name in names {
            match user(name) {
                Ok((uid, gid)) => {
                    assert!(uid != 0 && gid != 0 && name.starts_with(&uid.to_string()), "{name} {uid}")
                }
                Err(error) => assert!(error.what.contains("ID"), "{name}: {error}"),
            }
        }
        assert_eq!(user("2147483648"), Ok((2_147_483_648, 2_147_483_648)));
        assert_eq!(user("bob"), Ok((1001, 1002)));
        assert_eq!(user("bob:staff"), Ok((1001, 50)));
        assert_eq!(user("7:staff"), Ok((7, 50)));
        assert_eq!(user("bob:7"), Ok((1001, 7)));
        for wrong in ["", ":", "bob:", ":staff", "alice", "bob:none", "bob:staff:7", "1:0x1", "bob:-1"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
        assert_eq!(user_of("bob".as_ref(), &accounts).unwrap().1, Path::new("/home/bob"));
        assert_eq!(user_of("7".as_ref(), &accounts).unwrap().1, Path::new("/"));
    }
}
