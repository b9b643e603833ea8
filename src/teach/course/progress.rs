//! What a learner has done: one directory, with `progress.json` and a directory for each lesson.
//!
//! A lesson is read in one terminal, and its exercises are checked in another. So each change reads the file again under a
//! lock, and changes only what it is about ([`Learner::change`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::check::Attempt;
use super::data::Exercise;
use super::pace::Pace;
use super::pack::Lesson;
use super::place::{unwritten, write};
use super::seed::{self, StudentValues};
use crate::error::{Error, Result, io_text};
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The version of the file.
const FORMAT: u32 = 1;

/// The name of the file.
pub const FILE: &str = "progress.json";

/// The file that is locked while `progress.json` is changed. A rename replaces that one, so its lock would not hold.
const LOCK: &str = "progress.lock";

/// The content of `progress.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressFile {
    /// The version of the format.
    pub format: u32,
    /// The seed of the values of this student.
    pub seed: String,
    /// The lesson that was read last: its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// What was done in each lesson, by its key: the name, or `PACK/NAME` for a pack that is not compiled in.
    #[serde(default)]
    pub lessons: BTreeMap<String, LessonProgress>,
}

/// What was done in one lesson.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonProgress {
    /// The section that was read last, from 0.
    #[serde(default)]
    pub section: usize,
    /// Whether the last section was read.
    #[serde(default)]
    pub is_read: bool,
    /// The answers to questions: the letter of the first answer.
    #[serde(default)]
    pub answers: BTreeMap<String, char>,
    /// The exercises.
    #[serde(default)]
    pub exercises: BTreeMap<String, ExerciseProgress>,
}

/// What was done in one exercise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExerciseProgress {
    /// When it passed for the first time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<u64>,
    /// How often it was checked before it passed.
    #[serde(default)]
    pub tries: u32,
    /// How many hints were read.
    #[serde(default)]
    pub hints: usize,
    /// Whether the solution was read before it passed.
    #[serde(default)]
    pub saw_solution: bool,
    /// The last answer to a prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A learner: the directory and what is in its `progress.json`.
#[derive(Debug, Clone)]
pub struct Learner {
    /// The directory.
    pub directory: PathBuf,
    /// The progress, as it was read last.
    pub progress: ProgressFile,
    /// The seed that a teacher has given, until it is written.
    given_seed: Option<String>,
    /// The seed that it replaces, until the files have the new values.
    old_seed: Option<String>,
}

impl ProgressFile {
    /// The progress of a learner who has not begun.
    fn new(seed: String) -> ProgressFile {
        ProgressFile { format: FORMAT, seed, current: None, lessons: BTreeMap::new() }
    }

    /// The progress in a lesson.
    pub fn of(&mut self, lesson: &Lesson) -> &mut LessonProgress {
        self.lessons.entry(lesson.key()).or_default()
    }

    /// The progress in an exercise.
    pub fn exercise(&mut self, lesson: &Lesson, name: &str) -> &mut ExerciseProgress {
        self.of(lesson).exercises.entry(name.to_owned()).or_default()
    }

    /// Records that an exercise was checked. Once passed, it stays passed.
    pub fn record(&mut self, lesson: &Lesson, name: &str, has_passed: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let exercise = self.exercise(lesson, name);
        if exercise.passed.is_none() {
            exercise.tries += 1;
            exercise.passed = has_passed.then_some(now);
        }
    }
}

/// The directory of a learner: the one that is given, that of SANDBOX_LESSONS, or `~/sandbox-lessons`.
///
/// # Errors
/// None of them is known.
pub fn directory(given: Option<&Path>) -> Result<PathBuf> {
    let of_environment =
        || std::env::var_os("SANDBOX_LESSONS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        home.map(|home| home.join("sandbox-lessons"))
    };
    let found = given.map(Path::to_owned).or_else(of_environment).or_else(home);
    found.ok_or_else(|| Error::failed(text("lesson.nohome")).todo(text("lesson.nohome.todo")))
}

