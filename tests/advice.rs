//! Errors name what was typed, and what they advise works.
//!
//! Of this kind: the first word of an error, for each subcommand and alias; the option in an error, given by a flag or by a
//! spec, for each feature with options; each line of `sandbox` that an error advises.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{binary, feed, is_root, run, sandbox, text, write_program};

/// Standard error on one line.
fn words(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_ne!(output.status.code(), Some(0), "{arguments:?}");
    text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_error_begins_with_the_subcommand_that_was_typed() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, "mnt: { tmpfs: [/no/such] }\ncommand: ['true']\n").unwrap();
    let spec = spec.to_str().unwrap();
    let thread = nix::unistd::gettid().to_string();
    let own = std::process::id().to_string();
    let all: [(&[&str], &str); 26] = [
        (&["compare", "2147483647"], "compare: there is no process"),
        (&["compare", &own, "2147483647"], "compare: there is no process"),
        (&["enter", "2147483647", "--", "true"], "enter: there is no process"),
        (&["verify", "2147483647", spec], "verify: there is no process"),
        (&["compare", &thread], "compare: "),
        (&["enter", &thread, "--", "true"], "enter: "),
        (&["verify", &thread, spec], "verify: "),
        (&["compare", "no-such-name"], "compare: no running container"),
        (&["compare", &own, "no-such-name"], "compare: no running container"),
        (&["enter", "no-such-name", "--", "true"], "enter: no running container"),
        (&["verify", "no-such-name", spec], "verify: no running container"),
        (&["--color", "never", "enter", "no-such-name"], "enter: no running container"),
        (&["enter", &own, "--", "true"], "enter: "),
        (&["enter", &own, "--env", "=x", "--", "true"], "enter: "),
        (&["man", "nothing"], "man: "),
        (&["man", "--dir", "/proc/nowhere"], "man: "),
        (&["mnt", "bash"], "mnt: bash is before the --"),
        (&["time", "--boottime", "--", "true"], "time: --boottime has no value"),
        (&["time", "--monotonic", "--", "true"], "time: --monotonic has no value"),
        (&["mount", "bash"], "mount: bash is before the --"),
        (&["mnt", "--tmpfs", "/no/such", "-q", "--", "true"], "mnt: /no/such does not exist"),
        (&["mount", "--tmpfs", "/no/such", "-q", "--", "true"], "mount: /no/such does not exist"),
        (&["network", "--veth", "--mode", "bridge", "-q", "--", "true"], "network: "),
        (&["uts", "--hostname", "", "-q", "--", "true"], "uts: "),
        (&["run", spec], "run: mnt: "),
        (&["--stable", "run", "-q", spec], "run: mnt: "),
    ];
    for (arguments, prefix) in all {
        let words = words(arguments);
        assert!(words.starts_with(&format!("sandbox: {prefix}")), "{arguments:?}: {words}");
    }
}

