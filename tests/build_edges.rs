//! Edges of `build`: links, users, triggers, secrets, interruptions, and what is left.
//!
//! What Docker's classic builder does was tried with it: a link that is copied by its name has its own name, triggers are no steps of
//! their own.
//!
//! Other inputs of the same kind as the ones here:
//! - links in the middle of a source; circles of links; links to directories whose files are ignored.
//! - images whose config has other types; a full disk in each kind of step.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::json;
use support::build::{PATH, base, build, built, config, context, run};
use support::image::{Image, Layer};
use support::kept::KeptHome;
use support::{feed, is_root, text, wait_until};

fn lab() -> KeptHome {
    let home = KeptHome::new();
    base(
        &home,
        "lab",
        |layer| layer.symlink("alias", "usr/alias").directory("usr/alias"),
        json!({ "Env": [PATH] }),
    );
    home
}

#[test]
fn no_link_leads_to_a_file_that_is_ignored() {
    let home = lab();
    let files = [(".dockerignore", "hidden\n"), ("hidden/secret", "x"), ("seen/file", "y")];
    let place = context(&home, "links", "FROM lab\n", &files);
    symlink("hidden/secret", place.join("file")).unwrap();
    symlink("hidden", place.join("directory")).unwrap();
    symlink("seen/../directory/secret", place.join("far")).unwrap();
    symlink("seen", place.join("good")).unwrap();
    for source in ["file", "directory", "directory/secret", "directory/*", "far"] {
        fs::write(place.join("Dockerfile"), format!("FROM lab\nCOPY {source} /got/\n")).unwrap();
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        let wanted = if source.contains('*') { "nothing matches" } else { "excluded by .dockerignore" };
        assert!(
            message.split_whitespace().collect::<Vec<_>>().join(" ").contains(wanted),
            "{source}: {message}"
        );
    }
    fs::write(place.join("Dockerfile"), "FROM lab\nCOPY good /good\nCOPY good/file /single\n").unwrap();
    build(&home, &["-t", "good", place.to_str().unwrap()]);
    assert_eq!(run(&home, &["good", "cat", "/good/file", "/single"]), "yy");
}

#[test]
fn a_link_that_is_copied_keeps_its_name_and_one_at_the_destination_is_followed() {
    let home = lab();
    let dockerfile = "\
FROM lab AS first
RUN echo real > /target && cp -P /alias /other
COPY pointer /from-context/
FROM lab
COPY --from=first /from-context/pointer /alias /kept/
COPY rootfs/alias /alias/
COPY rootfs/alias /alias/deep
";
    let place = context(&home, "names", dockerfile, &[("target", "T"), ("rootfs/alias/file", "F")]);
    symlink("target", place.join("pointer")).unwrap();
    build(&home, &["-t", "names", place.to_str().unwrap()]);
    let shown = run(
        &home,
        &["names", "sh", "-c", "cat /kept/pointer; echo; ls /alias /usr/alias; stat -c %F /alias"],
    );
    assert_eq!(shown, "T\n/alias:\ndeep\nfile\n\n/usr/alias:\ndeep\nfile\nsymbolic link");
}

#[test]
fn a_file_that_is_excluded_leaves_its_other_names() {
    let home = lab();
    let dockerfile = "\
FROM lab AS first
RUN mkdir /d && echo x > /d/a && cp -l /d/a /d/b && cp -l /d/a /d/c
FROM lab
COPY --from=first --exclude=a /d /d
";
    let place = context(&home, "hard", dockerfile, &[]);
    build(&home, &["-t", "hard", place.to_str().unwrap()]);
    let shown = run(&home, &["hard", "sh", "-c", "ls /d; cat /d/b /d/c; stat -c %h /d/c"]);
    assert_eq!(shown, "b\nc\nx\nx\n2");
}

