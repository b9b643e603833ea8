//! Fault injection: one system call of a start fails. The start must leave nothing, must not hang, and must report
//! what failed. It must never run the command with less confinement than requested. A start that is killed at any
//! moment must leave nothing either.
//!
//! These tests take a sample. `scripts/faults` runs everything and prints the same table.
#![cfg(target_arch = "x86_64")] // The registers of a traced process are named.

mod calls;
mod confinement;
mod kept;
mod starts;
#[path = "../support/mod.rs"]
mod support;
mod tracer;
mod world;

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use confinement::Confinement;
use nix::errno::Errno;
use nix::libc::{SYS_execve, SYS_sigaltstack};
use starts::{Run, Start, mark, names, start};
use support::{alone, held, sample, skip};
use tracer::{Site, Traced};

/// The number of starts in a sample for one spec.
const SAMPLE: usize = 30;

/// The results.
#[derive(Debug, Default)]
struct Tally {
    /// Faults that were injected, or kills that came in time.
    fired: usize,
    /// Starts in which the command ran nevertheless and succeeded.
    ran: usize,
    left: usize,
    left_after_next: usize,
    hung: usize,
    crashed: usize,
    vague: usize,
    less_confined: usize,
    /// The errors found, one line each.
    wrong: Vec<String>,
}

impl Tally {
    /// Whether the results are as promised.
    fn holds(&self) -> bool {
        let none = [self.left_after_next, self.hung, self.crashed, self.less_confined];
        self.fired > 0 && none == [0; 4] && self.vague * 100 <= self.fired
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { fired, ran, left, left_after_next, hung, crashed, vague, less_confined, .. } = self;
        write!(
            f,
            "{fired:>6}{ran:>6}{left:>6}{left_after_next:>12}{hung:>6}{crashed:>7}{vague:>7}{less_confined:>15}"
        )
    }
}

const HEAD: &str = "fired   ran  left  after next  hang  crash  vague  less confined";

/// It is no test: the start that is released by another process is made by it.
#[test]
fn another_process() {
    held::make();
}

/// Whether to test everything, not a sample: `scripts/faults` sets this variable.
fn is_whole() -> bool {
    std::env::var_os("SANDBOX_FAULTS").is_some()
}

/// Every site with each of its errnos, or an evenly spread sample, which is the same in each run.
fn faults(start: &Start, sites: &[Site]) -> Vec<(Site, Errno)> {
    let (call, nth) = start.last_foreign_call();
    faults_of(call, nth, sites)
}

/// As [`faults`], for a program whose last foreign call this is.
fn faults_of(call: i64, nth: usize, sites: &[Site]) -> Vec<(Site, Errno)> {
    let own = sites.iter().position(|site| (site.call, site.nth) == (call, nth)).expect("a program begins");
    // A thread of `sandbox` begins in the same way. Rust's runtime ends the program if one of these calls fails.
    let begin = |process: usize| {
        let is_last = |site: &Site| *site == Site { process, call: SYS_sigaltstack, nth: 2 };
        sites.iter().position(is_last).unwrap_or(0)
    };
    let mut all: Vec<(Site, Errno)> = Vec::new();
    for (at, site) in sites.iter().enumerate().skip(own) {
        if at <= begin(site.process) {
            continue;
        }
        all.extend(calls::errnos(site.call).iter().map(|errno| (*site, *errno)));
    }
    if is_whole() {
        return all;
    }
    // The step is no multiple of three, because most calls have three errnos.
    let step = (all.len() / SAMPLE).max(1);
    let step = if step.is_multiple_of(3) { step + 1 } else { step };
    all.into_iter().step_by(step).collect()
}

#[test]
fn each_call_that_fails_is_told_and_leaves_nothing() {
    let _alone = alone();
    if !Path::new("/bin").is_symlink() {
        return skip(
            "each_call_that_fails_is_told_and_leaves_nothing",
            "machine: /bin isn't a link to /usr/bin",
        );
    }
    let mut all_hold = true;
    println!("{:<28}{HEAD}", "");
    for name in sample(2, names()) {
        let tally = try_faults(&start(name));
        println!("{name:<28}{tally}");
        tally.wrong.iter().for_each(|line| println!("  {line}"));
        all_hold &= tally.holds();
    }
    assert!(all_hold, "the table above says what doesn't hold");
}

