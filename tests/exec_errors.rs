//! A command that cannot be executed: the error says what is missing, or what the file is.
//!
//! Of this kind: the interpreter of a script is missing, ends in CR, is a relative path, a directory, a FIFO, a file
//! below a file, has no execute permission, is a script itself (chain, loop), is not named; a byte order mark, UTF-16,
//! blanks before `#!`; no `#!`; an empty file; an ELF program of another machine, another class, cut off, not linked,
//! without its loader; programs of other systems and archives; no execute permission, a directory, a FIFO, a path
//! through a file, a dangling link, a loop of links; noexec; a file that is being written (ETXTBSY); a name that is in
//! PATH outside only; all of it in another root directory; a user who may not search a directory.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use support::{is_root, sandbox, skip, text, write_program};

/// A directory that every user may search.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn put(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    write_program(&path, content);
    path
}

/// An ELF header with one segment that is loaded, and a loader if there is one.
fn elf(is_64: bool, machine: u16, kind: u16, loader: &str) -> Vec<u8> {
    let (header, entry) = if is_64 { (64, 56) } else { (52, 32) };
    let count: u16 = if loader.is_empty() { 1 } else { 2 };
    let mut out = b"\x7fELF".to_vec();
    out.extend([if is_64 { 2 } else { 1 }, 1, 1]);
    out.resize(16, 0);
    out.extend(kind.to_le_bytes());
    out.extend(machine.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    let word = |out: &mut Vec<u8>, value: u64| {
        if is_64 {
            out.extend(value.to_le_bytes());
        } else {
            out.extend(u32::try_from(value).unwrap().to_le_bytes());
        }
    };
    word(&mut out, 0x40_0000);
    word(&mut out, header);
    word(&mut out, 0);
    out.extend(0u32.to_le_bytes());
    for half in [u16::try_from(header).unwrap(), entry, count, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let end = header + u64::from(entry * count);
    let path = format!("{loader}\0");
    let segments = [(1u32, 0, end), (3, end, path.len() as u64)];
    for (kind, offset, length) in segments.into_iter().take(count.into()) {
        out.extend(kind.to_le_bytes());
        if is_64 {
            out.extend(5u32.to_le_bytes());
        }
        for value in [offset, 0x40_0000 + offset, 0x40_0000 + offset, length, length] {
            word(&mut out, value);
        }
        if !is_64 {
            out.extend(5u32.to_le_bytes());
        }
        word(&mut out, 0x1000);
    }
    out.extend(path.as_bytes());
    out
}

/// What `sandbox` prints about a command, in one line, and its exit status.
fn refused(arguments: &[&str]) -> (String, i32) {
    let output = sandbox(arguments).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output().unwrap();
    // Long sentences are wrapped.
    let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!words.contains("panicked"), "{words}");
    (words, output.status.code().unwrap())
}

fn machine() -> u16 {
    if cfg!(target_arch = "x86_64") { 62 } else { 183 }
}

/// Files with their contents, what is said about each, and the exit status.
fn kinds() -> Vec<(&'static str, Vec<u8>, &'static str, i32)> {
    let other = if cfg!(target_arch = "x86_64") { (183, "aarch64") } else { (62, "x86_64") };
    let other_said: &str =
        if other.1 == "aarch64" { "is a program for aarch64" } else { "is a program for x86_64" };
    let mut cut = elf(true, machine(), 2, "");
    cut.truncate(100);
    let own = machine();
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(b"#!/bin/sh\n");
    vec![
        ("missing", b"#!/usr/bin/pyhton\n".into(), "names the interpreter /usr/bin/pyhton", 127),
        ("blank", b"#! \t/no/such/thing -x\n".into(), "names the interpreter /no/such/thing:", 127),
        ("cr", b"#!/bin/sh\r\necho hi\r\n".into(), "ends in a carriage return", 127),
        ("cr-env", b"#!/bin/bash\r\n".into(), "/bin/bash\\r", 127),
        ("relative", b"#!no-such/sh\n".into(), "starts at the working directory", 127),
        ("component", b"#!/etc/passwd/sh\n".into(), "/etc/passwd is a file, not a directory", 127),
        ("directory", b"#!/etc\n".into(), "/etc is a directory", 126),
        ("device", b"#!/dev/null\n".into(), "/dev/null is a device file", 126),
        ("mode", b"#!/etc/passwd\n".into(), "/etc/passwd has no execute permission", 126),
        ("none", b"#!\n/bin/sh\n".into(), "names no interpreter", 126),
        ("long", [b"#!/".to_vec(), vec![b'x'; 300]].concat(), "longer than the 255 characters", 126),
        ("empty", Vec::new(), "is empty", 126),
        ("text", b"echo hello\n".into(), "is a text without #!", 126),
        ("utf8", "echo größe\n".into(), "is a text without #!", 126),
        ("bom", bom, "begins with a byte order mark", 126),
        ("utf16", b"\xff\xfe#\0!\0/\0".into(), "is a text in UTF-16", 126),
        ("late", b"\n#!/bin/sh\n".into(), "has something before #!", 126),
        ("spaced", b"# !/bin/sh\n".into(), "has something before #!", 126),
        ("machine", elf(true, other.0, 2, ""), other_said, 126),
        ("riscv", elf(true, 243, 2, "/lib/ld.so"), "is a program for riscv64", 126),
        ("s390", elf(true, 0x1234, 2, ""), "is a program for ELF machine 4660", 126),
        ("cut", cut, "was cut off: it has 100 bytes", 126),
        ("header", b"\x7fELF\x02\x01\x01".into(), "was cut off: it has 7 bytes", 126),
        ("object", elf(true, own, 1, ""), "is an ELF object file (.o)", 126),
        ("core", elf(true, own, 4, ""), "is an ELF core dump", 126),
        ("loader", elf(true, own, 3, "/no/such-loader.so"), "There is no file /no/such-loader.so", 127),
        ("musl", elf(true, own, 3, "/lib/ld-musl-none.so.1"), "install musl", 127),
        ("nix", elf(true, own, 2, "/nix/store/x/ld.so"), "built for Nix", 127),
        ("no-loader", elf(true, own, 3, "/etc"), "Its loader cannot be executed: /etc is a directory", 126),
        ("windows", b"MZ\x90\0\x03".into(), "a program for Windows", 126),
        ("mac", b"\xcf\xfa\xed\xfe\x07\0\0\x01".into(), "a program for macOS", 126),
        ("java", b"\xca\xfe\xba\xbe\0\0\0\x34".into(), "a Java class", 126),
        ("wasm", b"\0asm\x01\0\0\0".into(), "a WebAssembly module", 126),
        ("gzip", b"\x1f\x8b\x08\0".into(), "an archive or a compressed file", 126),
        ("data", b"\x01\x02\x03\x04".into(), "of an unknown format", 126),
    ]
}

#[test]
fn each_kind_of_file_is_named() {
    let directory = directory();
    for (name, content, said, status) in kinds() {
        let path = put(directory.path(), name, content);
        let (words, code) = refused(&["uts", "-q", "--", path.to_str().unwrap()]);
        assert!(words.contains(said), "{name}: expected {said:?}\n{words}");
        assert_eq!(code, status, "{name}: {words}");
        assert!(words.contains("execve("), "{name}: the call is named: {words}");
    }
}

#[test]
fn an_interpreter_is_explained_down_to_the_last_script() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    put(directory.path(), "b", "#!/no/such/interpreter\n");
    put(directory.path(), "a", format!("#!{}\n", at("b")));
    let (words, code) = refused(&["uts", "-q", "--", &at("a")]);
    assert!(words.contains("first line names the interpreter /no/such/interpreter"), "{words}");
    assert_eq!(code, 127);
    put(directory.path(), "itself", format!("#!{}\n", at("itself")));
    let (words, code) = refused(&["uts", "-q", "--", &at("itself")]);
    assert!(words.contains("names itself as its interpreter"), "{words}");
    assert_eq!(code, 126);
    for index in 0..9 {
        put(directory.path(), &format!("s{index}"), format!("#!{}\n", at(&format!("s{}", index + 1))));
    }
    let (words, code) = refused(&["uts", "-q", "--", &at("s0")]);
    assert!(words.contains("follows at most 5"), "{words}");
    assert_eq!(code, 126);
}

