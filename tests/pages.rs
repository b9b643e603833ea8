//! The pages generated from the definitions of the command line: help, man pages, completions.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::kept::KeptHome;
use support::{binary, is_root, run, sample, skip, stdout, text};

/// Every subcommand, as listed by the man pages.
fn subcommands() -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let written = stdout(&["man", "--dir", directory.path().to_str().unwrap()]);
    let name = |line: &str| {
        assert!(fs::metadata(line).unwrap().len() > 500, "{line}");
        Some(Path::new(line).file_name()?.to_str()?.strip_prefix("sandbox-")?.strip_suffix(".1")?.to_owned())
    };
    let names: Vec<String> = written.lines().filter_map(name).collect();
    assert!(names.len() >= 11, "{names:?}");
    names
}

fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// The lines after `Example:`.
fn examples(help: &str) -> Vec<String> {
    let below = help.lines().skip_while(|line| *line != "Example:").skip(1);
    below.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_help_has_an_example_a_manual_page_and_what_it_is_for() {
    let on_one_line = |words: &str| words.split_whitespace().collect::<Vec<_>>().join(" ");
    let overview = on_one_line(&stdout(&["--help"]));
    for name in sample(2, subcommands()) {
        let help = stdout(&[&name, "--help"]);
        assert!(!examples(&help).is_empty(), "{help}");
        assert!(help.contains("\nManual page:  "), "{help}");
        // The overview and the command's help use the same description.
        let about = help.lines().next().unwrap();
        assert!(overview.contains(about), "{about}");
        assert_eq!(stdout(&[&name, "-h"]).lines().next(), Some(about));
    }
}

#[test]
fn the_help_says_what_a_kill_of_sandbox_leaves() {
    for feature in ["mnt", "net", "uts", "ipc", "user", "cgroup", "time"] {
        let help = stdout(&[feature, "--help"]);
        assert!(help.contains("SIGKILL") && help.contains("go on running"), "{help}");
    }
    assert!(stdout(&["pid", "--help"]).contains("every process inside"));
}

#[test]
fn every_example_works() {
    // The examples run `sandbox`. The link makes that the binary under test.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(binary(), directory.path().join("sandbox")).unwrap();
    // `verify` needs a running container and its spec.
    let spec = "name: web\npid:\ncommand: [sleep, '6']\n";
    fs::write(directory.path().join("web.yaml"), spec).unwrap();
    fs::write(directory.path().join("box.yaml"), spec).unwrap();
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY web.yaml /\n").unwrap();
    // The commands of images need an archive of one.
    #[cfg(feature = "images")]
    let image = {
        let image = support::image::Image::of(&[support::image::Layer::new().file("a", "a")]);
        fs::write(directory.path().join("image.tar"), image.docker(&["ubuntu:15.10"])).unwrap();
        directory.path().join("image.tar")
    };
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    for name in sample(4, subcommands()) {
        for example in examples(&stdout(&[&name, "--help"])) {
            let missing = ["docker", "man -l"].into_iter().find(|program| {
                let program_name = program.split(' ').next().unwrap();
                example.contains(program) && (*program == "docker" || !is_installed(program_name))
            });
            if let Some(program) = missing {
                skip("every_example_works", &format!("machine: {example}: {program} isn't here"));
                continue;
            }
            if support::limits::FEATURES.contains(&name.as_str()) && !support::limits::is_possible(&name) {
                continue;
            }
            if ["pause", "unpause", "update"].contains(&name.as_str()) && !is_root() {
                skip("every_example_works", &format!("machine: {example}: a user's container has no cgroup"));
                continue;
            }
            if ["login", "logout", "pull", "push", "search"].contains(&name.as_str()) {
                let why = "no registry here; tests/pull.rs, push.rs and registry_access.rs have one";
                skip("every_example_works", &format!("machine: {example}: {why}"));
                continue;
            }
            // The commands of containers that stay need one. It ends by itself after 6 seconds.
            let home = KeptHome::new();
            let reads_layers = ["commit", "cp", "diff", "export"].contains(&name.as_str());
            if reads_layers {
                home.out(&["image", "from-host", "lab", "sh", "sleep"]);
                home.out(&["run", "-d", "--network", "none", "--name", "web", "lab", "sleep", "6"]);
            } else if name != "create" {
                home.out(&["create", directory.path().join("web.yaml").to_str().unwrap()]);
                if !["start", "rm", "rename", "verify", "exec", "enter"].contains(&name.as_str()) {
                    home.out(&["start", "web"]);
                }
                if name == "unpause" {
                    home.out(&["pause", "web"]);
                }
            }
            #[cfg(feature = "images")]
            if ["images", "tag", "rmi", "save", "history", "image"].contains(&name.as_str()) {
                home.out(&["load", "-i", image.to_str().unwrap()]);
            }
            let mut shell = Command::new("bash");
            shell
                .args(["-c", &example])
                .env("PATH", &path)
                .env("SANDBOX_HOME", home.path())
                .current_dir(directory.path())
                .stdin(Stdio::null());
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{example}: {}", text(&output.stderr));
        }
    }
}

/// The requests of roff(7) and man(7) that a page may use. This check finds wrong requests without a formatter.
const REQUESTS: [&str; 12] =
    [".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".IP", ".nf", ".fi", ".br", ".ie"];

#[test]
fn every_man_page_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let written = stdout(&["man", "--dir", directory.path().to_str().unwrap()]);
    let formatted_ones = sample(5, written.lines());
    for path in written.lines() {
        let page = fs::read_to_string(path).unwrap();
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let request = line.split_whitespace().next().unwrap();
            let is_known = REQUESTS.contains(&request) || [".el", ".ds"].contains(&request);
            assert!(is_known, "{path}: {line}");
        }
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            let quoted = format!(".SH \"{section}\"");
            assert!(
                page.contains(&format!(".SH {section}\n")) || page.contains(&quoted),
                "{path}: no {section}"
            );
        }
        if !formatted_ones.contains(&path) {
            continue;
        }
        let formatted = if is_installed("man") {
            let mut man = Command::new("man");
            man.args(["-l", "--warnings", path]).env("MANWIDTH", "80").output().unwrap()
        } else if is_installed("mandoc") {
            Command::new("mandoc").args(["-T", "lint", "-W", "error", path]).output().unwrap()
        } else {
            // Without a formatter, only the requests are checked.
            continue;
        };
        assert!(
            formatted.status.success() && formatted.stderr.is_empty(),
            "{path}: {}",
            text(&formatted.stderr)
        );
    }
}

