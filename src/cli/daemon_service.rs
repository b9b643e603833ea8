//! `sandbox daemon install` and `uninstall`: the daemon as a service of this machine, of systemd or in /etc/init.d.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

use super::daemon::{ListenArgs, listening};
use super::explain::ExplainArg;
use crate::container::explain::Explainer;
use crate::daemon::service::{DaemonAddress, check_addresses, socket_group};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::home::{self, HomePlace};
use crate::render;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The line by which `uninstall` knows its own files.
const MARK: &str = "# Written by `sandbox daemon install`; `sandbox daemon uninstall` removes it.";

/// The flags of both.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ServiceArgs {
    /// What starts services: systemd, or the scripts in /etc/init.d; the default is what this machine has
    #[arg(long, value_name = "KIND")]
    kind: Option<ServiceKind>,
    /// Work on the files below this directory in place of /, and start or stop nothing
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `install`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    service: ServiceArgs,
}

/// What starts services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServiceKind {
    /// systemd, with a socket that starts the daemon
    Systemd,
    /// A script in /etc/init.d, for service(8)
    Init,
}

/// A file of the service.
struct ServiceFile {
    path: PathBuf,
    content: String,
    mode: u32,
}

/// What is to be done, found by looking.
struct Service<'a> {
    kind: ServiceKind,
    is_root: bool,
    root: Option<&'a Path>,
    /// The flags with which the daemon is run, quoted for a shell and for a unit, which begin with a blank.
    flags: String,
}

impl<'a> Service<'a> {
    fn of(args: &'a ServiceArgs) -> Result<Service<'a>> {
        // sd_booted(3)
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        let kind = args.kind.unwrap_or(if has_systemd { ServiceKind::Systemd } else { ServiceKind::Init });
        let is_root = nix::unistd::geteuid().is_root();
        if kind == ServiceKind::Init && !is_root && args.root.is_none() {
            return Err(Error::new(ExitKind::Refused, text("daemon.install.root"))
                .why(text("daemon.install.root.reason"))
                .paste("sandbox daemon start"));
        }
        Ok(Service { kind, is_root, root: args.root.as_deref(), flags: String::new() })
    }

    fn below_root(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        match self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    fn files(&self) -> Result<Vec<ServiceFile>> {
        let program = std::env::current_exe().map_err(|error| {
            Error::failed(text("daemon.cannot")).call("readlink(\"/proc/self/exe\")", error)
        })?;
        let mut words = vec![quote(&program).to_string()];
        if !home::is_usual() {
            words.extend(["--home".to_owned(), quote(&HomePlace::find().path).to_string()]);
        }
        let command = words.join(" ");
        if self.kind == ServiceKind::Init {
            let path = self.below_root("/etc/init.d/sandbox");
            return Ok(vec![ServiceFile { path, content: script(&command, &self.flags), mode: 0o755 }]);
        }
        let directory = match self.is_root {
            true => self.below_root("/etc/systemd/system"),
            false => {
                let own =
                    std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                let of_home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
                let own = own.or_else(of_home).ok_or_else(|| Error::failed(text("daemon.install.nohome")))?;
                self.below_root(&own.join("systemd/user").to_string_lossy())
            }
        };
        let DaemonAddress::Unix(socket) = DaemonAddress::usual() else { return Ok(Vec::new()) };
        // In a unit, `%` begins a specifier. systemd.unit(5)
        let in_unit = |text: &str| text.replace('%', "%%");
        let file =
            |name: &str, content: String| ServiceFile { path: directory.join(name), content, mode: 0o644 };
        Ok(vec![
            file(
                "sandbox.socket",
                socket_unit(&in_unit(&printed(&socket)), self.is_root && socket_group().is_some()),
            ),
            file("sandbox.service", service_unit(&in_unit(&command), &in_unit(&self.flags))),
        ])
    }

    /// Lets systemd act, unless only files are wanted.
    fn systemctl(&self, arguments: &[&str], explain: Explainer) -> Result<()> {
        if self.kind != ServiceKind::Systemd || self.root.is_some() {
            return Ok(());
        }
        let mut all = if self.is_root { Vec::new() } else { vec!["--user"] };
        all.extend(arguments);
        explain.step(
            format!("execve(\"systemctl\", [\"systemctl\", {:?}])", all.join("\", \"")),
            "daemon.explain.systemctl",
        );
        let ran = Command::new("systemctl").args(&all).output();
        let cannot = |why: String| {
            Error::failed(text_with("daemon.install.systemctl", &[("words", &all.join(" "))])).why(why)
        };
        let output = ran.map_err(|error| cannot(io_text(&error)))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
                Err(cannot(lines.map(printed).collect::<Vec<_>>().join(" ")))
            }
        }
    }
}

fn socket_unit(socket: &str, has_group: bool) -> String {
    let access = if has_group { "SocketMode=0660\nSocketGroup=docker" } else { "SocketMode=0600" };
    format!(
        "{MARK}\n[Unit]\nDescription=Socket of the sandbox daemon (Docker's API)\n\n[Socket]\nListenStream={socket}\n{access}\n\
         DirectoryMode=0711\n\n[Install]\nWantedBy=sockets.target\n"
    )
}

fn service_unit(command: &str, flags: &str) -> String {
    format!(
        "{MARK}\n[Unit]\nDescription=The sandbox daemon (Docker's API)\nRequires=sandbox.socket\nAfter=sandbox.socket\n\n\
         [Service]\nExecStart={command} daemon run{flags}\n# The containers and their supervisors run on.\nKillMode=process\n\
         Delegate=yes\nTasksMax=infinity\nRestart=on-failure\n\n[Install]\nAlso=sandbox.socket\n"
    )
}

