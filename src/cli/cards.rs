//! A demonstration: its introduction, its cards, its end. On a terminal the cards come one at a time.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use super::feature::Common;
use super::terminal::{self, END};
use super::watch::Narrator;
use crate::config::compose::Machine;
use crate::config::spec::Spec;
use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::feature::Feature;
use crate::plan::Plan;
use crate::render::live::Live;
use crate::render::paint::Stream;
use crate::render::{self, card, demonstration, paint, plot, svg};
use crate::teach::demo::plot::Plot;
use crate::teach::demo::{self, Canvas, Card, Outcome, Stage};
use crate::text::{printed, text, text_with};

/// Whether only a summary of the system calls is printed: `--explain` for a whole demonstration.
pub(super) fn is_summary(common: &Common) -> bool {
    common.output.narrates() && !common.output.pauses() && !common.output.is_json() && common.demo.is_none()
}

/// Runs a demonstration, or one card of it.
pub(super) fn demonstrate(
    feature: Feature,
    machine: &Machine,
    spec: &Spec,
    common: &Common,
    narrator: &mut Narrator,
) -> Result<u8> {
    let (is_json, is_whole, is_summary) =
        (common.output.is_json(), common.demo.is_none(), is_summary(common));
    let mut pager = Pager::new(common);
    let mut flow = ControlFlow::Continue(());
    if is_summary {
        render::out(&demonstration::calls_heading(feature));
    } else if is_whole && !is_json {
        flow = pager.show(demonstration::introduction(feature, machine.host.privileged), None)?;
    }
    let mut stage = Stage::new(machine, spec, narrator, canvas(common));
    let mut plots: Vec<Plot> = Vec::new();
    let mut cards = Vec::new();
    let mut all_plans = Vec::new();
    if flow.is_continue() {
        demo::run(feature, common.demo.as_deref(), &mut stage, &mut |card, plans| {
            plots.extend(card.plots.iter().cloned());
            cards.push(card.clone());
            if is_json {
                return Ok(ControlFlow::Continue(()));
            }
            if is_summary {
                render::out(&demonstration::calls_row(card, plans));
                all_plans.extend_from_slice(plans);
                return Ok(ControlFlow::Continue(()));
            }
            // On a terminal, the plots were drawn while the card was made, and are above it.
            let tables = card.plots.iter().filter(|_| !is_live(common)).map(plot::table);
            let text = card::text(card) + &tables.collect::<String>();
            flow = pager.show(text, Some(demonstration::calls(card, plans)))?;
            Ok(flow)
        })?;
    }
    drop(stage);
    if let (Some(_), [], [.., Card { outcome: Outcome::Skipped(why), .. }]) = (&common.svg, &*plots, &*cards)
    {
        return Err(Error::new(ExitKind::Skipped, text("common.svg.skipped")).why(why.clone()));
    }
    if let (Some(_), []) = (&common.svg, &*plots) {
        return Err(Error::usage(text("common.svg.nocard"))
            .todo(text_with("common.svg.nocard.todo", &[("feature", feature.name())])));
    }
    if let Some(file) = &common.svg {
        write_svg(file, &plots)?;
    }
    if flow.is_break() {
        return Ok(0);
    }
    if is_json {
        narrator.print_explained("cards", &cards);
    } else if is_summary {
        render::out(&demonstration::calls_ending(feature, &all_plans));
    } else {
        render::out(&card::skipped(&cards));
        if is_whole {
            render::out(&demonstration::ending(feature));
        } else {
            render::out(&(text_with("common.next", &[("feature", feature.name())]) + "\n"));
        }
    }
    let is_skipped = |card: &Card| matches!(card.outcome, Outcome::Skipped(_));
    Ok(if cards.iter().all(is_skipped) { ExitKind::Skipped.status() } else { 0 })
}

