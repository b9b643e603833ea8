//! Where `build` has to do what Docker does with a Dockerfile, and its advice when a step fails.
//!
//! Judged by what the image has, what its commands see, and what is printed.
//!
//! Other inputs of the same kind as the ones here:
//! - outputs that are closed, full or slow, on both streams; images that were built before with such an output.
//! - each flag with an empty value; each message about a program with advice to change a file.
#![cfg(feature = "images")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;
use support::build::{PATH, base, build, config, context, run};
use support::image::Layer;
use support::kept::KeptHome;
use support::{feed, is_root};

fn lab() -> KeptHome {
    let home = KeptHome::new();
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/home/web:/bin/sh\n";
    let group = "root:x:0:root\nbin:x:1:root,web\nweb:x:102:\nwheel:x:10:root\n";
    base(
        &home,
        "lab",
        |layer| layer.file("etc/passwd", passwd).file("etc/group", group),
        json!({ "Env": [PATH] }),
    );
    home
}

/// The files of the store with this name, and their modes.
fn modes(home: &KeptHome, name: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![home.path().join("layers")];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false if entry.file_name() == name => {
                    found.push(entry.metadata().unwrap().permissions().mode());
                }
                false => {}
            }
        }
    }
    found
}

#[test]
fn what_a_command_writes_does_not_depend_on_who_reads_its_output() {
    let home = lab();
    let count = "i=0; while [ $i -lt 3000 ]; do echo \"number $i\" || break; echo \"number $i\" >&2 || break; i=$((i+1)); \
                 echo $i > /log; done";
    let dockerfile = format!("FROM lab\nRUN {count}\n");
    let place = context(&home, "output", &dockerfile, &[]);
    let place = place.to_str().unwrap();
    let words = ["build", "--network", "none", "-t", "app", place];
    let closed = |home: &KeptHome, of_error: bool| {
        let mut command = home.command(&words);
        match of_error {
            true => command.stdout(Stdio::null()).stderr(Stdio::piped()),
            false => command.stdout(Stdio::piped()).stderr(Stdio::null()),
        };
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        match of_error {
            true => drop(BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap()),
            false => drop(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap()),
        }
        child.wait().unwrap();
    };
    let full = |home: &KeptHome, of_error: bool| {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let mut command = home.command(&words);
        let status = match of_error {
            true => command.stdout(Stdio::null()).stderr(full()).status().unwrap(),
            false => command.stdout(full()).stderr(Stdio::null()).status().unwrap(),
        };
        // The result was lost, and is there all the same.
        assert_eq!(status.success(), of_error);
    };
    for round in 0..4 {
        home.out(&["builder", "prune", "-f"]);
        if round < 2 {
            closed(&home, round == 1)
        } else {
            full(&home, round == 3)
        }
        let printed = build(&home, &["-t", "app", place]);
        assert!(printed.contains(&" ---> Using cache".to_owned()), "{round}: {printed:?}");
        assert_eq!(run(&home, &["app", "cat", "/log"]), "3000", "{round}");
    }
}

#[test]
fn advice_changes_no_file_of_the_store() {
    let home = lab();
    let cases = [
        ("echo x > /prog", "RUN chmod +x /prog"),
        ("printf '#!/bin/sh\\r\\n' > /prog; chmod 700 /prog", "RUN sed -i 's/\\r$//' /prog"),
        (
            "printf '\\357\\273\\277#!/bin/sh\\n' > /prog; chmod 700 /prog",
            "RUN sed -i '1s/^\\xef\\xbb\\xbf//' /prog",
        ),
        (
            "printf '\\377\\376#\\0' > /prog; chmod 700 /prog",
            "RUN iconv -f UTF-16 -t UTF-8 /prog > /prog.utf8",
        ),
    ];
    for (made, advice) in cases {
        let dockerfile = format!("FROM lab\nRUN {made}\nRUN [\"/prog\"]\n");
        let output = feed(&mut home.command(&["build", "--network", "none", "-"]), dockerfile);
        let message = support::text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(advice) && !message.contains("/layers/"), "{message}");
        // The same for a container of the image.
        let dockerfile = format!("FROM lab\nRUN {made}\n");
        feed(&mut home.command(&["build", "-t", "app", "--network", "none", "-"]), dockerfile);
        let run = home.run(&["run", "--rm", "--network", "none", "app", "/prog"]);
        let message = support::text(&run.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(advice) && !message.contains("/layers/"), "{message}");
    }
    assert!(modes(&home, "prog").contains(&0o100_644));
}