#[test]
fn one_page_goes_to_standard_output() {
    assert!(stdout(&["man"]).contains(".TH sandbox 1"));
    let page = stdout(&["man", "uts"]);
    // The page has the flags, although they are defined only when they are needed.
    assert!(page.contains(".TH sandbox\\-uts 1") || page.contains(".TH sandbox-uts 1"), "{page}");
    assert!(page.contains("hostname") && page.contains("show\\-proc"), "{page}");
    assert_eq!(stdout(&["man", "mount"]), stdout(&["man", "mnt"]));
    let unknown = run(&["man", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no command nothing"), "{}", text(&unknown.stderr));
    assert_eq!(run(&["man", "--dir", "/proc/nowhere"]).status.code(), Some(125));
}

/// What bash offers to complete these words. The last word is incomplete.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"source <("$0" completions bash)
        sandbox_binary=$0
        sandbox() { "$sandbox_binary" "$@"; }
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _sandbox sandbox "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", script]).arg(binary()).args(words).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_parses_its_script_and_completes_by_it() {
    if !is_installed("bash") {
        return skip("bash_parses_its_script_and_completes_by_it", "bash isn't installed");
    }
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("sandbox.bash");
    fs::write(&script, stdout(&["completions", "bash"])).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(&script).output().unwrap();
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{}", text(&parsed.stderr));

    assert_eq!(offered(&["sandbox", "comp"]), ["compare", "completions"]);
    assert_eq!(offered(&["sandbox", "__"]), [""; 1]);
    assert_eq!(offered(&["sandbox", "build", "--break", "secret"]), ["secret-in-layer"]);
    assert_eq!(offered(&["sandbox", "uts", "--domain"]), ["--domainname"]);
    assert_eq!(offered(&["sandbox", "user", "--map-u"]), ["--map-user"]);
    assert_eq!(offered(&["sandbox", "compare", "--format", "j"]), ["json"]);
}

