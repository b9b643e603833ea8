//! `image from-host`: an image of this machine's own programs.
//!
//! Judged by the files of the layer, by ldd(1), and by what a container of the image does.
//!
//! Other inputs of the same kind as the ones here:
//! - programs by name, by path, through several symbolic links, with the same libraries, static ones; scripts of scripts.
//! - libraries that only /etc/ld.so.cache, DT_RPATH or DT_RUNPATH leads to; a library that is missing.
//! - files that are no programs: data, named pipes, directories, unreadable ones.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::kept::KeptHome;
use support::{binary, is_root, repository, skip, text, write_program};

/// The directory with the files of the only layer.
fn layer(home: &KeptHome) -> PathBuf {
    let layers = home.path().join("layers");
    let below = |directory: &Path| {
        let mut all: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    let found = if is_root() { below(&layers) } else { below(&below(&layers)) };
    found.join("files")
}

/// The paths of all regular files and of all symbolic links.
fn files(root: &Path) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let (mut files, mut links) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let inside = Path::new("/").join(path.strip_prefix(root).unwrap());
            if about.is_dir() {
                left.push(path);
            } else if about.is_symlink() {
                links.insert(inside);
            } else {
                files.insert(inside);
            }
        }
    }
    (files, links)
}

/// The libraries and the loader of a program, as ldd(1) finds them.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let listed = text(&Command::new("ldd").arg(program).output().unwrap().stdout);
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(|path| fs::canonicalize(path).unwrap()).collect()
}

fn in_path(name: &str) -> PathBuf {
    let output = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", name]).output().unwrap();
    PathBuf::from(text(&output.stdout).trim())
}

/// What a container of an image prints.
fn run(home: &KeptHome, image: &str, script: &str) -> String {
    let file = home.around().join("image.yaml");
    let script = serde_json::to_string(script).unwrap();
    fs::write(
        &file,
        format!("rootfs: {image}\nenv: {{ PATH: '/usr/bin:/bin' }}\ncommand: [sh, -c, {script}]\n"),
    )
    .unwrap();
    home.out(&["run", "-q", file.to_str().unwrap()])
}

#[test]
fn it_has_the_programs_their_libraries_and_nothing_else() {
    let home = KeptHome::new();
    // awk is a link to another link on many systems.
    let names = ["sh", "ls", "cat", "awk"];
    let id = home.out(&[&["image", "from-host", "lab"], &names[..]].concat());
    assert_eq!(home.out(&["images", "-q", "--no-trunc"]), id);
    let programs = names.map(in_path);
    let mut wanted: BTreeSet<PathBuf> = programs.iter().map(|path| fs::canonicalize(path).unwrap()).collect();
    wanted.extend(programs.iter().flat_map(|path| libraries(path)));
    let root = layer(&home);
    let (files, links) = files(&root);
    assert_eq!(files, wanted);
    for file in &files {
        assert_eq!(fs::read(root.join(file.strip_prefix("/").unwrap())).unwrap(), fs::read(file).unwrap());
    }
    for link in &links {
        let own = fs::read_link(root.join(link.strip_prefix("/").unwrap())).unwrap();
        assert_eq!(own, fs::read_link(link).unwrap(), "{link:?}");
    }
    assert!(links.contains(&in_path("awk")) || files.contains(&in_path("awk")));
    assert_eq!(
        run(&home, "lab", "echo hello | awk '{ print $1 $1 }'; [ -x /bin/sh ] && echo sh"),
        "hellohello\nsh"
    );
    // The first program is the command.
    let cmd = home.out(&["image", "inspect", "lab"]);
    let cmd: serde_json::Value = serde_json::from_str(&cmd).unwrap();
    assert_eq!(cmd[0]["Config"]["Cmd"], serde_json::json!([programs[0]]));
    assert_eq!(home.out(&["image", "verify", "lab"]).matches("good").count(), 4);
}

