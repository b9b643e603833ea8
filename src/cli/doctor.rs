//! `sandbox doctor`: tests what works on this machine.

use std::path::PathBuf;

use clap::Args;

use super::cards::print_pages;
use super::explain::{ExplainArg, ExplainedStep};
use super::output::Format;
use crate::diagnose::remedy;
use crate::error::{Error, Result};
use crate::render::paint::{Color, Stream, decide};
use crate::render::{self, doctor as text_of, here};
use crate::teach::course::here::Here;
use crate::teach::course::pack::Pack;
use crate::teach::doctor::{self, profile};
use crate::text::{printed, text_with};

/// The flags of `doctor`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct DoctorArgs {
    /// Output format; json also has the facts, for a bug report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print an AppArmor profile for this program alone: sandbox doctor --apparmor-profile | sudo tee
    /// /etc/apparmor.d/sandbox
    #[arg(long, conflicts_with = "format")]
    apparmor_profile: bool,
    /// For each lesson of the course: what can be done here, what cannot, and the fix
    #[arg(long, conflicts_with = "apparmor_profile")]
    lessons: bool,
    /// The lessons in this directory, in place of the built-in ones
    #[arg(long, value_name = "DIR", requires = "lessons")]
    pack: Option<PathBuf>,
    /// Do not wait for a key after each screen
    #[arg(long)]
    no_pause: bool,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 4] = [
    ("uname(); read(/proc/self/status, uid_map, cgroup, mountinfo)", "doctor.explain.facts"),
    ("clone3({flags=CLONE_NEWUSER}), clone3({flags=CLONE_NEWNS}), ...", "doctor.explain.namespaces"),
    ("mkdir(<cgroup>/sandbox/ID); write(<limit>); rmdir(<cgroup>/sandbox/ID)", "doctor.explain.limits"),
    ("read(/proc/sys/*, /etc/subuid, /sys/module/apparmor/parameters/enabled)", "doctor.explain.fix"),
];

/// Examines the machine, or prints the AppArmor profile. The exit status is 0 even if a test fails, because that is a
/// result.
pub(super) fn run(color: Color, args: &DoctorArgs) -> Result<u8> {
    decide(color, Stream::Out);
    args.explain.steps(&STEPS);
    if args.apparmor_profile {
        return print_profile();
    }
    if args.lessons {
        let pack = Pack::in_directory_or_shipped(args.pack.as_deref())?;
        let report = Here::look().course(&pack)?;
        match args.format {
            Format::Text => print_pages(&here::text_of(&report), args.no_pause)?,
            Format::Json => render::print_json(Stream::Out, &report),
        }
        return Ok(0);
    }
    let report = doctor::examine()?;
    match args.format {
        Format::Text => print_pages(&text_of::text_of(&report), args.no_pause)?,
        Format::Json => render::print_json(Stream::Out, &report),
    }
    Ok(0)
}

fn print_profile() -> Result<u8> {
    let program = std::env::current_exe().map_err(|error| {
        Error::failed("the path of this program is unknown").why(crate::error::io_text(&error))
    })?;
    let program = printed(program);
    if !remedy::is_installed(&program) {
        let values = [("program", &*program), ("installed", remedy::INSTALLED)];
        render::err(&(text_with("doctor.profile.writable", &values) + "\n"));
    }
    render::out(&profile::text(&program));
    Ok(0)
}
