//! What happens to the layers of an image while it is pulled or pushed: lines as Docker prints them, and on a terminal a bar for each
//! layer.

use std::fs::File;
use std::io::{IsTerminal, Seek};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::image::digest::Digest;
use crate::image::registry::pull::{LayerEvent, PullWatcher};
use crate::render;
use crate::render::live::Live;
use crate::render::paint::{self, Stream};
use crate::text::text_with;
use crate::value::units::human;

/// The time between two pictures.
const PAUSE: Duration = Duration::from_millis(100);

/// The width of a bar, with its brackets.
const BAR: usize = 30;

/// Where the layers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressKind {
    /// From a registry.
    Pull,
    /// To a registry.
    Push,
}

/// The layers that are pulled or pushed.
pub(super) struct PullProgress {
    kind: ProgressKind,
    prints: bool,
    is_terminal: bool,
    layers: Mutex<Vec<LayerLine>>,
}

struct LayerLine {
    digest: Digest,
    event: LayerEvent,
}

impl PullProgress {
    /// With `prints`, on standard output: bars on a terminal, unless the steps are told there too.
    pub(super) fn new(kind: ProgressKind, prints: bool, is_explained: bool) -> PullProgress {
        let is_terminal = prints && !is_explained && std::io::stdout().is_terminal() && !paint::is_dumb();
        PullProgress { kind, prints, is_terminal, layers: Mutex::default() }
    }

    /// Does something, and meanwhile shows the bars.
    pub(super) fn while_shown<T>(&self, work: impl FnOnce() -> T) -> T {
        if !self.is_terminal {
            return work();
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let painter = scope.spawn(|| {
                let mut live = Live::new(true, Stream::Out);
                while !is_over.load(Ordering::Relaxed) {
                    live.draw(&self.picture());
                    std::thread::park_timeout(PAUSE);
                }
                live.erase();
            });
            let result = work();
            is_over.store(true, Ordering::Relaxed);
            painter.thread().unpark();
            // The final lines stay.
            let _ = painter.join();
            let lines = self.lines().join("\n");
            if !lines.is_empty() {
                render::out(&(lines + "\n"));
            }
            result
        })
    }

    fn lines(&self) -> Vec<String> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.iter().map(|layer| line(self.kind, layer)).collect()
    }

    /// The lines that fit into the terminal: the last ones, because the first are complete first.
    fn picture(&self) -> Vec<String> {
        let (width, height) = (paint::width(), paint::height());
        let mut lines = self.lines();
        lines.drain(..lines.len().saturating_sub(height - 1));
        lines.iter().map(|line| paint::cut(line, width - 1)).collect()
    }
}

impl PullWatcher for PullProgress {
    fn layer(&self, digest: &Digest, event: LayerEvent) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = matches!(
            event,
            LayerEvent::Wanted
                | LayerEvent::Exists
                | LayerEvent::Downloaded
                | LayerEvent::Complete
                | LayerEvent::Retrying(_)
        );
        let new = LayerLine { digest: digest.clone(), event };
        if self.prints && !self.is_terminal && is_told {
            render::out(&(line(self.kind, &new) + "\n"));
        }
        match layers.iter_mut().find(|layer| layer.digest == *digest) {
            Some(layer) => *layer = new,
            None => layers.push(new),
        }
    }
}

fn line(kind: ProgressKind, layer: &LayerLine) -> String {
    let says = |key: &str| text_with(key, &[("id", layer.digest.short())]);
    match &layer.event {
        LayerEvent::Wanted if kind == ProgressKind::Push => says("image.push.wanted"),
        LayerEvent::Exists if kind == ProgressKind::Push => says("image.push.exists"),
        LayerEvent::Complete if kind == ProgressKind::Push => says("image.push.complete"),
        LayerEvent::Unpacking(file, all) if kind == ProgressKind::Push => {
            format!("{}  {}", says("image.push.pushing"), bar(place_in(file), *all))
        }
        LayerEvent::Compressing(file, all) => {
            format!("{}  {}", says("image.push.compressing"), bar(place_in(file), *all))
        }
        LayerEvent::Wanted => says("image.pull.wanted"),
        LayerEvent::Exists => says("image.pull.exists"),
        LayerEvent::Downloading(done, all) => {
            format!("{}  {}", says("image.pull.downloading"), bar(*done, *all))
        }
        LayerEvent::Retrying(time) => {
            let seconds = time.as_secs().max(1).to_string();
            text_with("image.pull.retrying", &[("id", layer.digest.short()), ("seconds", &seconds)])
        }
        LayerEvent::Downloaded => says("image.pull.downloaded"),
        LayerEvent::Unpacking(file, all) => {
            format!("{}   {}", says("image.pull.unpacking"), bar(place_in(file), *all))
        }
        LayerEvent::Complete => says("image.pull.complete"),
    }
}

/// How far the process that unpacks has read: it has the same open file.
fn place_in(mut file: &File) -> u64 {
    file.stream_position().unwrap_or_default()
}

/// `[=====>    ]  41.2MB/63.9MB`
fn bar(done: u64, all: u64) -> String {
    let room = BAR as u64 - 2;
    let filled = done.min(all).saturating_mul(room).checked_div(all).unwrap_or(room);
    let filled = usize::try_from(filled).unwrap_or_default();
    let head = if filled < BAR - 2 { ">" } else { "" };
    let body = format!("{}{head}", "=".repeat(filled));
    format!("[{body:<width$}]  {}/{}", human(done), human(all), width = BAR - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_always_the_same_width() {
        for (done, all) in [(0, 10), (5, 10), (10, 10), (11, 10), (0, 0), (u64::MAX / 2, u64::MAX)] {
            let bar = bar(done, all);
            assert_eq!(bar.find(']'), Some(BAR - 1), "{bar}");
        }
        assert!(bar(41_200_000, 63_900_000).ends_with("]  41.2MB/63.9MB"));
    }
}
