//! Directories: where the files of an exercise are put, for a learner and for a trial.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::check::Attempt;
use super::seed::{fill, is_random, random};
use crate::error::{Error, Result};
use crate::teach::replace::replace;
use crate::text::{printed, text, text_with};

/// The name of a [`Scratch`] begins with this. A random word follows.
const SCRATCH: &str = "sandbox-lesson-";

/// Two temporary directories: to work in, and with the material of solutions. Both are removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    /// The directory to work in.
    pub work: PathBuf,
    /// The directory with the material.
    pub material: PathBuf,
}

impl Scratch {
    /// Creates them.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn new() -> Result<Scratch> {
        let name = random().map_err(|error| unwritten(Path::new("/dev/urandom"), error))?;
        let root = std::env::temp_dir().join(format!("{SCRATCH}{name}"));
        let (work, material) = (root.join("work"), root.join("material"));
        for directory in [&root, &work, &material] {
            let made = DirBuilder::new().mode(0o700).create(directory);
            made.map_err(|error| unwritten(directory, error))?;
        }
        Ok(Scratch { root, work, material })
    }

    /// Whether a name is one that [`Scratch::new`] gives.
    pub fn is_name(name: &str) -> bool {
        name.strip_prefix(SCRATCH).is_some_and(is_random)
    }

    /// Writes the material of an exercise: its files that the learner does not get.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn add_material(&self, attempt: &Attempt<'_>) -> Result<()> {
        for (file, content) in attempt.files(false) {
            write(&self.material.join(file), &content)?;
        }
        Ok(())
    }

    /// Why nothing can be written here, if that is so: for example because the disk is full.
    pub fn obstacle(&self) -> Option<String> {
        let path = self.root.join("probe");
        let error = fs::write(&path, [b'\n'; 4096]).err()?;
        Some(unwritten(&path, error).to_string())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.root).is_err() {
            allow_removal(&self.root);
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// Gives each directory a mode with which its owner can remove what is in it. The kernel makes a directory with the mode 0
/// in the work directory of an overlay.
fn allow_removal(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            allow_removal(&entry.path());
        }
    }
}

impl Attempt<'_> {
    /// The files of the exercise, with the values of the student: those of the learner, or the material.
    pub fn files(&self, of_learner: bool) -> Vec<(&str, Vec<u8>)> {
        let all = self.lesson.files.iter().filter_map(|(path, content)| {
            let file = path.strip_prefix(self.name)?.strip_prefix('/')?;
            let content = match std::str::from_utf8(content) {
                Ok(text) => fill(text, self.values).into_bytes(),
                Err(_) => content.clone(),
            };
            Some((file, content))
        });
        all.filter(|(file, _)| self.exercise.files.iter().any(|known| known == file) == of_learner).collect()
    }

    /// The material that a script names. Other material belongs to measurements and to wrong answers.
    pub fn material_of(&self, script: &str) -> Vec<(&str, Vec<u8>)> {
        self.files(false).into_iter().filter(|(file, _)| script.contains(file)).collect()
    }

    /// Writes the files of the learner to the work directory.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn add_files(&self) -> Result<()> {
        for (file, content) in self.files(true) {
            write(&self.directory.join(file), &content)?;
        }
        Ok(())
    }
}

/// Writes a file, or replaces it as a whole. Others may read it, if the umask lets them.
///
/// # Errors
/// Those of open(2), write(2) and rename(2).
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o666).map_err(|error| unwritten(path, error))
}

/// The error of a file or directory that cannot be written.
pub(super) fn unwritten(path: &Path, error: io::Error) -> Error {
    let path = printed(path);
    // Another user has begun the course in this directory.
    let is_of_another = error.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::failed(text_with("lesson.unwritten", &[("path", &path)]))
        .call(format!("open(\"{path}\")"), error);
    if is_of_another { error.todo(text("lesson.unwritten.todo")) } else { error }
}
