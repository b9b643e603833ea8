//! Why execve(2) has refused a file. The errno alone misleads: ENOENT is also the result for a script whose interpreter
//! is missing, and ENOEXEC for an empty file.
//!
//! The file is read as the container has it: its path is resolved in the container's root, and no link leads out.

mod elf;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use self::elf::Elf;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::executable::{self, Executable, Hindrance, look};
use crate::host::resolver::Resolver;
use crate::plan::call::process::ProcessCall;
use crate::plan::{Call, Plan};
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The number of bytes of a file that the kernel reads to find out how to execute it: BINPRM_BUF_SIZE.
const HEAD: usize = 256;
/// The maximum number of scripts that are interpreters of each other: exec_binprm() of fs/exec.c.
const MAX_DEPTH: usize = 5;

/// The reason, and what to do.
struct Unexecutable {
    why: String,
    todo: Option<String>,
}

impl Unexecutable {
    fn new(why: String) -> Unexecutable {
        Unexecutable { why, todo: None }
    }

    fn todo(self, todo: String) -> Unexecutable {
        Unexecutable { todo: Some(todo), ..self }
    }
}

/// Adds to an error the reason why the file at `path` could not be executed, if it can be found.
pub fn explain(mut error: Error, path: &Path, plan: &Plan, errno: Errno) -> Error {
    if let Some(Unexecutable { why, todo }) = find(path, plan, errno) {
        error.why = vec![why];
        error.todo = todo.into_iter().collect();
    }
    error
}

fn find(path: &Path, plan: &Plan, errno: Errno) -> Option<Unexecutable> {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP | Errno::ENOEXEC | Errno::ELIBBAD => {}
        Errno::ETXTBSY => {
            let host = plan.tree.resolve(path).host?;
            let line = format!("\n   fuser -v {}", quote(&host));
            let why = text_with("exec.busy", &[("file", &printed(path))]);
            return Some(Unexecutable::new(why).todo(text("exec.busy.todo") + &line));
        }
        _ => return None,
    }
    let file = match look(path, &plan.tree) {
        Ok(file) => file,
        // Something else was executed than what is found by the path, for example a file in memory.
        Err(obstacle) if obstacle.is_missing && errno == Errno::EACCES => return None,
        Err(obstacle) => return Some(Unexecutable { why: obstacle.why, todo: obstacle.todo }),
    };
    if errno == Errno::EACCES
        && let Some(finding) = refused_to_user(path, plan)
    {
        return Some(finding);
    }
    let found = interpreted(path, file, &plan.tree, errno);
    found.or_else(|| (errno == Errno::EACCES).then(|| Unexecutable::new(text("exec.policy"))))
}

/// Follows the interpreters of scripts to the first file that cannot be executed.
fn interpreted(path: &Path, file: Executable, tree: &Resolver, errno: Errno) -> Option<Unexecutable> {
    let (mut path, mut file) = (path.to_owned(), file);
    for _ in 0..=MAX_DEPTH {
        let head = head(&file).ok()?;
        let Some(line) = head.strip_prefix(b"#!") else { return program(&path, &file, &head, tree, errno) };
        let interpreter = match interpreter(line, head.len()) {
            Ok(interpreter) => interpreter,
            Err(key) => return Some(Unexecutable::new(text_with(key, &[("file", &printed(&path))]))),
        };
        if interpreter == path {
            return Some(Unexecutable::new(text_with("exec.script.itself", &[("file", &printed(&path))])));
        }
        match look(&interpreter, tree) {
            Ok(next) => (path, file) = (interpreter, next),
            Err(obstacle) => return Some(without_interpreter(&path, &file, &interpreter, &obstacle)),
        }
    }
    Some(Unexecutable::new(text_with("exec.script.chain", &[("file", &printed(&path))])))
}

/// The bytes of a file that the kernel looks at.
fn head(file: &Executable) -> io::Result<Vec<u8>> {
    let file = file.open()?;
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while length < HEAD {
        match file.read_at(&mut head[length..], length as u64)? {
            0 => break,
            read => length += read,
        }
    }
    head.truncate(length);
    Ok(head)
}