/// The same mistake by flags and in a spec. The flag, and the place of the key.
#[test]
fn an_option_is_named_as_it_was_given() {
    let long = "x".repeat(65);
    let uts = format!("uts: {{ hostname: {long} }}");
    let all: [(&[&str], &str, &str, &str); 17] = [
        (&["uts", "--hostname", &long], "--hostname", &uts, "1:18 hostname"),
        (&["uts", "--domainname", ""], "--domainname", "uts: { domainname: '' }", "1:20 domainname"),
        (&["mnt", "--tmpfs", "/no/such"], "--tmpfs", "mnt: { tmpfs: [/no/such] }", "1:8 tmpfs"),
        (
            &["mnt", "--bind", "/no/such:/mnt"],
            "--bind",
            "mnt:\n  bind: [{ source: /no/such, target: /mnt }]",
            "2:3 bind",
        ),
        (
            &["mnt", "--root", "/tmp", "--propagation", "shared"],
            "--propagation shared",
            "mnt: { propagation: shared, root: /tmp }",
            "1:29 propagation: shared",
        ),
        (&["mnt", "--root", "/"], "--root", "mnt: { root: / }", "1:8 root"),
        (
            &["net", "--veth", "--mode", "bridge"],
            "--veth, --mode bridge",
            "net: { veth: true, mode: bridge }",
            "1:8 veth, mode: bridge",
        ),
        (
            &["net", "--lo", "down", "-p", "18080:80"],
            "--lo down, --publish",
            "net: { lo: down, publish: ['18080:80'] }",
            "1:8 lo: down, publish",
        ),
        (
            &["net", "--mode", "host", "--veth"],
            "--mode host",
            "net: { veth: true, mode: host }",
            "1:20 mode: host",
        ),
        (
            &["net", "-p", "18080:80", "-p", "18080:81"],
            "(--publish)",
            "net: { publish: ['18080:80', '18080:81'] }",
            "1:8 publish",
        ),
        (&["user", "--map", "auto", "--map", "root"], "--map", "user: { map: [auto, root] }", "1:9 map"),
        (
            &["user", "--map", "0:0:2", "--map", "1:5:2"],
            "--map: ",
            "user: { map: ['0:0:2', '1:5:2'] }",
            "1:9 map",
        ),
        (
            &["memory", "--limit", "1g", "--reservation", "2g"],
            "--reservation ",
            "memory: { limit: 1g, reservation: 2g }",
            "1:22 reservation",
        ),
        (&["cpu", "--shares", "1"], "--shares 1", "cpu: { shares: 1 }", "1:16 shares"),
        (&["cpu", "--cpuset", "9999"], "--cpuset 9999", "cpu: { cpuset: '9999' }", "1:8 cpuset"),
        (&["pids", "--max", "0"], "--max 0", "pids: { max: 0 }", "1:14 max"),
        (&["blkio", "--weight", "5"], "--weight 5", "blkio: { weight: 5 }", "1:18 weight"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spec.yaml");
    let flag = regex_lite::Regex::new(r"(^|[ (])--[a-z]").unwrap();
    for (flags, named, spec, place) in all {
        // A user's problem of the cgroups is reported beside it, and belongs to the machine.
        let plan = |arguments: &[&str]| {
            text(&run(arguments).stdout).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let by_flag = plan(&[flags, &["--dry-run", "--", "true"]].concat());
        assert!(by_flag.contains(named), "{flags:?}: no {named}: {by_flag}");
        let error = words(&[flags, &["-q", "--", "true"]].concat());
        let is_first = error.contains(named);
        assert!(is_first || error.contains("no cgroup can be created"), "{flags:?}: {error}");
        assert!(!error.contains("spec.yaml") && !error.contains(": {"), "{flags:?}: {error}");

        fs::write(&file, format!("{spec}\ncommand: ['true']\n")).unwrap();
        let file = file.to_str().unwrap();
        let error = words(&["run", "-q", file]);
        if is_first {
            let (at, key) = place.split_once(' ').unwrap();
            assert!(error.contains(&format!("spec.yaml:{at}: ")), "{spec}: {error}");
            assert!(error.contains(key), "{spec}: {error}");
        }
        // Advice may be a command line, with flags.
        let prose = error.split(" do ").next().unwrap();
        assert!(!flag.is_match(prose), "{spec}: {error}");
    }
}

/// A problem of standard input has a place too, and one of a feature that the machine refuses.
#[test]
fn a_problem_of_a_feature_has_the_place_of_its_key() {
    let spec = "pid:\nmnt:\n  tmpfs: [/no/such]\ncommand: ['true']\n";
    let output = feed(&mut sandbox(&["run", "-q", "-"]), spec);
    assert!(text(&output.stderr).contains("standard input:3:3: "), "{}", text(&output.stderr));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("r.yaml");
    for (spec, place) in [
        ("rootfs: ./nope\ncommand: [sh]\n", "r.yaml:1:1: "),
        (
            "uts:\nrootfs: host\nmnt: { mounts: [{ type: bind, source: ./nope, target: /srv }] }\n",
            "r.yaml:3:8: ",
        ),
        ("user: { map: root }\nrun_as: '7:7'\nrootfs: host\ncommand: ['true']\n", "r.yaml:2:1: "),
    ] {
        fs::write(&file, spec).unwrap();
        let checked = words(&["run", "-q", file.to_str().unwrap(), "--", "true"]);
        assert!(checked.contains(place), "{spec}: {checked}");
    }
}

/// The command lines of `sandbox` in the advice of an error.
fn advised(stderr: &str) -> Vec<String> {
    let Some((_, advice)) = stderr.split_once("\n  do    ") else { return Vec::new() };
    let continued = regex_lite::Regex::new(" \\\\\n +").unwrap();
    let joined = continued.replace_all(advice, " ");
    let lines = joined.lines().map(|line| line.trim());
    let lines = lines.map(|line| {
        line.split_once(". ").filter(|(number, _)| number.len() == 1).map_or(line, |(_, rest)| rest)
    });
    let begin = |line: &&str| {
        let first = line.split(' ').find(|word| *word != "sudo").unwrap_or_default();
        Path::new(first).file_name().is_some_and(|name| name == "sandbox")
    };
    lines.filter(begin).map(str::to_owned).collect()
}

#[test]
fn what_an_error_advises_works() {
    let _alone = support::alone();
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("sandbox")).unwrap();
    // sudo(8) of the test performs the command, as root only.
    write_program(&bin.join("sudo"), "#!/bin/sh\n[ $(id -u) = 0 ] || exit 0\nexec \"$@\"\n");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let own = std::process::id().to_string();
    let all: [&[&str]; 32] = [
        &["pid", "true"],
        &["mount", "true"],
        &["true"],
        &["--", "true"],
        &["help"],
        &["help", "net"],
        &["pidd", "--", "true"],
        &["unshare", "-p", "true"],
        &["unshare", "-pfn", "true"],
        &["--pid", "--net", "true"],
        &["pid", "--fork", "true"],
        &["pid", "--mount-proc", "--", "true"],
        &["pid", "--hostname", "x", "true"],
        &["uts", "--net", "true"],
        &["run"],
        &["run", "--privileged", "alpine"],
        &["run", "nofile.yaml"],
        &["run", "homework"],
        &["start"],
        &["rm", "x"],
        &["spec", "init", "--for", "homewrk"],
        &["spec", "schema", "veiw"],
        &["spec", "init", "--format", "json"],
        &["net", "--veth", "-q", "--", "true"],
        &["net", "--mode", "bridge", "-q", "--", "true"],
        &["net", "--veth", "--mode", "bridge", "-q", "--", "true"],
        &["user", "--map", "auto", "--map", "root", "-q", "--", "true"],
        &["devices", "--deny", "x", "-q", "--", "true"],
        &["pids", "--max", "64", "-q", "--", "true"],
        &["enter", &own, "--", "true"],
        &["pid", "--break", "no-fork", "--dry-run"],
        &["memory", "--break", "join-late", "-q"],
    ];
    let mut count = 0;
    for arguments in all {
        let output = sandbox(arguments).current_dir(directory.path()).output().unwrap();
        if output.status.success() {
            continue;
        }
        let error = text(&output.stderr);
        for line in advised(&error) {
            count += 1;
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).env("PATH", &path).env("NO_COLOR", "1").stdin(Stdio::null());
            let output = shell.current_dir(directory.path()).output().unwrap();
            let (status, err) = (output.status.code(), text(&output.stderr));
            // This machine may refuse what the line does; then it says why. A wrong command line is never advised.
            let is_refused =
                status == Some(125) && (err.contains("\n  why   ") || err.contains("\n  call  "));
            assert!(status == Some(0) || is_refused, "{arguments:?} advises {line}: {status:?}\n{err}");
            assert!(!line.contains("..."), "{line}");
        }
    }
    // What `doctor` advises works too, whatever it found.
    for line in advised(&text(&run(&["doctor"]).stdout)) {
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", &line]).env("PATH", &path).output().unwrap().status.code();
        assert!([Some(0), Some(125)].contains(&status), "doctor advises {line}: {status:?}");
    }
    assert!(count >= 24, "{count}");
    assert!(is_root() || count >= 25, "{count}");
}

/// --dry-run changes nothing, so it makes no mistake. Names in a list, and unknown ones, are as without it.
#[test]
fn a_mistake_is_not_made_with_dry_run() {
    for arguments in [
        &["pid", "--break", "no-fork", "--dry-run"][..],
        &["mnt", "--dry-run", "--break", "chroot", "--format", "json"],
        &["run", "--break", "suid", "--dry-run"],
    ] {
        let output = run(arguments);
        assert!(output.stdout.is_empty() && output.status.code() == Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("--explain"), "{}", text(&output.stderr));
    }
    assert_eq!(run(&["pid", "--break", "--dry-run"]).status.code(), Some(0));
    assert!(words(&["pid", "--break", "nofork", "--dry-run"]).contains("did you mean no-fork?"));
}

/// A line that prints the plan repeats what was typed, also where the spec is standard input.
#[test]
fn advice_to_print_the_plan_repeats_the_line() {
    let spec = "rootfs: host\npid:\nrlimits: { nofile: 18446744073709551614 }\ncommand: ['true']\n";
    let output = feed(&mut sandbox(&["run", "-q", "-"]), spec);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    if error.contains("--dry-run") {
        let binary = support::binary();
        let name = binary.to_str().unwrap();
        let lines = advised(&error);
        assert!(lines.contains(&format!("{name} run --dry-run -q -")), "{lines:?}");
    }
}

/// A shell that may open few files is advised a higher number, not a lower one.
#[test]
fn the_advised_limit_on_open_files_is_higher_than_the_present_one() {
    for (limit, advice) in [("60", "ulimit -n 1024"), ("1100", "ulimit -n \"$(ulimit -Hn)\"")] {
        let script = format!(
            "ulimit -Sn {limit}; exec {} net -q -p 127.0.0.1:30000-31999:30000-31999 -- true",
            binary().display()
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let error = text(&output.stderr);
        // Another program may have a port of the range.
        assert!(error.contains(advice) || error.contains("EADDRINUSE"), "{limit}: {error}");
    }
}

/// An advice to become root repeats what was typed. The name of a user's container is none for root, so it is a PID there.
#[test]
fn advice_to_become_root_repeats_the_line() {
    if is_root() {
        return;
    }
    for arguments in [
        &["compare", "1", "--all"][..],
        &["enter", "-q", "--privileged", "1", "--", "echo", "a b"],
        &["--color", "never", "compare", "1", &std::process::id().to_string()],
    ] {
        let words = words(arguments);
        let typed: Vec<String> = arguments
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).into() })
            .collect();
        let advice = words.replace("\\ ", "");
        assert!(advice.contains(&format!("sandbox {}", typed.join(" "))), "{arguments:?}: {words}");
        assert!(advice.contains("run it as root: sudo "), "{words}");
    }
}

