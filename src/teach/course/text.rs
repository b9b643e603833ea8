//! The text of a lesson: Markdown with front matter. HTML comments on lines of their own divide it into sections. They
//! are invisible where the file is read as a page.

mod reader;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use self::reader::TEACHER;
pub(super) use self::reader::mistake;
pub use self::reader::read;
use crate::feature::Purpose;

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

impl CodeBlock {
    /// Whether a command of it is `sandbox`, whose sentences are in the learner's language.
    pub fn calls_sandbox(&self) -> bool {
        let mut commands = self.code.lines().filter(|line| line.starts_with("$ ") || line.starts_with("> "));
        commands.any(|command| command.contains("sandbox "))
    }
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
