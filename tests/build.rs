//! `build`: images from a Dockerfile.
//!
//! Judged by what a container of the image sees, by the documents of the image, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - each instruction alone and with variables; stages that are not needed; ONBUILD; a context from an archive.
//! - sources and destinations that are links, that lead out, that do not exist; names with blanks, of 255 bytes.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;
use support::build::{PATH, base, build, built, config, context, run};
use support::image::Layer;
use support::kept::KeptHome;
use support::text;

#[test]
fn an_image_is_built_and_runs() {
    let home = KeptHome::new();
    base(&home, "base:1", |layer| layer, json!({ "Env": [PATH] }));
    let dockerfile = "\
# A comment
FROM base:1
MAINTAINER A Person <person@example.org>
ENV GREETING=\"hello you\" \\
    # a comment inside
    OTHER=2
LABEL stage=test
WORKDIR /srv/app
COPY files/ ./
RUN echo \"$GREETING\" > greeting && rm /tmp/old || echo new > made; echo output
RUN [\"sh\", \"-c\", \"id -u > who\"]
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD cat /srv/app/greeting
ENTRYPOINT [\"sh\", \"-c\"]
CMD [\"cat greeting one sub/two made who; pwd\"]
";
    let files = [("files/one", "1\n"), ("files/sub/two", "2\n")];
    let directory = context(&home, "ctx", dockerfile, &files);
    let path = directory.to_str().unwrap();
    let lines = build(&home, &["-t", "app", "-t", "app:v2", path]);
    assert_eq!(lines[0], "Step 1/14 : FROM base:1", "{lines:#?}");
    assert!(lines.contains(&"output".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with(" ---> Running in ")));
    assert!(lines.iter().any(|line| line.starts_with("Removing intermediate container ")));
    let id = lines.iter().find_map(|line| line.strip_prefix("Successfully built ")).unwrap();
    assert_eq!(lines[lines.len() - 2..], ["Successfully tagged app:latest", "Successfully tagged app:v2"]);
    assert!(home.out(&["images", "-q", "app:v2"]).starts_with(id));
    assert_eq!(run(&home, &["app"]), "hello you\n1\n2\nnew\n0\n/srv/app");
    let config = config(&home, "app");
    assert_eq!(config["Env"], json!([PATH, "GREETING=hello you", "OTHER=2"]));
    assert_eq!(config["Labels"], json!({ "stage": "test" }));
    assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {}, "53/udp": {} }));
    assert_eq!((&config["Volumes"], &config["StopSignal"]), (&json!({ "/data": {} }), &json!("SIGINT")));
    assert_eq!(config["WorkingDir"], "/srv/app");
    let check = &config["Healthcheck"];
    assert_eq!(check["Test"], json!(["CMD-SHELL", "cat /srv/app/greeting"]));
    assert_eq!(check["Interval"], 5_000_000_000_u64);
    // The history has a line for each instruction. Only what changes files has made a layer.
    let history = home.out(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]);
    let history: Vec<&str> = history.lines().collect();
    assert_eq!(history[0], "/bin/sh -c #(nop)  CMD [\"cat greeting one sub/two made who; pwd\"]");
    assert!(history.contains(&"/bin/sh -c #(nop) WORKDIR /srv/app"), "{history:#?}");
    assert!(history.contains(&"sh -c id -u > who"), "{history:#?}");
    assert!(history.contains(&"/bin/sh -c #(nop)  MAINTAINER A Person <person@example.org>"), "{history:#?}");
    // Again: nothing is executed, and the image is the same.
    let again = build(&home, &["-t", "again", path]);
    assert_eq!(again.iter().filter(|line| *line == " ---> Using cache").count(), 13, "{again:#?}");
    assert!(again.contains(&format!("Successfully built {id}")), "{again:#?}");
}

