//! What `build` reads besides the Dockerfile: the context, `.dockerignore`, secrets, flags; and a build that ends early.
//!
//! Judged by what a container of the image sees, and by what is in HOME afterwards.
//!
//! Other inputs of the same kind as the ones here:
//! - archives of other programs, compressed, without padding at the end, with links that lead out; a Dockerfile outside of the context.
//! - each pattern of .dockerignore with each source of COPY; secrets that are directories, pipes, devices, too large.
#![cfg(feature = "images")]

mod support;

use std::fs;

use serde_json::json;
use support::build::{PATH, base, build, config, context, run};
use support::image::Layer;
use support::kept::KeptHome;
use support::{feed, text};

#[test]
fn a_context_can_come_from_standard_input() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let archive = Layer::new().file("Dockerfile", "FROM base\nCOPY x /x\n").file("x", "from input").tar();
    for bytes in [archive.clone(), support::image::gzip(&archive)] {
        let output = feed(&mut home.command(&["build", "-q", "-t", "app", "-"]), bytes);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("sha256:"));
        assert_eq!(run(&home, &["app", "cat", "/x"]), "from input");
    }
    let dockerfile = b"FROM base\nENV A=1\n".to_vec();
    let output = feed(&mut home.command(&["build", "-t", "plain", "-"]), dockerfile.clone());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let directory = context(&home, "ctx", "FROM none\n", &[]);
    let output = feed(&mut home.command(&["build", "-f", "-", directory.to_str().unwrap()]), dockerfile);
    assert!(output.status.success(), "{}", text(&output.stderr));
    home.refused(&["build", "-f", "-", "-"], 2);
}

/// At the end of a tar file, the blocks of zeros and the padding of the last file may be missing, as a whole or in part. They are missing
/// in the context of Docker's client whose Dockerfile is in another directory. An archive that ends inside a file is an error.
#[test]
fn an_archive_may_end_without_padding() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let archive = Layer::new().file("Dockerfile", "FROM base\nCOPY x /x\n").file("x", "the last file").tar();
    let end = archive.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let built = |length: usize| {
        let output = feed(&mut home.command(&["build", "-q", "-t", "app", "-"]), &archive[..length]);
        (output.status.success(), text(&output.stderr))
    };
    let padded = end.next_multiple_of(512);
    for length in [end, end + 1, end + 100, padded, padded + 1, padded + 300, padded + 512, padded + 700] {
        let (is_built, message) = built(length);
        assert!(is_built, "{length} of {end}: {message}");
        assert_eq!(run(&home, &["app", "cat", "/x"]), "the last file", "{length}");
    }
    for length in [end - 1, end - 13, end - 100] {
        let (is_built, message) = built(length);
        assert!(!is_built && message.contains("It ends in the middle"), "{length}: {message}");
    }
}

#[test]
fn the_name_of_the_dockerfile_can_have_small_letters() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let place = context(&home, "small", "FROM base\nENV FROM=small\n", &[]);
    fs::rename(place.join("Dockerfile"), place.join("dockerfile")).unwrap();
    let archive = Layer::new().file("dockerfile", "FROM base\nENV FROM=small\n").tar();
    let output = feed(&mut home.command(&["image", "build", "-q", "-t", "archive", "-"]), archive);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The same command by Docker's other name, for the platform that every image here is for.
    let here = if cfg!(target_arch = "x86_64") { "linux/x86_64" } else { "linux/aarch64" };
    let words = ["image", "build", "--platform", here, "-t", "directory", place.to_str().unwrap()];
    assert!(home.out(&words).contains("Successfully tagged directory:latest"));
    for name in ["archive", "directory"] {
        assert_eq!(config(&home, name)["Env"][1], "FROM=small", "{name}");
    }
    // The other name counts first.
    fs::write(place.join("Dockerfile"), "FROM base\nENV FROM=large\n").unwrap();
    build(&home, &["-t", "directory", place.to_str().unwrap()]);
    assert_eq!(config(&home, "directory")["Env"][1], "FROM=large");
    fs::remove_file(place.join("Dockerfile")).unwrap();
    fs::remove_file(place.join("dockerfile")).unwrap();
    assert!(home.refused(&["build", place.to_str().unwrap()], 1).contains("small/Dockerfile"));
}