#[test]
fn users_and_owners_are_those_of_docker() {
    let home = KeptHome::new();
    let accounts =
        |layer: Layer| layer.file("etc/passwd", "u:x:7:8::/:/bin/sh\n").file("etc/group", "u:x:9:\n");
    base(&home, "lab", accounts, json!({ "Env": [PATH] }));
    let workdir =
        "FROM lab\nUSER 7\nWORKDIR /made/here\nUSER 0\nRUN stat -c %u:%g /made /made/here > /owners\n";
    if is_root() {
        assert_eq!(built(&home, "workdir", workdir, "cat /owners"), "7:8\n7:8");
        let ids = "FROM lab\nRUN mkdir -m 777 /d\nUSER 1000\nRUN id -u > /d/a; id -g >> /d/a\nUSER 7\nRUN id -g > /d/b\n\
            USER 0\nCOPY --chown=u file /d/c\nCOPY --chown=55 file /d/e\n\
            RUN --mount=type=cache,target=/cache,uid=5,gid=6,mode=0700 stat -c '%u:%g %a' /cache > /d/f\n\
            RUN stat -c %u:%g /d/c /d/e >> /d/f\n";
        assert_eq!(built(&home, "ids", ids, "cat /d/a /d/b /d/f"), "1000\n0\n8\n5:6 700\n7:9\n55:55");
    }
}

#[test]
fn a_stage_is_named_without_a_variable() {
    let home = lab();
    let place = context(&home, "from", "FROM lab AS a\nARG X=a\nCOPY --from=$X /bin/sh /\n", &[]);
    let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
    assert!(
        message.contains("--from cannot have a variable") && message.contains("Dockerfile:3"),
        "{message}"
    );
}

#[test]
fn a_trigger_can_copy_from_a_stage_and_names_itself_in_errors() {
    let home = KeptHome::new();
    let triggers = ["COPY --from=made /made /got", "LABEL a=$B"];
    base(&home, "parent", |layer| layer, json!({ "Env": [PATH], "OnBuild": triggers }));
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let dockerfile = "FROM lab AS made\nRUN echo made > /made\nFROM parent\nRUN cat /got > /again\n";
    let place = context(&home, "child", dockerfile, &[]);
    let lines = build(&home, &["-t", "child", place.to_str().unwrap()]);
    assert!(lines.contains(&"# Executing 2 build triggers".to_owned()), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.starts_with("Step") || !line.contains("COPY")), "{lines:#?}");
    assert_eq!(run(&home, &["child", "cat", "/again"]), "made");
    base(&home, "bad", |layer| layer, json!({ "Env": [PATH], "OnBuild": ["RUN exit 9"] }));
    fs::write(place.join("Dockerfile"), "FROM bad\n").unwrap();
    let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 9);
    assert!(message.contains("ONBUILD of bad:1"), "{message}");
}

/// A config can have any JSON where Docker has a map.
#[test]
fn a_config_with_lists_for_maps_is_no_reason_to_fail() {
    let home = KeptHome::new();
    let odd = json!({ "Env": [PATH], "Labels": ["x"], "Volumes": null, "ExposedPorts": {} });
    let image = Image { config: json!({ "config": odd }), ..Image::of(&[support::image::programs(&["sh"])]) };
    feed(&mut home.command(&["load", "-q"]), image.docker(&["odd"]));
    let place = context(&home, "odd", "FROM odd\nLABEL a=b\nVOLUME /v\nEXPOSE 80\n", &[]);
    let output = home.run(&["build", "--network", "none", "-t", "even", place.to_str().unwrap()]);
    // Either it is built, or the image is refused by a message. It never ends in a panic.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    if output.status.success() {
        assert_eq!(config(&home, "even")["Labels"], json!({ "a": "b" }));
    }
}