/// The interpreter in the first line of a script, as load_script() of fs/binfmt_script.c reads it. `line` comes after
/// `#!`. Or the key of the message about what is wrong.
fn interpreter(line: &[u8], length: usize) -> Result<PathBuf, &'static str> {
    let end = line.iter().position(|byte| *byte == b'\n');
    let first = &line[..end.unwrap_or(line.len())];
    let start = first.iter().position(|byte| !matches!(byte, b' ' | b'\t')).ok_or("exec.script.none")?;
    let first = &first[start..];
    match first.iter().position(|byte| matches!(byte, b' ' | b'\t' | 0)) {
        Some(0) => Err("exec.script.none"),
        Some(end) => Ok(PathBuf::from(OsStr::from_bytes(&first[..end]))),
        // The name itself may be cut off.
        None if end.is_none() && length >= HEAD => Err("exec.script.long"),
        None => Ok(PathBuf::from(OsStr::from_bytes(first))),
    }
}

/// Advice to change a file.
fn change(advice: &str, file: &Executable, line: impl Fn(&str) -> String) -> String {
    executable::change(advice, (&file.host, &file.container), line)
}

fn without_interpreter(
    script: &Path,
    file: &Executable,
    interpreter: &Path,
    obstacle: &Hindrance,
) -> Unexecutable {
    let script = printed(script);
    if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
        let values = [("file", &*script), ("interpreter", &printed(interpreter))];
        let todo = change("exec.script.cr.todo", file, |file| format!("sed -i 's/\\r$//' {file}"));
        return Unexecutable::new(text_with("exec.script.cr", &values)).todo(todo);
    }
    let values = [("file", &*script), ("interpreter", &printed(interpreter))];
    let relative = match interpreter.is_relative() {
        true => format!(" {}", text_with("exec.script.relative", &values)),
        false => String::new(),
    };
    let why = text_with(
        "exec.script.missing",
        &[("file", &*script), ("interpreter", &printed(interpreter)), ("why", &obstacle.why)],
    );
    // Only what does not exist can be installed.
    let todo = if obstacle.is_missing { "exec.script.todo" } else { "exec.script.other" };
    Unexecutable::new(why + &relative).todo(text_with(todo, &values))
}

/// The reason for a file that is not a script.
fn program(
    path: &Path,
    file: &Executable,
    head: &[u8],
    tree: &Resolver,
    errno: Errno,
) -> Option<Unexecutable> {
    let name = printed(path);
    let values = [("file", name.as_str())];
    if let Some(elf) = Elf::read(head, &file.open().ok()?) {
        return elf.explain(path, file, tree, errno);
    }
    if errno != Errno::ENOEXEC {
        return None;
    }
    Some(match head {
        [] => Unexecutable::new(text_with("exec.empty", &values)),
        [0xef, 0xbb, 0xbf, ..] => {
            let todo = change("exec.bom.todo", file, |file| format!("sed -i '1s/^\\xef\\xbb\\xbf//' {file}"));
            Unexecutable::new(text_with("exec.bom", &values)).todo(todo)
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            let line = |file: &str| format!("iconv -f UTF-16 -t UTF-8 {file} > {file}.utf8");
            let todo = change("exec.utf16.todo", file, line);
            Unexecutable::new(text_with("exec.utf16", &values)).todo(todo)
        }
        _ => match foreign(head) {
            Some(kind) => {
                Unexecutable::new(text_with("exec.foreign", &[("file", &name), ("kind", &text(kind))]))
            }
            None if starts_late(head) => Unexecutable::new(text_with("exec.late", &values)),
            None => Unexecutable::new(text_with("exec.text", &values))
                .todo(text("exec.text.todo") + &format!("\n   sh {}", quote(path))),
        },
    })
}

/// Whether blanks, empty lines or a blank within `#!` are all that is wrong.
fn starts_late(head: &[u8]) -> bool {
    let trimmed = head.trim_ascii_start();
    (trimmed.len() < head.len() && trimmed.starts_with(b"#!"))
        || trimmed.strip_prefix(b"#").is_some_and(|rest| {
            let after = rest.trim_ascii_start();
            after.len() < rest.len() && after.starts_with(b"!/")
        })
}