/// Each line of `sandbox` that the doctor advises, pasted into sh, and the line that it advises where a whole container does
/// not work. What is for root is tried without sudo(8): then it is accepted, and says what it needs.
#[test]
fn what_the_doctor_advises_can_be_pasted() {
    let report: serde_json::Value =
        serde_json::from_slice(&run(&["doctor", "--format", "json"]).stdout).unwrap();
    let errors = report["features"].as_array().unwrap().iter().map(|finding| &finding["error"]["todo"]);
    let advice: Vec<&str> =
        errors.filter_map(|todo| todo.as_array()).flatten().filter_map(|todo| todo.as_str()).collect();
    let program = binary().display().to_string();
    let mut lines: Vec<String> = vec!["sandbox spec init --for first | sandbox run - --dry-run".into()];
    lines.extend(
        advice
            .iter()
            .flat_map(|todo| todo.lines().skip(1))
            .map(|line| line.trim().trim_start_matches("sudo ").to_owned())
            .filter(|line| line.starts_with("sandbox ") || line.starts_with(&program)),
    );
    if !is_root() && !lines.iter().any(|line| line.contains("--dry-run") && !line.contains("spec init")) {
        eprintln!("every limit works here");
    }
    for line in lines {
        let mut shell = Command::new("sh");
        // `sandbox` is a function, as if it were installed.
        shell.args(["-c", &format!("sandbox() {{ \"{program}\" \"$@\"; }}\n{line}")]);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        assert!(!line.contains("doctor --dry-run"), "{line}");
    }
}