/// Shows what can be seen of a limit without the right to make a cgroup: the introduction, the caller's own cgroup, the
/// plan as root would run it, and what to remember.
pub(super) fn show_without_right(
    feature: Feature,
    machine: &Machine,
    plan: &Plan,
    common: &Common,
) -> Result<()> {
    let mut pager = Pager::new(common);
    let pages = [
        demonstration::introduction(feature, machine.host.privileged),
        demonstration::own_cgroup(feature),
        render::plan::text_of(plan),
    ];
    for page in pages {
        if pager.show(page, None)?.is_break() {
            return Ok(());
        }
    }
    render::out(&(demonstration::ending(feature) + "\n"));
    Ok(())
}

/// Prints cards. On a terminal it waits for a key after each one.
struct Pager {
    waits: bool,
    /// The pages that were printed, each with its system calls.
    pages: Vec<(String, Option<String>)>,
}

/// The meaning of a key between two cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageKey {
    Next,
    Back,
    Quit,
    Calls,
}

impl Pager {
    /// Pages are for a person at a terminal. `--step` has keys of its own.
    fn new(common: &Common) -> Pager {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        let is_paged = !common.no_pause && !common.output.is_json() && !common.output.pauses();
        Pager {
            waits: is_terminal && is_paged && common.demo.is_none() && !is_summary(common),
            pages: vec![],
        }
    }

    /// Prints a page. On a terminal it waits, and the user can go back to pages before it.
    fn show(&mut self, page: String, calls: Option<String>) -> Result<ControlFlow<()>> {
        if !self.waits {
            render::out(&(page + "\n"));
            return Ok(ControlFlow::Continue(()));
        }
        self.pages.push((page, calls));
        let mut at = self.pages.len() - 1;
        while let Some((page, calls)) = self.pages.get(at) {
            if print_page(page)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let has_calls = calls.is_some();
            loop {
                match ask(if has_calls { "demo.keys" } else { "demo.keys.first" })? {
                    PageKey::Next => at += 1,
                    PageKey::Back => at = at.saturating_sub(1),
                    PageKey::Quit => return Ok(ControlFlow::Break(())),
                    PageKey::Calls => {
                        if print_page(calls.as_deref().unwrap_or_default())?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                        continue;
                    }
                }
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Prints a page in parts that fit the screen, and waits between them.
fn print_page(page: &str) -> Result<ControlFlow<()>> {
    let lines: Vec<&str> = page.lines().collect();
    // One line is for the keys.
    let parts = lines.chunks(paint::height() - 1);
    let count = parts.len();
    for (index, part) in parts.enumerate() {
        render::out(&(part.join("\n") + "\n"));
        if index + 1 < count && ask("demo.keys.more")? == PageKey::Quit {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Prints which keys there are, and waits for one of them.
fn ask(keys: &str) -> Result<PageKey> {
    let terminal = terminal::open()?;
    let signals = Signals::block()?;
    render::out(&paint::faint(&text(keys)).to_string());
    let meaning = |key| match key {
        b'n' | b' ' | b'\n' | b'\r' => Some(PageKey::Next),
        b'b' => Some(PageKey::Back),
        b'e' => Some(PageKey::Calls),
        b'q' | END => Some(PageKey::Quit),
        _ => None,
    };
    let key = terminal.ask(&signals, meaning);
    render::out("\n");
    key
}

/// Whether measurements are drawn live.
fn is_live(common: &Common) -> bool {
    !common.output.is_json() && std::io::stdout().is_terminal() && !paint::is_dumb()
}

/// Draws measurements: on a terminal live, otherwise not at all.
fn canvas(common: &Common) -> Canvas<'static> {
    let mut live = Live::new(is_live(common) && !is_summary(common), Stream::Out);
    Box::new(move |measured, is_last| {
        let lines = plot::frame(measured, paint::width());
        if is_last { live.finish(&lines) } else { live.draw(&lines) }
    })
}

fn write_svg(file: &Path, plots: &[Plot]) -> Result<()> {
    std::fs::write(file, svg::svg(plots)).map_err(|error| {
        let path = printed(file);
        Error::failed(text_with("common.svg.unwritten", &[("path", &path)]))
            .why(crate::error::io_text(&error))
    })
}
