//! The `sandbox` command. All of it is in [`sandbox::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sandbox::cli::run(std::env::args_os()))
}
