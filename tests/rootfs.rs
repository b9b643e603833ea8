//! The root filesystem: what the kernel shows inside, and what is left outside.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sandbox::exec::{self, Unwatched};
use sandbox::feature::Feature;
use sandbox::host::command;
use sandbox::spec::Spec;
use sandbox::spec::compose::{self, Ending};
use support::text;

/// The variable in which a test hands a spec to a process of its own.
const SPEC: &str = "SANDBOX_TEST_SPEC";

/// Runs the spec that a test has handed over, as `run` will. A process of its own: one that clones has no second thread.
#[test]
fn contained() {
    let Ok(yaml) = std::env::var(SPEC) else { return };
    let spec: Spec = serde_yaml::from_str(&yaml).unwrap();
    let host = compose::gather(&spec);
    let name = &spec.command[0];
    let path =
        command::resolve(name, &compose::tree(&spec)).map_or(name.clone(), |path| path.display().to_string());
    let ending = Ending::Command { path, arguments: spec.command.clone() };
    let plan = compose::plan(&spec, &host, Feature::Mnt, ending, false);
    if std::env::var_os("SANDBOX_TEST_PLAN").is_some() {
        eprint!("{}", sandbox::render::plan::text_of(&plan));
    }
    println!("\n{SPEC}");
    let ended = exec::start(&plan, &mut Unwatched).and_then(|mut container| container.wait(&mut Unwatched));
    match ended {
        Ok(ended) => std::process::exit(ended.status().into()),
        Err(error) => {
            eprintln!("{error:#?}");
            std::process::exit(125);
        }
    }
}

/// Runs `script` by the shell of a container.
fn run(spec: &str, script: &str) -> Output {
    let script: String = script.lines().map(|line| format!("    {line}\n")).collect();
    let spec = format!("{spec}\ncommand:\n- sh\n- -c\n- |\n{script}");
    Command::new(std::env::current_exe().unwrap())
        .args(["contained", "--exact", "--nocapture", "--test-threads=1"])
        .env(SPEC, &spec)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a script says that must succeed.
fn said(spec: &str, script: &str) -> String {
    let output = run(spec, script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{spec}\n{script}\n{:?}\n{out}\n{err}", output.status);
    out.split_once(&format!("{SPEC}\n")).map(|(_, said)| said.to_owned()).unwrap()
}

#[test]
fn probe() {
    let spec = std::env::var("PROBE").unwrap();
    let script = std::env::var("SCRIPT").unwrap();
    let output = run(&spec, &script);
    eprintln!("{}\n{}\n{:?}", text(&output.stdout), text(&output.stderr), output.status);
}
