//! A grade, for people and in the formats of graders.

use serde_json::json;

use super::json;
use crate::teach::course::grade::{ExerciseGrade, Grade};
use crate::text::{printed_lines, text, text_with};

/// The format of a grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportKind {
    /// Lines for people.
    Text,
    /// The whole grade.
    Json,
    /// JUnit's XML, which CI systems read.
    Junit,
    /// The file results.json of Gradescope.
    Gradescope,
    /// Test Anything Protocol.
    Tap,
    /// Comma-separated values, one line an exercise.
    Csv,
    /// The result of GitHub Classroom's autograding.
    Classroom,
}

/// The grade in a format.
pub fn text_of(grade: &Grade, kind: ReportKind) -> String {
    match kind {
        ReportKind::Text => lines(grade),
        ReportKind::Json => json(grade),
        ReportKind::Junit => junit(grade),
        ReportKind::Gradescope => json(&gradescope(grade)),
        ReportKind::Tap => tap(grade),
        ReportKind::Csv => csv(grade),
        ReportKind::Classroom => json(&classroom(grade)),
    }
}

fn name(exercise: &ExerciseGrade) -> String {
    format!("{} {}/{}", exercise.number, exercise.lesson, exercise.exercise)
}

fn message(exercise: &ExerciseGrade) -> String {
    let ExerciseGrade { message, failed, cannot, .. } = exercise;
    printed_lines(message.as_deref().or(failed.as_deref()).or(cannot.as_deref()).unwrap_or_default())
}

fn lines(grade: &Grade) -> String {
    let line = |exercise: &ExerciseGrade| {
        let state = match (exercise.passed, exercise.earlier) {
            _ if exercise.cannot.is_some() => text("lesson.state.cannot"),
            (true, true) => text("lesson.state.earlier"),
            (true, false) => text("lesson.state.passed"),
            _ => text("lesson.state.notyet"),
        };
        let [score, max] = [format!("{:>5}", exercise.score), format!("{:<5}", exercise.max)];
        let score = text_with("lesson.score.line", &[("score", &score), ("max", &max)]);
        format!("{:<32}{score}{state}\n", name(exercise))
    };
    let sum = [("score", &*grade.score.to_string()), ("max", &grade.max.to_string())];
    let mut out = grade.exercises.iter().map(line).collect::<String>();
    out.push_str(&(text_with("lesson.score", &sum) + "\n"));
    if grade.time_scale > 1.0 {
        let factor = grade.time_scale.to_string();
        out.push_str(&(text_with("lesson.test.scale", &[("factor", &factor)]) + "\n"));
    }
    out
}

fn junit(grade: &Grade) -> String {
    let skipped = grade.exercises.iter().filter(|exercise| exercise.cannot.is_some()).count();
    let failures = grade.exercises.iter().filter(|exercise| !exercise.passed).count() - skipped;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n",
        escaped(&grade.pack),
        grade.exercises.len(),
    );
    for exercise in &grade.exercises {
        let case = format!(
            "    <testcase classname=\"{}\" name=\"{}\"",
            escaped(&exercise.lesson),
            escaped(&exercise.exercise)
        );
        out.push_str(&match (exercise.passed, &exercise.cannot) {
            (_, Some(why)) => {
                format!(
                    "{case}>\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                    escaped(&printed_lines(why))
                )
            }
            (true, None) => format!("{case}/>\n"),
            (false, None) => format!(
                "{case}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                escaped(exercise.failed.as_deref().unwrap_or_default()),
                escaped(&message(exercise)),
            ),
        });
    }
    out + "  </testsuite>\n</testsuites>\n"
}

/// A text in XML. Control characters that XML does not allow are escaped already.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn gradescope(grade: &Grade) -> serde_json::Value {
    let tests = grade.exercises.iter().map(|exercise| {
        json!({
            "number": exercise.number,
            "name": format!("{}/{}", exercise.lesson, exercise.exercise),
            "score": exercise.score,
            "max_score": exercise.max,
            "status": if exercise.passed || exercise.cannot.is_some() { "passed" } else { "failed" },
            "output": message(exercise),
        })
    });
    json!({ "score": grade.score, "tests": tests.collect::<Vec<_>>() })
}

fn classroom(grade: &Grade) -> serde_json::Value {
    let status = |passed| if passed { "pass" } else { "fail" };
    let holds = |exercise: &ExerciseGrade| exercise.passed || exercise.cannot.is_some();
    let tests = grade.exercises.iter().map(|exercise| {
        json!({
            "name": name(exercise),
            "status": status(holds(exercise)),
            "score": exercise.score,
            "max_score": exercise.max,
            "message": message(exercise),
        })
    });
    json!({
        "version": 1,
        "status": status(grade.exercises.iter().all(holds)),
        "max_score": grade.max,
        "tests": tests.collect::<Vec<_>>(),
    })
}

fn tap(grade: &Grade) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", grade.exercises.len());
    for (index, exercise) in grade.exercises.iter().enumerate() {
        let case = format!("{} - {}/{}", index + 1, exercise.lesson, exercise.exercise);
        if let Some(why) = &exercise.cannot {
            out.push_str(&format!("ok {case} # SKIP {}\n", printed_lines(why).replace('\n', " ")));
            continue;
        }
        let state = if exercise.passed { "ok" } else { "not ok" };
        out.push_str(&format!("{state} {case}\n"));
        message(exercise).lines().for_each(|line| out.push_str(&format!("# {line}\n")));
    }
    out
}

fn csv(grade: &Grade) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\"").replace('\n', " "));
    let mut out = String::from(
        "number,lesson,exercise,passed,score,max,failed,message,tries,hints,saw_solution,cannot\n",
    );
    for exercise in &grade.exercises {
        out.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{},{},{}\n",
            exercise.number,
            exercise.lesson,
            exercise.exercise,
            exercise.passed,
            exercise.score,
            exercise.max,
            exercise.failed.as_deref().unwrap_or_default(),
            quoted(&message(exercise)),
            exercise.tries,
            exercise.hints,
            exercise.saw_solution,
            quoted(exercise.cannot.as_deref().unwrap_or_default()),
        ));
    }
    out
}