#[test]
fn the_same_files_give_the_same_digest() {
    let program = |directory: &Path| {
        let path = directory.join("program");
        write_program(&path, "#!/bin/sh\necho from a script\n");
        path
    };
    let mut ids = BTreeSet::new();
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for time in ["2001-02-03", "2020-02-03"] {
        let home = KeptHome::new();
        let path = program(place.path());
        assert!(Command::new("touch").args(["-d", time]).arg(&path).status().unwrap().success());
        ids.insert(home.out(&["image", "from-host", "lab:1", path.to_str().unwrap(), "ls"]));
        let inside = layer(&home).join(path.strip_prefix("/").unwrap());
        assert_eq!(
            (inside.metadata().unwrap().mtime(), inside.metadata().unwrap().mode() & 0o7777),
            (0, 0o755)
        );
        // The interpreter of the script is there, so it can be executed.
        assert_eq!(run(&home, "lab:1", path.to_str().unwrap()), "from a script");
        // So is the interpreter that env(1) starts.
        let script = home.around().join("script");
        write_program(&script, "#!/usr/bin/env -S sh\necho by env\n");
        home.out(&["image", "from-host", "other", script.to_str().unwrap()]);
        assert_eq!(run(&home, "other", script.to_str().unwrap()), "by env");
        home.out(&["rmi", "lab:1", "other"]);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn a_library_in_a_directory_of_its_own_is_found() {
    let home = KeptHome::new();
    let at = home.around();
    if Command::new("cc").arg("--version").output().is_err() {
        return skip("a_library_in_a_directory_of_its_own_is_found", "cc is not installed");
    }
    fs::create_dir(at.join("lib")).unwrap();
    fs::write(at.join("two.c"), "int two(void) { return 2; }\n").unwrap();
    fs::write(at.join("main.c"), "int two(void); int main(void) { return two(); }\n").unwrap();
    let cc = |arguments: &[&str]| {
        let output = Command::new("cc").current_dir(at).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    cc(&["-shared", "-fPIC", "-o", "lib/libtwo.so", "two.c"]);
    for (name, tags) in [("runpath", "-Wl,--enable-new-dtags"), ("rpath", "-Wl,--disable-new-dtags")] {
        cc(&["-o", name, "main.c", "-Llib", "-ltwo", tags, "-Wl,-rpath,$ORIGIN/lib"]);
        let program = at.join(name);
        home.out(&["image", "from-host", "two", program.to_str().unwrap(), "sh"]);
        assert_eq!(run(&home, "two", &format!("{}; echo $?", program.display())), "2");
    }
    // Without it the loader would fail, so the image is not made.
    fs::remove_file(at.join("lib/libtwo.so")).unwrap();
    let message = home.refused(&["image", "from-host", "three", at.join("rpath").to_str().unwrap()], 1);
    assert!(message.contains("needs the library libtwo.so"), "{message}");
    assert!(!home.out(&["images"]).contains("three"));
}

#[test]
fn what_is_no_program_is_refused() {
    let home = KeptHome::new();
    let at = home.around();
    let file = |name: &str| at.join(name).to_str().unwrap().to_owned();
    write_program(&at.join("data"), "no program\n");
    fs::write(at.join("mode"), "#!/bin/sh\n").unwrap();
    nix::unistd::mkfifo(&at.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o755)).unwrap();
    fs::create_dir(at.join("directory")).unwrap();
    std::os::unix::fs::symlink("loop", at.join("loop")).unwrap();
    write_program(&at.join("script"), "#!/no/such/interpreter\n");
    for (program, words) in [
        ("no-such-program".to_owned(), "no such program"),
        (file("missing"), "ENOENT"),
        (file("data"), "neither an ELF file nor a script"),
        (file("mode"), "no execute permission"),
        (file("fifo"), "not a regular file"),
        (file("directory"), "not a regular file"),
        (file("loop"), "leads to itself"),
        (file("script"), "/no/such/interpreter"),
        (String::new(), "no such program"),
    ] {
        let message = home.refused(&["image", "from-host", "lab", "sh", &program], 1);
        assert!(message.contains(words), "{program}: {message}");
    }
    assert!(home.refused(&["image", "from-host", "Lab", "sh"], 1).contains("must be lowercase"));
    home.refused(&["image", "from-host", "lab"], 2);
    assert_eq!(home.out(&["images", "-q"]), "");
    if !is_root() {
        fs::write(at.join("closed"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at.join("closed"), fs::Permissions::from_mode(0o111)).unwrap();
        let message = home.refused(&["image", "from-host", "lab", &file("closed")], 1);
        assert!(message.contains("EACCES"), "{message}");
    }
}

#[test]
fn each_file_is_explained() {
    let home = KeptHome::new();
    let output = home.run(&["image", "from-host", "--explain", "lab", "ls"]);
    let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{message}");
    for words in ["DT_NEEDED", "libc.so", "Its owner becomes root", "__unpack", "index.json.new"] {
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn the_class_without_internet_can_be_typed() {
    let page = fs::read_to_string(repository().join("docs/labs.md")).unwrap();
    let blocks: Vec<&str> = page.split("```").filter_map(|block| block.strip_prefix("sh\n")).collect();
    assert!(blocks.len() >= 7, "{}", blocks.len());
    let home = KeptHome::new();
    let bin = home.around().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("sandbox")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let work = home.around().join("work");
    fs::create_dir(&work).unwrap();
    let shell = |script: &str| {
        let output = Command::new("sh")
            .args(["-euc", script])
            .current_dir(&work)
            .env("PATH", &path)
            .env("SANDBOX_HOME", home.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}\n{}", text(&output.stderr));
        text(&output.stdout)
    };
    let mut printed = Vec::new();
    let mut id = String::new();
    for block in blocks {
        if block.contains("sandbox load") {
            // Another machine: nothing is there.
            home.out(&["rmi", "lab:1"]);
            assert_eq!(home.out(&["images", "-q"]), "");
        }
        printed.push(shell(block));
        if id.is_empty() {
            id = home.out(&["images", "-q", "--no-trunc"]);
        }
        if block.contains("sandbox load") {
            assert_eq!(home.out(&["images", "-q", "--no-trunc"]), id);
        }
    }
    let runs: Vec<&String> = printed.iter().filter(|printed| printed.contains("0\nbin")).collect();
    assert_eq!(runs.len(), 2, "{printed:?}");
    assert_eq!(home.out(&["images", "-q"]), "");
}