fn script(command: &str, flags: &str) -> String {
    format!(
        "#!/bin/sh\n{MARK}\n### BEGIN INIT INFO\n# Provides:          sandbox\n# Required-Start:    $local_fs $remote_fs\n\
         # Required-Stop:     $local_fs $remote_fs\n# Default-Start:     2 3 4 5\n# Default-Stop:      0 1 6\n\
         # Short-Description: The sandbox daemon (Docker's API)\n### END INIT INFO\n\n\
         case \"$1\" in\n\
         start)\n    {command} daemon status > /dev/null 2>&1 || exec {command} daemon start{flags} ;;\n\
         stop)\n    ! {command} daemon status > /dev/null 2>&1 || exec {command} daemon stop ;;\n\
         restart | force-reload)\n    {command} daemon stop > /dev/null 2>&1\n    exec {command} daemon start{flags} ;;\n\
         status)\n    exec {command} daemon status ;;\n\
         *)\n    echo \"Usage: service sandbox start|stop|restart|status\" >&2\n    exit 2 ;;\nesac\n"
    )
}

fn is_own(path: &Path) -> Option<bool> {
    match fs::read_to_string(path) {
        Ok(content) => Some(content.contains(MARK)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}

fn foreign(path: &Path) -> Error {
    Error::new(ExitKind::Refused, text_with("daemon.install.foreign", &[("path", &printed(path))]))
}

/// Writes the files of the service, and starts it where systemd is.
pub(super) fn install(args: &InstallArgs) -> Result<u8> {
    let InstallArgs { listen, service: args } = args;
    let explain = args.explain.explainer();
    let mut service = Service::of(args)?;
    let tls = listen.tls.files();
    check_addresses(&listen.hosts, tls.as_ref())?;
    let flags = listening(&listen.hosts, tls.as_ref());
    service.flags = flags.iter().map(|flag| format!(" {}", quote(flag))).collect();
    let files = service.files()?;
    if let Some(file) = files.iter().find(|file| is_own(&file.path) == Some(false)) {
        return Err(foreign(&file.path));
    }
    for file in &files {
        let cannot = |call: &str, error: std::io::Error| {
            let call = format!("{call}({:?})", printed(&file.path));
            Error::failed(text("daemon.install.cannot")).call(call, error)
        };
        if let Some(directory) = file.path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(directory).map_err(|error| cannot("mkdir", error))?;
        }
        explain.step(format!("write({:?}); rename(…)", printed(&file.path)), "daemon.explain.unit");
        let mut new = file.path.clone().into_os_string();
        new.push(".new");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut opened = options.write(true).create(true).truncate(true).mode(file.mode).open(&new)?;
            opened.write_all(file.content.as_bytes())?;
            opened.sync_all()?;
            fs::rename(&new, &file.path)
        };
        write().map_err(|error| cannot("write", error))?;
    }
    let enabled = service
        .systemctl(&["daemon-reload"], explain)
        .and_then(|()| service.systemctl(&["enable", "--now", "sandbox.socket"], explain));
    if let Err(error) = enabled {
        // What systemd refuses is not left behind: neither the units nor the links to them.
        let _ = service.systemctl(&["disable", "--now", "sandbox.socket"], explain);
        for file in &files {
            let _ = fs::remove_file(&file.path);
        }
        return Err(error);
    }
    for file in &files {
        render::out(&(text_with("daemon.install.wrote", &[("path", &printed(&file.path))]) + "\n"));
    }
    let key = match (service.root.is_some(), service.kind) {
        (true, _) => return Ok(0),
        (false, ServiceKind::Systemd) => "daemon.install.systemd",
        (false, ServiceKind::Init) => "daemon.install.init",
    };
    render::out(&(text(key) + "\n"));
    Ok(0)
}

/// Stops the service, and removes its files.
pub(super) fn uninstall(args: &ServiceArgs) -> Result<u8> {
    let explain = args.explain.explainer();
    let service = Service::of(args)?;
    let mut files = service.files()?;
    if let Some(file) = files.iter().find(|file| is_own(&file.path) == Some(false)) {
        return Err(foreign(&file.path));
    }
    files.retain(|file| file.path.exists());
    if files.is_empty() {
        return Err(
            Error::new(ExitKind::Refused, text("daemon.uninstall.none")).paste("sandbox daemon install")
        );
    }
    // Where systemd does not run, the files are removed all the same.
    let disabled = service.systemctl(&["disable", "--now", "sandbox.socket", "sandbox.service"], explain);
    for file in &files {
        explain.step(format!("unlink({:?})", printed(&file.path)), "daemon.explain.unlink");
        fs::remove_file(&file.path).map_err(|error| {
            let call = format!("unlink({:?})", printed(&file.path));
            Error::failed(text("daemon.install.cannot")).call(call, error)
        })?;
        render::out(&(text_with("daemon.uninstall.removed", &[("path", &printed(&file.path))]) + "\n"));
    }
    if disabled.is_ok() {
        service.systemctl(&["daemon-reload"], explain)?;
    } else if Path::new("/run/systemd/system").is_dir() {
        disabled?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_of_sh() {
        let script = script("'/a b/sandbox' --home /h", " --host=tcp://127.0.0.1:1");
        assert!(script.starts_with("#!/bin/sh\n") && script.contains(MARK));
        assert!(script.contains("exec '/a b/sandbox' --home /h daemon start --host=tcp://127.0.0.1:1 ;;"));
        assert!(service_unit("/x", " -y").contains("\nExecStart=/x daemon run -y\n"));
        assert!(socket_unit("/run/x", true).contains("SocketGroup=docker\n"));
    }
}
