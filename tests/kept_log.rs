//! The log of a container that stays, and the clients that get its output: no byte is lost, and no client makes it wait.
//!
//! Other inputs of the same kind as the ones here:
//! - output of any bytes, in lines of any length, without a last newline; of a millisecond, of hours; in a terminal.
//! - clients: any number, that read slowly, not at all, that are killed, that connect at the last moment.
//! - log files: any size and number, a full disk, removed meanwhile.

mod support;

use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::kept::KeptHome;
use support::{sample, text, wait_until};

/// A command in the background, which ends with this value.
struct Background(Child);

impl Background {
    fn of(home: &KeptHome, arguments: &[&str]) -> Background {
        let mut command = home.command(arguments);
        Background(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Its output and its messages, when it has ended.
    fn output(mut self) -> (Vec<u8>, String) {
        let (mut out, mut err) = (Vec::new(), String::new());
        self.0.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        self.0.wait().unwrap();
        (out, err)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The output of a command: in the log, as `logs` prints it, and attached.
fn printed(home: &KeptHome, script: &str) -> (Vec<u8>, Vec<u8>) {
    let spec = home.spec("", script);
    let attached = home.command(&["run", "--keep", "--name", "log", &spec]).output().unwrap();
    let logged = home.command(&["logs", "log"]).output().unwrap();
    home.out(&["rm", "log"]);
    (attached.stdout, logged.stdout)
}

#[test]
fn no_byte_of_the_output_is_lost() {
    let home = KeptHome::new();
    let every_byte = "for i in $(seq 0 255); do printf \"\\\\$(printf %03o $i)\"; done";
    let scripts = [
        ("echo short".to_owned(), b"short\n".to_vec()),
        ("printf 'no newline'".to_owned(), b"no newline".to_vec()),
        (every_byte.to_owned(), (0..=255).collect()),
        // One line of 3 MiB, in parts of 16 KiB.
        (
            "head -c 3145728 /dev/zero | tr '\\0' x; echo".to_owned(),
            [vec![b'x'; 3 << 20], vec![b'\n']].concat(),
        ),
        (
            "seq 50000".to_owned(),
            (1..=50_000).flat_map(|number| format!("{number}\n").into_bytes()).collect(),
        ),
        ("exec true".to_owned(), Vec::new()),
    ];
    for (script, expected) in scripts {
        let (attached, logged) = printed(&home, &script);
        assert!(attached == expected, "attached: {script}: {} bytes", attached.len());
        assert!(logged == expected, "logged: {script}: {} bytes", logged.len());
    }
}

/// `--log-opt labels=` and `env=`: each line of the log says what the container has.
#[test]
fn the_lines_of_a_log_say_what_the_container_has() {
    let home = KeptHome::new();
    let spec = home.spec("env: { OF_SPEC: 'x' }", "echo one; echo two >&2");
    let more = [
        "-l",
        "app=a b",
        "-l",
        "team=é=,",
        "-l",
        "other=1",
        "-e",
        "APP_A=1",
        "-e",
        "APP_B=2",
        "-e",
        "OTHER=3",
    ];
    for (options, attributes, details) in [
        (
            &["labels=app,team,none"][..],
            r#""attrs":{"app":"a b","team":"é=,"},"#,
            "app=a+b,team=%C3%A9%3D%2C",
        ),
        (&["env=OTHER,OF_SPEC"], r#""attrs":{"OF_SPEC":"x","OTHER":"3"},"#, "OF_SPEC=x,OTHER=3"),
        (
            &["labels-regex=^(app|te)", "env-regex=^APP_", "env=OTHER"],
            r#""attrs":{"APP_A":"1","APP_B":"2","OTHER":"3","app":"a b","team":"é=,"},"#,
            "APP_A=1,APP_B=2,OTHER=3,app=a+b,team=%C3%A9%3D%2C",
        ),
        (&["compress=false", "mode=blocking", "labels=none"], "", ""),
        (&[], "", ""),
    ] {
        let flags: Vec<&str> = options.iter().flat_map(|option| ["--log-opt", option]).collect();
        home.run(&[&["run", "--keep", "--name", "web"][..], &more, &flags, &[&spec]].concat());
        let log = fs::read_to_string(home.container("web").join("log")).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        for line in log.lines() {
            assert!(line.contains(&format!(
                r#","stream":"std{}","#,
                if line.contains("one") { "out" } else { "err" }
            )));
            assert!(line.contains(attributes) && line.contains("attrs") != attributes.is_empty(), "{line}");
        }
        let printed = |flags: &[&str]| {
            let output = home.run(&[&["logs"][..], flags, &["web"]].concat());
            text(&output.stdout) + &text(&output.stderr)
        };
        assert_eq!(printed(&["--details"]), format!("{details} one\n{details} two\n"));
        assert_eq!(printed(&[]), "one\ntwo\n");
        let timed = printed(&["--details", "-t"]);
        assert!(timed.lines().next().unwrap().ends_with(&format!("Z {details} one")), "{timed}");
        home.out(&["rm", "web"]);
    }
}

#[test]
fn the_log_has_dockers_format() {
    let home = KeptHome::new();
    // The last line comes when the others are in the log. One write has the whole line: if its end came later, its beginning
    // would be in the log before.
    let script = format!(
        "echo 'a \"b\" <c> é'; printf 'caf\\351\\n' >&2
         until [ $(cat '{}'/containers/*/log | wc -l) = 2 ]; do sleep 0.02; done
         exec perl -e 'syswrite STDOUT, \"y\" x 20000 . \"\\n\"'",
        home.path().display()
    );
    let spec = home.spec("", &script);
    home.run(&["run", "--keep", "--name", "log", &spec]);
    let log = fs::read_to_string(home.container("log").join("log")).unwrap();
    let mut lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The two streams are two pipes: what is in both at a time has no order.
    lines.sort_by_key(|line| line["stream"].as_str().unwrap().to_owned());
    let of = |at: usize, key: &str| lines[at][key].as_str().unwrap().to_owned();
    assert_eq!((of(0, "log"), of(0, "stream")), ("caf\u{fffd}\n".into(), "stderr".into()));
    assert_eq!(of(0, "bytes"), "Y2Fm6Qo=");
    assert_eq!((of(1, "log"), of(1, "stream")), ("a \"b\" <c> é\n".into(), "stdout".into()));
    assert!(lines[1].get("bytes").is_none());
    assert_eq!((of(2, "log").len(), of(3, "log").len(), lines.len()), (16384, 3617, 4));
    for line in &lines {
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    let shown = |flags: &[&str]| {
        let output = home.run(&[&["logs"], flags, &["log"]].concat());
        (text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(shown(&["--tail", "1"]).0.len(), 3617);
    assert_eq!(shown(&["--since", "2100-01-01"]), (String::new(), String::new()));
    assert_eq!(shown(&["--until", "2000-01-01T00:00:00Z"]), (String::new(), String::new()));
    let (out, err) = shown(&["-t", "--since", "10m"]);
    let stamp = regex_lite::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z ").unwrap();
    assert!(out.lines().all(|line| stamp.is_match(line)) && out.lines().count() == 2, "{out}");
    assert!(stamp.is_match(&err));
}

/// A follower reads each line once, across rotations, and ends with the container. A prompt has no newline. Of this kind: one
/// file, which is removed at each rotation, and several.
#[test]
fn a_log_is_followed_across_rotations_until_the_end() {
    for (size, files) in [(80, 1), (20, 4)] {
        followed(size, files);
    }
}

/// Follows a log of at most this number of files, each of at most `size` KiB.
fn followed(size: u64, files: usize) {
    let home = KeptHome::new();
    // All files together have at least 880 lines. So the follower, at most 300 lines behind, finds each file.
    let read_up_to = |number: usize| home.around().join(format!("read-{number}"));
    let script = format!(
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i
         while [ $((i % 300)) = 0 ] && [ ! -e '{}'$i ]; do sleep 0.02; done; done; printf 'prompt> '; read x",
        home.around().join("read-").display()
    );
    let spec = home.spec("", &script);
    let (max_size, max_file) = (format!("max-size={size}k"), format!("max-file={files}"));
    home.out(&["create", "-i", "--log-opt", &max_size, "--log-opt", &max_file, "--name", "log", &spec]);
    home.out(&["start", "log"]);
    let mut follower = Background::of(&home, &["logs", "-f", "log"]);
    let mut out = follower.0.stdout.take().unwrap();
    let mut read = Vec::new();
    wait_until("the prompt is shown", || {
        let mut part = vec![0; 65536];
        let length = out.read(&mut part).unwrap();
        read.extend_from_slice(&part[..length]);
        let lines = read.iter().filter(|byte| **byte == b'\n').count();
        if lines > 0 {
            fs::write(read_up_to(lines / 300 * 300), "").unwrap();
        }
        read.ends_with(b"prompt> ")
    });
    let expected: String = (1..=3000).map(|number| format!("line {number}\n")).collect();
    assert!(text(&read) == format!("{expected}prompt> "), "{} bytes", read.len());
    let directory = home.container("log");
    let name = |number: usize| if number == 0 { "log".to_owned() } else { format!("log.{number}") };
    for file in (0..files).map(name) {
        assert!(directory.join(&file).metadata().unwrap().len() <= size << 10, "{file}");
    }
    assert!(!directory.join(name(files)).exists());
    home.out(&["kill", "log"]);
    assert_eq!(out.read_to_end(&mut read).unwrap(), 0);
    let mut messages = String::new();
    follower.0.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!(messages, "", "nothing was missed");
    assert!(follower.0.wait().unwrap().success());
}

/// A client that does not read gets a message, and is disconnected. The container and the other clients do not wait for it.
#[test]
fn a_slow_client_stops_nobody() {
    let home = KeptHome::new();
    let go = home.around().join("go");
    let script = format!(
        "while [ ! -e '{}' ]; do echo; sleep 0.05; done
         i=0; while [ $i -lt 100 ]; do i=$((i+1)); head -c 65536 /dev/zero; done; echo; echo end",
        go.display()
    );
    let spec = home.spec("", &script);
    home.out(&["run", "-d", "--name", "log", &spec]);
    // A client that has printed something gets all that comes.
    let attached = || {
        let mut client = Background::of(&home, &["attach", "--no-stdin", "log"]);
        client.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        client
    };
    let (slow, fast) = (attached(), attached());
    slow.signal(Signal::SIGSTOP);
    fs::write(&go, "").unwrap();
    // Without the lines before it.
    let output = |out: &[u8]| out.trim_ascii_start().len();
    let whole = 100 * 65536 + "\nend\n".len();
    let (out, err) = fast.output();
    assert!(output(&out) == whole && out.ends_with(b"\nend\n"), "{} {err}", out.len());
    wait_until("it has ended", || home.status("log") == "exited");
    slow.signal(Signal::SIGCONT);
    let (out, err) = slow.output();
    assert!(output(&out) < whole && err.contains("bytes were left out"), "{} {err}", out.len());
    assert_eq!(output(&home.run(&["logs", "log"]).stdout), whole);
}

/// The front is waited for, and gets everything, also after the end of the command.
#[test]
fn the_front_gets_everything_however_slow_it_is() {
    for size in sample(2, [1 << 20, 20 << 20]) {
        let home = KeptHome::new();
        let spec = home.spec("", &format!("head -c {size} /dev/zero; echo end"));
        let front = Background::of(&home, &["run", "--keep", "--name", "log", &spec]);
        wait_until("it runs", || home.status("log") != "absent" && home.status("log") != "created");
        front.signal(Signal::SIGSTOP);
        std::thread::sleep(std::time::Duration::from_millis(200));
        front.signal(Signal::SIGCONT);
        let (out, _) = front.output();
        assert!(out.len() == size + 4 && out.ends_with(b"end\n"), "{}", out.len());
    }
}