#[test]
fn a_step_is_made_again_only_if_its_inputs_change() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let dockerfile = "FROM base\nRUN echo first > /first\nCOPY file /file\nARG V=1\nRUN echo $V > /second\n";
    let directory = context(&home, "ctx", dockerfile, &[("file", "a"), ("other", "x")]);
    let path = directory.to_str().unwrap();
    let hits = |words: &[&str]| {
        build(&home, &[words, &[path]].concat()).iter().filter(|line| *line == " ---> Using cache").count()
    };
    assert_eq!(hits(&[]), 0);
    assert_eq!(hits(&[]), 4);
    // Times and files that are not copied do not matter.
    fs::write(directory.join("other"), "y").unwrap();
    fs::write(directory.join("file"), "a").unwrap();
    assert_eq!(hits(&[]), 4);
    assert_eq!(hits(&["--build-arg", "V=2"]), 3);
    fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(hits(&[]), 1);
    fs::write(directory.join("file"), "b").unwrap();
    assert_eq!(hits(&["-t", "app"]), 1);
    assert_eq!(hits(&["--no-cache"]), 0);
    assert_eq!(run(&home, &["app", "cat", "/file", "/second"]), "b1");
    // Steps are hidden, unless all images are asked for.
    let (named, all) = (home.out(&["images", "-q"]), home.out(&["images", "-aq"]));
    assert!(named.lines().count() < all.lines().count(), "{named}\n\n{all}");
    home.out(&["builder", "prune", "-f"]);
    assert_eq!(run(&home, &["app", "cat", "/file"]), "b");
    assert_eq!(hits(&[]), 0);
}

#[test]
fn a_failed_command_has_its_status_and_its_place() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let directory = context(&home, "ctx", "FROM base\nRUN echo kept > /kept\nRUN exit 7\n", &[]);
    let path = directory.to_str().unwrap();
    let message = home.refused(&["build", "--network", "none", path], 7);
    assert!(message.contains("The command '/bin/sh -c exit 7' returned a non-zero code: 7"), "{message}");
    assert!(message.contains("Dockerfile:3"), "{message}");
    // What was built before stays in the cache, and nothing else is left.
    fs::write(directory.join("Dockerfile"), "FROM base\nRUN echo kept > /kept\nRUN cat /kept\n").unwrap();
    let lines = build(&home, &[path]);
    assert_eq!(lines.iter().filter(|line| *line == " ---> Using cache").count(), 1, "{lines:#?}");
    assert!(lines.contains(&"kept".to_owned()));
    for (dockerfile, wanted) in [
        ("FROM base\nCOPY ../x /\n", "forbidden path outside the build context: ../x"),
        ("FROM base\nCOPY absent /\n", "file not found in build context"),
        ("FROM base AS own\nCOPY --from=own a /\n", "not an earlier stage"),
        ("FROM base\nRUN [\"nothing-of-this-name\"]\n", "nothing-of-this-name"),
        ("FROM base\nUSER nobody-of-this-name\nRUN echo\n", "nobody-of-this-name"),
        ("FROM scratch\n", "No image was generated"),
        ("FROM scratch\nRUN echo\n", "no files"),
        ("FROM base\nEXPOSE x\n", "is not a port"),
        ("FROM base\nSTOPSIGNAL NONE\n", "is not a signal"),
        ("FROM base\nADD git@example.org:x /\n", "a git repository"),
    ] {
        fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
        let output = home.run(&["build", "--network", "none", path]);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && message.contains(wanted), "{dockerfile} {message}");
    }
    assert!(home.refused(&["build", "--target", "none", path], 1).contains("build target none"));
    assert!(home.refused(&["build", "/absent"], 1).contains("/absent"));
    assert!(home.refused(&["build", "https://example.org/x.git"], 2).contains("not on this machine"));
}

