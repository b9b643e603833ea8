//! A demonstration: its introduction, its cards, its end. On a terminal the cards come one at a time.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use super::feature::Common;
use super::paging::{PageEnd, pages};
use super::terminal::{self, END};
use super::watch::Narrator;
use crate::config::facts::Machine;
use crate::config::spec::Spec;
use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::feature::Feature;
use crate::plan::Plan;
use crate::render::live::Live;
use crate::render::paint::Stream;
use crate::render::{self, card, demonstration, paint, svg};
use crate::teach::demo::plot::Plot;
use crate::teach::demo::{self, Card, Outcome, Stage};
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
    let screen = narrator.screen().unwrap_or_default();
    let (is_json, is_whole, is_summary) =
        (common.output.is_json(), common.demo.is_none(), is_summary(common));
    let mut pager = Pager { screen, ..Pager::new(common) };
    let mut flow = ControlFlow::Continue(());
    if is_summary {
        render::out(&demonstration::calls_heading(feature));
    } else if is_whole && !is_json {
        flow = pager.show(demonstration::introduction(feature, machine.host.privileged), None)?;
    }
    let live = RefCell::new(Live::new(is_live(common), Stream::Out));
    let canvas = Box::new(|card: &Card, plot: &Plot| draw(&mut live.borrow_mut(), card, plot));
    let mut stage = Stage::new(machine, spec, narrator, canvas);
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
            // The whole card, with its picture, is printed in the place of the live picture.
            live.borrow_mut().erase();
            let text = card::text(card, common.plain);
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

