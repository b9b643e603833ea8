//! Reads a Dockerfile. Nothing here touches a file or a process.
//!
//! ```text
//! bytes ──lines──> instructions as text ──read──> typed instructions, or every mistake, each with its place
//! ```
//!
//! The words of an instruction are kept as they were written, with quotes and variables. The value of a variable is
//! known only when the instruction is executed: then the builder expands them (`words`).
//!
//! | file | what |
//! |---|---|
//! | `place` | places in the file, and mistakes at them |
//! | `instruction` | the types of the instructions |
//! | `lines` | directives, comments, continued lines, here-documents: instructions as text |
//! | `heredoc` | where a line begins here-documents; what `RUN` executes with them |
//! | `split` | the name, the flags and the words of an instruction |
//! | `flags` | `--name=value` |
//! | `read` | typed instructions |
//! | `mount` | `RUN --mount` |
//! | `words` | variables, quotes and escapes |
//! | `shell_pattern` | the patterns of `${x#pattern}` |

mod flags;
mod heredoc;
pub mod instruction;
mod lines;
pub mod mount;
pub mod place;
mod read;
mod shell_pattern;
mod split;
pub mod words;

use std::ops::Range;

pub use self::instruction::*;
use self::lines::FoundLines;
pub use self::place::{Placed, SourceText, Span};
use self::read::{InstructionFlaw, Parsed};
use self::words::WordError;
use crate::error::{Error, MAX_MISTAKES, Mistake, Result};
use crate::text::{printed, text, text_with};

/// A Dockerfile that was read.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// Its name and its text, for errors.
    pub source: SourceText,
    /// The parser directives.
    pub directives: Directives,
    /// `ARG` before the first `FROM`: their values are for `FROM` only.
    pub arguments: Vec<Placed<Vec<Argument>>>,
    /// The stages, in their order. There is at least one.
    pub stages: Vec<BuildStage>,
    /// What is accepted but is probably not meant.
    pub warnings: Vec<Mistake>,
}

/// The parser directives: comments such as `# escape=x` before everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `syntax`: for BuildKit, the image with the parser. It is read, and has no effect here.
    pub syntax: Option<String>,
    /// `escape`: a backslash, or a backtick.
    pub escape: char,
    /// `check`: for BuildKit, which checks are skipped. It has no effect here.
    pub check: Option<String>,
}

/// A stage: `FROM`, and the instructions up to the next one.
#[derive(Debug, Clone)]
pub struct BuildStage {
    /// The `FROM`.
    pub from: Placed<FromImage>,
    /// All instructions after it.
    pub steps: Vec<Placed<Instruction>>,
}

/// The maximum size of a Dockerfile, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// Reads a Dockerfile. `name` is what errors call it.
///
/// # Errors
/// It has mistakes: all of them, each with its place.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Dockerfile> {
    let (source, bad) = decoded(name, bytes)?;
    let FoundLines { directives, instructions, mut warnings, mut mistakes } = lines::read(&source, &bad);
    let (mut arguments, mut stages) = (Vec::new(), Vec::<BuildStage>::new());
    let has_bad = |span: &Span| {
        let next = bad.get(bad.partition_point(|at| *at < span.start));
        next.is_some_and(|at| *at < span.end)
    };
    for placed in &instructions {
        if mistakes.len() > MAX_MISTAKES {
            break;
        }
        let wrong = |range: &Range<usize>, what: String| source.mistake(&placed.inner(range), what);
        let own = || placed.clone();
        match read::read(&placed.text, directives.escape, &placed.value) {
            // The byte that is not UTF-8 is reported already.
            Err(_) if has_bad(&placed.span) => {}
            Err(InstructionFlaw { range, what, near }) => {
                mistakes.push(Mistake { near, ..wrong(&range, what) })
            }
            Ok(Parsed::From(from)) => stages.push(BuildStage { from: own().with(from), steps: vec![] }),
            Ok(Parsed::Step(step)) => match (stages.last_mut(), step) {
                (Some(stage), step) => {
                    if let Some(what) = suspicious(&step).filter(|_| warnings.len() < MAX_MISTAKES) {
                        warnings.push(source.mistake(&placed.span, what));
                    }
                    stage.steps.push(own().with(step));
                }
                (None, Instruction::Arg(list)) => arguments.push(own().with(list)),
                // After a FROM with a mistake, only that is reported.
                (None, _) if !mistakes.is_empty() => {}
                (None, step) => {
                    let what = text_with("dockerfile.before", &[("name", step.name())]);
                    mistakes.push(wrong(&(0..step.name().len()), what));
                }
            },
        }
    }
    if stages.is_empty() && mistakes.is_empty() {
        let key = if instructions.is_empty() { text("dockerfile.empty") } else { text("dockerfile.nofrom") };
        return Err(source.whole(key));
    }
    if mistakes.is_empty() {
        return Ok(Dockerfile { source, directives, arguments, stages, warnings });
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes.truncate(MAX_MISTAKES);
    Err(Error::mistakes(name, mistakes))
}

