//! What of a lesson can be done on this machine, by this user. A lesson prints it before it begins, and `sandbox doctor
//! --lessons` prints it for all of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::data::{Exercise, Privilege};
use super::pack::{Lesson, Pack};
use super::text::LessonText;
use crate::cgroups::feature_of;
use crate::error::Result;
use crate::feature::{Feature, Purpose};
use crate::host::{Cgroups, Host};
use crate::observe::Unread;
use crate::observe::hierarchy::Controller;
use crate::teach::doctor::{self, Finding};
use crate::text::{text, text_with};

/// Why something cannot be done here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum LessonObstacle {
    /// Only root can do it.
    Root,
    /// This program is not installed.
    Program(String),
    /// This feature does not work.
    Feature(Purpose),
    /// This limit needs root here, or a cgroup that is delegated to the caller.
    Limit(Purpose),
}

impl LessonObstacle {
    /// The reason, as a part of a sentence.
    pub fn reason(&self) -> String {
        match self {
            LessonObstacle::Root => text("lesson.needs.root"),
            LessonObstacle::Program(program) => text_with("lesson.needs.program", &[("program", program)]),
            LessonObstacle::Feature(feature) => {
                text_with("lesson.needs.feature", &[("feature", feature.name())])
            }
            // Only root may load the program that denies devices, also in a delegated cgroup.
            LessonObstacle::Limit(feature) if feature.feature() == Some(Feature::Devices) => {
                text("lesson.needs.devices")
            }
            LessonObstacle::Limit(feature) => text_with("lesson.needs.limit", &[("feature", feature.name())]),
        }
    }
}

/// The reasons in one text; none if there is no obstacle.
pub fn reasons(obstacles: &[LessonObstacle]) -> Option<String> {
    let all: Vec<String> = obstacles.iter().map(LessonObstacle::reason).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// How much of a lesson can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// All of it.
    Full,
    /// Some of it: an exercise cannot be done, or evidence is shown as recorded.
    Limited,
    /// No exercise of it.
    Impossible,
}

/// What of a lesson cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LessonHere {
    /// The number of the lesson.
    pub number: u32,
    /// Its name.
    pub lesson: String,
    /// How much of it can be done.
    pub here: Extent,
    /// The features that do not work, and for which its evidence is shown as recorded.
    pub recorded: Vec<Purpose>,
    /// The exercises that cannot be done.
    pub exercises: Vec<ExerciseHere>,
}

/// An exercise that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExerciseHere {
    /// Its number: `2.1`.
    pub number: String,
    /// Its name.
    pub exercise: String,
    /// Why it cannot be done.
    pub obstacles: Vec<LessonObstacle>,
}

/// What of a course cannot be done.
#[derive(Debug, Clone, Serialize)]
pub struct CourseHere {
    /// The version of `sandbox`.
    pub version: &'static str,
    /// The release of the kernel.
    pub release: String,
    /// The user ID.
    pub uid: u32,
    /// The lessons, in their order.
    pub lessons: Vec<LessonHere>,
    /// The features that lessons need and that do not work, with the cause and the fix.
    pub features: Vec<Finding>,
}

/// What works here. A feature is tried when it is asked for, and only once.
#[derive(Debug)]
pub struct Here {
    host: Host,
    findings: BTreeMap<Purpose, Finding>,
}

impl Here {
    /// Nothing has been tried yet.
    pub fn look() -> Here {
        Here { host: Host::gather(), findings: BTreeMap::new() }
    }

    fn works(&mut self, feature: Purpose) -> Result<bool> {
        if let Some(known) = self.findings.get(&feature) {
            return Ok(known.works);
        }
        let finding = doctor::examine_one(feature, &self.host)?;
        let works = finding.works;
        self.findings.insert(feature, finding);
        Ok(works)
    }

    /// Those of the features that do not work.
    fn lacking(&mut self, features: impl IntoIterator<Item = Purpose>) -> Result<Vec<Purpose>> {
        let mut lacking = Vec::new();
        for feature in features {
            if !lacking.contains(&feature) && !self.works(feature)? {
                lacking.push(feature);
            }
        }
        Ok(lacking)
    }

    /// Why an exercise cannot be done; empty if it can.
    ///
    /// # Errors
    /// A signal interrupted the search.
    pub fn obstacles(&mut self, lesson: &Lesson, exercise: &Exercise) -> Result<Vec<LessonObstacle>> {
        let mut obstacles = Vec::new();
        if exercise.privilege == Privilege::Root && self.host.uid != 0 {
            obstacles.push(LessonObstacle::Root);
        }
        let missing = exercise.programs.iter().filter(|program| !is_installed(program));
        obstacles.extend(missing.map(|program| LessonObstacle::Program(program.clone())));
        let features = features_of(lesson).iter().chain(&exercise.features).copied();
        for feature in self.lacking(features)? {
            obstacles.push(match self.is_for_root(feature) {
                true => LessonObstacle::Limit(feature),
                false => LessonObstacle::Feature(feature),
            });
        }
        Ok(obstacles)
    }