#[test]
fn a_flag_with_an_empty_value_is_not_given() {
    let home = lab();
    // An ordinary user with one ID has no other user in a container.
    let (user, ids) = if is_root() { ("web", "101:102") } else { ("root", "0:0") };
    let dockerfile = format!(
        "FROM lab AS first\n\
         ARG NONE\n\
         COPY --chown=$NONE --chmod=$NONE --from= file /f\n\
         ADD --chown=$NONE --chmod= --checksum=$NONE file /g\n\
         COPY --chown={user}: file /h\n\
         COPY --chown=: --exclude= file /i\n\
         HEALTHCHECK --interval= --retries= CMD true\n\
         RUN --mount=type=bind,from=,source=,target=/m cat /m/file\n\
         RUN --mount=type=cache,id=,from=,source=,target=/m echo > /m/x\n\
         RUN mkdir /made && chmod 777 /made\n\
         USER {user}:$NONE\n\
         RUN id -u > /made/id; id -g >> /made/id\n"
    );
    let place = context(&home, "empty", &dockerfile, &[("file", "x")]);
    let words = "--target= --iidfile= --file= --progress= --platform= --memory= --cache-from= -t app";
    let words: Vec<&str> = words.split(' ').chain([place.to_str().unwrap()]).collect();
    build(&home, &words);
    home.out(&[&["build", "--network", ""], &words[..]].concat());
    let owners = run(&home, &["-u", "0", "app", "stat", "-c", "%n %u:%g %a", "/f", "/g", "/h", "/i"]);
    assert_eq!(owners, format!("/f 0:0 644\n/g 0:0 644\n/h {ids} 644\n/i 0:0 644"));
    assert_eq!(run(&home, &["app", "cat", "/made/id"]), ids.replace(':', "\n"));
    assert_eq!(config(&home, "app")["Healthcheck"], json!({ "Test": ["CMD-SHELL", "true"] }));
}

#[test]
fn ports_and_signals_are_those_that_docker_accepts() {
    let home = lab();
    let dockerfile = "FROM lab\nEXPOSE 8080:80 127.0.0.1:53:53/udp [::1]:90-91:91-92\nSTOPSIGNAL RTMAX-1\n";
    let output = feed(&mut home.command(&["build", "-t", "app", "--network", "none", "-"]), dockerfile);
    assert!(output.status.success(), "{}", support::text(&output.stderr));
    assert!(support::text(&output.stderr).contains("8080:80"), "{}", support::text(&output.stderr));
    let config = config(&home, "app");
    assert_eq!(config["StopSignal"], "RTMAX-1");
    assert_eq!(config["ExposedPorts"], json!({ "53/udp": {}, "80/tcp": {}, "91/tcp": {}, "92/tcp": {} }));
    for signal in ["SIGRTMAX", "RTMIN+15", "IOT", "SIGCLD", "poll", "9"] {
        let dockerfile = format!("FROM lab\nSTOPSIGNAL {signal}\n");
        let output = feed(&mut home.command(&["build", "-t", "app", "--network", "none", "-"]), dockerfile);
        assert!(output.status.success(), "{signal}: {}", support::text(&output.stderr));
    }
    for wrong in
        ["EXPOSE localhost:1:1", "EXPOSE x:80", "EXPOSE 1-3:80-81", "STOPSIGNAL RTMAX-99", "STOPSIGNAL 65"]
    {
        let output =
            feed(&mut home.command(&["build", "--network", "none", "-"]), format!("FROM lab\n{wrong}\n"));
        assert_eq!(output.status.code(), Some(1), "{wrong}");
    }
}

/// Builds a Dockerfile from standard input. Returns the status, standard output, and standard error in one line.
fn from_input(home: &KeptHome, words: &[&str], dockerfile: &str) -> (i32, String, String) {
    let words = [&["build", "--network", "none"], words, &["-"]].concat();
    let output = feed(&mut home.command(&words), dockerfile);
    let message = support::text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code().unwrap(), support::text(&output.stdout), message)
}