impl Learner {
    /// Reads the progress in a directory. A learner who has none begins with a new seed; nothing is written yet.
    ///
    /// # Errors
    /// `progress.json` cannot be read, or is not such a file.
    pub fn open(directory: PathBuf, seed: Option<&str>) -> Result<Learner> {
        let path = directory.join(FILE);
        let mut progress = match read(&path)? {
            Some(progress) => progress,
            None => ProgressFile::new(seed::random().map_err(|error| unread(&path, io_text(&error)))?),
        };
        let mut old_seed = None;
        if let Some(seed) = seed {
            old_seed = Some(std::mem::replace(&mut progress.seed, seed.to_owned())).filter(|old| old != seed);
        }
        Ok(Learner { directory, progress, given_seed: seed.map(str::to_owned), old_seed })
    }

    /// Changes the progress: reads `progress.json` again, changes what it says now, and writes it, all under a lock. So
    /// another process can change something else at the same time.
    ///
    /// # Errors
    /// `progress.json` cannot be read, or is not such a file; those of mkdir(2), open(2), write(2) and rename(2).
    pub fn change(&mut self, change: impl FnOnce(&mut ProgressFile)) -> Result<()> {
        let _lock = self.lock()?;
        let path = self.directory.join(FILE);
        let mut progress = match read(&path)? {
            Some(progress) => progress,
            None => ProgressFile::new(self.progress.seed.clone()),
        };
        if let Some(seed) = self.given_seed.take() {
            progress.seed = seed;
        }
        change(&mut progress);
        let json = serde_json::to_string_pretty(&progress).unwrap_or_default() + "\n";
        self.progress = progress;
        write(&path, json.as_bytes())
    }

