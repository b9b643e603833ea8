//! `sandbox daemon` and `sandbox api`: Docker's HTTP API, as a server and as a client of one request.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::daemon_service::{self, InstallArgs, ServiceArgs};
use super::explain::ExplainArg;
use crate::container::explain::Explainer;
use crate::daemon::query::{ApiQuery, encoded};
use crate::daemon::service::{DaemonAddress, RunningDaemon, check_addresses};
use crate::daemon::tls::TlsFiles;
use crate::daemon::{self, DaemonOptions};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::home::HomePlace;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::sys::signal;
use crate::text::{printed, text, text_with};

/// How long a daemon may take until clients can connect.
const READY: Duration = Duration::from_secs(20);

/// The time between two looks at it.
const PAUSE: Duration = Duration::from_millis(10);

/// The file in HOME with the messages of a daemon in the background.
const LOG: &str = "daemon.log";

/// The methods of HTTP that the API has.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// The arguments of `__exec`, which the daemon executes for the streams of a further command.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CarryArgs {
    /// The ID of the command
    id: String,
}

/// Carries the streams of a further command.
pub(super) fn carry(args: &CarryArgs) -> Result<u8> {
    daemon::carrier::run(&args.id)?;
    Ok(0)
}

/// What `daemon` does.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct DaemonArgs {
    #[command(subcommand)]
    action: DaemonAction,
}

