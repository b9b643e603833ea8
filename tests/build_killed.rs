//! Builds that are killed at random moments: nothing is left after the next command, and the cache is right.
//!
//! `scripts/soak` kills more of them. A failure prints the round; SANDBOX_SEED repeats it.
//!
//! Other inputs of the same kind as the ones here:
//! - a kill while an image is named, while the cache is pruned, of two builds with the same store.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::build::{PATH, base, build, context, run};
use support::kept::KeptHome;
use support::{random, rounds, text};

/// The longest time from the start of a build to its end here, in milliseconds. A kill after the end does no harm.
const LONGEST: u64 = 1500;

#[test]
fn a_killed_build_leaves_nothing_and_the_cache_is_right() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let mut random = random();
    for round in 0..rounds(6) {
        let dockerfile = format!(
            "FROM lab AS one\nRUN echo {round} > /one\nCOPY tree /tree\nFROM lab AS two\nADD file /two\n\
             RUN --mount=type=cache,target=/c echo {round} > /c/x && cp /c/x /cached\n\
             FROM lab\nWORKDIR /w\nCOPY --from=one /one /tree ./\nCOPY --from=two /two /cached ./\nRUN cat one two cached > all\n"
        );
        let files: Vec<(String, String)> =
            (0..20).map(|number| (format!("tree/{number}"), format!("{round} {number}"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
        let own = format!("{round}\n");
        let place = context(&home, "killed", &dockerfile, &[&files[..], &[("file", &own)]].concat());
        let words = ["build", "--network", "none", "-t", "killed", place.to_str().unwrap()];
        let mut child = home.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(LONGEST)));
        // It may have ended.
        let _ =
            Command::new("kill").args(["-s", "KILL", &child.id().to_string()]).stderr(Stdio::null()).status();
        let _ = child.wait();
        build(&home, &["-t", "killed", place.to_str().unwrap()]);
        let shown = run(&home, &["killed", "sh", "-c", "cat all 7"]);
        assert!(
            shown.starts_with(&format!("{round}\n{round}\n{round}\n{round} 7")),
            "round {round}: {shown}"
        );
        left(&home.path(), round);
    }
    // All images are whole, and nothing of the builds runs or is mounted.
    let verified = home.run(&["image", "verify", "killed"]);
    assert!(verified.status.success(), "{} {}", text(&verified.stdout), text(&verified.stderr));
    home.is_empty();
}

/// A child of the killed build may have a copy of its lock for some milliseconds: it is not removed at the beginning of the next build
/// then. Here another build has the lock for longer.
#[test]
fn what_is_left_is_removed_at_the_end_of_a_build_too() {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer, json!({ "Env": [PATH] }));
    let start = |name: &str, seconds: &str| {
        let place = context(&home, name, &format!("FROM lab\nRUN echo {name} && sleep {seconds}\n"), &[]);
        let words = ["build", "--network", "none", place.to_str().unwrap()];
        let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        // Its command runs.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        assert!(lines.any(|line| line == name));
        (child, lines)
    };
    let (mut first, lines) = start("first", "3");
    let (ingest, layer) =
        (home.path().join("images/ingest/0123456789abcdef"), home.path().join("layers/.new-1"));
    fs::create_dir(&ingest).unwrap();
    fs::create_dir(&layer).unwrap();
    let (mut second, more) = start("second", "5");
    assert!(ingest.exists() && layer.exists());
    assert_eq!(lines.chain(more).filter(|line| line.starts_with("Successfully built")).count(), 2);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert!(!ingest.exists() && !layer.exists());
}

/// Nothing that is not complete is there.
fn left(home: &Path, round: u64) {
    let names = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all = names(&home.join("images/ingest"));
    let is_hidden = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with('.');
    let layers = names(&home.join("layers"));
    let below = layers.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("users"));
    let below: Vec<_> = below.flat_map(|path| names(path)).collect();
    let hidden = [layers.clone(), below, names(&home.join("images/cache"))].concat();
    all.extend(hidden.into_iter().filter(|path| is_hidden(path)));
    assert!(all.is_empty(), "round {round}: {all:?}");
}