#[test]
fn steps_of_a_stage_that_only_a_trigger_needs_are_counted() {
    let home = lab();
    let (status, ..) =
        from_input(&home, &["-t", "base"], "FROM lab\nONBUILD COPY --from=helper /made /copied\n");
    assert_eq!(status, 0);
    let dockerfile =
        "FROM lab AS helper\nRUN echo x > /made\nFROM lab AS other\nRUN false\nFROM base\nRUN cat /copied\n";
    let (status, printed, message) = from_input(&home, &[], dockerfile);
    assert_eq!(status, 0, "{message}");
    let steps: Vec<&str> = printed.lines().filter(|line| line.starts_with("Step ")).collect();
    let wanted = [
        "Step 1/4 : FROM lab AS helper",
        "Step 2/4 : RUN echo x > /made",
        "Step 3/4 : FROM base",
        "Step 4/4 : RUN cat /copied",
    ];
    assert_eq!(steps, wanted);
}

#[test]
fn a_layer_of_link_depends_on_nothing_below() {
    let home = lab();
    let dockerfile = |first: &str| {
        format!(
            "FROM lab\nRUN mkdir /real && ln -s real /place && echo {first} > /first\nCOPY --link file /place/\n\
             COPY --link nothing* file /else\nRUN ls -ld /place && ls -A /real && cat /place/file\n"
        )
    };
    let layers = |home: &KeptHome| {
        let inspected: serde_json::Value =
            serde_json::from_str(&home.out(&["image", "inspect", "app"])).unwrap();
        inspected[0]["RootFS"]["Layers"].as_array().unwrap().clone()
    };
    let place = context(&home, "link", &dockerfile("1"), &[("file", "x\n")]);
    let words = ["-t", "app", place.to_str().unwrap()];
    let printed = build(&home, &words);
    assert!(printed.iter().any(|line| line.starts_with('d') && line.ends_with("/place")), "{printed:?}");
    let before = layers(&home);
    fs::write(place.join("Dockerfile"), dockerfile("2")).unwrap();
    let printed = build(&home, &words);
    let cached = printed.iter().filter(|line| line.contains("Using cache")).count();
    assert_eq!(cached, 2, "{printed:?}");
    let after = layers(&home);
    assert_eq!((before[2..4].to_vec(), before[1] == after[1]), (after[2..4].to_vec(), false));
    // The list of images has each once.
    let ids = home.out(&["images", "-a", "-q"]);
    let mut ids: Vec<&str> = ids.lines().collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    // With --no-cache, no layer of an earlier build is taken.
    let printed = build(&home, &[&["--no-cache"], &words[..]].concat());
    assert!(!printed.iter().any(|line| line.contains("Using cache")), "{printed:?}");
    // Another file, another owner or another place is another layer.
    fs::write(place.join("file"), "y\n").unwrap();
    fs::write(place.join("Dockerfile"), dockerfile("3")).unwrap();
    let printed = build(&home, &words);
    assert!(!printed.iter().any(|line| line.contains("Using cache")), "{printed:?}");
    assert!(printed.contains(&"y".to_owned()), "{printed:?}");
}

#[test]
fn a_pattern_of_parents_may_match_nothing() {
    let home = lab();
    let dockerfile = "FROM lab AS first\nFROM lab\nCOPY --from=first --parents /none/a*/c /out/\nCOPY --parents x/*.y /other/\n\
                      RUN stat -c '%n %F %a' /out /other && ls -A /out /other\n";
    let place = context(&home, "parents", dockerfile, &[("file", "x")]);
    let printed = build(&home, &[place.to_str().unwrap()]);
    assert!(printed.contains(&"/out directory 755".to_owned()), "{printed:?}");
    // A name without a pattern is a mistake.
    let (status, _, message) =
        from_input(&home, &[], "FROM lab AS a\nFROM lab\nCOPY --from=a --parents /none/c /out/\n");
    assert_eq!((status, message.contains("file not found")), (1, true), "{message}");
}

