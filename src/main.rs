//! The `sandbox` command: parse, dispatch, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::cli::run()
}
