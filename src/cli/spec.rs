//! `sandbox spec`: creates, checks and describes specs for `run`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::spec::{Spec, schema, shipped, yaml};
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::nearest::nearest;

/// The arguments of `spec`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct SpecArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a spec to start from: every key with its meaning, or a short spec for a purpose
    Init {
        /// Print a spec for this purpose; `list` prints the purposes
        #[arg(long = "for", value_name = "PURPOSE")]
        purpose: Option<String>,
    },
    /// Read specs and print every mistake with its line and column; the exit status is 0 if there is none
    Check {
        /// The files; - is standard input
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of specs, for completion in editors
    Schema,
}

/// Performs the action.
pub(super) fn run(color: Color, args: &SpecArgs) -> Result<u8> {
    match &args.action {
        Action::Init { purpose } => init(color, purpose.as_deref()),
        Action::Check { files } => Ok(check(color, files)),
        Action::Schema => {
            render::out(&render::json(&schema::schema()));
            Ok(0)
        }
    }
}

fn init(color: Color, purpose: Option<&str>) -> Result<u8> {
    decide(color, Stream::Out);
    let Some(purpose) = purpose else {
        render::out(&schema::template());
        return Ok(0);
    };
    if purpose == "list" {
        for spec in shipped::ALL {
            render::out(&format!("{:<16}{}\n", spec.purpose, spec.about()));
        }
        return Ok(0);
    }
    let names = || shipped::ALL.iter().map(|spec| spec.purpose);
    let Some(spec) = shipped::ALL.iter().find(|spec| spec.purpose == purpose) else {
        let error = Error::usage(text_with("spec.purpose", &[("purpose", purpose)]));
        let nearest_purpose = nearest(purpose, names()).unwrap_or("list");
        return Err(error.paste(format!("sandbox spec init --for {nearest_purpose}")));
    };
    render::out(spec.text);
    Ok(0)
}

/// Checks all files, even if one has mistakes.
fn check(color: Color, files: &[PathBuf]) -> u8 {
    let mut status = 0;
    for file in files {
        match load(file) {
            Ok(_) => {
                decide(color, Stream::Out);
                render::out(&format!("{}: {}\n", printed(file), text("spec.good")));
            }
            Err(error) => status = super::report(color, &error),
        }
    }
    status
}

/// Reads a spec from a file; `-` is standard input.
pub(super) fn load(file: &Path) -> Result<Spec> {
    let is_input = file == Path::new("-");
    let name = &*if is_input { "standard input".to_owned() } else { printed(file) };
    let unread =
        |error: io::Error| Error::failed(text_with("spec.unread", &[("file", name)])).why(error.to_string());
    // At most one byte more than the maximum size is read: enough to detect a file that is too long, or a pipe that
    // never ends.
    let mut bytes = Vec::with_capacity(4096);
    let most = yaml::MAX_SIZE as u64 + 1;
    match is_input {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(file).map_err(unread)?.take(most).read_to_end(&mut bytes),
    }
    .map_err(unread)?;
    yaml::read_bytes(&bytes, name).map_err(|mistakes| Error::mistakes(name, mistakes))
}