#[test]
fn env_reports_its_own_program() {
    let directory = directory();
    let path = put(directory.path(), "script", "#!/usr/bin/env no-such-pyhton\n");
    let (words, code) = refused(&["uts", "-q", "--", path.to_str().unwrap()]);
    assert!(words.contains("no-such-pyhton") && !words.contains("sandbox:"), "{words}");
    assert_eq!(code, 127);
}

#[test]
fn a_path_that_leads_to_no_program_is_named() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    put(directory.path(), "file", "x");
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::from_bits_truncate(0o777)).unwrap();
    let long = format!("/{}", "x".repeat(300));
    let expected = [
        (at("file"), "has no execute permission for you (its mode is 0644)", 126),
        (at(""), "is a directory", 126),
        (at("fifo"), "is a FIFO, not a regular file", 126),
        (at("file/x"), "file is a file, not a directory", 127),
        (at("dangling"), "nowhere, which does not exist", 127),
        (at("loop"), "too many symbolic links", 126),
        (at("nothing"), "There is no file", 127),
        (long, "ENAMETOOLONG", 127),
        ("no-such-name".into(), "No directory in PATH", 127),
        ("/bin/true/".into(), "/bin/true is a file, not a directory", 127),
        ("ls -l".into(), "in a spec as [ls, -l]", 127),
        ("/bin/ls -l /".into(), "in a spec as [/bin/ls, -l, /]", 127),
        (String::new(), "The name of the command is empty", 127),
    ];
    for (path, said, status) in expected {
        let (words, code) = refused(&["uts", "-q", "--", &path]);
        assert!(words.contains(said), "{path}: expected {said:?}\n{words}");
        assert_eq!(code, status, "{path}: {words}");
        assert!(!words.contains("(os error"), "{words}");
    }
}