#[test]
fn a_platform_that_the_image_does_not_have_is_refused() {
    let home = KeptHome::new();
    let config = json!({ "config": { "Env": [PATH] }, "os": "linux", "architecture": "s390x" });
    let image = Image { config, ..Image::of(&[Layer::new().file("a", "x")]) };
    feed(&mut home.command(&["load", "-q"]), image.docker(&["localhost:1/other:1"]));
    let place =
        context(&home, "platform", "FROM --platform=linux/s390x localhost:1/other:1\nLABEL a=b\n", &[]);
    build(&home, &[place.to_str().unwrap()]);
    fs::write(place.join("Dockerfile"), "FROM --platform=linux/riscv64 localhost:1/other:1\nLABEL a=b\n")
        .unwrap();
    let output = home.run(&["build", "--network", "none", place.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let wanted = "image with reference localhost:1/other:1 was found but does not match the specified platform: wanted linux/riscv64, actual: linux/s390x";
    let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(message.contains(wanted), "{message}");
}

/// The steps count what Docker's classic builder counts. The values reach the stages that begin with another one, and no others.
#[test]
fn a_stage_has_the_build_arguments_of_the_stage_that_it_begins_with() {
    let home = lab();
    let dockerfile = "\
ARG BASE=lab
ARG OUTER=global
FROM $BASE AS one
ARG V=1.2
ARG W=first
FROM one AS two
RUN echo [$V] [$OUTER] > /two
ARG V
ARG W=second
FROM two AS three
ARG OUTER
RUN echo [$V] [$W] [$OUTER] > /three
FROM lab
RUN echo [$V] > /other
COPY --from=three /two /three /
";
    let place = context(&home, "scopes", dockerfile, &[]);
    let place = place.to_str().unwrap();
    let lines = build(&home, &["-t", "scopes", place]);
    let steps: Vec<&String> = lines.iter().filter(|line| line.starts_with("Step ")).collect();
    assert_eq!(
        steps[..3],
        ["Step 1/15 : ARG BASE=lab", "Step 2/15 : ARG OUTER=global", "Step 3/15 : FROM $BASE AS one"]
    );
    assert!(steps[14].starts_with("Step 15/15 : COPY"), "{steps:#?}");
    let shown = |home: &KeptHome| run(home, &["scopes", "cat", "/two", "/three", "/other"]);
    assert_eq!(shown(&home), "[1.2] []\n[1.2] [second] [global]\n[]");
    build(&home, &["-t", "scopes", "--build-arg", "V=2", place]);
    assert_eq!(shown(&home), "[2] []\n[2] [second] [global]\n[]");
}

/// The names of some units of systemd have a backslash. It has its meaning only in a pattern.
#[test]
fn a_name_with_a_backslash_is_a_name() {
    let home = lab();
    let dockerfile = r#"FROM lab AS first
COPY dev-x\\x2dy.swap Dockerfile /z/
COPY ["dev-x\\\\x2dy.swap", "/alone"]
COPY \\[x\\] /set/
FROM lab
COPY --from=first /z/dev-x\\x2dy.swap /stage
COPY --from=first /z/dev-x*.swap /z/dev-x\\\\x2d?.swap /all/
"#;
    let place = context(&home, "slash", dockerfile, &[("dev-x\\x2dy.swap", "S"), ("\\[x\\]", "B")]);
    let place = place.to_str().unwrap();
    build(&home, &["-t", "first", "--target", "first", place]);
    build(&home, &["-t", "slash", place]);
    let shown = run(&home, &["first", "sh", "-c", r"ls /z /set; cat /z/dev-x\\x2dy.swap /alone /set/*"]);
    assert_eq!(shown, "/set:\n\\[x\\]\n\n/z:\nDockerfile\ndev-x\\x2dy.swap\nSSB");
    assert_eq!(run(&home, &["slash", "sh", "-c", "cat /stage; ls /all"]), "Sdev-x\\x2dy.swap");
    let wrong = context(&home, "slash", "FROM lab\nCOPY no\\\\x2d Dockerfile /z/\n", &[]);
    let message = home.refused(&["build", "--network", "none", wrong.to_str().unwrap()], 1);
    assert!(message.contains("no\\x2d"), "{message}");
}

#[test]
fn build_arguments_that_nothing_declares_are_told() {
    let home = lab();
    let place = context(&home, "unused", "ARG ONE\nFROM lab\nARG TWO\n", &[]);
    let words = ["ONE=1", "TWO=2", "THREE=3", "FOUR=4", "HTTP_PROXY=x"].map(|word| ["--build-arg", word]);
    let words = [&["build", "--network", "none"], &words.concat()[..], &[place.to_str().unwrap()]].concat();
    let output = home.run(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let errors = text(&output.stderr);
    assert!(errors.contains("[Warning] One or more build-args [FOUR THREE] were not consumed"), "{errors}");
}

#[test]
fn a_file_whose_name_means_a_deletion_is_in_no_layer() {
    let home = lab();
    let place =
        context(&home, "mark", "FROM lab\nRUN echo x > /etc.wh.y && mkdir /d && echo x > /d/.wh.z\n", &[]);
    let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
    assert!(message.contains("d/.wh.z cannot be in a layer"), "{message}");
    home.out(&["run", "--network", "none", "--name", "maker", "lab", "sh", "-c", "echo x > /.wh.bin"]);
    let message = home.refused(&["commit", "maker", "new"], 1);
    assert!(message.contains(".wh.bin cannot be in a layer"), "{message}");
    home.out(&["rm", "maker"]);
}

#[test]
fn a_secret_is_in_memory_and_in_no_file_about_the_container() {
    let home = lab();
    let dockerfile = "\
FROM lab
RUN --mount=type=secret,id=key stat -f -c %T /run/secrets/key > /where
RUN --mount=type=secret,id=key,env=KEY echo ${#KEY} > /length; sleep 600
";
    let place = context(&home, "secret", dockerfile, &[]);
    fs::write(home.around().join("key"), "hunter2").unwrap();
    let given = format!("id=key,src={}", home.around().join("key").display());
    let words = ["build", "--network", "none", "--secret", &given, place.to_str().unwrap()];
    let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("Step 3/3")));
    assert!(lines.any(|line| line.starts_with(" ---> Running in ")));
    let run_directory = if is_root() { "/run/sandbox".into() } else { run_directory() };
    let found = |path: &std::path::Path| {
        let found = Command::new("grep").args(["-rl", "hunter2"]).arg(path).output().unwrap();
        text(&found.stdout).to_owned()
    };
    wait_until("the container is listed", || fs::read_dir(&run_directory).is_ok_and(|all| all.count() > 0));
    assert_eq!(found(&run_directory), "");
    assert_eq!(found(&home.path()), "");
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success() && !child.wait().unwrap().success());
    fs::write(place.join("Dockerfile"), dockerfile.replace("sleep 600", "echo")).unwrap();
    build(&home, &["--secret", &given, "-t", "secret", place.to_str().unwrap()]);
    assert_eq!(run(&home, &["secret", "cat", "/where", "/length"]), "tmpfs\n7");
    let own = format!("sandbox-secret-{}-", nix::unistd::geteuid());
    let secrets = || {
        let all = fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.path());
        let own = |path: &std::path::PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own))
        };
        all.filter(own).filter(|path| !found(path).is_empty()).collect::<Vec<_>>()
    };
    assert!(secrets().is_empty());
    // After a kill, the next command removes it, also if that is no build.
    for command in [&["ps"][..], &["gc"]] {
        fs::write(place.join("Dockerfile"), dockerfile.replace(",env=KEY", "")).unwrap();
        let mut child = home.command(&words).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the secret is in memory", || !secrets().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        let printed = home.out(command);
        assert!(secrets().is_empty() && (command != ["gc"] || printed.contains(&own)), "{printed}");
    }
}

