//! The daemon as a process: where it listens, that there is one for each HOME, and how it is found and ended.
//!
//!     RUN/docker.sock        the socket of the daemon for the usual HOME; docker-HASH.sock for another one
//!     RUN/daemon-HASH.lock   the daemon has this lock as long as it lives
//!     RUN/daemon-HASH.json   its PID, the start time of that process, and its addresses

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::tls::TlsFiles;
use crate::container::record::RecordedProcess;
use crate::error::{Error, ExitKind, Result};
use crate::host::accounts::Accounts;
use crate::host::home::{self, HomePlace};
use crate::host::run_directory::{self, DAEMON};
use crate::host::run_lock::RunLock;
use crate::host::untrusted::UntrustedRoot;
use crate::sys::signal;
use crate::text::{printed, text, text_with};

/// How long a daemon may take to end.
const END: Duration = Duration::from_secs(20);

/// The time between two looks at it.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a process that was killed may take to end.
const DYING: Duration = Duration::from_secs(1);

/// The group whose members may connect to the socket of root.
const GROUP: &[u8] = b"docker";

/// An address of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DaemonAddress {
    /// A socket in the file system.
    Unix(PathBuf),
    /// An address and a port of TCP.
    Tcp(SocketAddr),
}

impl FromStr for DaemonAddress {
    type Err = String;

    fn from_str(written: &str) -> std::result::Result<DaemonAddress, String> {
        if let Some(path) = written.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(DaemonAddress::Unix(path.into())),
                false => Err(text("daemon.address.path")),
            };
        }
        let Some(at) = written.strip_prefix("tcp://") else { return Err(text("daemon.address.form")) };
        let at = at.replace("localhost:", "127.0.0.1:");
        let at: SocketAddr = at.trim_end_matches('/').parse().map_err(|_| text("daemon.address.form"))?;
        Ok(DaemonAddress::Tcp(at))
    }
}

impl std::fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DaemonAddress::Unix(path) => write!(f, "unix://{}", printed(path)),
            DaemonAddress::Tcp(at) => write!(f, "tcp://{at}"),
        }
    }
}

impl From<DaemonAddress> for String {
    fn from(address: DaemonAddress) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for DaemonAddress {
    type Error = String;

    fn try_from(written: String) -> std::result::Result<DaemonAddress, String> {
        written.parse()
    }
}

impl DaemonAddress {
    /// Whether only this machine can connect to it.
    pub fn is_local(&self) -> bool {
        match self {
            DaemonAddress::Unix(_) => true,
            DaemonAddress::Tcp(at) => match at.ip() {
                IpAddr::V4(address) => address.is_loopback(),
                IpAddr::V6(address) => address.is_loopback(),
            },
        }
    }

    /// That of the daemon for this HOME.
    ///
    /// # Errors
    /// RUN cannot be made.
    pub fn default_socket() -> Result<DaemonAddress> {
        run_directory::make()?;
        Ok(DaemonAddress::usual())
    }

    /// The same. RUN may not exist.
    pub fn usual() -> DaemonAddress {
        let name = match home::is_usual() {
            true => "docker.sock".to_owned(),
            false => format!("docker-{}.sock", HomePlace::find().hash()),
        };
        DaemonAddress::Unix(run_directory::path().join(name))
    }
}

/// Refuses addresses to which other machines can connect without TLS.
///
/// # Errors
/// There is one.
pub fn check_addresses<'a>(
    addresses: impl IntoIterator<Item = &'a DaemonAddress>,
    tls: Option<&TlsFiles>,
) -> Result<()> {
    match addresses.into_iter().find(|address| tls.is_none() && !address.is_local()) {
        None => Ok(()),
        Some(address) => {
            let what = text_with("daemon.address.open", &[("address", &address.to_string())]);
            Err(Error::usage(what).why(text("daemon.address.loopback")))
        }
    }
}

/// What is known about a daemon that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningDaemon {
    /// Its process.
    pub process: RecordedProcess,
    /// Where it listens.
    pub addresses: Vec<DaemonAddress>,
    /// The certificates for TCP.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Whether systemd has made a socket for it, and starts it when a client connects.
    #[serde(default)]
    pub is_activated: bool,
}

