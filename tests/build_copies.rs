//! `COPY`, `ADD`, `WORKDIR` and the mounts of `RUN`: which modes and owners files get, what is refused, and what patterns mean.
//!
//! What BuildKit and buildah do was tried with both: the files here are those that they make.
//!
//! Other inputs of the same kind as the ones here:
//! - sources of images and of stages; destinations that are links, or below links; several sources, of which one is a directory.
//! - each umask of the caller, with stages that are built at the same time; each kind of mount in each other kind.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::json;
use support::build::{PATH, base, build, built, context, run};
use support::kept::KeptHome;
use support::{binary, feed, is_root, text};

fn lab() -> KeptHome {
    let home = KeptHome::new();
    let accounts = |layer: support::image::Layer| {
        layer
            .file("etc/passwd", "u:x:7:8::/:/bin/sh\n")
            .file("etc/group", "u:x:9:\n")
            .directory("usr/bin")
            .file("usr/bin/tool", "tool")
            .symlink("alias", "usr/bin")
            .file("usr/plain", "plain")
    };
    base(&home, "lab", accounts, json!({ "Env": [PATH] }));
    home
}

/// The modes of paths in an image.
fn modes(home: &KeptHome, image: &str, paths: &[&str]) -> String {
    run(home, &[&[image, "stat", "-c", "%a"], paths].concat())
}

