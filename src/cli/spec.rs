//! `sandbox spec`: writes, checks and describes the specs that `run` takes.

use std::fs::File;
use std::io::{self, Read};

use clap::{Args, Subcommand};

use crate::config::spec::{Spec, schema, shipped, yaml};
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};
use crate::value::nearest::nearest;

/// What `spec` does.
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
        files: Vec<String>,
    },
    /// Print the JSON Schema of specs, for completion in editors
    Schema,
}

/// Does it.
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
        let word = nearest(purpose, names()).unwrap_or("list");
        return Err(error.todo(format!("sandbox spec init --for {word}")));
    };
    render::out(spec.text);
    Ok(0)
}

/// Every file is read, whatever is wrong with those before it.
fn check(color: Color, files: &[String]) -> u8 {
    let mut status = 0;
    for file in files {
        match load(file) {
            Ok(_) => {
                decide(color, Stream::Out);
                render::out(&format!("{file}: {}\n", text("spec.good")));
            }
            Err(error) => status = super::report(color, &error),
        }
    }
    status
}

/// Reads a spec from a file, `-` being standard input.
pub(super) fn load(file: &str) -> Result<Spec> {
    let name = if file == "-" { "standard input" } else { file };
    let unread =
        |error: io::Error| Error::failed(text_with("spec.unread", &[("file", name)])).why(error.to_string());
    // One byte more than a spec may have tells that it's too long; a pipe that never ends is none either.
    let mut bytes = Vec::with_capacity(4096);
    let most = yaml::LONGEST as u64 + 1;
    match file {
        "-" => io::stdin().lock().take(most).read_to_end(&mut bytes),
        path => File::open(path).map_err(unread)?.take(most).read_to_end(&mut bytes),
    }
    .map_err(unread)?;
    yaml::read_bytes(&bytes, name).map_err(|mistakes| Error::mistakes(name, mistakes))
}
