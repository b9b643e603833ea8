//! `build --break NAME`: famous mistakes in Dockerfiles. Each is built the wrong way and the right way, in a store that is removed
//! afterwards.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::image::own_maps;
use crate::error::{Error, Result, io_text};
use crate::feature::Purpose;
use crate::host::home::VARIABLE;
use crate::host::token::token;
use crate::image::layer;
use crate::render;
use crate::teach::demo::Evidence;
use crate::teach::mistakes::Contrast;
use crate::text::{text, text_with};
use crate::value::nearest::nearest;

/// A mistake: its name, and the function that adds the evidence of one way.
type BuildMistake = (&'static str, fn(&BuildLab, Dockerfiles) -> Result<Vec<Evidence>>, [&'static str; 2]);

/// Which of the two Dockerfiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dockerfiles {
    name: &'static str,
    text: &'static str,
}

const MISTAKES: [BuildMistake; 3] = [
    (
        "cache-order",
        cache_order,
        [
            "FROM lab\nCOPY . /app/\nRUN cat /app/libraries > /installed",
            "FROM lab\nCOPY libraries /app/\nRUN cat /app/libraries > /installed\nCOPY . /app/",
        ],
    ),
    (
        "secret-in-layer",
        secret_in_layer,
        [
            "FROM lab\nCOPY key /key\nRUN cat /key > /dev/null\nRUN rm /key",
            "FROM lab\nRUN --mount=type=secret,id=key cat /run/secrets/key > /dev/null",
        ],
    ),
    (
        "rm-in-next-layer",
        rm_in_next_layer,
        [
            "FROM lab\nRUN head -c 5000000 /dev/zero > /archive\nRUN rm /archive",
            "FROM lab\nRUN head -c 5000000 /dev/zero > /archive; rm /archive",
        ],
    ),
];

/// What the secret of the demonstration is.
const SECRET: &str = "the-password-of-the-demonstration";

/// The names of the mistakes.
pub(super) fn names() -> Vec<&'static str> {
    MISTAKES.iter().map(|(name, ..)| *name).collect()
}

/// Makes a mistake, or lists all of them.
pub(super) fn run(name: &str) -> Result<u8> {
    let message = |name: &str, part: &str| text(&format!("build.break.{name}.{part}"));
    if name == "list" {
        for (name, ..) in MISTAKES {
            render::out(&format!("{name:<18}{}\n", message(name, "mistake")));
        }
        return Ok(0);
    }
    let Some((name, evidence, dockerfiles)) = MISTAKES.into_iter().find(|(known, ..)| *known == name) else {
        let names = names();
        let what = text_with("common.break.unknown", &[("feature", "build"), ("name", name)]);
        let what = match nearest(name, names.iter().copied()) {
            Some(near) => format!("{what}: {}", text_with("spec.near", &[("word", near)])),
            None => what,
        };
        let todo = text_with("common.break.unknown.todo", &[("names", &names.join(", "))]);
        return Err(Error::usage(what).todo(todo));
    };
    let lab = BuildLab::make()?;
    let [wrong, right] = dockerfiles;
    let contrast = Contrast {
        purpose: Purpose::Container,
        name,
        mistake: message(name, "mistake"),
        wrong: evidence(&lab, Dockerfiles { name: "wrong", text: wrong })?,
        right: evidence(&lab, Dockerfiles { name: "right", text: right })?,
        wrong_command: Some(wrong.to_owned()),
        right_command: Some(right.to_owned()),
        lesson: message(name, "lesson"),
        skipped: None,
    };
    render::out(&render::contrast::text(&contrast));
    Ok(0)
}

fn shown(source: impl Into<String>, value: impl Into<String>) -> Evidence {
    Evidence { side: "OUTSIDE", source: source.into(), value: value.into() }
}

/// What comes often must be last: then the steps before it are taken from the cache.
fn cache_order(lab: &BuildLab, dockerfile: Dockerfiles) -> Result<Vec<Evidence>> {
    lab.write("libraries", "one\n")?;
    lab.write("program", "first\n")?;
    lab.build(dockerfile, &[])?;
    lab.write("program", "second\n")?;
    let lines = lab.build(dockerfile, &[])?;
    let mut evidence = vec![shown("echo second > program", "")];
    let mut step = "";
    for line in lines.lines() {
        if let Some((_, instruction)) = line.split_once(" : ").filter(|_| line.starts_with("Step ")) {
            step = instruction;
        } else if !step.starts_with("FROM")
            && (line == " ---> Using cache" || line.starts_with(" ---> Running"))
        {
            evidence.push(shown(
                step,
                line.trim_start_matches(" ---> ").split(" in ").next().unwrap_or_default(),
            ));
        }
    }
    Ok(evidence)
}