#[test]
fn copies_follow_the_rules_of_docker() {
    let home = KeptHome::new();
    let files = |layer: Layer| layer.directory("real").symlink("link", "real").file("existing", "old");
    base(&home, "base", files, json!({ "Env": [PATH] }));
    let dockerfile = "\
FROM base AS first
RUN mkdir -p /out/sub && echo built > /out/sub/result && echo top > /out/top

FROM base AS unused
RUN exit 1

FROM base
COPY a /single
COPY a b.txt /several/
COPY *.txt /globbed/
COPY dir /dir
COPY dir /link
COPY a /existing
COPY --chmod=640 --chown=12:34 a /owned/file
COPY --from=first /out /copied
COPY --from=0 /out/t* /globs/
COPY pointer /followed
COPY <<text /heredoc
content of $PATH
text
ADD archive.tar /unpacked
COPY archive.tar /packed/
WORKDIR /relative
COPY a here
RUN ls /real > /listed
";
    let files = [("a", "A"), ("b.txt", "B"), ("dir/inner", "I"), ("dir/sub/deep", "D")];
    let directory = context(&home, "ctx", dockerfile, &files);
    fs::write(directory.join("archive.tar"), Layer::new().directory("in").file("in/file", "from tar").tar())
        .unwrap();
    symlink("a", directory.join("pointer")).unwrap();
    symlink("../../etc/passwd", directory.join("dir/broken")).unwrap();
    build(&home, &["-t", "app", directory.to_str().unwrap()]);
    let shown = |path: &str| run(&home, &["app", "cat", path]);
    for (path, content) in [
        ("/single", "A"),
        ("/several/a", "A"),
        ("/several/b.txt", "B"),
        ("/globbed/b.txt", "B"),
        ("/dir/inner", "I"),
        ("/dir/sub/deep", "D"),
        // A link to a directory stays, and its directory gets the files.
        ("/real/inner", "I"),
        ("/link/sub/deep", "D"),
        ("/existing", "A"),
        ("/copied/sub/result", "built"),
        ("/globs/top", "top"),
        ("/followed", "A"),
        ("/heredoc", "content of /bin"),
        ("/unpacked/in/file", "from tar"),
        ("/relative/here", "A"),
    ] {
        assert_eq!(shown(path), content, "{path}");
    }
    assert!(shown("/packed/archive.tar").starts_with("in"));
    let owned = if support::is_root() { "12 34 640" } else { "0 0 640" };
    assert_eq!(run(&home, &["app", "stat", "-c", "%u %g %a", "/owned/file"]), owned);
    assert_eq!(
        run(&home, &["app", "stat", "-c", "%F", "/link", "/dir/broken"]),
        "symbolic link\nsymbolic link"
    );
    assert!(shown("/listed").contains("inner"));
}

#[test]
fn variables_have_their_scopes() {
    let home = KeptHome::new();
    base(
        &home,
        "base:1",
        |layer| layer,
        json!({ "Env": [PATH], "OnBuild": ["RUN echo triggered > /trigger"] }),
    );
    let dockerfile = "\
ARG TAG=none
ARG SHARED=global
FROM base:$TAG
ARG SHARED
ARG OWN=${SHARED}-own
ARG UNSET
ENV OWN_ENV=${OWN:-x} OTHER=${UNSET:-default}
RUN echo $SHARED $OWN $OTHER ${UNSET-unset} > /values
ENV SHARED=env
RUN echo $SHARED >> /values
";
    let directory = context(&home, "ctx", dockerfile, &[]);
    let path = directory.to_str().unwrap();
    let lines = build(&home, &["--build-arg", "TAG=1", "--label", "by=test", "-t", "app", path]);
    assert!(lines.contains(&"# Executing 1 build trigger".to_owned()), "{lines:#?}");
    assert_eq!(
        run(&home, &["app", "cat", "/values", "/trigger"]),
        "global global-own default unset\nenv\ntriggered"
    );
    let config = config(&home, "app");
    assert_eq!(config["Labels"], json!({ "by": "test" }));
    assert_eq!(config["OnBuild"], json!(null));
    // A build argument is in the environment of the build only.
    assert_eq!(config["Env"], json!([PATH, "OWN_ENV=global-own", "OTHER=default", "SHARED=env"]));
    let file = home.around().join("id");
    let words = ["-q", "--build-arg", "TAG=1", "--iidfile", file.to_str().unwrap(), path];
    let id = build(&home, &words);
    assert_eq!(fs::read_to_string(&file).unwrap(), id[0]);
}