#[test]
fn a_here_document_is_expanded_with_a_backslash_and_its_mistakes_have_places() {
    let home = lab();
    let dockerfile = "# escape=`\nFROM lab\nARG X=v\nCOPY <<E /a\n\\$X `$X C:\\dir\nE\nRUN cat /a\n";
    let (_, printed, message) = from_input(&home, &[], dockerfile);
    assert!(printed.contains("$X `v C:dir"), "{printed} {message}");
    for (dockerfile, place) in [
        ("FROM lab\nCOPY <<X /x\na\n${bad!}\nX\n", "-:4:1:"),
        ("FROM lab\nCOPY <<-X /x\n\t\ta\n\t\tb ${bad!}\n\tX\n", "-:4:5:"),
        ("FROM lab\nCOPY <<A <<B /x/\n${X\nA\nb\nB\n", "-:3:1:"),
        ("FROM lab\nCOPY <<A \\\n <<B /x/\nok\nA\nä ${b?no}\nB\n", "-:6:3:"),
        ("FROM lab\r\nCOPY <<X /x\r\na\r\n ${bad!}\r\nX\r\n", "-:4:2:"),
    ] {
        let (status, _, message) = from_input(&home, &[], dockerfile);
        assert_eq!((status, message.contains(place)), (1, true), "{dockerfile:?} {message}");
    }
    // The name of the file is the last part of the name.
    let (_, printed, message) =
        from_input(&home, &[], "FROM lab\nCOPY <<../../z /d/\nhi\n../../z\nRUN cat /d/z\n");
    assert!(printed.contains("hi"), "{printed} {message}");
    let (status, _, message) = from_input(&home, &[], "FROM lab\nCOPY <<.. /d/\nhi\n..\n");
    assert_eq!((status, message.contains("-:2:6: .. is no name of a file")), (1, true), "{message}");
    let (_, printed, message) =
        from_input(&home, &["-t", "app"], "FROM lab\nRUN <<..\n#!/bin/sh\necho $0\n..\n");
    assert!(printed.contains("/run/build/script"), "{printed} {message}");
    let history = home.out(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]);
    assert!(history.contains("#!/bin/sh") && history.contains("echo $0"), "{history}");
}

#[test]
fn mounts_are_read_only_and_caches_begin_with_files() {
    let home = lab();
    let (status, printed, _) = from_input(
        &home,
        &[],
        "FROM lab\nRUN --mount=type=tmpfs,target=/m echo > /m/x && echo writable\nRUN --mount=type=tmpfs,target=/m,ro echo > /m/x\n",
    );
    assert!(printed.contains("writable") && status != 0, "{status} {printed}");
    let dockerfile = "FROM lab AS first\nRUN mkdir /k && echo ONE > /k/f && chmod 640 /k/f\n\
        FROM lab\nRUN --mount=type=cache,target=/c,from=first,source=/k stat -c %a /c/f && cat /c/f && echo two >> /c/f\n";
    let (status, printed, message) = from_input(&home, &[], dockerfile);
    assert!(status == 0 && printed.contains("640\nONE\n"), "{printed} {message}");
    // It stays, and is another one than a cache without first files or with other ones.
    let next = format!("{dockerfile}RUN --mount=type=cache,target=/c,from=first,source=/k cat /c/f\n");
    let next = format!("{next}RUN --mount=type=cache,target=/c ls -A /c\n");
    let (_, printed, message) = from_input(&home, &[], &next);
    assert!(printed.contains("\nONE\ntwo\n"), "{printed} {message}");
    let other = dockerfile.replace("ONE", "OTHER");
    let (_, printed, message) = from_input(&home, &[], &other);
    assert!(printed.contains("640\nOTHER\nRemoving"), "{printed} {message}");
    let (status, _, message) = from_input(
        &home,
        &[],
        "FROM lab\nRUN --mount=type=cache,target=/c,from=lab,source=/etc/passwd true\n",
    );
    assert_eq!((status, message.contains("must be a directory")), (1, true), "{message}");
}

#[test]
fn a_given_time_leaves_nothing_random() {
    let home = lab();
    let digest = |home: &KeptHome| {
        let mut command = home.command(&["build", "--no-cache", "-q", "--network", "none", "-"]);
        let dockerfile = "FROM lab\nRUN cat /proc/sys/kernel/hostname > /h && env > /e && cat /etc/hosts /etc/hostname > /f\n";
        let output = feed(command.env("SOURCE_DATE_EPOCH", "1000"), dockerfile);
        assert!(output.status.success(), "{}", support::text(&output.stderr));
        support::text(&output.stdout)
    };
    assert_eq!(digest(&home), digest(&home));
}