#[derive(Debug, Subcommand)]
enum DaemonAction {
    /// Run the daemon in the foreground, until Ctrl-C or SIGTERM
    Run {
        #[command(flatten)]
        listen: ListenArgs,
        /// Print each request, what it means, and the command line of sandbox that does the same
        #[arg(long)]
        trace: bool,
        /// Leave the session of the caller
        #[arg(long, hide = true)]
        background: bool,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Start the daemon in the background
    Start {
        #[command(flatten)]
        listen: ListenArgs,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Stop the daemon. The containers run on
    Stop {
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Stop the daemon, and start it again with the same addresses. The containers run on
    Restart {
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Print whether the daemon runs; the exit status is 0 if it does, otherwise 3
    Status {
        /// text or json
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: super::output::Format,
        #[command(flatten)]
        explain: ExplainArg,
    },
    /// Make the daemon a service of this machine: units of systemd with a socket that starts it, or a script in /etc/init.d
    Install(InstallArgs),
    /// Stop that service, and remove its files
    Uninstall(ServiceArgs),
}

/// Where the daemon listens.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ListenArgs {
    /// An address: unix:///PATH, tcp://127.0.0.1:PORT, or with --tlsverify any tcp://ADDRESS:PORT; the default is docker.sock in /run/sandbox for root, and in the
    /// directory of running containers for others (may be repeated)
    #[arg(long = "host", short = 'H', value_name = "ADDRESS")]
    pub(super) hosts: Vec<DaemonAddress>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

/// The certificates of a daemon or of a client.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct TlsArgs {
    /// Over TCP, use TLS, and accept only another side whose certificate the authority has signed
    #[arg(long, requires_all = ["tlscacert", "tlscert", "tlskey"])]
    tlsverify: bool,
    /// The certificate of the authority from which the other side has its own (PEM)
    #[arg(long, value_name = "FILE", requires = "tlsverify")]
    tlscacert: Option<PathBuf>,
    /// The own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tlsverify")]
    tlscert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tlsverify")]
    tlskey: Option<PathBuf>,
}

impl TlsArgs {
    /// The files. The daemon leaves this directory.
    pub(super) fn files(&self) -> Option<TlsFiles> {
        let file = |path: &Option<PathBuf>| path.as_ref().and_then(|path| std::path::absolute(path).ok());
        Some(TlsFiles {
            authorities: file(&self.tlscacert)?,
            certificate: file(&self.tlscert)?,
            key: file(&self.tlskey)?,
        })
    }
}

/// The flags of `daemon run` for these addresses and certificates.
pub(super) fn listening(hosts: &[DaemonAddress], tls: Option<&TlsFiles>) -> Vec<OsString> {
    let mut all: Vec<OsString> = hosts.iter().map(|host| format!("--host={host}").into()).collect();
    if let Some(TlsFiles { authorities, certificate, key }) = tls {
        all.push("--tlsverify".into());
        for (flag, file) in [("--tlscacert", authorities), ("--tlscert", certificate), ("--tlskey", key)] {
            all.extend([flag.into(), file.clone().into_os_string()]);
        }
    }
    all
}

/// The arguments of `api`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ApiArgs {
    /// GET, HEAD, POST, PUT or DELETE
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path, with a query: '/containers/json?all=1'
    #[arg(value_name = "PATH")]
    path: String,
    /// The body, as JSON; `-` reads standard input
    #[arg(value_name = "BODY")]
    body: Option<String>,
    /// The address of the daemon; the default is that of the daemon for this HOME
    #[arg(long, short = 'H', value_name = "ADDRESS")]
    host: Option<DaemonAddress>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Performs the action.
pub(super) fn run(color: Color, args: &DaemonArgs) -> Result<u8> {
    decide(color, Stream::Err);
    match &args.action {
        DaemonAction::Run { listen, trace, background, explain } => {
            foreground(listen, *trace, *background, explain.explainer())
        }
        DaemonAction::Start { listen, explain } => {
            start(&listen.hosts, listen.tls.files().as_ref(), explain.explainer())
        }
        DaemonAction::Stop { explain } => match stop(explain.explainer())? {
            Some(_) => Ok(0),
            None => Err(Error::new(ExitKind::Refused, text("daemon.none")).paste("sandbox daemon start")),
        },
        DaemonAction::Restart { explain } => {
            let explain = explain.explainer();
            match stop(explain)? {
                // systemd starts it when a client connects.
                Some(found) if found.is_activated => {
                    let _ = found.answers();
                    Ok(0)
                }
                Some(found) => start(&found.addresses, found.tls.as_ref(), explain),
                None => start(&[], None, explain),
            }
        }
        DaemonAction::Status { format, explain } => status(*format, explain.explainer()),
        DaemonAction::Install(args) => daemon_service::install(args),
        DaemonAction::Uninstall(args) => daemon_service::uninstall(args),
    }
}

fn foreground(listen: &ListenArgs, trace: bool, background: bool, explain: Explainer) -> Result<u8> {
    super::output::protect_program();
    if background {
        let _ = nix::unistd::setsid();
    }
    explain.step("flock(<daemon-HASH.lock>, LOCK_EX)", "daemon.explain.lock");
    let options = DaemonOptions { hosts: listen.hosts.clone(), tls: listen.tls.files(), trace };
    daemon::run(&options, |addresses| {
        for address in addresses {
            explain.step(format!("bind(<socket>, {address}); listen(<socket>)"), "daemon.explain.socket");
            render::out(&(text_with("daemon.address", &[("address", &address.to_string())]) + "\n"));
        }
        if !background && let Some(first) = addresses.first() {
            render::out(&(text_with("daemon.hint", &[("address", &first.to_string())]) + "\n"));
        }
        let _ = std::io::stdout().flush();
    })?;
    Ok(0)
}

/// Starts a daemon that stays when this command has ended.
fn start(hosts: &[DaemonAddress], tls: Option<&TlsFiles>, explain: Explainer) -> Result<u8> {
    // Here it is an error of the command line. The child would report it as one of its own.
    check_addresses(hosts, tls)?;
    explain_find(explain);
    if let Some(found) = RunningDaemon::find_working()? {
        let pid = found.process.pid.to_string();
        return Err(Error::new(ExitKind::Refused, text("daemon.runs"))
            .why(text_with("daemon.runs.pid", &[("pid", &pid)]))
            .paste("sandbox daemon restart"));
    }
    let (home, _) = HomePlace::find().make()?;
    let path = home.path().join(LOG);
    let unwritten = |error: std::io::Error| {
        Error::failed(text("daemon.cannot")).call(format!("openat({:?})", printed(&path)), error)
    };
    let mut options = OpenOptions::new();
    let log = options.create(true).write(true).truncate(true).mode(0o600).open(&path).map_err(unwritten)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").arg("--home").arg(home.path()).args(["daemon", "run", "--background"]);
    command.args(listening(hosts, tls));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/");
    // The containers of the daemon inherit what it ignores.
    signal::restore_before(&mut command);
    explain.step(
        "execve(\"/proc/self/exe\", [\"sandbox\", \"daemon\", \"run\"]); setsid()",
        "daemon.explain.fork",
    );
    let mut child = command
        .spawn()
        .map_err(|error| Error::failed(text("daemon.cannot")).call("execve(\"/proc/self/exe\")", error))?;
    let deadline = Instant::now() + READY;
    loop {
        if let Ok(Some(_)) = child.try_wait() {
            let error = Error::failed(text("daemon.start.failed"));
            let said = File::open(&path).and_then(|log| {
                let mut said = String::new();
                log.take(4096).read_to_string(&mut said).map(|_| said)
            });
            return Err(match said.as_deref().map(str::trim) {
                Ok(said) if !said.is_empty() => {
                    // Its lines were wrapped already.
                    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
                    error.why(words.trim_start_matches("sandbox: "))
                }
                _ => error,
            });
        }
        if let Some(found) = RunningDaemon::find()?.filter(RunningDaemon::answers) {
            print(&found);
            return Ok(0);
        }
        if Instant::now() > deadline {
            let values = [("path", &*printed(&path))];
            return Err(Error::failed(text("daemon.start.late")).why(text_with("daemon.start.log", &values)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Finds the daemon.
fn find(explain: Explainer) -> Result<Option<RunningDaemon>> {
    explain_find(explain);
    RunningDaemon::find()
}

fn explain_find(explain: Explainer) {
    explain.step(
        "read(<daemon-HASH.json>); read(</proc/PID/stat>); flock(<daemon-HASH.lock>)",
        "daemon.explain.find",
    );
}

/// Ends the daemon. None: none runs.
fn stop(explain: Explainer) -> Result<Option<RunningDaemon>> {
    let Some(found) = find(explain)? else { return Ok(None) };
    explain.step(format!("pidfd_send_signal(<{}>, SIGTERM)", found.process.pid), "daemon.explain.signal");
    found.stop()?;
    Ok(Some(found))
}

fn print(found: &RunningDaemon) {
    let pid = found.process.pid.to_string();
    render::out(&(text_with("daemon.running", &[("pid", &pid)]) + "\n"));
    for address in &found.addresses {
        render::out(&(text_with("daemon.address", &[("address", &address.to_string())]) + "\n"));
    }
}

/// The exit status of `status` without a daemon: that of service scripts.
const NOT_RUNNING: u8 = 3;

fn status(format: super::output::Format, explain: Explainer) -> Result<u8> {
    let found = find(explain)?;
    if format == super::output::Format::Json {
        let value = json!({
            "running": found.is_some(),
            "pid": found.as_ref().map(|found| found.process.pid),
            "addresses": found.as_ref().map(|found| found.addresses.clone()).unwrap_or_default(),
        });
        render::print_json(Stream::Out, &value);
    } else {
        match &found {
            Some(found) => print(found),
            None => render::out(&(text("daemon.stopped") + "\n")),
        }
    }
    Ok(if found.is_some() { 0 } else { NOT_RUNNING })
}

/// Sends a request, and prints the answer.
pub(super) fn api(color: Color, args: &ApiArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let explain = args.explain.explainer();
    let method = args.method.to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        return Err(Error::usage(text_with("daemon.api.method", &[("method", &printed(&args.method))])));
    }
    if !args.path.starts_with('/') {
        return Err(Error::usage(text_with("daemon.api.path", &[("path", &printed(&args.path))])));
    }
    let files = args.tls.files();
    let address = match &args.host {
        Some(address) => address.clone(),
        None => match RunningDaemon::find()? {
            Some(found) => found.address_for(files.as_ref())?,
            None => DaemonAddress::usual(),
        },
    };
    let path = encoded(&args.path);
    let mut body = Vec::new();
    match args.body.as_deref() {
        Some("-") => {
            let read = std::io::stdin().read_to_end(&mut body);
            read.map_err(|error| Error::failed(text("daemon.cannot")).why(io_text(&error)))?;
        }
        Some(written) => body.extend_from_slice(written.as_bytes()),
        None => {}
    }
    let query = ApiQuery { method: &method, path: &path, body: &body };
    explain.step(format!("connect(<socket>, {address})"), "daemon.explain.connect");
    let head = query.written();
    explain.step(format!("write(<socket>, {head:?})"), "daemon.explain.request");
    // An answer that goes on is printed as it comes. Another one is printed whole, with its JSON in a readable form.
    let mut printer = AnswerPrinter { whole: Vec::new(), streams: streams(&args.path) };
    let status = query.send(&address, files.as_ref(), |part| printer.take(part))?;
    printer.end();
    if status >= 400 {
        return Ok(1);
    }
    Ok(0)
}

/// Whether the answer to a path goes on until the client leaves.
fn streams(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    ["/events", "/logs", "/stats", "/wait", "/images/create", "/push", "/build"]
        .iter()
        .any(|end| path.ends_with(end))
}

struct AnswerPrinter {
    whole: Vec<u8>,
    streams: bool,
}

/// The maximum size of an answer that is printed in a readable form.
const MAX_WHOLE: usize = 16 << 20;

impl AnswerPrinter {
    fn take(&mut self, part: &[u8]) {
        self.whole.extend_from_slice(part);
        if self.streams || self.whole.len() > MAX_WHOLE {
            self.streams = true;
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&self.whole).and_then(|()| out.flush());
        self.whole.clear();
    }

    fn end(mut self) {
        match serde_json::from_slice::<Value>(&self.whole) {
            Ok(value) if !self.streams => render::print_json(Stream::Out, &value),
            _ => self.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_goes_on_is_known_by_its_path() {
        assert!(streams("/v1.44/events?since=1") && streams("/containers/x/logs?stdout=1"));
        assert!(!streams("/containers/json"));
    }
}