/// A later step hides a file, and its layer still has it.
fn secret_in_layer(lab: &BuildLab, dockerfile: Dockerfiles) -> Result<Vec<Evidence>> {
    let key = lab.write("key", SECRET)?;
    lab.build(dockerfile, &["--secret", &format!("id=key,src={}", key.display())])?;
    let listed = lab.sandbox(&["run", "--rm", "--network", "none", dockerfile.name, "ls", "/"])?;
    let is_listed = listed.lines().any(|name| name == "key");
    let saved = lab.sandbox_bytes(&["save", dockerfile.name])?;
    let count = saved.windows(SECRET.len()).filter(|part| *part == SECRET.as_bytes()).count();
    Ok(vec![
        shown("ls / | grep -c key", usize::from(is_listed).to_string()),
        shown(format!("sandbox save {} | grep -c PASSWORD", dockerfile.name), count.to_string()),
    ])
}

/// A layer only gets larger.
fn rm_in_next_layer(lab: &BuildLab, dockerfile: Dockerfiles) -> Result<Vec<Evidence>> {
    lab.build(dockerfile, &[])?;
    let history = lab.sandbox(&["history", dockerfile.name, "--format", "{{.Size}}\t{{.CreatedBy}}"])?;
    let steps = dockerfile.text.lines().count() - 1;
    let mut lines: Vec<&str> = history.lines().take(steps).collect();
    lines.reverse();
    let step = |line: &str| {
        let (size, step) = line.split_once('\t').unwrap_or((line, ""));
        shown(step.trim_start_matches("/bin/sh -c "), size)
    };
    Ok(lines.into_iter().map(step).collect())
}

/// A store and a context, which are removed with this value.
struct BuildLab {
    directory: PathBuf,
}

impl BuildLab {
    fn make() -> Result<BuildLab> {
        let directory = std::env::temp_dir().join(format!("sandbox-break-{:08x}{:08x}", token(), token()));
        let made = fs::DirBuilder::new().mode(0o700).create(&directory);
        made.map_err(|error| failed(&io_text(&error)))?;
        let lab = BuildLab { directory };
        fs::create_dir(lab.directory.join("context")).map_err(|error| failed(&io_text(&error)))?;
        lab.sandbox(&["image", "from-host", "lab", "sh", "cat", "head", "ls", "rm"])?;
        Ok(lab)
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.join("context").join(name);
        fs::write(&path, content).map_err(|error| failed(&io_text(&error)))?;
        Ok(path)
    }

    /// Builds the Dockerfile. It is not in the context.
    fn build(&self, dockerfile: Dockerfiles, flags: &[&str]) -> Result<String> {
        let file = self.directory.join(dockerfile.name);
        fs::write(&file, dockerfile.text).map_err(|error| failed(&io_text(&error)))?;
        let (file, context) =
            (file.display().to_string(), self.directory.join("context").display().to_string());
        let words = ["build", "--network", "none", "-t", dockerfile.name, "-f", &file];
        self.sandbox(&[&words, flags, &[&context]].concat())
    }

    fn sandbox(&self, words: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.sandbox_bytes(words)?).into_owned())
    }

    /// Standard output of this program with the store of the demonstration.
    fn sandbox_bytes(&self, words: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("sandbox").args(words).env(VARIABLE, self.directory.join("home")).stdin(Stdio::null());
        let output = command.output().map_err(|error| failed(&io_text(&error)))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).trim())),
        }
    }
}

impl Drop for BuildLab {
    fn drop(&mut self) {
        if let (Some(above), Some(name)) = (self.directory.parent(), self.directory.file_name()) {
            let above: &Path = above;
            let _ = layer::remove_in_map(above, name.to_str().unwrap_or_default(), own_maps().as_ref());
        }
    }
}

fn failed(why: &str) -> Error {
    Error::failed(text("build.break.failed")).why(why)
}
