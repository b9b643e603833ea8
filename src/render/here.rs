//! The report of `sandbox doctor --lessons` as text: a line for each lesson, then each cause once, with the fix.

use std::fmt::Write;

use super::doctor::{section, troubles};
use super::paint;
use crate::error::Error;
use crate::teach::course::here::{CourseHere, Extent, LessonHere, LessonObstacle};
use crate::text::{pad, text, text_with, wrap};

/// The width of the columns before the details.
const BEFORE: usize = 28;

/// The packages of Debian that have the programs of the exercises. A program that is not listed is in a package of its
/// own name.
const PACKAGES: [(&str, &str); 9] = [
    ("cc", "gcc libc6-dev"),
    ("ip", "iproute2"),
    ("ipcmk", "util-linux"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("pgrep", "procps"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("unshare", "util-linux"),
];

/// The report as text.
pub fn text_of(report: &CourseHere) -> String {
    let width = paint::width();
    let uid = report.uid.to_string();
    let title = [("version", report.version), ("release", &report.release), ("uid", &uid)];
    let mut out = format!("{}\n\n", paint::heading(&text_with("doctor.title", &title)));
    let (lesson, here, missing) =
        (text("doctor.lesson"), text("doctor.lesson.here"), text("doctor.lesson.missing"));
    let _ = writeln!(out, "{}", paint::heading(&format!("{}{}{missing}", pad(&lesson, 16), pad(&here, 12))));
    for lesson in &report.lessons {
        let details = wrapped(&details(lesson), width.saturating_sub(BEFORE));
        let word = |key: &str| pad(&text(key), 12);
        let mark = match lesson.here {
            Extent::Full => paint::good(&word("doctor.lesson.full")),
            Extent::Limited => paint::different(&word("doctor.lesson.limited")),
            Extent::Impossible => paint::bad(&word("doctor.lesson.impossible")),
        };
        let first = details.first().map_or("", String::as_str);
        let line = format!("{:>2} {:<13}{mark}{first}", lesson.number, lesson.lesson);
        let _ = writeln!(out, "{}", line.trim_end());
        for line in details.iter().skip(1) {
            let _ = writeln!(out, "{:BEFORE$}{line}", "");
        }
    }
    let count = |extent| report.lessons.iter().filter(|lesson| lesson.here == extent).count().to_string();
    let counts = [
        ("full", &*count(Extent::Full)),
        ("limited", &count(Extent::Limited)),
        ("impossible", &count(Extent::Impossible)),
        ("uid", &uid),
    ];
    let _ = writeln!(out, "\n{}", text_with("doctor.lesson.counts", &counts));
    for (features, error) in troubles(&report.features) {
        let _ = write!(out, "\n{}", section(&features, error, width));
    }
    for (names, error) in other_troubles(&report.lessons) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _ = write!(out, "\n{}", section(&names, &error, width));
    }
    out
}

/// What of a lesson cannot be done.
fn details(lesson: &LessonHere) -> Vec<String> {
    let mut details = lesson.refusals();
    if !lesson.recorded.is_empty() {
        let names: Vec<&str> = lesson.recorded.iter().map(|feature| feature.name()).collect();
        details.push(text_with("doctor.lesson.recorded", &[("features", &names.join(", "))]));
    }
    details
}

fn wrapped(texts: &[String], width: usize) -> Vec<String> {
    texts.iter().flat_map(|text| wrap(text, width)).collect()
}

/// What is missing apart from features, with the exercises that need it: programs, and the rights of root.
fn other_troubles(lessons: &[LessonHere]) -> Vec<(Vec<String>, Error)> {
    let exercises = || lessons.iter().flat_map(|lesson| &lesson.exercises);
    let of = |is_wanted: &dyn Fn(&LessonObstacle) -> bool| -> Vec<String> {
        let found = exercises().filter(|exercise| exercise.obstacles.iter().any(is_wanted));
        found.map(|exercise| exercise.number.clone()).collect()
    };
    let mut troubles = Vec::new();
    let mut programs: Vec<&str> = Vec::new();
    for obstacle in exercises().flat_map(|exercise| &exercise.obstacles) {
        match obstacle {
            LessonObstacle::Program(program) if !programs.contains(&program.as_str()) => {
                programs.push(program)
            }
            _ => {}
        }
    }
    if !programs.is_empty() {
        let mut packages: Vec<&str> = Vec::new();
        for program in &programs {
            let known = PACKAGES.iter().find(|(name, _)| name == program);
            let package = known.map_or(*program, |(_, package)| package);
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        let error = Error::failed(text("doctor.lesson.programs"))
            .why(text_with("doctor.lesson.programs.why", &[("programs", &programs.join(", "))]))
            .todo(format!(
                "{}\n   sudo apt install {}",
                text("doctor.lesson.programs.todo"),
                packages.join(" ")
            ));
        troubles.push((of(&|obstacle| matches!(obstacle, LessonObstacle::Program(_))), error));
    }
    let of_root = of(&|obstacle| *obstacle == LessonObstacle::Root);
    if !of_root.is_empty() {
        let error = Error::failed(text("doctor.lesson.root"))
            .why(text("doctor.lesson.root.why"))
            .todo(format!("{}\n   sudo sandbox lesson", text("doctor.todo.root")));
        troubles.push((of_root, error));
    }
    troubles
}