    /// Whether a feature that does not work is a limit that root could set here.
    fn is_for_root(&self, feature: Purpose) -> bool {
        let mut controllers =
            vec![Controller::Memory, Controller::Cpu, Controller::Io, Controller::Devices, Controller::Pids];
        controllers.retain(|controller| feature.feature() == Some(feature_of(*controller)));
        self.host.uid != 0
            && !controllers.is_empty()
            && Cgroups::gather(&controllers, true, &mut Unread::default()).obstacles.is_empty()
    }

    /// What of a lesson cannot be done.
    ///
    /// # Errors
    /// A signal interrupted the search.
    pub fn lesson(&mut self, lesson: &Lesson) -> Result<LessonHere> {
        let mut exercises = Vec::new();
        let Some(text) = lesson.texts.values().next() else { return Ok(LessonHere::full(lesson)) };
        for (index, exercise) in text.exercises().enumerate() {
            let Some(data) = lesson.data.exercises.get(&exercise.name) else { continue };
            let obstacles = self.obstacles(lesson, data)?;
            if !obstacles.is_empty() {
                let number = format!("{}.{}", lesson.number, index + 1);
                exercises.push(ExerciseHere { number, exercise: exercise.name.clone(), obstacles });
            }
        }
        let needed = features_of(lesson).iter().copied().chain(needed_by_blocks(text, self.host.uid == 0));
        let recorded = self.lacking(needed)?;
        let here = match exercises.len() {
            0 if recorded.is_empty() => Extent::Full,
            count if count > 0 && count == text.exercises().count() => Extent::Impossible,
            _ => Extent::Limited,
        };
        Ok(LessonHere { here, recorded, exercises, ..LessonHere::full(lesson) })
    }

    /// What of a course cannot be done.
    ///
    /// # Errors
    /// A signal interrupted the search.
    pub fn course(mut self, pack: &Pack) -> Result<CourseHere> {
        let lessons = pack.lessons.iter().map(|lesson| self.lesson(lesson)).collect::<Result<Vec<_>>>()?;
        Ok(CourseHere {
            version: env!("CARGO_PKG_VERSION"),
            release: crate::host::facts::Facts::read().release,
            uid: self.host.uid,
            lessons,
            features: self.findings.into_values().filter(|finding| !finding.works).collect(),
        })
    }
}

impl LessonHere {
    /// The exercises that cannot be done, in one text for each reason: `4.3 leak: the program cc is not installed`.
    pub fn refusals(&self) -> Vec<String> {
        let mut groups: Vec<(Vec<String>, &[LessonObstacle])> = Vec::new();
        for exercise in &self.exercises {
            let name = format!("{} {}", exercise.number, exercise.exercise);
            match groups.iter_mut().find(|(_, known)| *known == exercise.obstacles) {
                Some((names, _)) => names.push(name),
                None => groups.push((vec![name], &exercise.obstacles)),
            }
        }
        let text = |(names, obstacles): (Vec<String>, &[LessonObstacle])| {
            format!("{}: {}", names.join(", "), reasons(obstacles).unwrap_or_default())
        };
        groups.into_iter().map(text).collect()
    }

    fn full(lesson: &Lesson) -> LessonHere {
        LessonHere {
            number: lesson.number,
            lesson: lesson.name.clone(),
            here: Extent::Full,
            recorded: Vec::new(),
            exercises: Vec::new(),
        }
    }
}

/// The features that must work for the whole lesson. They are the same in all languages.
pub fn features_of(lesson: &Lesson) -> &[Purpose] {
    lesson.texts.values().next().map_or(&[], |text| &text.front.features)
}

/// The features that single blocks of a lesson need, of those that this user sees.
fn needed_by_blocks(text: &LessonText, is_root: bool) -> Vec<Purpose> {
    let other = if is_root { "user" } else { "root" };
    let passages = text.passages();
    let blocks = passages.iter().flat_map(|(_, passage)| passage.blocks());
    let seen = blocks.filter(|block| !block.words.iter().any(|word| word == other || word == "recorded"));
    seen.flat_map(|block| needs_of(block.words.iter().map(String::as_str)).collect::<Vec<_>>()).collect()
}

/// The features that a block needs, from the words after its fence: `needs=pids`.
pub fn needs_of<'w>(words: impl Iterator<Item = &'w str>) -> impl Iterator<Item = Purpose> {
    words.filter_map(|word| serde_yaml::from_str(word.strip_prefix("needs=")?).ok())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
