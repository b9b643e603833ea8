//! The text of a lesson: Markdown with front matter. HTML comments on lines of their own divide it into sections. They
//! are invisible where the file is read as a page.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::spec::yaml;
use crate::error::Mistake;
use crate::feature::Purpose;
use crate::text::{text, text_with};
use crate::value::nearest::nearest;

/// The front matter of a lesson: what is known about it before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontMatter {
    /// The version of the format: 1.
    #[schemars(extend("const" = 1))]
    pub format: u32,
    /// The title, in the language of the file.
    pub title: String,
    /// How many minutes the lesson takes.
    pub minutes: u32,
    /// From 1, easy, to 3.
    #[schemars(range(min = 1, max = 3))]
    pub difficulty: u8,
    /// The names of the lessons to do before.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The features that must work on this machine.
    #[serde(default)]
    pub features: Vec<Purpose>,
    /// What corresponds to the subject in Docker: a flag.
    #[serde(default)]
    pub docker: Option<String>,
}

/// A part of the Markdown text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// The line of the file on which it begins.
    pub line: usize,
    /// The Markdown, without blank lines before and after it.
    pub markdown: String,
}

/// The text of a lesson in one language.
#[derive(Debug, Clone)]
pub struct LessonText {
    /// The front matter.
    pub front: FrontMatter,
    /// The sections, in their order.
    pub sections: Vec<Section>,
    /// What a teacher should know. Learners do not see it.
    pub teacher: Option<Passage>,
}

/// A section of a lesson.
#[derive(Debug, Clone)]
pub enum Section {
    /// Text only.
    Prose(Prose, Passage),
    /// A question that is asked before the evidence.
    Quiz(Quiz),
    /// An exercise.
    Exercise(ExerciseText),
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prose {
    /// What one can do afterwards.
    Goals,
    /// Explanation and evidence.
    Text,
    /// A wrong idea that the lesson removes.
    WrongIdea,
    /// An experiment with `--break`.
    Break,
    /// How Docker does it.
    Docker,
    /// What to remember.
    Remember,
}

impl Prose {
    /// All kinds, with their markers.
    pub const ALL: [(&'static str, Prose); 6] = [
        ("goals", Prose::Goals),
        ("text", Prose::Text),
        ("wrong-idea", Prose::WrongIdea),
        ("break", Prose::Break),
        ("docker", Prose::Docker),
        ("remember", Prose::Remember),
    ];
}

/// A question with options, one of which is right.
#[derive(Debug, Clone, Default)]
pub struct Quiz {
    /// Its name.
    pub name: String,
    /// The line of its marker.
    pub line: usize,
    /// The question, without the options.
    pub prompt: Passage,
    /// The options: a letter and a text.
    pub options: Vec<(char, String)>,
    /// The explanation, which is printed after every answer.
    pub answer: Passage,
    /// Why a wrong option is wrong, by its letter.
    pub replies: BTreeMap<char, Passage>,
}

/// The text of an exercise.
#[derive(Debug, Clone, Default)]
pub struct ExerciseText {
    /// Its name.
    pub name: String,
    /// The line of its marker.
    pub line: usize,
    /// The task.
    pub task: Passage,
    /// Three hints, from vague to nearly the solution.
    pub hints: Vec<Passage>,
    /// The message of each check that fails, by the name of the check.
    pub fails: BTreeMap<String, Passage>,
    /// The explanation after passing.
    pub passed: Passage,
}

impl LessonText {
    /// The questions.
    pub fn quizzes(&self) -> impl Iterator<Item = &Quiz> {
        self.sections.iter().filter_map(|section| match section {
            Section::Quiz(quiz) => Some(quiz),
            _ => None,
        })
    }

    /// The exercises.
    pub fn exercises(&self) -> impl Iterator<Item = &ExerciseText> {
        self.sections.iter().filter_map(|section| match section {
            Section::Exercise(exercise) => Some(exercise),
            _ => None,
        })
    }

    /// All passages, each with its marker.
    pub fn passages(&self) -> Vec<(String, &Passage)> {
        let mut all = Vec::new();
        for section in &self.sections {
            match section {
                Section::Prose(kind, passage) => {
                    let marker =
                        Prose::ALL.iter().find(|(_, known)| known == kind).map_or("", |(name, _)| name);
                    all.push((marker.to_owned(), passage));
                }
                Section::Quiz(quiz) => {
                    all.push((format!("question {}", quiz.name), &quiz.prompt));
                    all.push(("answer".into(), &quiz.answer));
                    all.extend(
                        quiz.replies.iter().map(|(letter, passage)| (format!("reply {letter}"), passage)),
                    );
                }
                Section::Exercise(exercise) => {
                    all.push((format!("exercise {}", exercise.name), &exercise.task));
                    all.extend(exercise.hints.iter().map(|hint| ("hint".into(), hint)));
                    all.extend(
                        exercise.fails.iter().map(|(name, passage)| (format!("fails {name}"), passage)),
                    );
                    all.push(("passed".into(), &exercise.passed));
                }
            }
        }
        all.extend(self.teacher.iter().map(|passage| (TEACHER.to_owned(), passage)));
        all
    }
}

/// A code block of a passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeBlock {
    /// The line of the file with its first fence.
    pub line: usize,
    /// The words after the fence: `console`, `root`.
    pub words: Vec<String>,
    /// The lines between the fences.
    pub code: String,
}

impl Passage {
    /// The code blocks.
    pub fn blocks(&self) -> Vec<CodeBlock> {
        let mut blocks: Vec<CodeBlock> = Vec::new();
        let mut is_open = false;
        for (index, line) in self.markdown.lines().enumerate() {
            if let Some(words) = line.trim_start().strip_prefix("```") {
                is_open = !is_open;
                if is_open {
                    let words = words.split_whitespace().map(str::to_owned).collect();
                    blocks.push(CodeBlock { line: self.line + index, words, code: String::new() });
                }
            } else if is_open && let Some(block) = blocks.last_mut() {
                block.code.push_str(line);
                block.code.push('\n');
            }
        }
        blocks
    }