/// The commands of containers that stay: the subcommand that was typed, and nothing that works only for others.
#[cfg(feature = "images")]
#[test]
fn an_error_of_a_kept_container_is_that_of_the_typed_command() {
    let home = support::kept::KeptHome::new();
    home.out(&["image", "from-host", "tool", "true"]);
    let told = home.refused(&["run", "--foo", "tool", "true"], 125);
    assert!(told.contains("'--foo'") && !told.contains("spec"), "{told}");
    let told = home.refused(&["run", "--rm", "-e", "", "tool", "true"], 125);
    assert!(told.contains("\"\" has no name of a variable"), "{told}");
    // More processors than there are.
    let told = home.refused(&["create", "--network", "none", "--cpuset-cpus", "70000", "tool", "true"], 125);
    assert!(told.starts_with("sandbox: create: "), "{told}");
    assert!(!told.contains("create --dry-run") && !told.contains("run: "), "{told}");
    home.out(&["create", "--network", "none", "--name", "web", "tool", "true"]);
    let told = home.run(&["update", "--cpuset-cpus", "70000", "web"]);
    let told = text(&told.stderr);
    assert!(!told.contains("sudo sandbox update") && !told.contains("update --dry-run"), "{told}");
    // A container that stays prints no JSON.
    let told =
        home.refused(&["run", "--explain", "--format", "json", "--network", "none", "tool", "true"], 125);
    assert!(told.contains("--format json"), "{told}");
}