#[test]
fn root_has_the_groups_of_the_image() {
    let home = lab();
    let (status, printed, message) = from_input(&home, &[], "FROM lab\nRUN id -G\nUSER web\nRUN id -G\n");
    match is_root() {
        true => {
            assert!(printed.contains("\n0 1 10\n") && printed.contains("\n102 1\n"), "{printed} {message}")
        }
        // Groups that the user namespace does not map are left out, and then the user itself is not there.
        false => assert!(
            printed.contains("\n0 1 10\n") || printed.contains("\n0\n"),
            "{status} {printed} {message}"
        ),
    }
}

#[test]
fn mistakes_name_their_words() {
    let home = lab();
    let hex = home.out(&["images", "-q", "--no-trunc"]).replace("sha256:", "");
    let first = hex.chars().next().filter(char::is_ascii_alphabetic);
    let circle = first.map(|first| format!("FROM {first} AS x\nRUN true\nFROM x AS {first}\n"));
    let cases = [
        ("FROM lab\nCOPY \\\n  nothere \\\n  /x\n", "-:3:3: COPY failed: file not found"),
        ("FROM lab\nCOPY --chmod=u+q --chown=0 a b\n", "-:2:14: --chmod=u+q is neither"),
        ("FROM lab\nCOPY --chown=nobody:web a b\n", "-:2:14: the Dockerfile names it here"),
        ("FROM lab\nARG P=8\nEXPOSE $P 90-92/tcp 9-8\n", "-:3:21: 9-8 is not a port"),
        ("FROM lab\nSTOPSIGNAL NONE\n", "-:2:12: NONE is not a signal"),
        ("FROM lab:$UNDEF\n", "-:1:6: the Dockerfile names it here"),
        ("FROM lab\nCOPY http://x/y /a\n", "-:2:6: source can't be a URL for COPY"),
        ("FROM lab\nCOPY git@github.com:a/b /a\n", "-:2:6: source can't be a URL for COPY"),
        ("FROM lab\nADD ftp://x/y /a\n", "-:2:5: ADD takes only addresses"),
        ("FROM lab\nADD HTTP://x/y /a\n", "-:2:5: ADD takes only addresses"),
        (
            "FROM lab\nADD https://x/y.git /a\n",
            "-:2:5: a git repository is not supported: clone https://x/y.git",
        ),
        (
            "FROM lab\nADD --keep-git-dir=true git@x:y /a\n",
            "-:2:25: a git repository is not supported: clone git@x:y",
        ),
        ("", "the Dockerfile cannot be empty"),
        ("# nothing\n", "the Dockerfile cannot be empty"),
    ];
    let circle = circle.as_deref().map(|circle| (circle, "-:1:6: "));
    for (dockerfile, wanted) in cases.into_iter().chain(circle) {
        let (status, _, message) = from_input(&home, &[], dockerfile);
        assert!(status != 0 && message.contains(wanted), "{dockerfile:?} {message}");
    }
    // A file of an image is reached as in a container: the directory above the root is the root.
    let (status, ..) =
        from_input(&home, &[], "FROM lab AS a\nFROM lab\nCOPY --from=a /../../etc/../etc/passwd /p\n");
    assert_eq!(status, 0);
    // A byte that is not UTF-8 is one mistake.
    let output = feed(&mut home.command(&["build", "-"]), b"FROM lab\n\xff\xfe\x00word more\n");
    let message = support::text(&output.stderr);
    assert!(message.contains("one mistake") || message.contains("2 mistakes"), "{message}");
    assert!(!message.contains("is not known"), "{message}");
}

#[test]
fn tests_of_the_shell_are_no_lists() {
    let home = lab();
    let dockerfile = "FROM lab\nARG X=y\nRUN [ \"$X\" = y ] && echo fine\nRUN [ \"$X\" ] || exit 1\nRUN [ 'a,b' = \"$X\" ] || echo no\n";
    let (status, _, message) = from_input(&home, &[], dockerfile);
    assert_eq!((status, &*message), (0, ""));
    let (_, _, message) = from_input(&home, &[], "FROM lab\nCMD ['sh', '-c', 'ls']\nCMD [ 'sh', 'x' ]\n");
    assert_eq!(message.matches("this is no list in JSON").count(), 2, "{message}");
    // Each line fits a terminal.
    let output = feed(&mut home.command(&["build", "-"]), "FROM lab\nCMD ['sh', '-c', 'ls']\n");
    assert!(support::text(&output.stderr).lines().all(|line| line.len() <= 80));
}

