//! execve(2) of a program that was prepared before: behind a seccomp filter no memory is allocated for it.

use std::ffi::{CString, c_char};
use std::ptr;

use nix::errno::Errno;

/// The program, the arguments and the environment of execve(2), as the kernel reads them.
#[derive(Debug)]
pub(crate) struct ProgramImage {
    path: CString,
    arguments: StringArray,
    /// None: the environment of this process.
    environment: Option<StringArray>,
}

/// Strings, and pointers to them with a null pointer at the end.
#[derive(Debug)]
struct StringArray {
    /// The owner of what the pointers point to. A CString is on the heap, so it does not move with its owner.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringArray {
    fn new(strings: Vec<CString>) -> StringArray {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        StringArray { _strings: strings, pointers }
    }
}

impl ProgramImage {
    /// Prepares a program.
    pub(crate) fn new(
        path: CString,
        arguments: Vec<CString>,
        environment: Option<Vec<CString>>,
    ) -> ProgramImage {
        let environment = environment.map(StringArray::new);
        ProgramImage { path, arguments: StringArray::new(arguments), environment }
    }

    /// Makes execve(2). It returns only if that fails. It makes no other system call.
    pub(crate) fn execute(&self) -> Errno {
        let (path, arguments) = (self.path.as_ptr(), self.arguments.pointers.as_ptr());
        // SAFETY: the strings end with a null byte, the arrays with a null pointer, and `self` owns them all. Without an
        // environment of its own, execv(3) passes that of this process, whose only thread this is.
        unsafe {
            match &self.environment {
                Some(environment) => libc::execve(path, arguments, environment.pointers.as_ptr()),
                None => libc::execv(path, arguments),
            }
        };
        Errno::last()
    }
}