/// Inputs of this kind: the values of --break and --demo of each feature, of --break and --without of `run`, of --for,
/// the names of schemas and manual pages, running containers.
#[test]
fn bash_completes_values() {
    if !is_installed("bash") {
        return skip("bash_completes_values", "bash isn't installed");
    }
    for feature in ["pid", "mnt", "net", "user", "ipc", "memory", "devices"] {
        let first_words = |list: String| -> Vec<String> {
            list.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
        };
        assert_eq!(offered(&["sandbox", feature, "--break", ""]), first_words(stdout(&[feature, "--break"])));
        let cards = offered(&["sandbox", feature, "--demo", ""]);
        assert_eq!(cards, [first_words(stdout(&[feature, "--demo", "list"])), vec!["list".into()]].concat());
    }
    assert!(offered(&["sandbox", "run", "--break", "proc"]).contains(&"proc-sys".to_owned()));
    assert_eq!(offered(&["sandbox", "run", "--without", "caps"]), [""; 1]);
    assert_eq!(offered(&["sandbox", "run", "--without", "capab"]), ["capabilities"]);
    assert_eq!(offered(&["sandbox", "spec", "init", "--for", "home"]), ["homework"]);
    assert_eq!(offered(&["sandbox", "lesson", "start", "loo"]), ["look"]);
    assert_eq!(offered(&["sandbox", "lesson", "export", "loo"]), ["look"]);
    assert_eq!(offered(&["sandbox", "lesson", "check", "three"]), ["three-pids"]);
    // The last word is no file and no value: bash then completes file names by itself.
    assert_eq!(offered(&["sandbox", "run", "/etc/host"]), [""; 1]);
    let script = stdout(&["completions", "bash"]);
    assert!(script.contains("-o bashdefault -o default sandbox"), "{script}");
}

#[test]
fn the_names_of_running_containers_are_completed() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, "name: completed-name\nuts:\ncommand: [sleep, '60']\n").unwrap();
    assert_eq!(offered(&["sandbox", "enter", "completed"]), [""; 1]);
    let mut child = support::sandbox(&["run", "-q", spec.to_str().unwrap()]).spawn().unwrap();
    support::child_named(child.id(), "sleep");
    for subcommand in ["enter", "verify", "compare"] {
        assert_eq!(offered(&["sandbox", subcommand, "completed"]), ["completed-name"]);
    }
    assert_eq!(offered(&["sandbox", "enter", "name", "completed"]), [""; 1]);
    assert_eq!(offered(&["sandbox", "compare", "name", "completed"]), ["completed-name"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!stdout(&["--help"]).contains("__names"));
}

#[test]
fn other_shells_complete_values_too() {
    let (zsh, fish) = (stdout(&["completions", "zsh"]), stdout(&["completions", "fish"]));
    for value in ["stale-proc", "homework", "proc-sys", "__names"] {
        assert!(zsh.contains(value) && fish.contains(value), "{value}");
    }
    assert_eq!(zsh.matches(":_sandbox_names'").count(), 46);
    for (shell, script) in [("zsh", zsh), ("fish", fish)].into_iter().filter(|(shell, _)| is_installed(shell))
    {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("script");
        fs::write(&file, script).unwrap();
        let parsed = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        assert!(parsed.status.success() && parsed.stderr.is_empty(), "{shell}: {}", text(&parsed.stderr));
    }
}

/// What the help says about a flag, and what the flag does.
#[test]
fn the_help_of_no_mount_proc_is_what_it_does() {
    let help = stdout(&["pid", "--help"]);
    assert!(help.contains("Keep the old /proc"), "{help}");
    let processes = |flags: &[&str]| {
        stdout(&[&["pid"], flags, &["-q", "--", "sh", "-c", "printf '%s\\n' /proc/[0-9]*"]].concat())
    };
    assert!(processes(&["--no-mount-proc"]).lines().count() > processes(&[]).lines().count());
}

#[test]
fn every_shell_has_a_script_with_every_flag() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for word in ["hostname", "no-mount-proc", "show-proc", "boottime", "compare"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}
