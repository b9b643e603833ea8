//! The output of a build, as Docker's classic builder prints it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::build::options::{BuildEvent, BuildWatch};
use crate::error::{Error, Mistake, Result};
use crate::image::digest::Digest;
use crate::image::reference::Reference;
use crate::render;
use crate::text::{printed, text, text_with};

/// The maximum size of the end of the output of commands that `-q` prints after a failure.
const MOST_KEPT: u64 = 64 << 10;

/// Prints what happens.
pub(super) struct ClassicOutput {
    is_quiet: bool,
    /// Where the output of commands goes with `-q`.
    kept: Option<File>,
}

impl ClassicOutput {
    pub(super) fn new(is_quiet: bool) -> Result<ClassicOutput> {
        let kept = is_quiet.then(tempfile).transpose()?;
        Ok(ClassicOutput { is_quiet, kept })
    }

    fn print(&self, line: &str) {
        if !self.is_quiet {
            render::out(&format!("{line}\n"));
        }
    }

    /// Prints what is probably not meant.
    pub(super) fn warn(&self, warnings: &[Mistake]) {
        for warning in warnings.iter().filter(|_| !self.is_quiet) {
            let Mistake { file, line, what, .. } = warning;
            let values = [("file", file.as_str()), ("line", &line.to_string()), ("what", what)];
            render::err(&format!("sandbox: {}\n", text_with("build.warning", &values)));
        }
    }

    /// Prints the end of what the commands have printed so far.
    pub(super) fn print_kept(&self) {
        let Some(mut kept) = self.kept.as_ref() else { return };
        let mut bytes = Vec::new();
        let length = kept.metadata().map_or(0, |about| about.len());
        let read = kept
            .seek(SeekFrom::Start(length.saturating_sub(MOST_KEPT)))
            .and_then(|_| kept.take(MOST_KEPT).read_to_end(&mut bytes));
        if read.is_ok() {
            render::err(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Prints the result.
    pub(super) fn finish(&self, id: &Digest, names: &[Reference]) {
        if self.is_quiet {
            return render::out(&format!("{id}\n"));
        }
        self.print(&text_with("build.done", &[("id", id.short())]));
        for name in names {
            self.print(&text_with("build.tagged", &[("name", &name.familiar())]));
        }
    }
}

impl BuildWatch for ClassicOutput {
    fn event(&mut self, event: BuildEvent<'_>) {
        match event {
            BuildEvent::Step(number, all, step) => {
                let values = [("number", &*number.to_string()), ("all", &all.to_string())];
                self.print(&format!("{} : {}", text_with("build.step", &values), printed(step)));
            }
            BuildEvent::Triggers(count) => {
                let key = if count == 1 { "build.trigger" } else { "build.triggers" };
                self.print(&text_with(key, &[("count", &count.to_string())]));
            }
            BuildEvent::Cached => self.print(&format!(" ---> {}", text("build.cached"))),
            BuildEvent::Running(id) => {
                self.print(&format!(" ---> {}", text_with("build.running", &[("id", id)])));
            }
            BuildEvent::Removed(id) => self.print(&text_with("build.removed", &[("id", id)])),
            BuildEvent::Image(id) => self.print(&format!(" ---> {}", id.map_or("", Digest::short))),
            BuildEvent::Note(note) if !self.is_quiet => render::err(&format!("sandbox: {note}\n")),
            BuildEvent::Note(_) => {}
        }
    }

    fn output(&self) -> Option<&File> {
        self.kept.as_ref()
    }
}

/// A file without a name.
fn tempfile() -> Result<File> {
    let made = rustix::fs::memfd_create("build output", rustix::fs::MemfdFlags::CLOEXEC);
    made.map(File::from).map_err(|errno| Error::failed(text("build.output")).call("memfd_create()", errno))
}