/// The Dockerfile of the course's notes, with a base image that has its programs.
#[test]
fn the_dockerfile_of_the_notes_is_built() {
    let home = KeptHome::new();
    let files = |layer: Layer| {
        layer
            .directory("etc/default")
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
            .program("bin/useradd", b"#!/bin/sh\necho \"$1:x:500:500::/home/$1:/bin/sh\" >> /etc/passwd\n")
            .program("bin/chpasswd", b"#!/bin/sh\ncat >> /etc/shadow\n")
    };
    base(&home, "centos:6.7", files, json!({ "Env": [PATH] }));
    let dockerfile = "\
FROM    centos:6.7
MAINTAINER      Fisher \"fisher@sudops.com\"

RUN     /bin/echo 'root:123456' |chpasswd
RUN     useradd runoob
RUN     /bin/echo 'runoob:123456' |chpasswd
RUN     /bin/echo -e \"LANG=\\\"en_US.UTF-8\\\"\" >/etc/default/local
EXPOSE  22
EXPOSE  80
CMD     /usr/sbin/sshd -D
";
    let directory = context(&home, "ctx", dockerfile, &[]);
    let words = ["-t", "runoob/centos:6.7", directory.to_str().unwrap()];
    let first = build(&home, &words);
    let second = build(&home, &words);
    assert_eq!(first[0], "Step 1/9 : FROM    centos:6.7");
    assert_eq!(
        second[2..4],
        ["Step 2/9 : MAINTAINER      Fisher \"fisher@sudops.com\"", " ---> Using cache"]
    );
    assert_eq!(first.last(), second.last());
    assert_eq!(second.last().unwrap(), "Successfully tagged runoob/centos:6.7");
    let shown = run(&home, &["runoob/centos:6.7", "cat", "/etc/passwd", "/etc/shadow", "/etc/default/local"]);
    assert!(shown.contains("runoob:x:500:500"), "{shown}");
    assert!(shown.contains("root:123456\nrunoob:123456"), "{shown}");
    assert!(shown.contains("LANG=\"en_US.UTF-8\""), "{shown}");
    let config = config(&home, "runoob/centos:6.7");
    assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "/usr/sbin/sshd -D"]));
    assert_eq!(config["ExposedPorts"], json!({ "22/tcp": {}, "80/tcp": {} }));
    home.out(&["tag", "runoob/centos:6.7", "runoob/centos:dev"]);
    // `image tree` shows the line of the Dockerfile beside each layer, and those that have made none.
    let tree = home.out(&["image", "tree", "runoob/centos:dev"]);
    assert!(tree.contains("useradd runoob"), "{tree}");
    let (_, last) = tree.rsplit_once("no layer:").expect("an instruction without a layer");
    assert!(last.contains("EXPOSE 22") && last.contains("CMD") && !last.contains("\nblob "), "{tree}");
}

#[test]
fn mounts_are_in_no_layer() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let dockerfile = "\
FROM base AS first
RUN mkdir /out && echo built > /out/result
FROM base
WORKDIR /work
RUN --mount=type=bind,source=dir,target=/bound cat /bound/inner > bound
RUN --mount=type=bind,from=first,source=/out/result,target=/result cat /result > result
RUN --mount=type=cache,target=/cache echo x >> /cache/count; cat /cache/count > count
RUN --mount=type=tmpfs,target=/memory echo x > /memory/x
RUN --mount=type=secret,id=key cat /run/secrets/key > /dev/null && echo read > secret
RUN --mount=type=secret,id=key,env=KEY echo ${#KEY} > length
RUN <<text
echo one > lines
echo two >> lines
text
RUN <<program
#!/bin/sh
echo $0 > program
program
";
    let directory = context(&home, "ctx", dockerfile, &[("dir/inner", "I")]);
    let secret = home.around().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    let given = format!("id=key,src={}", secret.display());
    let words = ["--secret", &given, "-t", "app", directory.to_str().unwrap()];
    build(&home, &words);
    let shown = |name: &str| run(&home, &["app", "cat", name]);
    assert_eq!((shown("bound"), shown("result"), shown("count")), ("I".into(), "built".into(), "x".into()));
    assert_eq!((shown("secret"), shown("length")), ("read".into(), "7".into()));
    assert_eq!((shown("lines"), shown("program")), ("one\ntwo".into(), "/run/build/program".into()));
    // Nothing of the mounts is in the image, and the secret is nowhere.
    let tree = run(&home, &["app", "ls", "/"]);
    let found = ["bound", "result", "cache", "memory", "run"]
        .into_iter()
        .find(|name| tree.lines().any(|line| line == *name));
    assert_eq!(found, None, "{tree}");
    let all = std::process::Command::new("grep").args(["-rl", "hunter2"]).arg(home.path()).output().unwrap();
    assert_eq!(text(&all.stdout), "");
    // A bound file that changes makes the step again. The directory of the cache stays.
    fs::write(directory.join("dir/inner"), "J").unwrap();
    build(&home, &words);
    assert_eq!((shown("bound"), shown("count")), ("J".into(), "x\nx".into()));
    home.out(&["builder", "prune", "-f"]);
    build(&home, &words);
    assert_eq!(shown("count"), "x");
    let required = "FROM base\nRUN --mount=type=secret,id=key,required echo\n";
    fs::write(directory.join("Dockerfile"), required).unwrap();
    assert!(home.refused(&["build", "--network", "none", words[4]], 1).contains("no secret key"));
}