/// Reads one instruction, such as that of an `ONBUILD` in an image's config. `name` is what errors call it.
///
/// # Errors
/// It is wrong, or it is not one instruction, or it is `FROM`.
pub fn trigger(name: &str, written: &str) -> Result<Placed<Instruction>> {
    let source = SourceText::new(name, written);
    let FoundLines { mut instructions, mistakes, directives, .. } = lines::read(&source, &[]);
    if !mistakes.is_empty() {
        return Err(Error::mistakes(name, mistakes));
    }
    let Some(placed) = instructions.pop().filter(|_| instructions.is_empty()) else {
        return Err(source.whole(text("dockerfile.trigger")));
    };
    match read::read(&placed.text, directives.escape, &placed.value) {
        Ok(Parsed::Step(step)) => Ok(placed.with(step)),
        Ok(Parsed::From(_)) => Err(source.whole(text_with("dockerfile.onbuild", &[("name", "FROM")]))),
        Err(flaw) => Err(source.error(&placed.inner(&flaw.range), flaw.what)),
    }
}

impl Dockerfile {
    /// The error of a word that cannot be expanded. `word` is the text that was given to [`words::expand`].
    pub fn word_error<T>(&self, placed: &Placed<T>, word: &str, error: &WordError) -> Error {
        let inner =
            |at: Range<usize>| placed.inner(&(at.start + error.range.start..at.start + error.range.end));
        let span = placed.range_of(word).map_or(placed.span.clone(), inner);
        self.source.error(&span, error.what.clone())
    }
}

/// The text of a file, and the places of the bytes that are not UTF-8. They are accepted in comments only.
fn decoded(name: &str, bytes: &[u8]) -> Result<(SourceText, Vec<usize>)> {
    if bytes.len() > MAX_SIZE {
        return Err(SourceText::new(name, "").whole(text("dockerfile.large")));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(SourceText::new(name, "").whole(text("dockerfile.utf16")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut decoded, mut bad) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            bad.push(decoded.len());
            decoded.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok((SourceText::new(name, &decoded), bad))
}

/// What is accepted, but is probably not meant: a list that is not JSON, so it is a line for the shell; a port of the host.
fn suspicious(step: &Instruction) -> Option<String> {
    let line = match step {
        Instruction::Run(RunCommand { form: CommandForm::Shell(line), .. })
        | Instruction::Cmd(CommandForm::Shell(line))
        | Instruction::Entrypoint(CommandForm::Shell(line)) => line,
        Instruction::Expose(ports) => {
            let port = ports.iter().find(|port| port.contains(':') && !port.contains('$'))?;
            return Some(text_with("dockerfile.expose", &[("port", &printed(port))]));
        }
        _ => return None,
    };
    let list = line.strip_prefix('[')?.trim_start();
    // `[ "$x" = y ] && ...` is a test of the shell.
    let is_test = line.starts_with("[ ") && (!list.contains(',') || !line.trim_end().ends_with(']'));
    (list.starts_with(['"', '\'']) && !is_test)
        .then(|| text_with("dockerfile.json.shell", &[("name", step.name())]))
}

#[cfg(test)]
mod tests;
