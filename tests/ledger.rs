//! `sandbox ledger`: nothing new is status 0; each kind of thing is reported with its holder, and is gone again when the
//! advised command was executed.
//!
//! Inputs of this kind: namespaces held by a process, a descriptor and a mount · mounts, also two on one path · devices,
//! nf_tables tables · System V objects, POSIX queues, /dev/shm · cgroups · the hostname · processes and files of
//! `sandbox` · processes that SIGTERM does not end · containers, volumes and images · names with control characters and bytes that are not UTF-8 · processes that end meanwhile · a ledger that
//! is missing, damaged, of a later version, of another namespace, or no ledger.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use sandbox::host::run_directory;
use serde_json::Value;
use support::limits::is_possible;
use support::{alone, binary, fits, is_root, sandbox, text};

/// Functions of the scripts. `report NAME` prints what `sandbox ledger diff $OURS` prints, and its status. `wait_for TEST`
/// waits until a test is true. `hide_cgroups` hides the cgroups of other programs.
const FUNCTIONS: &str = r#"
    report() { echo "== $1"; COLUMNS=80 "$S" ledger diff before $OURS 2>&1; echo "status $?"; }
    hide_cgroups() { mount -t tmpfs none /sys/fs/cgroup; }
    wait_for() { for i in $(seq 500); do eval "$1" && return; sleep 0.02; done; echo "never: $1"; exit 1; }
    differs() { [ "$(readlink /proc/$1/ns/$2)" != "$(readlink /proc/self/ns/$2)" ]; }
    # A long line is continued as a shell does it.
    advised() { sed -n '/^    remove/{:more;/\\$/{N;bmore};s/^    remove *//;p;q}'; }
    ended() { kill -KILL "$1"; wait "$1" 2> /dev/null; }
"#;

