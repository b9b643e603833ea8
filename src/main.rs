//! The command `sandbox`. All its code is in [`sandbox::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sandbox::cli::run(std::env::args_os()))
}