fn run_directory() -> std::path::PathBuf {
    let uid = nix::unistd::geteuid();
    let login = std::path::PathBuf::from(format!("/run/user/{uid}/sandbox"));
    if login.exists() { login } else { format!("/tmp/sandbox-{uid}").into() }
}

#[test]
fn a_signal_ends_a_copy() {
    let home = lab();
    let place = context(&home, "long", "FROM lab\nCOPY large /\n", &[]);
    // It takes no space on the disk, and is read for minutes.
    fs::File::create(place.join("large")).unwrap().set_len(1 << 40).unwrap();
    let words = ["build", "--network", "none", place.to_str().unwrap()];
    let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("Step 2/2")));
    let ingest = home.path().join("images/ingest");
    wait_until("the copy has begun", || fs::read_dir(&ingest).is_ok_and(|all| all.count() > 0));
    let status = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&ingest).unwrap().count(), 0);
}

#[test]
fn prune_leaves_the_cache_of_a_running_build() {
    let home = lab();
    let dockerfile = "FROM lab\nRUN --mount=type=cache,target=/c echo x > /c/x; echo ready; cat > /dev/null; \
        while ! cat /go/now 2> /dev/null; do sleep 0.1; done; cat /c/x > /got\n";
    let dockerfile = dockerfile.replace("/go/now", "/c/now");
    let place = context(&home, "prune", &dockerfile, &[]);
    let words = ["build", "--network", "none", "-t", "prune", place.to_str().unwrap()];
    let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"));
    home.run(&["builder", "prune", "-f"]);
    let mounts = home.path().join("images/mounts");
    let own = fs::read_dir(&mounts).unwrap().next().expect("the directory of the cache").unwrap().path();
    fs::write(own.join("files/now"), "").unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert_eq!(run(&home, &["prune", "cat", "/got"]), "x");
    // What a build that was killed has not finished is removed.
    let unfinished = home.path().join("images/cache/.new-0123456789abcdef");
    fs::write(&unfinished, "").unwrap();
    build(&home, &[place.to_str().unwrap()]);
    assert!(!unfinished.exists());
}