    /// Removes the blank lines at its end.
    fn trim(&mut self) {
        self.markdown.truncate(self.markdown.trim_end().len());
    }

    fn push(&mut self, line: &str, number: usize) {
        if self.markdown.is_empty() {
            if line.trim().is_empty() {
                return;
            }
            self.line = number;
        }
        self.markdown.push_str(line);
        self.markdown.push('\n');
    }
}

/// A marker: a comment on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    word: String,
    name: String,
    line: usize,
}

/// The markers with a name, and those without, apart from those of [`Prose`].
const NAMED: [&str; 4] = ["question", "exercise", "reply", "fails"];
const UNNAMED: [&str; 4] = ["answer", "hint", "passed", TEACHER];

/// The marker of what a teacher should know. It is no section: learners do not see it.
const TEACHER: &str = "teacher";

/// Reads the text of a lesson. `file` is its name in the mistakes.
///
/// # Errors
/// All mistakes that can be seen in the text alone.
pub fn read(content: &str, file: &str) -> Result<LessonText, Vec<Mistake>> {
    let reader = Reader { content, file, mistakes: Vec::new() };
    reader.read()
}

/// A mistake at a line of a file.
pub(super) fn mistake(content: &str, file: &str, line: usize, what: String) -> Mistake {
    let source = content.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
    let column = 1 + source.len() - source.trim_start().len();
    let length = source.trim().chars().count().max(1);
    Mistake { file: file.into(), line: line.max(1), column, length, source, what, near: None }
}

struct Reader<'a> {
    content: &'a str,
    file: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, line: usize, what: String) {
        self.mistakes.push(mistake(self.content, self.file, line, what));
    }

    fn read(mut self) -> Result<LessonText, Vec<Mistake>> {
        let Some((front, length)) = front_matter(self.content) else {
            return Err(vec![mistake(self.content, self.file, 1, text("lesson.lint.front"))]);
        };
        let front = yaml::read_document::<FrontMatter>(&front, self.file);
        let mut sections: Vec<Section> = Vec::new();
        let mut teacher: Option<Passage> = None;
        let mut is_code = false;
        // The passage that the lines belong to: the last one of the last section.
        let mut current: Option<Marker> = None;
        for (index, line) in self.content.lines().enumerate().skip(length) {
            let number = index + 1;
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let marker = if is_code { None } else { marker_of(line, number) };
            match marker {
                Some(marker) => {
                    if marker.word == TEACHER && marker.name.is_empty() {
                        teacher.get_or_insert_default();
                    } else {
                        self.open(&mut sections, &marker);
                    }
                    current = Some(marker);
                }
                None => match &current {
                    Some(marker) if marker.word == TEACHER => {
                        if let Some(passage) = &mut teacher {
                            passage.push(line, number);
                        }
                    }
                    Some(marker) => put(&mut sections, marker, line, number),
                    None if line.trim().is_empty() => {}
                    None => {
                        self.wrong(number, text("lesson.lint.before"));
                        break;
                    }
                },
            }
        }
        if is_code {
            self.wrong(self.content.lines().count(), text("lesson.lint.fence"));
        }
        sections.iter_mut().for_each(trim);
        teacher.iter_mut().for_each(Passage::trim);
        match front {
            Ok(front) if self.mistakes.is_empty() => Ok(LessonText { front, sections, teacher }),
            Ok(_) => Err(self.mistakes),
            Err(mut mistakes) => {
                mistakes.extend(self.mistakes);
                Err(mistakes)
            }
        }
    }

    /// Adds the section or the passage that a marker begins.
    fn open(&mut self, sections: &mut Vec<Section>, marker: &Marker) {
        let Marker { word, name, line } = marker;
        if NAMED.contains(&word.as_str()) == name.is_empty() {
            let key = if name.is_empty() { "lesson.lint.noname" } else { "lesson.lint.name" };
            return self.wrong(*line, text_with(key, &[("marker", word)]));
        }
        if let Some((_, kind)) = Prose::ALL.iter().find(|(known, _)| known == word) {
            return sections.push(Section::Prose(*kind, Passage::default()));
        }
        match (word.as_str(), sections.last_mut()) {
            ("question", _) => {
                sections.push(Section::Quiz(Quiz { name: name.clone(), line: *line, ..Quiz::default() }));
            }
            ("exercise", _) => {
                let exercise = ExerciseText { name: name.clone(), line: *line, ..ExerciseText::default() };
                sections.push(Section::Exercise(exercise));
            }
            ("answer", Some(Section::Quiz(_))) | ("passed", Some(Section::Exercise(_))) => {}
            ("reply", Some(Section::Quiz(quiz))) => match letter(name) {
                Some(letter) => drop(quiz.replies.insert(letter, Passage::default())),
                None => self.wrong(*line, text("lesson.lint.letter")),
            },
            ("hint", Some(Section::Exercise(exercise))) => exercise.hints.push(Passage::default()),
            ("fails", Some(Section::Exercise(exercise))) => {
                if exercise.fails.insert(name.clone(), Passage::default()).is_some() {
                    self.wrong(
                        *line,
                        text_with("lesson.lint.twice", &[("marker", &format!("{word} {name}"))]),
                    );
                }
            }
            ("answer" | "reply", _) => self.wrong(*line, text("lesson.lint.noquestion")),
            ("hint" | "fails" | "passed", _) => self.wrong(*line, text("lesson.lint.noexercise")),
            _ => {
                let known = || Prose::ALL.iter().map(|(name, _)| *name).chain(NAMED).chain(UNNAMED);
                let mut mistake = mistake(
                    self.content,
                    self.file,
                    *line,
                    text_with(
                        "lesson.lint.marker",
                        &[("marker", word), ("all", &known().collect::<Vec<_>>().join(", "))],
                    ),
                );
                mistake.near = nearest(word, known()).map(str::to_owned);
                self.mistakes.push(mistake);
            }
        }
    }
}