/// Sends a request, and reads the beginning of its answer.
fn ping(mut stream: impl io::Read + io::Write) -> io::Result<()> {
    stream.write_all(b"HEAD /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    stream.read_exact(&mut [0])
}

fn lock_name() -> String {
    format!("{DAEMON}{}.lock", HomePlace::find().hash())
}

fn file_name() -> String {
    format!("{DAEMON}{}.json", HomePlace::find().hash())
}

impl RunningDaemon {
    /// The daemon for this HOME. None: there is none. Its PID is believed only if its process has the start time that it has
    /// written, and some process has its lock.
    ///
    /// # Errors
    /// RUN cannot be trusted.
    pub fn find() -> Result<Option<RunningDaemon>> {
        let Some(run) = run_directory::find()? else { return Ok(None) };
        let Ok(Some(file)) = run.file_to_read(&file_name()) else { return Ok(None) };
        let Ok(found) = serde_json::from_reader::<_, RunningDaemon>(io::Read::take(file, 64 << 10)) else {
            return Ok(None);
        };
        let is_locked = || match RunLock::exclusive(&lock_name(), Duration::ZERO, || false) {
            Ok(lock) => {
                lock.release();
                false
            }
            Err(_) => true,
        };
        Ok(Some(found).filter(|found| found.process.lives() && is_locked()))
    }

    /// The address for a client that has these certificates. Without any, a socket is the only one if TCP has TLS.
    ///
    /// # Errors
    /// There is none.
    pub fn address_for(&self, files: Option<&TlsFiles>) -> Result<DaemonAddress> {
        let is_socket = |address: &&DaemonAddress| matches!(address, DaemonAddress::Unix(_));
        let is_usable = |address: &&DaemonAddress| match files {
            Some(_) => !is_socket(address),
            None => self.tls.is_none() || is_socket(address),
        };
        let found = self.addresses.iter().find(is_usable).or_else(|| self.addresses.first()).cloned();
        let address = found.unwrap_or_else(DaemonAddress::usual);
        match (&address, &self.tls, files) {
            (DaemonAddress::Tcp(_), Some(_), None) => {
                let what = text_with("daemon.api.encrypted", &[("address", &address.to_string())]);
                Err(Error::usage(what).why(text("daemon.api.encrypted.reason")))
            }
            _ => Ok(address),
        }
    }

    /// Sends it SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<()> {
        let pid = Pid::from_raw(self.process.pid);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // The descriptor is that of the daemon if the daemon still lives after it was opened.
        if let Some(pidfd) = pidfd.filter(|_| self.process.lives()) {
            let call = || format!("pidfd_send_signal(<{}>, SIGTERM)", self.process.pid);
            signal::send(pidfd.as_fd(), libc::SIGTERM).map_err(|errno| {
                Error::new(ExitKind::Refused, text("daemon.stop.cannot")).call(call(), errno)
            })?;
        }
        let deadline = Instant::now() + END;
        while self.process.lives() {
            if Instant::now() > deadline {
                let pid = self.process.pid.to_string();
                return Err(Error::new(ExitKind::Refused, text_with("daemon.stop.late", &[("pid", &pid)])));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The daemon for this HOME. One that was just killed may have its process and its sockets for a moment. So one that does not answer
    /// is looked for again, until it has gone or the time is over.
    ///
    /// # Errors
    /// RUN cannot be trusted.
    pub fn find_working() -> Result<Option<RunningDaemon>> {
        let deadline = Instant::now() + DYING;
        loop {
            match RunningDaemon::find()? {
                Some(found) if !found.serves() && Instant::now() < deadline => std::thread::sleep(PAUSE),
                found => return Ok(found),
            }
        }
    }

    /// Whether it answers a request. Over TLS, only whether it can be connected to.
    fn serves(&self) -> bool {
        let pinged = |address: &DaemonAddress| match (address, &self.tls) {
            (DaemonAddress::Unix(path), _) => {
                let stream = UnixStream::connect(path);
                stream.and_then(|stream| {
                    stream.set_read_timeout(Some(DYING))?;
                    ping(stream)
                })
            }
            (DaemonAddress::Tcp(at), None) => TcpStream::connect(at).and_then(|stream| {
                stream.set_read_timeout(Some(DYING))?;
                ping(stream)
            }),
            (DaemonAddress::Tcp(at), Some(_)) => TcpStream::connect(at).map(|_| ()),
        };
        self.addresses.first().is_none_or(|address| pinged(address).is_ok())
    }

    /// Whether a client can connect to it.
    pub fn answers(&self) -> bool {
        self.addresses.iter().all(|address| match address {
            DaemonAddress::Unix(path) => UnixStream::connect(path).is_ok(),
            DaemonAddress::Tcp(at) => TcpStream::connect(at).is_ok(),
        })
    }
}

/// The daemon for this HOME, which this process is.
#[derive(Debug)]
pub(super) struct OwnDaemon {
    lock: RunLock,
    /// The sockets that were made, with their inodes.
    sockets: std::cell::RefCell<Vec<(PathBuf, u64)>>,
}

impl OwnDaemon {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another daemon has it.
    pub(super) fn claim() -> Result<OwnDaemon> {
        run_directory::make()?;
        let lock = RunLock::exclusive(&lock_name(), Duration::from_secs(1), || true).map_err(|error| {
            let pid = RunningDaemon::find().ok().flatten().map(|found| found.process.pid.to_string());
            let error = Error::failed(text("daemon.runs")).call(format!("flock(<{}>)", lock_name()), error);
            pid.into_iter()
                .fold(error, |error, pid| error.why(text_with("daemon.runs.pid", &[("pid", &pid)])))
        })?;
        Ok(OwnDaemon { lock, sockets: Default::default() })
    }

    /// Writes where it listens, for those that look for it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn note(
        &self,
        addresses: &[DaemonAddress],
        tls: Option<TlsFiles>,
        is_activated: bool,
    ) -> Result<()> {
        let run = run_directory::make()?;
        let process = RecordedProcess::of(std::process::id().cast_signed());
        let process = process.ok_or_else(|| Error::failed(text("daemon.cannot")))?;
        let about = RunningDaemon { process, addresses: addresses.to_vec(), tls, is_activated };
        let json = serde_json::to_vec(&about).unwrap_or_default();
        let call = || format!("write(<{}>)", file_name());
        run.replace_beside_others(&file_name(), &json, false)
            .map_err(|error| Error::failed(text("daemon.cannot")).call(call(), error))
    }

    /// Makes a socket. One that a daemon has left that was killed is replaced.
    ///
    /// # Errors
    /// Those of bind(2); there is another file, or a process listens on it.
    pub(super) fn bind(&self, path: &Path) -> Result<UnixListener> {
        let cannot = |error: io::Error| {
            Error::failed(text("daemon.listen")).call(format!("bind(<socket>, {:?})", printed(path)), error)
        };
        // A path of a socket has at most 107 bytes, so the directory is opened first.
        let directory = std::fs::File::open(path.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
        let name = path.file_name().ok_or_else(|| cannot(io::ErrorKind::InvalidInput.into()))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let through = PathBuf::from(format!("/proc/self/fd/{number}")).join(name);
        if let Ok(found) = std::fs::symlink_metadata(&through) {
            if !found.file_type().is_socket() || UnixStream::connect(&through).is_ok() {
                return Err(cannot(io::ErrorKind::AddrInUse.into()));
            }
            std::fs::remove_file(&through).map_err(cannot)?;
        }
        let group = if nix::unistd::geteuid().is_root() { socket_group() } else { None };
        // bind(2) gives the socket its mode. chmod(2) would follow a link that was put in its place meanwhile.
        let bound_with = |mask| {
            let before = umask(Mode::from_bits_truncate(mask));
            let bound = UnixListener::bind(&through);
            umask(before);
            bound.map_err(cannot)
        };
        let mut listener = bound_with(if group.is_some() { 0o117 } else { 0o177 })?;
        // In a user namespace, the group may be none.
        if group.is_some_and(|group| std::os::unix::fs::lchown(&through, None, Some(group)).is_err()) {
            std::fs::remove_file(&through).map_err(cannot)?;
            listener = bound_with(0o177)?;
        }
        let inode = std::fs::symlink_metadata(&through).map_err(cannot)?.ino();
        self.sockets.borrow_mut().push((path.to_owned(), inode));
        Ok(listener)
    }

    /// Removes the sockets and the file, and gives up the lock.
    pub(super) fn release(self) {
        for (path, inode) in self.sockets.borrow().iter() {
            if std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode) {
                let _ = std::fs::remove_file(path);
            }
        }
        if let Ok(Some(run)) = run_directory::find() {
            let _ = run.remove_file(file_name());
        }
        self.lock.release();
    }
}

/// The group whose members may connect to the socket of root, if there is one.
pub fn socket_group() -> Option<u32> {
    let root = UntrustedRoot::open("/").ok()?;
    Accounts::of(root).group(GROUP).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_of_two_forms() {
        assert_eq!("unix:///run/x.sock".parse(), Ok(DaemonAddress::Unix("/run/x.sock".into())));
        for (right, is_local) in [
            ("tcp://127.0.0.1:2375", true),
            ("tcp://localhost:2375", true),
            ("tcp://[::1]:2375", true),
            ("tcp://0.0.0.0:2375", false),
            ("tcp://192.0.2.1:2375", false),
        ] {
            assert_eq!(
                right.parse().map(|address: DaemonAddress| address.is_local()),
                Ok(is_local),
                "{right}"
            );
        }
        for wrong in ["unix://x", "x", "tcp://127.0.0.1", "fd://"] {
            assert!(wrong.parse::<DaemonAddress>().is_err(), "{wrong}");
        }
    }
}