/// Prints cards. On a terminal it waits for a key after each one, and where one is longer than the screen.
struct Pager {
    /// What was printed before, with `--explain`: the steps.
    screen: Screen,
    /// Whether a page that is longer than the screen comes in parts.
    divides: bool,
    /// Whether it waits after each page.
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
        let divides = is_paged(common) && !is_summary(common);
        Pager { screen: Screen::default(), divides, waits: divides && common.demo.is_none(), pages: vec![] }
    }

    /// Prints a page. On a terminal it waits, and the user can go back to pages before it.
    fn show(&mut self, page: String, calls: Option<String>) -> Result<ControlFlow<()>> {
        if !self.divides {
            render::out(&(page + "\n"));
            return Ok(ControlFlow::Continue(()));
        }
        self.pages.push((page, calls));
        let (mut at, mut part) = (self.pages.len() - 1, 0);
        while let Some((page, calls)) = self.pages.get(at) {
            let lines: Vec<&str> = page.lines().collect();
            let parts = parts(&lines);
            let page = parts[part].join("\n") + "\n";
            if self.screen.print(&page)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.screen.clear();
            let is_last = part + 1 == parts.len();
            if is_last && !self.waits {
                return Ok(ControlFlow::Continue(()));
            }
            let keys = match calls {
                _ if !is_last => MORE,
                Some(_) => "demo.keys",
                None => "demo.keys.first",
            };
            let key = loop {
                match ask(keys)? {
                    PageKey::Calls => {
                        if print_parts(calls.as_deref().unwrap_or_default(), MORE)?.is_break() {
                            break PageKey::Quit;
                        }
                    }
                    key => break key,
                }
            };
            (at, part) = match key {
                PageKey::Quit => return Ok(ControlFlow::Break(())),
                PageKey::Next if is_last => (at + 1, 0),
                PageKey::Next => (at, part + 1),
                // The first part of a card has its picture.
                PageKey::Back if part > 0 => (at, 0),
                PageKey::Back | PageKey::Calls => (at.saturating_sub(1), 0),
            };
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Whether a demonstration waits for keys: at a terminal, unless `--step` has keys of its own.
pub(super) fn is_paged(common: &Common) -> bool {
    is_terminal() && !common.no_pause && !common.output.is_json() && !common.output.pauses()
}

/// Whether a person reads what is printed, and can press keys.
fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Prints blocks of lines as they become known. On a terminal it waits for a key before a block that does not fit below the
/// others. A clone of it is the same screen.
#[derive(Debug, Clone, Default)]
pub(super) struct Screen {
    rows: Rc<Cell<usize>>,
}

impl Screen {
    /// Prints a block.
    pub(super) fn print(&mut self, block: &str) -> Result<ControlFlow<()>> {
        if is_terminal() && self.is_full_for(block) {
            if ask("demo.keys.first")? == PageKey::Quit {
                return Ok(ControlFlow::Break(()));
            }
            self.clear();
        }
        self.count(block);
        render::out(block);
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for a key if a block does not fit. `signals` are those that are blocked already.
    pub(super) fn make_room(&self, block: &str, signals: &Signals) -> Result<ControlFlow<()>> {
        if self.is_full_for(block) {
            if ask_with("demo.keys.first", signals)? == PageKey::Quit {
                return Ok(ControlFlow::Break(()));
            }
            self.clear();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Notes that a block was printed.
    pub(super) fn count(&self, block: &str) {
        self.rows.set(self.rows.get() + rows(block));
    }

    /// Begins a new screen.
    fn clear(&self) {
        self.rows.set(0);
    }

    /// Whether a block does not fit below the others. One line is for the keys.
    fn is_full_for(&self, block: &str) -> bool {
        let printed = self.rows.get();
        printed > 0 && printed + rows(block) > paint::height() - 1
    }
}

/// The rows of a block on the terminal. A longer line takes several.
fn rows(block: &str) -> usize {
    block.lines().map(|line| paint::columns(line).div_ceil(paint::width()).max(1)).sum()
}

/// Prints a text. On a terminal it comes in pages, unless `no_pause` is set.
pub(super) fn print_pages(page: &str, no_pause: bool) -> Result<()> {
    if no_pause || !is_terminal() {
        render::out(page);
        return Ok(());
    }
    print_parts(page, "demo.keys.first").map(drop)
}

/// The parts of a page that fit the screen. The lines for a shell begin a part if they do not fit, and a system call is
/// not divided from its reason.
fn parts<'a>(lines: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let repeat = text("demo.repeat");
    let end = |_: &str, line: &str| {
        let number = line.trim_start().split(' ').next().unwrap_or_default();
        let begins = line.is_empty() || line == repeat || number.parse::<usize>().is_ok();
        if begins { PageEnd::Good } else { PageEnd::Bad }
    };
    // One line is for the keys.
    pages(lines, paint::height() - 1, paint::width(), end)
}

/// Prints a text in parts that fit the screen, and waits between them. `first` are the keys after the first part. If they
/// have no way back, `b` prints that part again.
fn print_parts(page: &str, first: &str) -> Result<ControlFlow<()>> {
    let lines: Vec<&str> = page.lines().collect();
    let parts = parts(&lines);
    let mut at = 0;
    loop {
        render::out(&(parts[at].join("\n") + "\n"));
        if at + 1 == parts.len() {
            return Ok(ControlFlow::Continue(()));
        }
        at = match ask(if at == 0 { first } else { MORE })? {
            PageKey::Quit => return Ok(ControlFlow::Break(())),
            PageKey::Back if at == 0 && first == MORE => return Ok(ControlFlow::Continue(())),
            PageKey::Back => at.saturating_sub(1),
            PageKey::Next | PageKey::Calls => at + 1,
        };
    }
}

/// The keys between the parts of a page.
const MORE: &str = "demo.keys.more";

/// Prints which keys there are, and waits for one of them.
fn ask(keys: &str) -> Result<PageKey> {
    ask_with(keys, &Signals::block()?)
}

fn ask_with(keys: &str, signals: &Signals) -> Result<PageKey> {
    let terminal = terminal::open()?;
    render::out(&paint::faint(&text(keys)).to_string());
    let meaning = |key| match key {
        b'n' | b' ' | b'\n' | b'\r' => Some(PageKey::Next),
        b'b' => Some(PageKey::Back),
        b'e' => Some(PageKey::Calls),
        b'q' | END => Some(PageKey::Quit),
        _ => None,
    };
    let key = terminal.ask(signals, meaning);
    // With colours, the prompt becomes an empty line before the next card.
    render::end_prompt();
    key
}

/// Whether pictures are drawn live. `--explain` prints between them, and a handout has no measurements.
fn is_live(common: &Common) -> bool {
    let is_text = !common.output.is_json() && !common.output.narrates();
    let is_drawn = !common.plain && !render::is_stable();
    is_text && is_drawn && std::io::stdout().is_terminal() && !paint::is_dumb()
}

/// Draws what is known of a card: its claim, and its picture so far.
fn draw(live: &mut Live, card: &Card, plot: &Plot) {
    let heading = card::heading(card);
    let mut lines: Vec<String> = heading.lines().map(str::to_owned).collect();
    lines.extend(card::picture(plot, false));
    if paint::fits_terminal(lines.len()) {
        live.draw(&lines);
    }
}

/// Checks before the demonstration that a picture can be written to this file.
pub(super) fn check_svg(file: &Path) -> Result<()> {
    use rustix::fs::{Access, access};
    let is_missing = file.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let checked = match file.parent().filter(|_| is_missing) {
        Some(parent) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            access(parent, Access::WRITE_OK | Access::EXEC_OK)
        }
        None if file.is_dir() => Err(rustix::io::Errno::ISDIR),
        None => access(file, Access::WRITE_OK),
    };
    checked.map_err(|errno| unwritten(file, &errno.into()))
}

fn write_svg(file: &Path, plots: &[Plot]) -> Result<()> {
    std::fs::write(file, svg::svg(plots)).map_err(|error| unwritten(file, &error))
}

fn unwritten(file: &Path, error: &std::io::Error) -> Error {
    let what = text_with("common.svg.unwritten", &[("path", &printed(file))]);
    Error::failed(what).why(crate::error::io_text(error))
}