fn try_faults(start: &Start) -> Tally {
    let mut tally = Tally::default();
    let asked = start.trace(None);
    assert!(asked.traced.status.success(), "{}: {}", start.name, asked.said);
    let asked_for = asked.shown.expect("the command began");
    let again = start.trace(None).shown.expect("the command began");
    assert_eq!(confinement::differences(&asked_for, &again), Vec::<String>::new());
    let mut world = start.world();
    for (site, errno) in faults(start, &asked.traced.sites) {
        let run = start.trace(Some((site, errno)));
        if !run.traced.has_fired {
            continue;
        }
        tally.fired += 1;
        let mut wrong = Vec::new();
        judge(&mut tally, &mut wrong, &run, &asked_for, site.call, errno);
        let left = start.left_since(&world);
        if !left.is_empty() {
            tally.left += 1;
            start.tidy_up();
            let left = start.left_after_next(&world);
            if !left.is_empty() {
                tally.left_after_next += 1;
                wrong.push(format!("left: {left:?}"));
                world = start.world();
            }
        }
        let who = ["OUTSIDE", "INSIDE", "INSIDE", "INSIDE"].get(site.process).unwrap_or(&"?");
        let place = format!("{who} {} {}#{} {errno:?}", site.process, calls::name(site.call), site.nth);
        tally.wrong.extend(wrong.into_iter().map(|wrong| format!("{place}: {wrong}")));
    }
    // A container that has ended refuses each start, with a clear message.
    let last = start.trace(None);
    assert!(last.traced.status.success() && last.shown.is_some(), "{}: {}", start.name, last.said);
    tally
}

/// Judges one run before looking for what it left.
fn judge(
    tally: &mut Tally,
    wrong: &mut Vec<String>,
    run: &Run,
    asked: &Confinement,
    call: i64,
    errno: Errno,
) {
    let Run { traced: Traced { status, hung, survivors, .. }, said, shown, is_held } = run;
    if *hung {
        tally.hung += 1;
        wrong.push("hung".into());
    } else if status.success() && shown.is_some() {
        tally.ran += 1;
    } else if *is_held && [Some(126), Some(127)].contains(&status.code()) && call == SYS_execve {
        // Behind its filter, a command whose maker has ended has only its exit status to tell this.
    } else if said.trim().is_empty()
        || said.contains("panicked")
        || status.signal().is_some()
        || status.success()
    {
        tally.crashed += 1;
        wrong.push(format!("{status}: {:?}", said));
    } else if !calls::is_clear(said, call, errno) {
        tally.vague += 1;
        wrong.push(format!("vague: {:?}", said));
    }
    if *survivors > 0 {
        tally.left += 1;
        tally.left_after_next += 1;
        wrong.push(format!("{survivors} processes were left"));
    }
    let differences = shown.as_ref().map(|shown| confinement::differences(asked, shown)).unwrap_or_default();
    if !differences.is_empty() {
        tally.less_confined += 1;
        wrong.push(differences.join("; "));
    }
}

/// The number of kills to try for each start.
fn kills() -> usize {
    std::env::var("SANDBOX_KILLS").map_or(40, |count| count.parse().expect("SANDBOX_KILLS is a number"))
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_after_the_next_command() {
    let _alone = alone();
    if !Path::new("/bin").is_symlink() {
        return skip(
            "a_kill_at_any_moment_leaves_nothing_after_the_next_command",
            "machine: /bin isn't a link to /usr/bin",
        );
    }
    let mut all_hold = true;
    println!("{:<28} kills  left  after next", "");
    for name in sample(2, names()) {
        let tally = try_kills(&start(name));
        println!("{name:<28}{:>6}{:>6}{:>12}", tally.fired, tally.left, tally.left_after_next);
        tally.wrong.iter().for_each(|line| println!("  {line}"));
        all_hold &= tally.left_after_next == 0;
    }
    assert!(all_hold, "the table above says what was left");
}

/// Kills spread evenly over the time that a start takes on this machine, and a little longer, while the command runs.
fn try_kills(start: &Start) -> Tally {
    let mut tally = Tally::default();
    let mark = mark();
    let quiet = |command: &[&str]| {
        let mut command = start.command(command);
        // What a killed process has made belongs to it.
        command.env(held::STAYS, "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begin = Instant::now();
    for _ in 0..5 {
        assert!(quiet(&["true"]).status().unwrap().success(), "{}", start.name);
    }
    let whole = begin.elapsed() / 4;
    let mut world = start.world();
    let count = kills();
    for moment in 0..count {
        let mut run = quiet(&["sleep", &mark]).spawn().unwrap();
        std::thread::sleep(whole * moment as u32 / count as u32);
        run.kill().unwrap();
        run.wait().unwrap();
        tally.fired += 1;
        tally.left += usize::from(!start.left_since(&world).is_empty());
        start.tidy_up();
        let left = start.left_after_next(&world);
        if !left.is_empty() {
            tally.left_after_next += 1;
            tally.wrong.push(format!("{moment} of {count}: left: {left:?}"));
            world::end_processes(&left);
            world = start.world();
        }
    }
    tally
}