#[test]
fn a_program_that_is_being_written_is_named() {
    let directory = directory();
    let path = put(directory.path(), "busy", fs::read("/bin/true").unwrap());
    let _writer = OpenOptions::new().append(true).open(&path).unwrap();
    let (words, code) = refused(&["uts", "-q", "--", path.to_str().unwrap()]);
    assert!(words.contains("is open for writing (ETXTBSY)") && words.contains("fuser -v /"), "{words}");
    assert_eq!(code, 126);
}

/// The paths of another root are resolved in it: absolute links and interpreters too.
#[test]
fn another_root_directory_is_looked_at_as_the_command_sees_it() {
    let root = directory();
    let path = root.path().to_str().unwrap();
    for name in ["proc", "sys", "dev", "etc"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    put(root.path(), "bin/script", "#!/bin/sh\n");
    put(root.path(), "bin/true", fs::read("/bin/true").unwrap());
    put(root.path(), "bin/text", "echo\n");
    symlink("/bin/text", root.path().join("link")).unwrap();
    symlink("/usr", root.path().join("usr")).unwrap();
    // Outside, /bin/sh exists. Only the host's own /etc/hostname would be found by a link that leads out.
    symlink("/etc/hostname", root.path().join("bin/out")).unwrap();
    let spec = root.path().join("spec.yaml");
    fs::write(&spec, format!("rootfs: {path}\npid:\n")).unwrap();
    let spec = spec.to_str().unwrap();
    let expected = [
        ("/bin/script", "names the interpreter /bin/sh: There is no file /bin/sh.", 127),
        ("/bin/true", "Its loader does not exist: There is no file /lib", 127),
        ("/link", "is a text without #!", 126),
        ("/bin/out", "/bin/out is a symbolic link to /etc/hostname, which does not exist", 127),
        ("sh", "On the host there is /", 127),
        ("/usr/bin/env", "/usr/bin/env leads through too many symbolic links", 126),
        ("/opt/none", "There is no file /opt/none", 127),
    ];
    for (command, said, status) in expected {
        let (words, code) = refused(&["run", "-q", spec, "--", command]);
        assert!(words.contains(said), "{command}: expected {said:?}\n{words}");
        assert_eq!(code, status, "{command}: {words}");
    }
}

#[test]
fn a_mount_with_noexec_is_named() {
    if !is_root() {
        return skip("a_mount_with_noexec_is_named", "machine: only root mounts outside of a container");
    }
    let directory = directory();
    let path = directory.path();
    let script = format!(
        "mount -t tmpfs -o noexec t {0} && printf '#!/bin/sh\\n' > {0}/s && chmod 755 {0}/s && \
         printf '#!{0}/s\\n' > {0}.outer && chmod 755 {0}.outer && \
         for it in {0}/s {0}.outer; do COLUMNS=400 {1} uts -q -- $it; echo $?; done; rm -f {0}.outer",
        path.display(),
        support::binary().display(),
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .output()
        .unwrap();
    let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    let named = format!("is on the mount {}, which has the option noexec", path.display());
    assert_eq!(words.matches(&named).count(), 2, "{words}");
    assert_eq!(text(&output.stdout), "126\n126\n");
}

#[test]
fn a_directory_that_the_commands_user_may_not_search_is_named() {
    if !is_root() {
        return skip(
            "a_directory_that_the_commands_user_may_not_search",
            "machine: only root becomes another user; root's run holds it",
        );
    }
    let directory = directory();
    put(directory.path(), "private/program", fs::read("/bin/true").unwrap());
    let private = directory.path().join("private");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let program = private.join("program");
    let spec = format!("run_as: '4242:4242'\ncommand: ['{}']\n", program.display());
    let output = support::feed(&mut sandbox(&["run", "-q", "-"]), spec);
    let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("mode 0700 and belongs to 0. User 4242 may not search it"), "{words}");
    assert_eq!(output.status.code(), Some(126));
}
