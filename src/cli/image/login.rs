//! `sandbox login` and `sandbox logout`: the passwords for registries.

use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::as_docker;
use super::pull::RegistryArgs;
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::DOCKER;
use crate::image::registry::login::{self as registry_login, PasswordPlace};
use crate::image::registry::{Login, RegistryOptions};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};

/// The flags of `login`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct LoginArgs {
    /// The registry; the default is docker.io
    #[arg(value_name = "REGISTRY", default_value = DOCKER)]
    server: String,
    /// The user name
    #[arg(long, short, value_name = "NAME")]
    username: Option<String>,
    /// The password. Other users of the machine can see it in the list of processes
    #[arg(long, short, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `logout`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct LogoutArgs {
    /// The registry; the default is docker.io
    #[arg(value_name = "REGISTRY", default_value = DOCKER)]
    server: String,
    /// Remove the passwords of all registries
    #[arg(long, short)]
    all: bool,
    /// The file with credentials, instead of those of podman and Docker
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The host of what a person writes, which may be an address.
fn host(written: &str) -> &str {
    let bare = written.trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER,
        host => host,
    }
}

/// Asks the registry, and stores the password.
pub(crate) fn login(color: Color, args: &LoginArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let options = args.registry.options();
    let given = match &options.login {
        Some(login) => login.clone(),
        None => asked(args)?,
    };
    let place = registry_login::login(host(&args.server), &given, &options, &args.explain.tell());
    let place = match place.map_err(as_docker)? {
        PasswordPlace::File(path) => text_with("image.login.file", &[("path", &printed(path))]),
        PasswordPlace::Helper(program) => text_with("image.login.helper", &[("program", &program)]),
    };
    render::out(&(text("image.login.done") + "\n"));
    render::note(&place);
    Ok(0)
}

/// The user and the password, from the flags, standard input or the terminal.
fn asked(args: &LoginArgs) -> Result<Login> {
    let refused = |key: &str| Error::new(ExitKind::Refused, text(key));
    let is_terminal = std::io::stdin().is_terminal();
    let user = match &args.username {
        Some(user) => user.clone(),
        None if is_terminal && !args.password_stdin => prompt("Username: ")?,
        None => return Err(refused("image.login.user")),
    };
    let password = match &args.password {
        Some(password) => {
            render::err(&(text("image.login.insecure") + "\n"));
            password.clone()
        }
        None if args.password_stdin => {
            let mut read = String::new();
            let cannot = |_| refused("image.login.password");
            std::io::stdin().take(64 << 10).read_to_string(&mut read).map_err(cannot)?;
            read.trim_end_matches(['\n', '\r']).to_owned()
        }
        None if is_terminal => without_echo(|| prompt("Password: "))?,
        None => return Err(refused("image.login.password")),
    };
    if password.is_empty() || user.is_empty() {
        return Err(refused(if user.is_empty() { "image.login.user" } else { "image.login.password" }));
    }
    Ok(Login { user, password })
}

fn prompt(title: &str) -> Result<String> {
    render::err(title);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Error::new(ExitKind::Refused, text("image.login.user")).call("read(0)", error))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Does something while the terminal does not show what is typed.
fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    let before = tcgetattr(std::io::stdin()).ok();
    if let Some(mut silent) = before.clone() {
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent);
    }
    let result = read();
    if let Some(before) = before {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        render::err("\n");
    }
    result
}

/// Removes the password.
pub(crate) fn logout(color: Color, args: &LogoutArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let options = RegistryOptions {
        auth_file: args.authfile.clone(),
        note: render::note,
        ..RegistryOptions::default()
    };
    let registry = host(&args.server);
    let chosen = Some(registry).filter(|_| !args.all);
    let was_there = registry_login::logout(chosen, &options, &args.explain.tell()).map_err(as_docker)?;
    let key = match (args.all, was_there) {
        (true, _) => "image.logout.all",
        (false, true) => "image.logout.done",
        (false, false) => "image.logout.none",
    };
    render::out(&(text_with(key, &[("registry", registry)]) + "\n"));
    Ok(0)
}