#[test]
fn two_builds_with_a_given_time_are_equal() {
    let home = KeptHome::new();
    base(&home, "base", |layer| layer, json!({ "Env": [PATH] }));
    let dockerfile = "FROM base\nWORKDIR /work\nCOPY file .\nRUN mkdir made && echo x > made/x && rm file\n";
    let directory = context(&home, "ctx", dockerfile, &[("file", "a")]);
    let words = ["build", "-q", "--no-cache", "--network", "none", directory.to_str().unwrap()];
    let ids = [(); 2].map(|()| {
        // A file that is newer than the given time.
        fs::write(directory.join("file"), "a").unwrap();
        let output = home.command(&words).env("SOURCE_DATE_EPOCH", "1000000000").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(run(&home, &[&ids[0], "stat", "-c", "%Y", "/work/made/x"]), "1000000000");
    let output = home.command(&words).env("SOURCE_DATE_EPOCH", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn quotes_of_a_here_document_stay() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let quoted = "FROM lab\nARG WHO=you\nCOPY <<EOF /c.json\n{\"a\": \"$WHO\", \"b\": \"it's\"}\nEOF\n";
    assert_eq!(built(&home, "quoted", quoted, "cat /c.json"), "{\"a\": \"you\", \"b\": \"it's\"}");
}

#[test]
fn a_path_above_the_root_begins_at_the_root() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let above = "FROM lab\nWORKDIR /a\nCOPY file ../../b/\nWORKDIR ../../c\nRUN echo z > z\n";
    assert_eq!(built(&home, "above", above, "cat /b/file /c/z"), "xz");
}

#[test]
fn mounts_begin_in_the_working_directory_and_a_cache_can_be_there_twice() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let mounts = "FROM lab\nWORKDIR /w\nRUN --mount=target=. cat tree/file > /got\n\
        RUN --mount=type=cache,id=a,target=/x,sharing=locked --mount=type=cache,id=a,target=/y,sharing=locked echo 1 > /x/1; cat /y/1 >> /got\n";
    assert_eq!(built(&home, "mounts", mounts, "cat /got"), "y1");
}

#[test]
fn names_of_marks_and_the_network_of_the_host_are_refused() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    for (name, dockerfile, words) in [
        ("host", "FROM lab\nRUN --network=host true\n", "--network host"),
        ("mark", "FROM lab\nWORKDIR /etc/.wh.shadow\n", "failed: etc/.wh.shadow cannot be in a layer"),
        ("marks", "FROM lab\nCOPY file /etc/.wh.shadow/\n", "failed: etc/.wh.shadow cannot be in a layer"),
        ("text", "FROM lab\nCOPY <<.wh.shadow /etc/\nx\n.wh.shadow\n", "failed: etc/.wh.shadow cannot be"),
    ] {
        let place = context(&home, name, dockerfile, &[("file", "x")]);
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(words), "{name}: {message}");
    }
}