    /// Waits for the lock. It ends when the file is closed.
    fn lock(&self) -> Result<File> {
        let path = self.directory.join(LOCK);
        loop {
            fs::create_dir_all(&self.directory).map_err(|error| unwritten(&self.directory, error))?;
            let file = OpenOptions::new().create(true).append(true).open(&path);
            let file = file.map_err(|error| unwritten(&path, error))?;
            // A file system without locks, such as an old NFS, refuses. There the progress is written without one.
            let _ = file.lock();
            // The process that had the lock may have removed the file.
            let is_same = |now: fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == now.ino());
            if fs::metadata(&path).is_ok_and(is_same) {
                return Ok(file);
            }
        }
    }

    /// The progress in a lesson, if there is any.
    pub fn seen(&self, lesson: &Lesson) -> LessonProgress {
        self.progress.lessons.get(&lesson.key()).cloned().unwrap_or_default()
    }

    /// Whether an exercise has passed.
    pub fn has_passed(&self, lesson: &Lesson, name: &str) -> bool {
        self.seen(lesson).exercises.get(name).is_some_and(|exercise| exercise.passed.is_some())
    }

    /// The progress in an exercise.
    pub fn exercise(&self, lesson: &Lesson, name: &str) -> ExerciseProgress {
        self.seen(lesson).exercises.get(name).cloned().unwrap_or_default()
    }

    /// Whether a lesson is done: it was read, and its exercises have passed.
    pub fn has_done(&self, lesson: &Lesson) -> bool {
        lesson.data.exercises.keys().all(|name| self.has_passed(lesson, name))
    }

    /// The work directory of a lesson.
    pub fn work(&self, lesson: &Lesson) -> PathBuf {
        self.directory.join(lesson.key())
    }

    /// The values of this student for an exercise.
    pub fn values(&self, lesson: &Lesson, name: &str, exercise: &Exercise) -> StudentValues {
        seed::values(&self.progress.seed, lesson, name, exercise)
    }

    /// Creates the work directory of a lesson and the files of its exercises. A file that is there stays as it is.
    ///
    /// # Errors
    /// Those of mkdir(2), open(2) and write(2).
    pub fn prepare(&self, lesson: &Lesson) -> Result<()> {
        self.each_file(lesson, &self.progress.seed, |path, content| match path.exists() {
            true => Ok(()),
            false => write(path, content),
        })
    }

    /// After another seed was given: the files of these lessons get its values. A file that the learner has changed stays.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn renew(&mut self, lessons: &[Lesson]) -> Result<()> {
        let Some(old) = self.old_seed.take() else { return Ok(()) };
        for lesson in lessons.iter().filter(|lesson| self.work(lesson).exists()) {
            let mut unchanged = BTreeSet::new();
            self.each_file(lesson, &old, |path, content| {
                if fs::read(path).is_ok_and(|now| now == content) {
                    unchanged.insert(path.to_owned());
                }
                Ok(())
            })?;
            self.each_file(lesson, &self.progress.seed, |path, content| match unchanged.contains(path) {
                true => write(path, content),
                false => Ok(()),
            })?;
        }
        Ok(())
    }

    /// The files of all exercises of a lesson, with the values of a seed: the path in the work directory, and the content.
    fn each_file(
        &self,
        lesson: &Lesson,
        seed: &str,
        mut then: impl FnMut(&Path, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let directory = self.work(lesson);
        fs::create_dir_all(&directory).map_err(|error| unwritten(&directory, error))?;
        for (name, exercise) in &lesson.data.exercises {
            let values = seed::values(seed, lesson, name, exercise);
            let attempt = Attempt {
                lesson,
                name,
                exercise,
                values: &values,
                directory: &directory,
                answer: None,
                pace: Pace::default(),
            };
            for (file, content) in attempt.files(true) {
                then(&directory.join(file), &content)?;
            }
        }
        Ok(())
    }

    /// Removes what was made for a lesson: its files, its directory if nothing else is in it, and its progress. Returns
    /// whether the directory is gone.
    ///
    /// # Errors
    /// Those of unlink(2) and of [`Learner::change`].
    pub fn reset(&mut self, lesson: &Lesson) -> Result<bool> {
        let directory = self.work(lesson);
        if directory.exists() {
            self.each_file(lesson, &self.progress.seed, |path, _| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(path, error)),
                _ => Ok(()),
            })?;
        }
        let is_gone = match fs::remove_dir(&directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        // The directory of another pack, if this was its last lesson.
        if let Some(of_pack) = directory.parent().filter(|parent| *parent != self.directory) {
            let _ = fs::remove_dir(of_pack);
        }
        self.change(|progress| {
            progress.lessons.remove(&lesson.key());
            progress.current.take_if(|current| *current == lesson.key());
        })?;
        Ok(is_gone)
    }

    /// Removes `progress.json`, and the directory if nothing else is in it.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn forget(&self) -> Result<()> {
        for file in [FILE, LOCK] {
            let path = self.directory.join(file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritten(&path, error)),
                _ => {}
            }
        }
        let _ = fs::remove_dir(&self.directory);
        Ok(())
    }
}

/// Reads the progress. None if there is no file.
fn read(path: &Path) -> Result<Option<ProgressFile>> {
    let content = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        content => content.map_err(|error| unread(path, io_text(&error)))?,
    };
    let progress: ProgressFile =
        serde_json::from_str(&content).map_err(|error| unread(path, error.to_string()))?;
    match progress.format == FORMAT {
        true => Ok(Some(progress)),
        false => Err(unread(path, text("lesson.progress.format"))),
    }
}

fn unread(path: &Path, why: String) -> Error {
    let removal = format!("mv {} {}", quote(path), quote(path.with_extension("old")));
    let error = Error::failed(text_with("lesson.progress.unread", &[("path", &printed(path))])).why(why);
    match path.symlink_metadata() {
        Ok(_) => error.step(&text("lesson.progress.todo"), removal),
        // The directory itself cannot be used.
        Err(_) => error.todo(text("lesson.progress.directory")),
    }
}
