//! Registries on the loopback device: the real one of Docker, filled by skopeo, and one that says whatever a test wants.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::background::Background;
use super::image::{Layout, digest};
use super::kept::KeptHome;
use super::{text, wait_until};

/// Docker's registry, which ends with the test.
pub struct DockerRegistry {
    _process: Background,
    pub port: u16,
}

impl DockerRegistry {
    /// Starts it with its files in this directory. `more` are further lines of its config, and of its `http` section.
    pub fn start(directory: &Path, more: &str, http: &str) -> DockerRegistry {
        fs::create_dir_all(directory).unwrap();
        let port = free_port();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n\
             http:\n  addr: 127.0.0.1:{port}\n{http}{more}",
            directory.join("data").display()
        );
        let file = directory.join("config.yml");
        fs::write(&file, config).unwrap();
        let errors = fs::File::create(directory.join("errors")).unwrap();
        let process =
            Background::with_errors(Command::new("docker-registry").arg("serve").arg(&file), errors);
        wait_until("the registry listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        DockerRegistry { _process: process, port }
    }

    /// The name of an image in it.
    pub fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// Writes an image of a layout to it, by skopeo.
    pub fn fill(&self, layout: &Path, tag: &str, image: &str, flags: &[&str]) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]).args(flags);
        command.arg(format!("oci:{}:{tag}", layout.display()));
        command.arg(format!("docker://{}", self.name(image)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?} {}", text(&output.stderr));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A HOME whose commands read no file of this machine's users about registries.
pub fn pulls(home: &KeptHome, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    let around = home.around();
    fs::create_dir_all(around.join("run")).unwrap();
    command.env("HOME", around).env("XDG_RUNTIME_DIR", around.join("run"));
    for variable in [
        "XDG_CONFIG_HOME",
        "REGISTRY_AUTH_FILE",
        "DOCKER_CONFIG",
        "SSL_CERT_FILE",
        "CONTAINERS_REGISTRIES_CONF",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Standard output of a command that must succeed.
pub fn pulled(home: &KeptHome, arguments: &[&str]) -> String {
    let output = pulls(home, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?} {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The message of a command that must fail with the status 1, in one line.
pub fn not_pulled(home: &KeptHome, arguments: &[&str]) -> String {
    let output = pulls(home, arguments).output().unwrap();
    let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{arguments:?} {}{message}", text(&output.stdout));
    message
}

/// No blob has a name that is not its digest. Returns the number of blobs.
pub fn blobs_are_right(home: &KeptHome) -> usize {
    let entries = fs::read_dir(home.path().join("images/blobs/sha256")).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    for path in &paths {
        let found = digest(&fs::read(path).unwrap());
        assert!(found.ends_with(path.file_name().unwrap().to_str().unwrap()), "{} {found}", path.display());
    }
    paths.len()
}

/// A request that a liar has got.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

type Handler = dyn Fn(&Heard, &mut TcpStream) + Send + Sync;

/// A server that answers what a test wants, without TLS. Each request has a connection of its own.
pub struct Liar {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    handler: Arc<Mutex<Arc<Handler>>>,
    is_over: Arc<AtomicBool>,
}

impl Liar {
    pub fn start(handler: impl Fn(&Heard, &mut TcpStream) + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Mutex<Arc<Handler>>> = Arc::new(Mutex::new(Arc::new(handler)));
        let is_over = Arc::new(AtomicBool::new(false));
        let liar = Liar { port, heard: heard.clone(), handler: handler.clone(), is_over: is_over.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let (heard, handler) = (heard.clone(), handler.lock().unwrap().clone());
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    if let Some(request) = read_request(&stream) {
                        heard.lock().unwrap().push(request.clone());
                        handler(&request, &mut stream);
                    }
                });
            }
        });
        liar
    }

    /// Answers in another way from now on.
    pub fn answers(&self, handler: impl Fn(&Heard, &mut TcpStream) + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Arc::new(handler);
        self.heard.lock().unwrap().clear();
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// None: it is not HTTP, such as the first message of TLS.
fn read_request(stream: &TcpStream) -> Option<Heard> {
    let mut lines = BufReader::new(stream);
    if lines.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut heard =
        Heard { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Heard::default() };
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        heard.headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = heard.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(Heard { body, ..heard })
}

/// An answer as a whole. The client may have gone.
pub fn answer(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let _ = stream.write_all(&whole_answer(status, headers, body));
}

pub fn whole_answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    [head.as_bytes(), b"\r\n", body].concat()
}

/// The documents and blobs of a layout, as an honest registry has them.
#[derive(Clone)]
pub struct Honest {
    pub manifest: Vec<u8>,
    pub media_type: String,
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Honest {
    pub fn of(layout: &Layout) -> Honest {
        let blobs: BTreeMap<String, Vec<u8>> =
            layout.blobs.iter().map(|blob| (digest(blob), blob.clone())).collect();
        let described = &layout.index["manifests"][0];
        let manifest = blobs[described["digest"].as_str().unwrap()].clone();
        Honest { manifest, media_type: described["mediaType"].as_str().unwrap().to_owned(), blobs }
    }

    /// The layers, in the order of their digests in the manifest.
    pub fn layers(&self) -> Vec<String> {
        let manifest: serde_json::Value = serde_json::from_slice(&self.manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// The bytes of the right answer.
    pub fn right(&self, heard: &Heard) -> Vec<u8> {
        let last = heard.target.rsplit('/').next().unwrap();
        if heard.target.contains("/manifests/") {
            return whole_answer(200, &[("Content-Type", &self.media_type)], &self.manifest);
        }
        let Some(blob) = self.blobs.get(last) else { return whole_answer(404, &[], b"") };
        let start = heard.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match start.and_then(|start| start.parse::<usize>().ok()) {
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
                whole_answer(206, &[("Content-Range", &range)], &blob[start..])
            }
            None => whole_answer(200, &[("Content-Type", "application/octet-stream")], blob),
        }
    }
}