#[test]
fn copies_of_steps_from_the_cache_do_not_stay_until_the_end() {
    let home = lab();
    let first = "FROM lab\nCOPY file /a\nCOPY file /b\n";
    let place = context(&home, "cached", first, &[("file", "x")]);
    build(&home, &[place.to_str().unwrap()]);
    fs::write(place.join("Dockerfile"), format!("{first}RUN sleep 600\n")).unwrap();
    let words = ["build", "--network", "none", place.to_str().unwrap()];
    let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with(" ---> Running in ")));
    let ingest = home.path().join("images/ingest");
    let own = fs::read_dir(&ingest).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(own).unwrap().count(), 0);
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success() && !child.wait().unwrap().success());
}

/// The stages wait for each other, so they are built at the same time, and what they print is in the order of the Dockerfile.
#[test]
fn stages_are_built_at_the_same_time_and_printed_in_their_order() {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() < 2) {
        return;
    }
    let home = lab();
    let wait = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/c echo x > /c/{own}; while ! cat /c/{other} 2> /dev/null; do sleep 0.1; done; \
             echo {own} is built; echo {own} > /{own}"
        )
    };
    let dockerfile = format!(
        "FROM lab AS one\n{}\nFROM lab AS two\n{}\nFROM lab\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        wait("one", "two"),
        wait("two", "one")
    );
    let place = context(&home, "both", &dockerfile, &[]);
    let lines = build(&home, &["-t", "both", place.to_str().unwrap()]);
    let steps: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("Step ")?.get(..3)).collect();
    assert_eq!(steps, ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"], "{lines:#?}");
    let at = |wanted: &str| lines.iter().position(|line| line == wanted).unwrap();
    let third = lines.iter().position(|line| line.starts_with("Step 3/7")).unwrap();
    assert!(at("one is built") < third && third < at("two is built"), "{lines:#?}");
    assert_eq!(run(&home, &["both", "cat", "/one", "/two"]), "one\ntwo");
    // If one stage fails, the other one ends, and the failure is the reason.
    fs::write(
        place.join("Dockerfile"),
        dockerfile.replace("echo two is built", "exit 5").replace("echo one is built", "sleep 600"),
    )
    .unwrap();
    home.out(&["builder", "prune", "-f"]);
    let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 5);
    assert!(message.contains("non-zero code: 5"), "{message}");
}

/// While another build has a private cache, this one gets a new directory. It has the mode that the mount asks for.
#[test]
fn a_private_cache_that_is_in_use_is_replaced_by_a_new_one() {
    let home = lab();
    let dockerfile = |command: &str| {
        let mount = "--mount=type=cache,target=/cache,sharing=private,mode=0711";
        format!("FROM lab\nRUN {mount} {command} && stat -c %a /cache\n")
    };
    let place = context(&home, "private", &dockerfile("echo x > /cache/x"), &[]);
    let path = place.to_str().unwrap();
    assert!(build(&home, &[path]).contains(&"711".to_owned()));
    let cache = fs::read_dir(home.path().join("images/mounts")).unwrap().next().unwrap().unwrap().path();
    let lock = fs::File::open(cache).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    fs::write(place.join("Dockerfile"), dockerfile("ls -A /cache")).unwrap();
    let printed = build(&home, &[path]);
    assert!(printed.contains(&"711".to_owned()) && !printed.contains(&"x".to_owned()), "{printed:?}");
}