#[test]
fn a_directory_does_not_give_its_mode_to_the_destination() {
    let home = lab();
    let dockerfile = "\
FROM lab AS first
RUN mkdir -m 1777 /made && mkdir -m 711 /made/in && echo x > /made/in/file && mkdir -m 700 /there
COPY tree /there/
FROM lab
COPY tree /one
COPY tree/ /two/deep/
COPY tree . /three/
COPY --from=first /made /four
COPY --chmod=640 tree /five
COPY --parents tree/in /six/
COPY --from=first /there /seven
RUN stat -c %a /one /one/in /two /two/deep /three /four /four/in /five /five/in /five/file /six/tree /six/tree/in > /modes
";
    let place = context(&home, "modes", dockerfile, &[("tree/file", "x"), ("tree/in/file", "y")]);
    for (path, mode) in [("tree", 0o700), ("tree/in", 0o750), ("tree/file", 0o604)] {
        fs::set_permissions(place.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    build(&home, &["-t", "modes", place.to_str().unwrap()]);
    let wanted = "755\n750\n755\n755\n755\n755\n711\n755\n640\n640\n755\n755";
    assert_eq!(run(&home, &["modes", "cat", "/modes"]), wanted);
    // The name of a key: an image of an older version is not taken for this one.
    if is_root() {
        let owners = "FROM lab AS first\nRUN mkdir -m 700 /made && chmod 711 /made\nCOPY --chown=3:4 file /made/\n\
            FROM lab\nCOPY --from=first /made /one\nCOPY --chown=5:6 tree /two\n\
            RUN stat -c %u:%g /one /one/file /two /two/file > /owners\n";
        assert_eq!(built(&home, "owners", owners, "cat /owners"), "0:0\n3:4\n5:6\n5:6");
    }
}

#[test]
fn a_command_has_the_umask_of_docker_whatever_that_of_the_caller_is() {
    let home = lab();
    let stages: String = (0..6)
        .map(|at| format!("FROM lab AS s{at}\nRUN echo {at} > /f && mkdir /d\nCOPY file /c/\n"))
        .collect();
    let copies: String = (0..6).map(|at| format!("COPY --from=s{at} / /{at}\n")).collect();
    for (round, umask) in ["0", "077", "0277"].into_iter().enumerate() {
        // Each round builds everything: the steps have other words.
        let stages = stages.replace("echo", &format!("echo {round}"));
        let dockerfile = format!("{stages}FROM lab\n{copies}RUN stat -c %a /?/f /?/d /?/c > /modes\n");
        let place = context(&home, &format!("umask{round}"), &dockerfile, &[("file", "x")]);
        let script = format!("umask {umask}; exec \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(binary())
            .args(["build", "--network", "none", "-t", "umask", place.to_str().unwrap()])
            .env("SANDBOX_HOME", home.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{umask}: {}", text(&output.stderr));
        let wanted = format!("{}{}", "644\n".repeat(6), "755\n".repeat(12));
        assert_eq!(run(&home, &["umask", "cat", "/modes"]), wanted.trim_end(), "{umask}");
    }
}

#[test]
fn mount_points_in_another_mount_are_made() {
    let home = lab();
    let dockerfile = "\
FROM lab
WORKDIR /app
RUN --mount=type=bind,target=. --mount=type=cache,target=./node_modules \
    cat tree/file > /tmp-1 && echo cached > node_modules/f
RUN --mount=type=bind,target=/app,rw --mount=type=cache,target=/app/node_modules cat node_modules/f > /two && ls > /listed
RUN --mount=type=cache,target=/c --mount=type=cache,target=/c/in/deep echo inner > /c/in/deep/f && ls /c > /three
RUN --mount=type=cache,target=/c/in/deep cat /c/in/deep/f > /four
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/c/t echo x > /c/t/x && ls /c > /five
RUN --mount=type=cache,target=/c --mount=type=bind,source=tree/file,target=/c/one/file cat /c/one/file > /six
RUN --mount=type=tmpfs,target=/t --mount=type=bind,source=tree,target=/t/a/b cat /t/a/b/file > /seven
RUN --mount=type=bind,target=/b --mount=type=secret,id=key,target=/b/made/key cat /b/made/key > /eight
";
    let place = context(&home, "nested", dockerfile, &[("tree/file", "F\n"), (".dockerignore", "key\n")]);
    fs::write(home.around().join("key"), "K\n").unwrap();
    let secret = format!("id=key,src={}", home.around().join("key").display());
    build(&home, &["-t", "nested", "--secret", &secret, place.to_str().unwrap()]);
    let paths = ["tmp-1", "two", "listed", "three", "four", "five", "six", "seven", "eight"];
    let paths: Vec<String> = paths.iter().map(|path| format!("/{path}")).collect();
    let words: Vec<&str> = ["nested", "cat"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    assert_eq!(run(&home, &words), "F\ncached\nDockerfile\nnode_modules\ntree\nin\ninner\nin\nt\nF\nF\nK");
    // Nothing of it is in the context or in the image.
    assert!(!place.join("node_modules").exists() && !place.join("made").exists());
    assert_eq!(
        run(&home, &["nested", "sh", "-c", "ls -A /app; ls -d /c/in /b/made 2> /dev/null; echo end"]),
        "end"
    );
}

#[test]
fn a_link_in_a_cache_is_not_followed_for_a_mount_point() {
    let home = lab();
    let dockerfile = "\
FROM lab
RUN --mount=type=cache,target=/c ln -s /usr/bin /c/link && ln -s ../../../.. /c/out
RUN --mount=type=cache,target=/c --mount=type=cache,id=x,target=/c/out/made true
";
    let place = context(&home, "links", dockerfile, &[]);
    let before: Vec<_> = names_around(&home);
    let output = home.run(&["build", "--network", "none", place.to_str().unwrap()]);
    // It may be refused or be a directory of the container. Nothing is made outside.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    assert_eq!(names_around(&home), before);
    assert!(!home.path().join("made").exists() && !home.path().join("images/made").exists());
}

fn names_around(home: &KeptHome) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(home.around()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[test]
fn two_asterisks_are_any_number_of_directories_with_parents() {
    let home = lab();
    let dockerfile = "\
FROM lab AS first
RUN mkdir -p /o/p/q && echo q > /o/p/q/q && echo r > /o/p/r.txt && echo x > /o/x
FROM lab
COPY --parents src/**/x src/**/*.md /one/
COPY --from=first --parents /o/./**/q /two/
COPY --parents src/./** /three/
COPY --parents src/**/b/**/x /four/
COPY --from=first --parents /o/**/*.txt /o/**/x /five/
COPY src/*/x /six/
";
    let files = [
        ("src/x", "0"),
        ("src/a/x", "1"),
        ("src/a/b/c/x", "2"),
        ("src/top.md", "3"),
        ("src/a/b/deep.md", "4"),
        ("src/hidden/x", "5"),
        ("other/x", "6"),
        (".dockerignore", "src/hidden\n"),
    ];
    let place = context(&home, "deep", dockerfile, &files);
    build(&home, &["-t", "deep", place.to_str().unwrap()]);
    let script = "cd /one/src && ls -A . a a/b a/b/c; cd /; ls -A /two/p/q /three /four/src/a/b/c /five/o /five/o/p /six";
    assert_eq!(
        run(&home, &["deep", "sh", "-c", script]),
        ".:\na\ntop.md\nx\n\na:\nb\nx\n\na/b:\nc\ndeep.md\n\na/b/c:\nx\n\
         /five/o:\np\nx\n\n/five/o/p:\nr.txt\n\n/four/src/a/b/c:\nx\n\n/six:\nx\n\n/three:\na\ntop.md\nx\n\n/two/p/q:\nq"
    );
    for source in ["--parents src/**/none", "--parents none/**/x"] {
        fs::write(place.join("Dockerfile"), format!("FROM lab\nCOPY {source} /got/\n")).unwrap();
        build(&home, &["-t", "none", place.to_str().unwrap()]);
        assert_eq!(run(&home, &["none", "ls", "-A", "/got"]), "", "{source}");
    }
    for source in ["src/**/c/x", "src/n*"] {
        fs::write(place.join("Dockerfile"), format!("FROM lab\nCOPY {source} /got/\n")).unwrap();
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        assert!(message.contains("nothing matches"), "{source}: {message}");
    }
}

#[test]
fn nothing_of_another_kind_is_replaced() {
    let home = lab();
    let files = [
        ("root/alias/x", "x"),
        ("root/usr/plain/x", "x"),
        ("deep/usr/bin/tool/x", "x"),
        ("file", "f"),
        ("one/same", "f"),
        ("two/same/x", "x"),
        ("three/usr/bin", "f"),
        ("good/usr/bin/new", "new"),
        ("good/usr/plain", "other"),
    ];
    let place = context(&home, "kinds", "FROM lab\n", &files);
    let dockerfile = |instruction: &str| {
        fs::write(place.join("Dockerfile"), format!("FROM lab\n{instruction}\n")).unwrap();
    };
    for (instruction, path, wanted) in [
        ("COPY root /", "/alias", "is a file or a link"),
        ("COPY root/alias /alias/../alias/", "", ""),
        ("COPY root/usr /usr", "/usr/plain", "is a file or a link"),
        ("COPY deep /", "/usr/bin/tool", "is a file or a link"),
        ("COPY three /", "/usr/bin", "is a directory"),
        ("COPY --from=lab /usr/plain /usr/bin/", "", ""),
        ("RUN mkdir /dir /dir/file\nCOPY file /dir/", "/dir/file", "is a directory"),
        ("RUN mkdir /dir /dir/f\nCOPY <<f /dir/\nx\nf", "/dir/f", "is a directory"),
        ("COPY one two /new/", "/new/same", "is a directory in one source"),
        ("RUN rm -r /alias /usr/bin\nCOPY root/alias /alias\nCOPY three /", "", ""),
        ("COPY good /", "", ""),
    ] {
        dockerfile(instruction);
        let words = ["build", "--network", "none", "-t", "kinds", place.to_str().unwrap()];
        if wanted.is_empty() {
            home.out(&words);
            continue;
        }
        let message = home.refused(&words, 1);
        assert!(message.contains(path) && message.contains(wanted), "{instruction}: {message}");
    }
    let shown = run(&home, &["kinds", "sh", "-c", "cat /usr/bin/tool /usr/bin/new /usr/plain /alias/tool"]);
    assert_eq!(shown, "toolnewothertool");
}

#[test]
fn a_link_whose_target_is_missing_stays_and_its_target_is_made() {
    let home = lab();
    let dockerfile = "\
FROM lab
RUN ln -s /nowhere/deep /lnk; ln -s lnk/more /chain; ln -s ../../../up /usr/high; ln -s /gone/../usr/new /back; mkdir /d; ln -s /nowhere/file /d/f
RUN ln -s round /round; ln -s /usr/plain /plain
COPY file /lnk/
COPY tree /chain/
ADD file /usr/high/a/b
WORKDIR /back/w
COPY --parents tree/file /w/
COPY file /d/f
COPY file2 /plain
";
    let files = [("file", "x"), ("file2", "z"), ("tree/file", "y")];
    let place = context(&home, "dangling", dockerfile, &files);
    build(&home, &["-t", "dangling", place.to_str().unwrap()]);
    let command = "cat /nowhere/deep/file /nowhere/deep/more/file /up/a/b /nowhere/file /usr/plain; \
                   for l in /lnk /chain /usr/high /back /d/f /plain; do [ -L $l ] || echo no link: $l; done; \
                   [ -d /usr/new/w ] && [ ! -e /gone ] || echo no directory";
    assert_eq!(run(&home, &["dangling", "sh", "-c", command]), "xyxxz");
    for instruction in ["COPY file /round/", "COPY file /plain/x", "WORKDIR /round/w"] {
        let dockerfile = format!("FROM dangling\n{instruction}\n");
        fs::write(place.join("Dockerfile"), dockerfile).unwrap();
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        assert!(
            message.contains("leads to itself")
                || message.contains("NOTDIR")
                || message.contains("directory"),
            "{instruction}: {message}"
        );
    }
}

#[test]
fn a_pattern_does_not_leave_out_a_link_that_leads_to_nothing() {
    let home = lab();
    let files = [
        ("d/a", "x"),
        ("d/ignored", "x"),
        ("e/a", "x"),
        ("e/deep/b", "x"),
        (".dockerignore", "d/i*\nd/hidden\n"),
    ];
    let place = context(&home, "patterns", "", &files);
    for (target, link) in
        [("nowhere", "d/gone"), ("/etc/passwd", "d/outside"), ("ignored", "d/lost"), ("nowhere", "d/hidden")]
    {
        symlink(target, place.join(link)).unwrap();
    }
    let refused = |instructions: &str| {
        fs::write(place.join("Dockerfile"), format!("FROM lab\n{instructions}\n")).unwrap();
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        message.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (pattern, link) in
        [("d/g*", "d/gone"), ("*/out*", "d/outside"), ("d/[l]ost", "d/lost"), ("d/*", "d/gone")]
    {
        let message = refused(&format!("COPY {pattern} /x/"));
        let wanted = format!(
            "Dockerfile:2:6: COPY failed: file not found in build context or excluded by .dockerignore: {link}"
        );
        assert!(message.contains(&wanted), "{message}");
    }
    let message = refused("RUN mkdir /d && ln -s /nowhere /d/gone\nFROM lab\nCOPY --from=0 /d/* /x/");
    assert!(
        message.contains("Dockerfile:4:15: COPY failed: file not found in the stage or the image: d/gone"),
        "{message}"
    );
    // What the pattern does not match, what is ignored, and a directory that is copied as a whole are no matter.
    let fine = "COPY d/a* */deep/b d/hid* /x/\nCOPY d /d\nRUN echo $(ls -A /x) $(ls -A /d) > /got";
    fs::write(place.join("Dockerfile"), format!("FROM lab\n{fine}\nCMD [\"cat\", \"/got\"]\n")).unwrap();
    build(&home, &["-t", "patterns", place.to_str().unwrap()]);
    assert_eq!(run(&home, &["patterns"]), "a b a gone lost outside");
}

#[test]
fn a_new_working_directory_belongs_to_the_user() {
    let home = lab();
    for (user, wanted) in [
        ("7", "7:8"),
        ("7:5", "7:5"),
        ("77", "77:77"),
        ("u", "7:8"),
        ("u:u", "7:9"),
        ("0", "0:0"),
        ("", "0:0"),
    ] {
        if !is_root() && !wanted.starts_with('0') {
            continue;
        }
        let user = if user.is_empty() { String::new() } else { format!("USER {user}\n") };
        let dockerfile = format!(
            "FROM lab\n{user}WORKDIR /made/here\nWORKDIR /usr\nUSER 0\nRUN stat -c %u:%g /made /made/here /usr > /owners\n"
        );
        assert_eq!(
            built(&home, "workdir", &dockerfile, "cat /owners"),
            format!("{wanted}\n{wanted}\n0:0"),
            "{user}"
        );
    }
    // A user that the image does not have: a step that executes something reports it.
    assert_eq!(
        built(&home, "nobody", "FROM lab\nUSER who\nWORKDIR /made\nUSER 0\n", "stat -c %u /made"),
        "0"
    );
}

#[test]
fn a_mode_can_be_a_list_of_changes() {
    let home = lab();
    let dockerfile = "\
FROM lab
ARG MODE=go-rwx
COPY --chmod=u=rwX,go=rX tree /a
COPY --chmod=+x tree/file /b
COPY --chmod=g=u tree /c
ADD --chmod=$MODE tree/file /d
COPY --chmod=u+s,a+r <<text /e
x
text
";
    let place = context(&home, "chmod", dockerfile, &[("tree/file", "x"), ("tree/in/program", "y")]);
    for (path, mode) in [("tree/file", 0o604), ("tree/in", 0o700), ("tree/in/program", 0o700)] {
        fs::set_permissions(place.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    build(&home, &["-t", "chmod", place.to_str().unwrap()]);
    let paths =
        ["/a", "/a/file", "/a/in", "/a/in/program", "/b", "/c", "/c/file", "/c/in/program", "/d", "/e"];
    assert_eq!(modes(&home, "chmod", &paths), "755\n644\n755\n755\n715\n755\n664\n770\n600\n4644");
    for wrong in ["u=rwz", "x", "99", "u=rw,"] {
        let place = context(&home, "wrong", &format!("FROM lab\nCOPY --chmod={wrong} f /f\n"), &[("f", "x")]);
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        assert!(message.contains("is neither an octal number"), "{wrong}: {message}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let home = lab();
    for (instruction, wanted) in [
        ("RUN --security=insecure true", "--security=insecure is not supported"),
        ("ADD https://host.invalid/x.git#v1:dir /x", "a git repository is not supported"),
        ("ADD https://host.invalid/x.git /x", "a git repository is not supported"),
        ("ADD https://host.invalid/x.git?ref=v1 /x", "a git repository is not supported"),
        ("ADD ssh://git@host.invalid/x /x", "a git repository is not supported"),
        ("ADD git@host.invalid:x/y.git#main /x", "a git repository is not supported"),
        ("ADD git://host.invalid/x /x", "a git repository is not supported"),
        ("ADD user@host.invalid:x /x", "a git repository is not supported"),
        ("ADD --keep-git-dir=true https://host.invalid/x.git /x", "a git repository is not supported"),
    ] {
        let place = context(&home, "named", &format!("FROM lab\n{instruction}\n"), &[]);
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        assert!(message.contains(wanted), "{instruction}: {message}");
    }
    assert_eq!(built(&home, "sandbox", "FROM lab\nRUN --security=sandbox echo x > /x\n", "cat /x"), "x");
    // As in BuildKit, the flag is for git repositories and has no effect on other sources.
    assert_eq!(built(&home, "git", "FROM lab\nADD --keep-git-dir=true <<E /x\ny\nE\n", "cat /x"), "y");
}

// An archive with the file in/file, by xz(1) and bzip2(1), and a context by xz(1).
const XZ: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0'\xff\x00k]\x004\x9b\x81\xe4\xe9\xfa\xec%\xa0M\x90\xbdu\x8b\x9c\xb1\xdb>8\x91v\xb95\xd0w\x80RV!M\xbc\x05\xb8\x1b\xec\x82R3\xdc\x18H\x0f\xe6\x0f\xc4\x01\xd5\x13\xcd;\xa3I\x03-\xe2\xe7\x85\xa8\x96\xef\x9e$>o\xf3+%>\x81D\x09\xf8\x98\xe1\x14\x1f\xec\x8f\xa3^\x0b2{\xfe`\x8ba\x1e\xe4\xec\xc5\x05\x90_Z\x22\xde[\x8a\x899pN\x01\x16\x00\x00\x00\x00\x13\xf7\xe4~Z\x8d\xafv\x00\x01\x87\x01\x80P\x00\x00\x86Ae|\xb1\xc4g\xfb\x02\x00\x00\x00\x00\x04YZ";
const BZIP2: &[u8] = b"BZh91AY&SY\xe4\x1e\xd4\xad\x00\x00s\xfb\x80\xca\x80\x08\x00@\x00\xfd\x80\x00 kg\x9f\x00\x08\x08 \x00T4\xa7\xea\x86M\x0d4h\x03L\x9e\xa0\x92\x89\xa3M\x06\x83@\x00}(\x0dB\x06\xcc\x84\x22\xceb\xf2\xfa\xa0\xf4\x08`0\xdf\x82.\x13\x98\x22E\x01\x8c\x1d\x1cumm!\xd3\xaa\x12\xfb\x85\xf2]\xfb:P\xe0C\x15U\x9a\x22 \x1f\x8b\xb9\x22\x9c(Hr\x0fjV\x80";
const CONTEXT: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\xe0'\xff\x00\x8d]\x00\x22\x1b\xc8f\xdc\x09d\xe1\xa6\x5cA\xc2B7E\x03\x89l\x16\xed\xd2m&$\xe5\x0e\x85h\x9b\x86\x09\xc2\x02\xaba|\xd0\xb5\xbf<\xa5\xf2\x0a\x1e\xc5\xe82\xf3\x97\xcfjL\xb6\x9c\xa5\xa7\xc3\xe4K\x17\x91\x11_m {\xe3\xbd\x8f\xef\xebK\xd0\xe39\x93\xeao\x98\x1a\x00z\xdc\xf0]\xca\x02\xe3\xa6\xc8\xe7\x0b\xb1\xf2\x0f\xc0\xb1*\x1eK\xcfA#{\xb4<\x8eDq\x8cw7!\x90\x1a_(1o\x1dl\x0f\x16cL\xb5\x91\xd7T\xd6\xabs\xd6\xb1E^\xc1\x06L\x99\x00\x00\x00\x00\x00\x0c\x9f.]\x7f\x1f\xfbK\x00\x01\xa9\x01\x80P\x00\x00\xc0%\xc3A\xb1\xc4g\xfb\x02\x00\x00\x00\x00\x04YZ";

#[test]
fn archives_are_unpacked_whatever_compresses_them() {
    let home = lab();
    let dockerfile = "FROM lab\nADD a.tar.xz /xz/\nADD a.tbz /bzip2/\nADD text.bz2 /text/\nCOPY a.tar.xz /copied\nADD --unpack=false a.tbz /kept\n";
    let place = context(&home, "archives", dockerfile, &[("text.bz2", "BZh is no archive")]);
    fs::write(place.join("a.tar.xz"), XZ).unwrap();
    fs::write(place.join("a.tbz"), BZIP2).unwrap();
    build(&home, &["-t", "archives", place.to_str().unwrap()]);
    let shown = run(&home, &["archives", "cat", "/xz/in/file", "/bzip2/in/file", "/text/text.bz2"]);
    assert_eq!(shown, "from an archivefrom an archiveBZh is no archive");
    let sizes = format!("{}\n{}", XZ.len(), BZIP2.len());
    assert_eq!(run(&home, &["archives", "stat", "-c", "%s", "/copied", "/kept"]), sizes);
    let output = feed(&mut home.command(&["build", "-q", "-t", "input", "-"]), CONTEXT);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(run(&home, &["input", "cat", "/x"]), "from input");
    // What is cut off is no archive: it is copied as it is, and a context is refused.
    let output = feed(&mut home.command(&["build", "-q", "-"]), &CONTEXT[..CONTEXT.len() / 2]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

/// What `build --explain` says about each step that is not in the cache, with the words of the message in one line.
fn explained(home: &KeptHome, words: &[&str]) -> String {
    let output = home.run(&[&["build", "--network", "none", "--explain"], words].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn it_says_which_part_of_a_step_has_changed() {
    let home = lab();
    let dockerfile = "FROM lab\nARG A\nRUN echo one > /one\nCOPY file /file\nRUN rm /usr/plain && mkdir /d && echo x > /d/x\n";
    let place = context(&home, "why", dockerfile, &[("file", "x")]);
    let here = place.to_str().unwrap();
    let reasons = [
        "No step was built on this image yet",
        "A step before was made again",
        "The files that it takes have changed",
        "The build arguments have changed",
        "No step with this instruction",
        "The instruction is the same",
    ];
    let found = |words: &[&str]| {
        let shown = explained(&home, &[words, &[here]].concat());
        let of = |reason: &&str| shown.matches(*reason).count();
        (reasons.iter().map(of).collect::<Vec<_>>(), shown)
    };
    let (counts, shown) = found(&[]);
    assert_eq!(counts, [1, 3, 0, 0, 0, 0], "{shown}");
    assert!(
        shown.contains("A /one") && shown.contains("A /d, A /d/x") && shown.contains("D /usr/plain"),
        "{shown}"
    );
    // The plan of the container: all of it for the first RUN, and what is new for the second.
    for (call, count) in
        [("clone3(", 1), ("FSCONFIG_SET_STRING, \"upperdir\"", 2), ("\"echo one > /one\"", 1)]
    {
        assert_eq!(shown.matches(call).count(), count, "{call}: {shown}");
    }
    assert_eq!(found(&[]).0, [0; 6]);
    fs::write(place.join("file"), "y").unwrap();
    assert_eq!(found(&[]).0, [0, 1, 1, 0, 0, 0]);
    let (counts, shown) = found(&["--build-arg", "A=1"]);
    assert_eq!(counts, [0, 2, 0, 1, 0, 0], "{shown}");
    fs::write(place.join("Dockerfile"), dockerfile.replace("echo one", "echo two")).unwrap();
    assert_eq!(found(&[]).0, [0, 2, 0, 0, 1, 0]);
    fs::write(
        place.join("Dockerfile"),
        dockerfile.replace("RUN echo one", "RUN --mount=type=tmpfs,target=/t echo one"),
    )
    .unwrap();
    assert_eq!(found(&[]).0, [0, 2, 0, 0, 0, 1]);
}

#[test]
fn a_file_with_holes_takes_no_space() {
    let home = lab();
    let dockerfile = "FROM lab\nCOPY holes /holes\nRUN cp --sparse=always /holes /big && ln /big /other\n";
    let place = context(&home, "holes", dockerfile, &[("file", "x")]);
    let file = fs::File::create(place.join("holes")).unwrap();
    let size = 24 << 20;
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", size / 2).unwrap();
    file.set_len(size).unwrap();
    let used = || -> u64 {
        let listed = Command::new("du").arg("-sk").arg(home.path()).output().unwrap();
        text(&listed.stdout).split_whitespace().next().and_then(|size| size.parse().ok()).unwrap()
    };
    let before = used();
    build(&home, &["-t", "holes", place.to_str().unwrap()]);
    // Without holes, two blobs and two layers have 24 MiB each.
    let more = used() - before;
    assert!(more < 12 << 10, "{more} KiB");
    let shown = run(
        &home,
        &["holes", "sh", "-c", "stat -c '%s %h' /holes /big; cat /big | { cat > /dev/null; echo read; }"],
    );
    assert_eq!(shown, format!("{size} 1\n{size} 2\nread"));
}
