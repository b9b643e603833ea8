//! Why execve(2) fails with E2BIG: which string is too long, or how long all of them are together.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::error::Error;
use crate::plan::Call;
use crate::plan::call::process::ProcessCall;
use crate::text::{text, text_with};

/// Adds to the error of an execve(2) that failed with E2BIG what is too long. Other errors stay unchanged.
pub fn explain(error: Error, call: &Call, errno: Errno) -> Error {
    let (Call::Process(ProcessCall::Exec { path, arguments, environment }), Errno::E2BIG) = (call, errno)
    else {
        return error;
    };
    let environment = environment.clone().unwrap_or_else(|| {
        std::env::vars_os().map(|(name, value)| [name, value].join(OsStr::new("="))).collect()
    });
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |page| page as usize);
    // MAX_ARG_STRLEN of the kernel: 32 pages for one string with its NUL byte.
    let most = 32 * page - 1;
    let arguments_named = arguments.iter().enumerate().map(|(index, argument)| {
        (text_with("exec.argument", &[("number", &index.to_string())]), argument.len())
    });
    let variables = environment.iter().map(|variable| {
        let name = variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        (text_with("exec.variable", &[("name", &name.escape_ascii().to_string())]), variable.len())
    });
    let mut sizes = arguments_named.chain(variables);
    let (why, todo) = match sizes.find(|(_, length)| *length > most) {
        Some((name, length)) => (
            text_with(
                "exec.string.why",
                &[("what", &name), ("length", &length.to_string()), ("most", &most.to_string())],
            ),
            text("exec.string.todo"),
        ),
        None => {
            let strings = arguments.iter().chain(&environment).map(|string| string.len()).sum::<usize>()
                + path.as_os_str().len();
            // Each string has a NUL byte and a pointer to it.
            let all = strings + (arguments.len() + environment.len()) * (1 + size_of::<usize>());
            let (stack, _) = getrlimit(Resource::RLIMIT_STACK).unwrap_or((8 << 20, 0));
            // The kernel gives them a quarter of the stack, at least 32 pages and at most 6 MiB. execve(2)
            let room = (stack / 4).clamp(32 * page as u64, 6 << 20);
            (
                text_with("exec.total.why", &[("all", &all.to_string()), ("most", &room.to_string())]),
                text("exec.total.todo"),
            )
        }
    };
    Error { why: vec![why], todo: vec![todo], ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(arguments: Vec<String>, environment: Vec<String>) -> String {
        let bytes = |all: Vec<String>| all.into_iter().map(Into::into).collect();
        let call = Call::from(ProcessCall::Exec {
            path: "/bin/true".into(),
            arguments: bytes(arguments),
            environment: Some(bytes(environment)),
        });
        explain(Error::failed("x"), &call, Errno::E2BIG).why.join("\n")
    }

    #[test]
    fn the_string_that_is_too_long_is_named() {
        let long = "a".repeat(200_000);
        assert!(why(vec!["true".into(), long.clone()], vec![]).contains("Argument 1 has 200000 bytes"));
        assert!(
            why(vec!["true".into()], vec![format!("BIG={long}")]).contains("The variable BIG has 200004")
        );
        let many = vec!["a".repeat(100_000); 100];
        assert!(why(many, vec![]).contains("together"));
    }
}