/// What a file is that is neither a script nor a program for Linux: the key of its name. None if it is a text.
fn foreign(head: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 16] = [
        (b"MZ", "exec.foreign.windows"),
        (b"\xcf\xfa\xed\xfe", "exec.foreign.mac"),
        (b"\xce\xfa\xed\xfe", "exec.foreign.mac"),
        (b"\xfe\xed\xfa\xcf", "exec.foreign.mac"),
        (b"\xfe\xed\xfa\xce", "exec.foreign.mac"),
        (b"\xca\xfe\xba\xbe\0\0\0\x01", "exec.foreign.mac"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", "exec.foreign.mac"),
        (b"\xca\xfe\xba\xbe", "exec.foreign.java"),
        (b"\0asm", "exec.foreign.wasm"),
        (b"PK\x03\x04", "exec.foreign.archive"),
        (b"\x1f\x8b", "exec.foreign.archive"),
        (b"BZh", "exec.foreign.archive"),
        (b"\xfd7zXZ\0", "exec.foreign.archive"),
        (b"\x28\xb5\x2f\xfd", "exec.foreign.archive"),
        (b"!<arch>\n", "exec.foreign.archive"),
        (b"7z\xbc\xaf\x27\x1c", "exec.foreign.archive"),
    ];
    let known = KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind);
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    known.or_else(|| head.iter().any(is_control).then_some("exec.foreign.data"))
}

/// The first part of the path that the command's user may not search or execute. Only without ID maps, because with
/// them the user inside is another one on the host.
fn refused_to_user(path: &Path, plan: &Plan) -> Option<Unexecutable> {
    if plan.namespaces.contains(&Feature::User) {
        return None;
    }
    let ids = plan.steps.iter().filter_map(|step| match &step.call {
        Call::Process(ProcessCall::SetUser(id)) => Some((Some(*id), None)),
        Call::Process(ProcessCall::SetGroup(id)) => Some((None, Some(*id))),
        _ => None,
    });
    let (user, group) = ids.fold((None, None), |(user, group), (uid, gid)| (uid.or(user), gid.or(group)));
    let user = user.filter(|user| *user != 0)?;
    let container = plan.tree.resolve(path).container;
    let above: Vec<&Path> = container.ancestors().collect();
    for (index, part) in above.iter().enumerate().rev() {
        let Some(host) = plan.tree.resolve(part).host else { continue };
        let Ok(metadata) = std::fs::symlink_metadata(host) else { continue };
        let mode = metadata.mode() & 0o7777;
        let bit = match () {
            () if metadata.uid() == user => 0o100,
            () if Some(metadata.gid()) == group => 0o010,
            () => 0o001,
        };
        if mode & bit == 0 {
            let action = text(if index == 0 { "exec.user.execute" } else { "exec.user.search" });
            return Some(Unexecutable::new(text_with(
                "exec.user",
                &[
                    ("path", &printed(part)),
                    ("mode", &format!("{mode:04o}")),
                    ("owner", &metadata.uid().to_string()),
                    ("user", &user.to_string()),
                    ("action", &action),
                ],
            )));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read_as_the_kernel_reads_it() {
        let of = |line: &[u8]| interpreter(line, line.len() + 2).map(|path| path.into_os_string());
        assert_eq!(of(b"/bin/sh\nx"), Ok("/bin/sh".into()));
        assert_eq!(of(b" \t/bin/sh -e x\n"), Ok("/bin/sh".into()));
        assert_eq!(of(b"/bin/sh\r\nx"), Ok("/bin/sh\r".into()));
        assert_eq!(of(b"/bin/sh"), Ok("/bin/sh".into()));
        assert_eq!(of(b"\n/bin/sh"), Err("exec.script.none"));
        assert_eq!(of(b"  "), Err("exec.script.none"));
        assert_eq!(of(&[b'a'; HEAD - 2]), Err("exec.script.long"));
    }

    #[test]
    fn kinds_of_files_are_known_by_their_first_bytes() {
        assert_eq!(foreign(b"MZ\x90\0"), Some("exec.foreign.windows"));
        assert_eq!(foreign(b"\xca\xfe\xba\xbe\0\0\0\x34"), Some("exec.foreign.java"));
        assert_eq!(foreign(b"\x01\x02\x03"), Some("exec.foreign.data"));
        assert_eq!(foreign(b"echo hello\n"), None);
        assert!(starts_late(b"\n#!/bin/sh\n") && starts_late(b"# !/bin/sh\n") && !starts_late(b"# echo\n"));
    }
}
