//! Builds of the tests: a base image with a shell, a context, and what a container of the new image prints.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::image::{Image, Layer, programs};
use super::kept::KeptHome;
use super::{feed, text};

/// The environment of the base image.
pub const PATH: &str = "PATH=/bin";

/// Loads a base image with a shell.
pub fn base(home: &KeptHome, name: &str, change: impl FnOnce(Layer) -> Layer, config: Value) {
    let layer = change(programs(&[
        "sh", "echo", "cat", "id", "env", "stat", "mkdir", "ls", "rm", "sleep", "cp", "ln", "chmod", "chown",
    ]));
    let image = Image { config: json!({ "config": config }), ..Image::of(&[layer]) };
    let output = feed(&mut home.command(&["load", "-q"]), image.docker(&[name]));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A context with this Dockerfile and these files.
pub fn context(home: &KeptHome, name: &str, dockerfile: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = home.around().join(name);
    for (path, content) in [("Dockerfile", dockerfile)].iter().chain(files) {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

/// Builds without a network of its own, which not every machine can make. Returns the lines that were printed.
pub fn build(home: &KeptHome, words: &[&str]) -> Vec<String> {
    let output = home.out(&[&["build", "--network", "none"], words].concat());
    output.lines().map(str::to_owned).collect()
}

pub fn run(home: &KeptHome, words: &[&str]) -> String {
    home.out(&[&["run", "--rm", "--network", "none"], words].concat())
}

pub fn config(home: &KeptHome, name: &str) -> Value {
    let inspected: Value = serde_json::from_str(&home.out(&["image", "inspect", name])).unwrap();
    inspected[0]["Config"].clone()
}

/// Builds a Dockerfile in a context of its own, and returns what the command of the image prints.
pub fn built(home: &KeptHome, name: &str, dockerfile: &str, command: &str) -> String {
    let place = context(home, name, dockerfile, &[("file", "x"), ("tree/file", "y")]);
    build(home, &["-t", name, place.to_str().unwrap()]);
    run(home, &[name, "sh", "-c", command])
}