/// Runs a bash script in a machine of its own: new namespaces, /proc, /run and /dev/shm. Other programs cannot be seen in
/// it. Its working directory is empty.
fn in_world(script: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let begin = "mount -t tmpfs none /run; mount -t tmpfs none /dev/shm; mkdir mq; mount -t mqueue none mq";
    command
        .args([
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--propagation",
            "private",
        ])
        // bash is process 1, because timeout(1) does not reap orphans.
        .args(["--kill-child", "bash", "-c", r#"timeout 100 bash -c "$1"; exit $?"#, "init"])
        .arg(format!("{begin}\n{FUNCTIONS}\n{script}"))
        .env("S", binary())
        .env("NO_COLOR", "1")
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// The sections of such a script's output, by name.
fn sections(script: &str) -> BTreeMap<String, String> {
    let output = in_world(script);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    let section = |part: &str| part.split_once('\n').map(|(name, body)| (name.to_owned(), body.to_owned()));
    printed.split("== ").skip(1).filter_map(section).collect()
}

/// Asserts that a section reports these and the status 1, and that the same name with `-gone` has the status 0.
#[track_caller]
fn reported(sections: &BTreeMap<String, String>, name: &str, expected: &[&str]) {
    let body = &sections[name];
    // A long command is broken into lines.
    let whole = body.split(" \\\n").map(str::trim_start).collect::<Vec<_>>().join(" ");
    for part in expected {
        assert!(body.contains(part) || whole.contains(part), "{name}: no {part:?} in\n{body}");
    }
    assert!(body.contains("status 1"), "{name}: {body}");
    let gone = &sections[&format!("{name}-gone")];
    let is_none =
        gone.starts_with("Nothing is new since") || gone.starts_with("sandbox has left nothing new since");
    assert!(is_none && gone.ends_with("status 0\n"), "{name}: {gone}");
}

#[test]
fn each_kind_is_reported_with_its_holder_and_gone_after_the_advised_command() {
    let _alone = alone();
    let all = sections(
        r#"
        hide_cgroups
        "$S" ledger start before > started; cat started > /dev/null
        echo "== started"; cat started; stat -c %a before
        report untouched

        unshare --uts sleep 100 & held=$!; wait_for "differs $held uts"
        report process > out; cat out; eval "$(advised < out)"; wait $held 2> /dev/null; report process-gone

        unshare --uts sleep 100 & held=$!; wait_for "differs $held uts"
        exec 9< /proc/$held/ns/uts; ended $held
        report descriptor; exec 9<&-; report descriptor-gone

        unshare --uts sleep 100 & held=$!; wait_for "differs $held uts"
        touch name; mount --bind /proc/$held/ns/uts name; ended $held
        report mounted > out; cat out; eval "$(advised < out)"; report mounted-gone

        mkdir m; mount -t tmpfs one m; mount -t tmpfs two m
        report mount; umount m; umount m; report mount-gone

        ip link add v0 type veth peer name v1
        report device > out; cat out; eval "$(advised < out)"; report device-gone

        ipcmk -M 4096 > /dev/null
        report memory > out; cat out; eval "$(advised < out)"; report memory-gone
        ipcmk -S 3 > /dev/null
        report semaphores > out; cat out; eval "$(advised < out)"; report semaphores-gone
        ipcmk -Q > /dev/null
        report messages > out; cat out; eval "$(advised < out)"; report messages-gone
        touch mq/line
        report queue > out; cat out; eval "$(advised < out)"; report queue-gone
        touch /dev/shm/sem.x
        report shm > out; cat out; eval "$(advised < out)"; report shm-gone

        old=$(hostname); hostname box-ledger
        report name; hostname "$old"; report name-gone

        "$S" uts -q -- sleep 100 & run=$!
        wait_for "pgrep -P $run -x sleep > child"
        report run; ended $run; wait_for "! readlink /proc/$(cat child)/ns/uts > /dev/null"
        report killed; "$S" gc > /dev/null; report run-gone

        exit 0
        "#,
    );
    assert!(
        all["started"].starts_with("The ledger is started: ") && all["started"].ends_with("600\n"),
        "{all:?}"
    );
    let untouched = &all["untouched"];
    assert!(untouched.starts_with("Nothing is new since ") && untouched.contains("status 0"), "{untouched}");
    reported(
        &all,
        "process",
        &["\nnamespaces\n  uts:[", "held by  sleep ", "look     readlink /proc/", "kill "],
    );
    assert!(all["process"].contains("1 new, 0 changed, 0 gone"), "{}", all["process"]);
    reported(&all, "descriptor", &["\nnamespaces\n  uts:[", "held by  descriptor 9 of bash "]);
    reported(
        &all,
        "mounted",
        &["\nnamespaces\n  uts:[", "held by  the mount on /", "/name\n", "umount /", "nsfs"],
    );
    reported(
        &all,
        "mount",
        &["/m\n", "/m (2)\n", "tmpfs one", "tmpfs two", "look     findmnt /", "umount /"],
    );
    reported(&all, "device", &["\nnetwork devices\n", "  v0\n", "  v1\n", "index ", "ip link delete dev v0"]);
    reported(&all, "memory", &["\nSystem V shared memory\n", "4096 bytes", "nobody: PID ", "ipcrm -m "]);
    reported(&all, "semaphores", &["\nSystem V semaphores\n", ", 3 in the set, user 0", "ipcrm -s "]);
    reported(&all, "messages", &["\nSystem V message queues\n", "ipcs -q -i ", "ipcrm -q "]);
    reported(&all, "queue", &["\nPOSIX message queues\n", "/mq/line\n"]);
    reported(&all, "shm", &["\nfiles in /dev/shm\n  /dev/shm/sem.x\n", "rm /dev/shm/sem.x"]);
    reported(
        &all,
        "name",
        &["\nCHANGED\nhostname and domain name\n  hostname\n", "is       box-ledger", "restore  hostname "],
    );
    reported(
        &all,
        "run",
        &[
            "\nprocesses of sandbox\n",
            "  sleep ",
            "[made by sandbox]",
            "held by  sandbox ",
            ", its parent",
            "uts:[",
        ],
    );
    // No command has removed what the killed one has left, not even the ledger itself.
    let killed = &all["killed"];
    assert!(killed.contains("1 new, 0 changed") && killed.contains("remove   sandbox gc\n"), "{killed}");
    for body in all.values() {
        fits(body, 80, 200);
    }
}

/// Audited: `kill` was advised for process 1 of a PID namespace, which does not get SIGTERM, and `sandbox gc` for a
/// container that runs.
#[test]
fn the_advised_command_ends_what_sigterm_does_not_end() {
    let _alone = alone();
    let all = sections(
        r#"
        hide_cgroups; export SANDBOX_HOME=$PWD/home
        # Each advised command that ends something, once. The last one can find that all is gone.
        advise() { grep -a "^    remove" out | sed 's/^    remove *//' | sort -u > commands; cat commands
            while read -r command; do eval "${command/#sandbox/$S}" > /dev/null 2>&1 || :; done < commands; }
        gone() { wait_for '"$S" ledger diff before > left'; report "$1-gone"; }
        "$S" ledger start before > /dev/null

        "$S" pid -q -- sleep 100 & wait_for "pgrep -P $! -x sleep > child"
        report first > out; cat out; advise; gone first
        "$S" pid -q --init -- sleep 100 & wait_for "pgrep -x sleep > child"
        report init > out; cat out; advise; gone init
        "$S" pid -q -- sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done' & wait_for "pgrep -P $! -x sh > child"
        wait_for "grep -q 'SigCgt.*[4-7c-f]...$' /proc/$(cat child)/status"
        report handler > out; cat out; advise; gone handler
        "$S" uts -q -- env --ignore-signal=TERM sleep 100 & wait_for "pgrep -P $! -x sleep > child"
        report ignores > out; cat out; advise; gone ignores
        unshare --uts sleep 100 & wait_for "differs $! uts"; kill -STOP $!
        report stopped > out; cat out; advise; gone stopped
        exit 0
        "#,
    );
    reported(&all, "first", &["remove   kill -KILL "]);
    reported(&all, "init", &["remove   kill "]);
    reported(&all, "handler", &["remove   kill "]);
    reported(&all, "ignores", &["remove   kill -KILL "]);
    reported(&all, "stopped", &["remove   kill -KILL "]);
    assert!(!all["init"].contains("-KILL") && !all["handler"].contains("-KILL"), "{all:?}");
}

/// What stays when no process runs was not in the ledger.
#[cfg(feature = "images")]
#[test]
fn containers_volumes_and_images_are_reported_and_gone_after_the_advised_command() {
    let _alone = alone();
    let all = sections(
        r#"
        hide_cgroups; export SANDBOX_HOME=$PWD/home
        gone() { wait_for '"$S" ledger diff before > left'; report "$1-gone"; }
        "$S" image from-host lab sleep true > /dev/null
        "$S" ledger start before > /dev/null

        "$S" run -d --network none --name runs lab sleep 100 > /dev/null
        report runs > out; cat out
        grep -a "^    remove" out | sort -u > removes
        eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone runs
        "$S" run -d --network none --name other lab sleep 100 > /dev/null
        SANDBOX_HOME=$PWD/elsewhere report elsewhere > out; cat out
        eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone elsewhere
        "$S" create --network none --name waits lab sleep 100 > /dev/null
        report created > out; cat out; eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone created
        "$S" volume create data > /dev/null
        report volume > out; cat out; eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone volume
        "$S" daemon start > /dev/null 2>&1
        report daemon > out; cat out; eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone daemon
        "$S" tag lab second
        report image > out; cat out; eval "$(advised < out | sed "s|^sandbox|$S|")" > /dev/null; gone image
        echo "== removes"; cat removes
        exit 0
        "#,
    );
    reported(
        &all,
        "runs",
        &["\ncontainers that stay\n  runs   [made", "held by  sandbox ", "sandbox inspect runs"],
    );
    assert_eq!(all["removes"], "    remove   sandbox rm -f runs\n");
    reported(&all, "elsewhere", &["/home rm -f "]);
    reported(&all, "created", &["\ncontainers that stay\n  waits   [made", "remove   sandbox rm -f waits\n"]);
    reported(&all, "volume", &["\nvolumes\n  data   [made", "remove   sandbox volume rm data\n"]);
    #[cfg(feature = "daemon")]
    reported(&all, "daemon", &["/run/sandbox/daemon-", "held by  sandbox ", "remove   kill "]);
    reported(&all, "image", &["\nimages\n  second:latest   [made", "remove   sandbox rmi second:latest\n"]);
    for body in all.values() {
        fits(body, 80, 200);
    }
}

#[test]
fn containers_with_a_bridge_and_cgroups_are_marked_as_made_by_sandbox() {
    let _alone = alone();
    if !is_root() {
        return support::skip(
            "containers_with_a_bridge_and_cgroups_are_marked_as_made_by_sandbox",
            "machine: a bridge takes root",
        );
    }
    let limit = if is_possible("pids") { "pids: { max: 50 }\n" } else { "" };
    let script = format!(
        r#"
        OURS=--ours
        printf 'pid:\n{}net: {{ mode: bridge }}\ncommand: [sleep, "100"]\n' > box.yaml
        "$S" ledger start before > /dev/null
        "$S" run -q box.yaml & run=$!
        wait_for "pgrep -P $run -x sleep > child"
        report box; "$S" ledger diff before --ours --format json > ours.json; cat ours.json
        kill $run; wait $run; report box-gone
        exit 0
        "#,
        limit.replace('\n', "\\n")
    );
    let all = sections(&script);
    reported(
        &all,
        "box",
        &[
            "\nnf_tables tables\n",
            "nft delete table ",
            "  sandbox0   [made",
            "  sbx-",
            "files of sandbox\n  /run/sandbox/",
        ],
    );
    if !limit.is_empty() {
        let body = &all["box"];
        assert!(
            body.contains("\ncgroups\n") && body.contains("/sandbox/") && body.contains("held by  sleep "),
            "{body}"
        );
    }
    let json = all["box"].split_once("status 1\n").unwrap().1;
    let json: Value = serde_json::from_str(json).unwrap();
    let kinds: Vec<&str> =
        json["new"].as_array().unwrap().iter().map(|thing| thing["kind"].as_str().unwrap()).collect();
    for kind in ["namespaces", "processes", "devices", "tables", "state"] {
        assert!(kinds.contains(&kind), "{kind}: {json}");
    }
    assert!(json["new"].as_array().unwrap().iter().all(|thing| thing["ours"] == true), "{json}");
}

/// A cgroup is listed with its processes, in every hierarchy. The directory is below `sandbox`, as those of a run.
#[test]
fn a_cgroup_is_reported_with_its_processes() {
    let _alone = alone();
    let feature = "pids";
    if !support::limits::may("a_cgroup_is_reported_with_its_processes", feature) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("before");
    let before = ["ledger", "start", file.to_str().unwrap()];
    assert!(sandbox(&before).status().unwrap().success());
    let mut run = sandbox(&[feature, "-q", "--", "sleep", "100"]).spawn().unwrap();
    let sleep = support::child_named(run.id(), "sleep");
    let group = support::limits::group(sleep, feature);
    let difference = |file: &Path| -> Vec<Value> {
        let output =
            sandbox(&["ledger", "diff", "--format", "json", file.to_str().unwrap()]).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["new"].as_array().unwrap().iter().filter(|thing| thing["kind"] == "cgroups").cloned().collect()
    };
    let is_own = |thing: &&Value| thing["name"] == group.to_str().unwrap();
    let new = difference(&file);
    let own = new.iter().find(is_own).unwrap_or_else(|| panic!("{} in {new:?}", group.display()));
    assert_eq!((&own["ours"], &own["holder"]), (&true.into(), &format!("sleep {sleep}").into()));
    assert_eq!(own.get("remove"), None);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    run.wait().unwrap();
    assert_eq!(difference(&file).iter().find(is_own), None);
}

#[test]
fn names_of_any_bytes_reach_no_terminal() {
    let _alone = alone();
    let all = sections(
        r#"
        hide_cgroups
        "$S" ledger start before > /dev/null
        name=$'\e[31mred\n\xff \u202e'
        mkdir "$name"; mount -t tmpfs none "$name"
        perl -e 'open(F, ">/proc/self/comm"); print F "\e[2J\n\xfe)"; close F; exec {"unshare"} "unshare", "--uts", "perl", "-e",
            "open(F, q(>/proc/self/comm)); print F qq(\\e[2J\\n\\xfe); close F; sleep 100"' & held=$!
        wait_for "differs $held uts"; wait_for "! grep -q perl /proc/$held/comm"
        touch "/dev/shm/$name"
        report hostile > out; cat out
        "$S" ledger diff before --format json > json; grep -c . json > /dev/null
        ended $held; umount "$name"; rm "/dev/shm/$name"
        report hostile-gone
        exit 0
        "#,
    );
    reported(&all, "hostile", &[r"\x1b[31mred\n\xff", r"held by  \x1b[2J"]);
    let is_unsafe =
        |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(
        !all["hostile"].contains(is_unsafe) && !all["hostile"].contains('\u{fffd}'),
        "{:?}",
        all["hostile"]
    );
}

#[test]
fn processes_that_end_meanwhile_are_no_error() {
    let _alone = alone();
    let output = in_world(
        r#"
        (while :; do unshare --uts true & /bin/true & sleep 0.001; done) 2> /dev/null & many=$!
        for i in 1 2 3 4 5 6 7 8; do
            "$S" ledger start before > /dev/null || exit 1
            "$S" ledger diff before > out; [ $? -le 1 ] || exit 1
        done
        kill $many; exit 0
        "#,
    );
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// On the machine as it is, where other programs run.
#[test]
fn a_namespace_of_this_user_is_found_among_all_processes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("before");
    let file = file.to_str().unwrap();
    assert!(sandbox(&["ledger", "start", file]).status().unwrap().success());
    let mut command = Command::new("unshare");
    // Without --fork, nothing is in the new PID namespace: /proc/PID/ns/pid_for_children has no target.
    let flags: &[&str] = if is_root() { &[] } else { &["--user"] };
    let mut child =
        command.args(flags).args(["--uts", "--mount", "--pid"]).args(["sleep", "100"]).spawn().unwrap();
    support::becomes(child.id(), "sleep");
    let links = ["uts", "mnt"].map(|kind| fs::read_link(format!("/proc/{}/ns/{kind}", child.id())).unwrap());
    let output = sandbox(&["ledger", "diff", "--format", "json", file]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{json}");
    for link in links {
        let own =
            json["new"].as_array().unwrap().iter().find(|thing| thing["name"] == *link.to_str().unwrap());
        let own = own.unwrap_or_else(|| panic!("{link:?} in {json}"));
        let expected = format!("sleep {}", child.id());
        assert_eq!((&own["holder"], &own["ours"]), (&expected.into(), &false.into()), "{own}");
        assert_eq!(own["remove"], format!("kill {}", child.id()));
    }
    if !is_root() {
        assert_eq!(json["unread"]["tables"], "only root may list them", "{json}");
    }
}

/// Runs `sandbox ledger` with these arguments. Returns its error on one line.
fn refused(directory: &Path, arguments: &[&str], status: i32) -> String {
    let output = sandbox(&["ledger"]).args(arguments).current_dir(directory).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
    assert!(status == 2 || error.starts_with("sandbox: "), "{error}");
    assert!(output.stdout.is_empty());
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_ledger_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let _alone = alone();
    let root = tempfile::tempdir().unwrap();
    let directory = root.path();
    let file = |name: &str| directory.join(name);
    let none = refused(directory, &["diff", "before"], 125);
    assert!(none.contains("no ledger at before") && none.contains("sandbox ledger start before"), "{none}");
    assert!(sandbox(&["ledger", "start", "before"]).current_dir(directory).status().unwrap().success());
    let good = fs::read_to_string(file("before")).unwrap();
    for (content, expected) in [
        ("", "EOF while parsing"),
        ("{\"format\":1", "EOF while parsing"),
        ("{\"format\":1}", "missing field"),
        (&*good.replacen("\"format\":2", "\"format\":3", 1), "It has format 3. This sandbox knows format 2."),
        (&*good.replacen("\"boot\":\"", "\"boot\":\"x", 1), "The machine was started again"),
        (&*good.replacen("\"net\":\"net:[", "\"net\":\"net:[1", 1), "another net namespace"),
    ] {
        fs::write(file("before"), content).unwrap();
        let error = refused(directory, &["diff", "before"], 125);
        assert!(error.contains("ledger before c") && error.contains(expected), "{error}");
        // What it advises works.
        let advice = &error[error.rfind(" do ").unwrap() + 4..];
        let pasted = advice.replace("sandbox", binary().to_str().unwrap());
        let status = Command::new("sh").args(["-c", &pasted]).current_dir(directory).output().unwrap().status;
        assert!(status.success(), "{pasted}");
        let output = sandbox(&["ledger", "diff", "before"]).current_dir(directory).output().unwrap();
        assert!(output.status.code().unwrap() <= 1, "{}", text(&output.stderr));
    }
    // No other file is replaced, and no link is followed.
    for content in [r#"{"format":1,"seed":"x","lessons":{}}"#, "my thesis"] {
        fs::write(file("thesis"), content).unwrap();
        let foreign = refused(directory, &["start", "thesis"], 125);
        assert!(foreign.contains("thesis is not replaced"), "{foreign}");
        assert_eq!(fs::read_to_string(file("thesis")).unwrap(), content);
    }
    symlink("before", file("link")).unwrap();
    nix::unistd::mkfifo(&file("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, expected) in
        [("link", "symbolic link"), ("fifo", "not a regular file"), (".", "not a regular file")]
    {
        for action in ["start", "diff"] {
            assert!(refused(directory, &[action, name], 125).contains(expected), "{action} {name}");
        }
    }
    refused(directory, &["start", "no/such/directory"], 125);
    refused(directory, &["begin"], 2);
    refused(directory, &[], 2);
    let names: Vec<_> = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn without_a_file_the_ledger_is_in_the_run_directory_and_no_sweep_removes_it() {
    let _alone = alone();
    let path = run_directory::path().join(run_directory::LEDGER);
    let started = sandbox(&["ledger", "start", "--explain"]).output().unwrap();
    let printed = text(&started.stdout);
    assert!(
        started.status.success() && printed.contains("/proc/PID/ns"),
        "{printed}{}",
        text(&started.stderr)
    );
    fits(&printed, 80, 80);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let swept = sandbox(&["gc"]).output().unwrap();
    assert!(swept.status.success() && path.exists(), "{}", text(&swept.stderr));
    let again = sandbox(&["ledger", "start"]).output().unwrap();
    let printed = text(&again.stdout).replace('\n', " ");
    assert!(printed.contains("It replaces the former one."), "{printed}");
    let diff = sandbox(&["ledger", "diff", "--explain"]).output().unwrap();
    let printed = text(&diff.stdout);
    assert!(diff.status.code().unwrap() <= 1 && printed.contains("THE SAME"), "{printed}");
    fs::remove_file(&path).unwrap();
    let _ = fs::remove_dir(run_directory::path());
    let none = sandbox(&["ledger", "diff"]).output().unwrap();
    assert_eq!(none.status.code(), Some(125));
    assert!(text(&none.stderr).contains("sandbox ledger start"), "{}", text(&none.stderr));
}
