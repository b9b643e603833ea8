//! `sandbox daemon install` and `uninstall`: the daemon as a service.
//!
//! Other inputs of the same kind as the ones here:
//! - a HOME with blanks, `%` and quotes in its path; files of another maker with these names; directories that are read-only.
//! - sockets of TCP, descriptors that are no sockets, LISTEN_PID of another process.
#![cfg(feature = "daemon")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::{text, wait_until};

fn ran(program: &Path, argument: &str) -> (Option<i32>, String) {
    let output = Command::new(program).arg(argument).output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_script_starts_and_stops_the_daemon() {
    let home = KeptHome::new();
    let root = home.around().join("root");
    let root = root.to_str().unwrap();
    let installed = home.out(&["daemon", "install", "--kind", "init", "--root", root]);
    assert!(installed.contains("/etc/init.d/sandbox"), "{installed}");
    let script = Path::new(root).join("etc/init.d/sandbox");
    assert_eq!(script.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(ran(&script, "status").0, Some(3));
    let (status, printed) = ran(&script, "start");
    assert_eq!(status, Some(0), "{printed}");
    // A second start is no error, as of other services.
    assert_eq!(ran(&script, "start").0, Some(0));
    let pid = |home: &KeptHome| home.out(&["daemon", "status", "--format", "json"]);
    let first = pid(&home);
    assert_eq!(ran(&script, "status").0, Some(0));
    assert_eq!(ran(&script, "restart").0, Some(0));
    assert_ne!(pid(&home), first);
    assert_eq!(ran(&script, "stop").0, Some(0));
    assert_eq!(ran(&script, "stop").0, Some(0));
    assert_eq!(ran(&script, "status").0, Some(3));
    assert_eq!(ran(&script, "dance").0, Some(2));
    home.out(&["daemon", "uninstall", "--kind", "init", "--root", root]);
    assert!(!script.exists());
    home.refused(&["daemon", "uninstall", "--kind", "init", "--root", root], 1);
    // A file of another maker is neither replaced nor removed.
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    for action in ["install", "uninstall"] {
        let refused = home.refused(&["daemon", action, "--kind", "init", "--root", root], 1);
        assert!(refused.contains("left alone"), "{refused}");
    }
}

#[test]
fn the_units_are_ones_of_systemd() {
    let home = KeptHome::new();
    let root = home.around().join("root");
    let mut command = home.command(&["daemon", "install", "--kind", "systemd", "--explain", "--root"]);
    let output = command.arg(&root).env("XDG_CONFIG_HOME", "/config").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("rename("), "{}", text(&output.stderr));
    let listed = text(&output.stdout);
    let units: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("Wrote ")).collect();
    assert_eq!(units.len(), 2, "{listed}");
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("machine: no systemd-analyze");
        return;
    }
    let kind = if nix::unistd::geteuid().is_root() { "--system" } else { "--user" };
    let output = Command::new("systemd-analyze").args([kind, "verify"]).args(&units).output().unwrap();
    // Where no systemd runs, it complains about what is not there, but never about these units.
    let complaints = text(&output.stderr);
    let own: Vec<&str> = complaints.lines().filter(|line| line.contains("sandbox.s")).collect();
    assert!(own.is_empty(), "{own:?}");
}

#[test]
fn systemd_passes_the_socket() {
    let program = "systemd-socket-activate";
    if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("machine: no {program}");
        return;
    }
    let home = KeptHome::new();
    let socket = home.around().join("a.sock");
    let own = home.command(&["daemon", "run"]);
    let mut activated = Command::new(program);
    activated.arg("--listen").arg(&socket).arg(format!("--setenv=SANDBOX_HOME={}", home.path().display()));
    for (name, value) in own.get_envs() {
        activated.envs(value.map(|value| (name, value)));
        let name = name.to_str().unwrap();
        if value.is_some() && name != "SANDBOX_HOME" {
            activated.arg(format!("--setenv={name}"));
        }
    }
    for name in ["XDG_RUNTIME_DIR", "HOME", "TMPDIR"] {
        if std::env::var_os(name).is_some() {
            activated.arg(format!("--setenv={name}"));
        }
    }
    activated.arg(own.get_program()).args(own.get_args());
    let mut daemon = activated.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the socket exists", || socket.exists());
    // The first client starts the daemon, and is answered.
    let host = format!("unix://{}", socket.display());
    assert!(home.out(&["api", "GET", "/version", "--host", &host]).contains("1.44"));
    assert!(home.out(&["daemon", "status"]).contains(&host));
    home.out(&["daemon", "stop"]);
    daemon.wait().unwrap();
    // The socket is not the daemon's to remove.
    assert!(socket.exists());
}

/// Makes a certificate authority, and certificates for the daemon and a client. None: openssl is not installed.
fn certificates(directory: &Path) -> Option<()> {
    let openssl = |words: &str| {
        let run = Command::new("openssl").args(words.split(' ')).current_dir(directory).output().ok()?;
        assert!(run.status.success(), "{words} {}", text(&run.stderr));
        Some(())
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for authority in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {new_key} -days 2 -subj /CN={authority} -keyout {authority}-key.pem -out {authority}.pem"
        ))?;
    }
    std::fs::write(directory.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(directory.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for (name, authority, kind) in
        [("server", "ca", "server"), ("client", "ca", "client"), ("stranger", "other", "client")]
    {
        openssl(&format!("req {new_key} -subj /CN={name} -keyout {name}-key.pem -out {name}.csr"))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}-key.pem -CAcreateserial -days 2 -extfile {kind}.ext -out {name}.pem"
        ))?;
    }
    Some(())
}

