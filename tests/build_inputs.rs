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

fn lab() -> KeptHome {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    home
}

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

#[test]
fn secrets_and_outputs_are_fields_of_csv() {
    let home = lab();
    let dockerfile = "FROM lab\nRUN --mount=type=secret,id=a,required cat /run/secrets/a > /got\n";
    let place = context(&home, "csv", dockerfile, &[("f,x", "of the file"), ("a=b", "of the name")]);
    let path = |name: &str| place.join(name).display().to_string();
    let (out, named) = (path("o,11"), path("n=1"));
    for (secret, wanted) in [
        ("type=env,id=a,src=CSV_VARIABLE".to_owned(), "of the variable"),
        ("ID=a,ENV=CSV_VARIABLE".to_owned(), "of the variable"),
        ("type=env,id=CSV_VARIABLE".to_owned(), "of the variable"),
        (format!("id=a,\"src={}\"", path("f,x")), "of the file"),
        (format!("Type=file,Id=a,Source={}", path("a=b")), "of the name"),
    ] {
        let id = if secret.ends_with("id=CSV_VARIABLE") { "id=CSV_VARIABLE" } else { "id=a" };
        fs::write(
            place.join("Dockerfile"),
            dockerfile.replace("id=a", &format!("{id},target=/run/secrets/a")),
        )
        .unwrap();
        let output = format!("type=local,\"dest={out}\"");
        let words =
            ["build", "--no-cache", "--network", "none", "--secret", &secret, "-o", &output, "-o", &named];
        let words = [&words[..], &[place.to_str().unwrap()]].concat();
        let done = home.command(&words).env("CSV_VARIABLE", "of the variable").output().unwrap();
        assert!(done.status.success(), "{secret}: {}", text(&done.stderr));
        for directory in [&out, &named] {
            assert_eq!(fs::read_to_string(format!("{directory}/got")).unwrap(), wanted, "{secret}");
            fs::remove_dir_all(directory).unwrap();
        }
    }
    for wrong in ["id=a,\"src=x", "id=a,src", "id=a,type=ssh"] {
        home.refused(&["build", "--secret", wrong, place.to_str().unwrap()], 2);
    }
}

#[test]
fn a_failed_build_leaves_no_id_of_an_earlier_one() {
    let home = lab();
    let place = context(&home, "id", "FROM lab\nRUN exit 3\n", &[]);
    let (file, place) = (home.around().join("id.txt"), place.to_str().unwrap());
    let words = ["build", "--network", "none", "--iidfile", file.to_str().unwrap(), place];
    fs::write(&file, "sha256:of before").unwrap();
    home.refused(&words, 3);
    assert!(!file.exists());
    home.refused(&words, 3);
    fs::create_dir(&file).unwrap();
    assert!(home.refused(&words, 1).contains("cannot write the ID of the image to"));
}

#[test]
fn the_time_of_the_environment_is_a_build_argument() {
    let home = lab();
    let dockerfile = "FROM lab\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /time\n";
    let place = context(&home, "epoch", dockerfile, &[]);
    let place = place.to_str().unwrap();
    for (given, wanted) in [(&[][..], "1234"), (&["--build-arg", "SOURCE_DATE_EPOCH=77"], "77")] {
        let words = [&["build", "--network", "none", "-t", "epoch"], given, &[place]].concat();
        let done = home.command(&words).env("SOURCE_DATE_EPOCH", "1234").output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
        assert_eq!(support::build::run(&home, &["epoch", "cat", "/time"]), wanted);
    }
    fs::write(format!("{place}/Dockerfile"), "FROM lab\n").unwrap();
    for words in [&["build", place][..], &["build", "--build-arg", "SOURCE_DATE_EPOCH=77", place]] {
        let done = home.command(words).env("SOURCE_DATE_EPOCH", "1234").output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
    }
    for wrong in ["=x", "="] {
        let message = home.refused(&["build", "--build-arg", wrong, place], 2);
        assert!(message.contains("has no name"), "{message}");
    }
}

#[test]
fn what_is_wrong_or_not_supported_is_named() {
    let home = lab();
    for flag in ["--keep-storage", "--max-used-space", "--reserved-space", "--min-free-space"] {
        let message = home.refused(&["builder", "prune", "-f", flag, "10MB"], 2);
        assert!(
            message.contains(&format!("{flag} is not supported")) && message.contains("until=24h"),
            "{message}"
        );
    }
    home.out(&["builder", "prune", "-f", "--all", "--keep-storage", "0", "--filter", "until=24h"]);
    let place = context(&home, "names", "FROM lab\n", &[("x[", "x"), ("a/b", "y")]);
    let path = place.to_str().unwrap();
    for (instruction, column, wanted) in [
        ("COPY a x[ /", 8, "in the pattern x[, `[` has no `]`. `[[]` means a bracket itself"),
        ("COPY a/[]b /", 6, "in the pattern a/[]b, `[` has no `]`"),
        ("COPY --from=lab /bin/s[ /", 17, "in the pattern /bin/s[, `[` has no `]`"),
        ("RUN --mount=type=ssh,required true", 5, "a mount of the type ssh is not supported"),
        ("COPY --chown=1:2:3 a /", 14, "1:2:3"),
        ("RUN [\"/bin/cat/x\"]", 1, "/bin/cat/x does not exist: /bin/cat is a file, not a directory."),
    ] {
        fs::write(place.join("Dockerfile"), format!("FROM lab\n{instruction}\n")).unwrap();
        let output = home.run(&["build", "--network", "none", path]);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(&format!("Dockerfile:2:{column}:")), "{instruction}: {message}");
        assert!(!output.status.success() && message.contains(wanted), "{instruction}: {message}");
        let shown = text(&output.stderr).to_string();
        let mut lines = shown.lines().filter(|line| !line.contains('/'));
        assert!(lines.all(|line| line.len() <= 80), "{shown}");
    }
    fs::write(place.join("Dockerfile"), "FROM lab\nCOPY x[[] /got\n").unwrap();
    home.out(&["build", path]);
    let output = home.run(&["build", "-t", "a:b:c", path]);
    assert!(text(&output.stderr).lines().all(|line| line.len() <= 80), "{}", text(&output.stderr));
    assert!(home.refused(&["build", "--break", "cache-order", path], 2).contains("takes no context"));
}