/// The front matter, with an empty line in place of the first `---`, so that its lines keep their numbers; and how many
/// lines it has with both `---`.
fn front_matter(content: &str) -> Option<(String, usize)> {
    let rest = content.strip_prefix("---\n")?;
    let (front, _) = rest.split_once("\n---\n")?;
    Some((format!("\n{front}\n"), front.lines().count() + 2))
}

/// The marker on a line, if the line is a comment.
fn marker_of(line: &str, number: usize) -> Option<Marker> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    let (word, name) = inner.trim().split_once(' ').unwrap_or((inner.trim(), ""));
    Some(Marker { word: word.to_owned(), name: name.trim().to_owned(), line: number })
}

fn letter(name: &str) -> Option<char> {
    let mut characters = name.chars();
    characters.next().filter(|letter| letter.is_ascii_lowercase() && characters.next().is_none())
}

/// Adds a line to the passage of a marker.
fn put(sections: &mut [Section], marker: &Marker, line: &str, number: usize) {
    let Some(section) = sections.last_mut() else { return };
    match (section, marker.word.as_str()) {
        (Section::Prose(_, passage), _) => passage.push(line, number),
        (Section::Quiz(quiz), "question") => match option(line) {
            Some(option) => quiz.options.push(option),
            // An option can have more than one line.
            None => match quiz.options.last_mut() {
                Some((_, text)) if line.starts_with(' ') => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                _ => quiz.prompt.push(line, number),
            },
        },
        (Section::Quiz(quiz), "answer") => quiz.answer.push(line, number),
        (Section::Quiz(quiz), _) => {
            if let Some(reply) = letter(&marker.name).and_then(|letter| quiz.replies.get_mut(&letter)) {
                reply.push(line, number);
            }
        }
        (Section::Exercise(exercise), "exercise") => exercise.task.push(line, number),
        (Section::Exercise(exercise), "hint") => {
            if let Some(hint) = exercise.hints.last_mut() {
                hint.push(line, number);
            }
        }
        (Section::Exercise(exercise), "passed") => exercise.passed.push(line, number),
        (Section::Exercise(exercise), _) => {
            if let Some(passage) = exercise.fails.get_mut(&marker.name) {
                passage.push(line, number);
            }
        }
    }
}

/// An option of a question: `- a) text`.
fn option(line: &str) -> Option<(char, String)> {
    let (name, text) = line.strip_prefix("- ")?.split_once(')')?;
    Some((letter(name.trim())?, text.trim().to_owned()))
}

/// Removes the blank lines at the end of each passage.
fn trim(section: &mut Section) {
    match section {
        Section::Prose(_, passage) => passage.trim(),
        Section::Quiz(quiz) => {
            let parts = [&mut quiz.prompt, &mut quiz.answer].into_iter();
            parts.chain(quiz.replies.values_mut()).for_each(Passage::trim);
        }
        Section::Exercise(exercise) => {
            let parts = [&mut exercise.task, &mut exercise.passed].into_iter();
            parts.chain(&mut exercise.hints).chain(exercise.fails.values_mut()).for_each(Passage::trim);
        }
    }
}