#[test]
fn what_dockerignore_names_is_not_in_the_context() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let files = [
        (".dockerignore", "# a comment\nsecret\n**/*.log\n!keep.log\ntree/inner\n"),
        ("secret", "x"),
        ("a.log", "x"),
        ("keep.log", "x"),
        ("tree/b.log", "x"),
        ("tree/file", "x"),
        ("tree/inner/file", "x"),
    ];
    let all = context(&home, "all", "FROM lab\nCOPY . /all/\n", &files);
    build(&home, &["-t", "all", all.to_str().unwrap()]);
    let listed = run(&home, &["all", "sh", "-c", "cd /all; ls -A; ls tree"]);
    assert_eq!(listed, ".dockerignore\nDockerfile\nkeep.log\ntree\nfile");
    // A file that is not in the context cannot be copied by its name either.
    let one = context(&home, "all", "FROM lab\nCOPY secret /\n", &[]);
    let message = home.refused(&["build", "--network", "none", one.to_str().unwrap()], 1);
    assert!(message.contains("excluded by .dockerignore"), "{message}");
    // That of the Dockerfile's own name comes first.
    fs::write(all.join("Dockerfile.dockerignore"), "tree\n*.dockerignore\n.dockerignore\n").unwrap();
    let file = all.join("Dockerfile");
    fs::write(&file, "FROM lab\nCOPY . /all/\n").unwrap();
    build(&home, &["-t", "own", "-f", file.to_str().unwrap(), all.to_str().unwrap()]);
    let listed = run(&home, &["own", "sh", "-c", "cd /all; ls -A"]);
    assert_eq!(listed, "Dockerfile\na.log\nkeep.log\nsecret");
}

/// What `docker build --help` of version 28 lists, for both of its builders.
const DOCKERS: &str = "add-host allow annotation attest build-arg build-context builder cache-from cache-to call cgroup-parent \
    check compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems disable-content-trust file force-rm iidfile isolation \
    label load memory memory-swap metadata-file network no-cache no-cache-filter output platform progress provenance pull push \
    quiet rm sbom secret security-opt shm-size squash ssh tag target ulimit";

#[test]
fn every_flag_of_docker_is_known() {
    let home = KeptHome::new();
    let mut definition = sandbox::cli::definition();
    definition.build();
    let build = definition.find_subcommand("build").unwrap();
    let known: Vec<&str> = build.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let missing: Vec<&str> = DOCKERS.split_whitespace().filter(|flag| !known.contains(flag)).collect();
    assert_eq!(missing, [""; 0]);
    let empty = context(&home, "empty", "FROM scratch\nLABEL a=b\n", &[]);
    let empty = empty.to_str().unwrap();
    for (words, name) in [
        (&["--platform", "linux/s390x"][..], "--platform"),
        (&["--platform", "linux/amd64,linux/arm64"], "--platform"),
        (&["-m", "64m"], "--memory"),
        (&["--push"], "--push"),
        (&["--squash"], "--squash"),
        (&["--cache-from", "x"], "--cache-from"),
    ] {
        let message = home.refused(&[&["build"], words, &[empty]].concat(), 2);
        assert!(message.contains(&format!("{name} is not supported")), "{message}");
    }
    build_all_without_effect(&home, empty);
}

/// Flags of scripts for Docker that ask for what happens anyway.
fn build_all_without_effect(home: &KeptHome, context: &str) {
    let flags = ["--load", "--compress", "--rm", "--force-rm=true", "--squash=false", "--builder", "default"];
    assert!(
        build(home, &[&flags[..], &[context]].concat()).last().unwrap().starts_with("Successfully built")
    );
}

#[test]
fn a_build_that_ends_early_leaves_nothing() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let directory = context(&home, "ctx", "FROM base\nRUN echo x > /x; sleep 600\n", &[]);
    let words = ["build", "--network", "none", directory.to_str().unwrap()];
    for signal in ["TERM", "KILL"] {
        let mut child = home.command(&words).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().starts_with(" ---> Running in ")));
        let status =
            std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(status.unwrap().success());
        let status = child.wait().unwrap();
        assert!(!status.success());
        // The pipe ends with the last process that has it: the command of the container.
        lines.for_each(drop);
        if signal == "KILL" {
            fs::write(directory.join("Dockerfile"), "FROM base\n").unwrap();
            build(&home, &[words[3]]);
        }
        let left = |path: &str| {
            let entries = fs::read_dir(home.path().join(path)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut layers = left("layers");
        layers.extend(
            layers
                .clone()
                .iter()
                .filter(|name| name.starts_with("users"))
                .flat_map(|name| left(&format!("layers/{name}"))),
        );
        assert!(layers.iter().all(|name| !name.starts_with('.')), "{signal} {layers:?}");
        assert_eq!(left("images/ingest"), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn a_secret_that_is_no_file_is_refused() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let secret = "FROM lab\nRUN --mount=type=secret,id=s cat /run/secrets/s\n";
    let place = context(&home, "secret", secret, &[]);
    for source in ["/dev/zero", "/"] {
        let secret = format!("id=s,src={source}");
        let words = ["build", "--network", "none", "--secret", &secret, place.to_str().unwrap()];
        assert!(home.refused(&words, 1).contains("the secret s"), "{source}");
    }
}

/// A first member for the next entry comes before it, as `git archive` writes one.
#[test]
fn an_archive_with_long_names_is_a_context() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let mut archive = tar::Builder::new(Vec::new());
    let long = format!("{}/file", "d".repeat(120));
    for (path, content) in [(&*long, "deep"), ("Dockerfile", &format!("FROM lab\nCOPY {long} /deep\n"))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let mut command = home.command(&["build", "--network", "none", "-t", "deep", "-"]);
    let output = feed(&mut command, archive.into_inner().unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(run(&home, &["deep", "cat", "/deep"]), "deep");
}