#[test]
fn only_a_client_with_a_certificate_is_answered() {
    if ran_with_loopback("only_a_client_with_a_certificate_is_answered") {
        return;
    }
    let home = KeptHome::new();
    if certificates(home.around()).is_none() {
        eprintln!("machine: no openssl");
        return;
    }
    let file = |name: &str| home.around().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("tcp://0.0.0.0:{port}");
    let refused = home.refused(&["daemon", "start", "--host", &host], 2);
    assert!(refused.contains("127.0.0.1"), "{refused}");
    let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server-key.pem"));
    let tls = ["--tlsverify", "--tlscacert", &ca, "--tlscert", &certificate, "--tlskey", &key];
    home.out(&[&["daemon", "start", "--host", &host], &tls[..]].concat());
    // As the daemon was started, it is started again.
    home.out(&["daemon", "restart"]);
    let answered_with = |client: Option<&str>, more: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &ca]);
        command.arg("-connect").arg(format!("127.0.0.1:{port}"));
        if let Some(name) = client {
            command.args(["-cert", &file(&format!("{name}.pem")), "-key", &file(&format!("{name}-key.pem"))]);
        }
        let head = "GET /version HTTP/1.1\r\nHost: daemon.example\r\nConnection: close\r\n";
        let output = support::feed(&mut command, format!("{head}{more}\r\n"));
        text(&output.stdout).contains("\"ApiVersion\":\"1.44\"")
    };
    let answered = |client: Option<&str>| answered_with(client, "");
    assert!(answered(Some("client")));
    // The user may have given the certificate to a browser, which sends it for each page.
    for foreign in ["Origin: http://example.com\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert!(!answered_with(Some("client"), foreign), "{foreign}");
    }
    assert!(!answered(None) && !answered(Some("stranger")));
    // The client of one request has a certificate too.
    let api = |name: &str| {
        let (own, key) = (file(&format!("{name}.pem")), file(&format!("{name}-key.pem")));
        let to = format!("tcp://127.0.0.1:{port}");
        let words =
            ["api", "--host", &to, "--tlsverify", "--tlscacert", &ca, "--tlscert", &own, "--tlskey", &key];
        home.run(&[&words[..], &["GET", "/version"]].concat())
    };
    let output = api("client");
    assert!(text(&output.stdout).contains("\"ApiVersion\": \"1.44\""), "{}", text(&output.stderr));
    assert!(!api("stranger").status.success());
    let without = home.refused(&["api", "GET", "/version"], 2);
    assert!(without.contains("--tlscacert"), "{without}");
    // Docker's client gets the status of what it has run, and what it has printed.
    if Command::new("docker").arg("--version").output().is_ok() {
        let image = support::image::Image::of(&[support::image::programs(&["sh", "echo"])]);
        let loaded = support::feed(&mut home.command(&["load", "-q"]), image.docker(&["app:1"]));
        assert!(loaded.status.success(), "{}", text(&loaded.stderr));
        let (own, key) = (file("client.pem"), file("client-key.pem"));
        let run = |flags: &[&str], script: &str| {
            let mut docker = Command::new("docker");
            docker
                .env("DOCKER_CONFIG", home.around())
                .env_remove("DOCKER_HOST")
                .stdin(std::process::Stdio::null());
            docker.args(["-H", &format!("tcp://127.0.0.1:{port}"), "--tlsverify", "--tlscacert", &ca]);
            docker.args(["--tlscert", &own, "--tlskey", &key, "run", "--rm", "--network=none"]);
            docker.args(flags).args(["app:1", "/bin/sh", "-c", script]);
            docker
        };
        let output = run(&[], "echo out; exit 7").output().unwrap();
        let printed = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(printed, (Some(7), "out\n".to_owned(), String::new()));
        // What is typed reaches the command as it is, though the first line of a request is changed.
        let typed = "\"typed\" <é>\n";
        let output = support::feed(&mut run(&["-i"], "read -r line; echo \"$line\""), typed);
        assert_eq!(text(&output.stdout), typed, "{}", text(&output.stderr));
    }
    // A service that is installed with these flags is run with them.
    let root = home.around().join("root").display().to_string();
    let at = ["daemon", "install", "--root", &root];
    let refused = home.refused(&[&at[..], &["--host", &host]].concat(), 2);
    assert!(refused.contains("127.0.0.1"), "{refused}");
    for (kind, name) in [("init", "etc/init.d/sandbox"), ("systemd", "sandbox.service")] {
        let words = [&at[..], &["--kind", kind, "--host", &host], &tls[..]].concat();
        let wrote = home.out(&words);
        let path =
            wrote.lines().filter_map(|line| line.strip_prefix("Wrote ")).find(|path| path.ends_with(name));
        let content = std::fs::read_to_string(path.unwrap()).unwrap();
        let flags =
            format!(" --host={host} --tlsverify --tlscacert {ca} --tlscert {certificate} --tlskey {key}");
        assert!(content.contains(&flags), "{content}");
    }
    // Without TLS there is no answer either.
    let mut plain = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut plain, b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut received = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut received);
    assert!(!text(&received).contains("ApiVersion"));
    home.out(&["daemon", "stop"]);
    home.refused(&["daemon", "run", "--tlsverify"], 2);
    // A socket needs no certificate, wherever it is in the list.
    let socket = format!("unix://{}", file("d.sock"));
    home.out(&[&["daemon", "start", "--host", &host, "--host", &socket], &tls[..]].concat());
    assert!(home.out(&["api", "GET", "/version"]).contains("\"ApiVersion\": \"1.44\""));
    home.out(&["daemon", "stop"]);
}
