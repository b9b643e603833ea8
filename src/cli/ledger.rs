//! `sandbox ledger`: what the machine has, and what is different later.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::FormatArgs;
use crate::error::Result;
use crate::render::ledger as text_of;
use crate::render::paint::{self, Color, Stream, decide};
use crate::render::{self};
use crate::teach::ledger::{LedgerDifference, LedgerPlace, Survey, ThingKind};
use crate::text::{printed, text, text_with, wrap};

/// The arguments of `ledger`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    action: LedgerAction,
}

#[derive(Debug, Subcommand)]
enum LedgerAction {
    /// Record what this machine has now
    Start {
        #[command(flatten)]
        common: LedgerFlags,
    },
    /// Print what is new, changed and gone since then; the exit status is 0 if nothing is new, otherwise 1
    Diff {
        #[command(flatten)]
        common: LedgerFlags,
        /// Only what is known to be made by sandbox; on a busy machine, other programs make things too
        #[arg(long)]
        ours: bool,
    },
}

/// The flags of both actions.
#[derive(Debug, Args)]
#[group(skip)]
struct LedgerFlags {
    /// The file of the ledger [default: one for each user, in the directory of running containers]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Explain each kind of thing, and from which file it is read
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    output: FormatArgs,
}

/// What `start` has recorded, as JSON.
#[derive(Debug, Serialize)]
struct RecordedLedger {
    /// The file.
    file: String,
    /// How many things of each kind there are.
    recorded: BTreeMap<ThingKind, usize>,
    /// The kinds that could not be read, with the reason.
    unread: BTreeMap<ThingKind, String>,
}

/// Performs the action.
pub(super) fn run(color: Color, args: &LedgerArgs) -> Result<u8> {
    decide(color, Stream::Out);
    match &args.action {
        LedgerAction::Start { common } => start(common),
        LedgerAction::Diff { common, ours } => diff(common, *ours),
    }
}

fn start(flags: &LedgerFlags) -> Result<u8> {
    let place = LedgerPlace::of(flags.file.as_deref());
    let ledger = Survey::take().ledger;
    let has_replaced = place.write(&ledger)?;
    let path = place.path();
    if flags.output.is_json() {
        let counts = ThingKind::ALL.into_iter().filter_map(|kind| Some((kind, ledger.count_of(kind).ok()?)));
        let (recorded, unread) = (counts.collect(), ledger.unread().clone());
        let recorded = RecordedLedger { file: printed(&path), recorded, unread };
        render::print_json(Stream::Out, &recorded);
        return Ok(0);
    }
    let values = [("count", &*ledger.count().to_string()), ("path", &printed(&path))];
    let mut line = text_with("ledger.started", &values);
    if has_replaced {
        line = format!("{line} {}", text("ledger.replaced"));
    }
    let mut out: String = wrap(&line, paint::width()).iter().map(|line| format!("{line}\n")).collect();
    out.push_str(&text_of::recorded(&ledger, flags.explain));
    out.push_str(&format!("{}  {}\n", text("ledger.later"), place.command("diff")));
    render::out(&out);
    Ok(0)
}

fn diff(flags: &LedgerFlags, only_ours: bool) -> Result<u8> {
    let now = Survey::take();
    let before = LedgerPlace::of(flags.file.as_deref()).read(&now.ledger)?;
    let difference = LedgerDifference::between(&before, &now);
    let difference = if only_ours { difference.only_ours() } else { difference };
    match flags.output.is_json() {
        true => render::print_json(Stream::Out, &difference),
        false => render::out(&text_of::difference(&difference, flags.explain)),
    }
    Ok(u8::from(difference.has_new()))
}