#[test]
fn a_layer_too_many_is_refused_at_its_instruction() {
    let home = lab();
    let copies: String = (0..127).map(|number| format!("COPY file /f{number}\n")).collect();
    let place = context(&home, "many", &format!("FROM lab\n{copies}RUN true\n"), &[("file", "x")]);
    let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
    assert!(message.contains("Dockerfile:128:1: an image can have at most 127 layers"), "{message}");
    assert!(message.contains("join several instructions RUN"), "{message}");
    // A command that changes no file is fine on top of the last one. Whether it changes one is known only after it, so a note is
    // printed before it.
    let copies: String = (0..126).map(|number| format!("COPY file /f{number}\n")).collect();
    let lines = |last: &str| format!("FROM lab\n{copies}RUN true\nENV A=b\n{last}\n");
    // The first `RUN true` is executed once, and then taken from the cache.
    for (last, wanted, noted) in
        [("RUN true", 0, 2), ("RUN echo x > /x", 1, 1), ("WORKDIR /new/w", 1, 0), ("COPY file /x", 1, 0)]
    {
        fs::write(place.join("Dockerfile"), lines(last)).unwrap();
        let output = home.run(&["build", "--network", "none", place.to_str().unwrap()]);
        let message = support::text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(wanted), "{last}: {message}");
        assert!(
            wanted == 0 || message.contains("Dockerfile:130:1: an image can have at most 127"),
            "{message}"
        );
        let notes = message.matches("this image has 127 layers, and an image can have no more").count();
        assert_eq!(notes, noted, "{last}: {message}");
    }
    // One less is fine, also for a command on top of it.
    let copies: String = (0..125).map(|number| format!("COPY file /f{number}\n")).collect();
    fs::write(
        place.join("Dockerfile"),
        format!("FROM lab\n{copies}RUN echo x > /last\nCMD [\"cat\", \"/last\"]\n"),
    )
    .unwrap();
    build(&home, &["-t", "app", place.to_str().unwrap()]);
    assert_eq!(run(&home, &["app"]), "x");
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let home = lab();
    let place =
        context(&home, "unread", "FROM lab\nRUN --mount=type=secret,id=a,env=X true\nADD t.tar /q/\n", &[]);
    let path = place.to_str().unwrap();
    let words = |secret: &'static str| ["build", "--network", "none", "--secret", secret, path];
    let message = home.refused(&words("id=a,src=/nothere"), 1);
    assert!(message.contains("cannot read the secret a from the file /nothere"), "{message}");
    let null = place.join("null");
    fs::write(&null, "a\0b").unwrap();
    let secret = format!("id=a,src={}", null.display());
    let message = home.refused(&["build", "--network", "none", "--secret", &secret, path], 1);
    assert!(message.contains("the secret a has a null byte"), "{message}");
    let archive = Layer::new().file("one", "1").file("two", &"2".repeat(3000)).tar();
    fs::write(place.join("t.tar"), &archive[..3000]).unwrap();
    let message = home.refused(&words("id=a,env=PATH"), 1);
    assert!(message.contains("the archive t.tar cannot be unpacked"), "{message}");
    fs::create_dir(place.join(".dockerignore")).unwrap();
    let message = home.refused(&words("id=a,env=PATH"), 1);
    assert!(message.contains("cannot read .dockerignore why it is not a regular file"), "{message}");
    let full = context(&home, "full", "FROM scratch\nCOPY Dockerfile /r\n", &[("out/r/file", "x")]);
    let out = full.join("out");
    let out = out.to_str().unwrap();
    let message = home.refused(&["build", "-o", out, full.to_str().unwrap()], 1);
    assert!(message.contains(&format!("the files of the image cannot be written to {out}")), "{message}");
    for flag in ["--secret=", "--output="] {
        let message = home.refused(&["build", flag, path], 2);
        assert!(message.contains(&format!("sandbox: {flag} is not")), "{message}");
    }
}
