//! Programs for other architectures, under the default seccomp filter.
//!
//! Of this kind: a 32-bit program that reads, writes and exits · one that makes a call that the filter denies, in each
//! of the two tables · one whose arguments are denied · with no_new_privileges and without · started by a shell · with an
//! init · and a command that SIGSYS ends, by any filter: its status is explained.

#![cfg(target_arch = "x86_64")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{alone, feed, sandbox, skip, text};

/// Machine code of i386: one system call with three arguments, then exit(-result), so the status is the errno.
fn calls(number: u32, arguments: [u32; 3]) -> Vec<u8> {
    let mut code = Vec::new();
    // mov eax, number; mov ebx, ...; mov ecx, ...; mov edx, ...; int 0x80
    for (opcode, value) in [(0xb8, number), (0xbb, arguments[0]), (0xb9, arguments[1]), (0xba, arguments[2])]
    {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    }
    // neg eax; mov ebx, eax; mov eax, 1 (exit); int 0x80
    code.extend([0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    code
}

/// Where the code is in memory: after the ELF header and one program header.
const CODE: u32 = 0x0804_8000 + 84;

/// A static program for i386: elf(5).
fn program(directory: &Path, code: &[u8]) -> PathBuf {
    let word = |value: u32| value.to_le_bytes();
    let half = |value: u16| value.to_le_bytes();
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    // ET_EXEC, EM_386, EV_CURRENT, entry, program headers at 52, no sections, no flags, sizes of headers.
    file.extend([half(2), half(3)].concat());
    file.extend([word(1), word(CODE), word(52), word(0), word(0)].concat());
    file.extend([half(52), half(32), half(1), half(0), half(0), half(0)].concat());
    let size = 84 + code.len() as u32;
    // PT_LOAD, offset 0, address, sizes, readable and executable.
    file.extend([1, 0, 0x0804_8000, 0x0804_8000, size, size, 5, 0x1000].map(word).concat());
    file.extend(code);
    let path = directory.join("program32");
    let _ = fs::remove_file(&path);
    fs::write(&path, file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A directory that is also visible with `rootfs: host`, and whether this kernel executes 32-bit programs.
fn directory(test: &str) -> Option<tempfile::TempDir> {
    let directory = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let getpid = program(directory.path(), &calls(20, [0; 3]));
    if Command::new(getpid).status().is_err() {
        skip(test, "machine: the kernel executes no 32-bit programs");
        return None;
    }
    Some(directory)
}

fn status(spec: &str, command: &[&str]) -> (Option<i32>, String) {
    let output = feed(&mut sandbox(&[&["run", "-", "-q", "--"], command].concat()), spec);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

const SPECS: [&str; 3] = [
    "uts:\nseccomp: default\n",
    "rootfs: host\npid: { init: true }\ncapabilities: default\nseccomp: default\nno_new_privileges: true\n",
    "rootfs: host\npid:\nseccomp: default\nno_new_privileges: true\n",
];

#[test]
fn a_32_bit_program_works_and_is_restricted_like_any_other() {
    let _alone = alone();
    let Some(directory) = directory("a_32_bit_program_works_and_is_restricted_like_any_other") else {
        return;
    };
    // (i386 number, arguments, errno of the result)
    let cases: [(&str, u32, [u32; 3], i32); 9] = [
        ("access(\"\")", 33, [CODE + 200, 0, 0], libc::ENOENT),
        ("close(-1)", 6, [u32::MAX, 0, 0], libc::EBADF),
        ("socketcall(0)", 102, [0, 0, 0], libc::EINVAL),
        ("mount", 21, [0, 0, 0], libc::EPERM),
        ("umount", 22, [0, 0, 0], libc::EPERM),
        ("keyctl", 288, [0, 0, 0], libc::EPERM),
        ("ioctl(TIOCSTI)", 54, [0, 0x5412, 0], libc::EPERM),
        ("clone(CLONE_NEWUSER)", 120, [0x1000_0000, 0, 0], libc::EPERM),
        ("clone3", 435, [0, 0, 0], libc::ENOSYS),
    ];
    for (name, number, arguments, errno) in cases {
        let mut code = calls(number, arguments);
        code.resize(256, 0);
        let program = program(directory.path(), &code);
        let program = program.to_str().unwrap();
        for spec in SPECS {
            assert_eq!(status(spec, &[program]), (Some(errno), String::new()), "{name}\n{spec}");
            // A shell executes it too.
            let script = format!("{program}; echo $?");
            assert_eq!(
                status(spec, &["sh", "-c", &script]),
                (Some(0), format!("{errno}\n")),
                "{name}\n{spec}"
            );
        }
    }
    // write(1, "\x7fELF", 4) writes the beginning of the program itself.
    let program = program(directory.path(), &calls(4, [1, 0x0804_8000, 4]));
    for spec in SPECS {
        let (_, output) = status(spec, &[program.to_str().unwrap()]);
        assert_eq!(output, "\x7fELF", "{spec}");
    }
}

#[test]
fn a_death_by_sigsys_is_explained() {
    let _alone = alone();
    for (spec, script) in [
        ("uts:\n", "kill -SYS $$"),
        ("uts:\nseccomp: default\n", "sh -c 'kill -SYS $$'; exit $?"),
        ("rootfs: host\npid: { init: true }\n", "kill -SYS $$"),
    ] {
        let (status, output) = status(spec, &["sh", "-c", script]);
        assert_eq!(status, Some(128 + libc::SIGSYS), "{output}");
        assert!(output.contains("SIGSYS") && output.contains("architecture"), "{output}");
    }
    // Any other end is not.
    let (status, output) = status("uts:\n", &["sh", "-c", "exit 3"]);
    assert_eq!((status, output.contains("SIGSYS")), (Some(3), false));
}
