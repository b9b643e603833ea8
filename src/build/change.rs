//! Instructions of a Dockerfile that change the config of an image: `--change` of `import` and `commit`.

use serde_json::{Value, json};

use super::configure;
use super::copy::clean_inside;
use super::dockerfile::{self, Instruction, Placed, SourceText};
use super::scope::{environment, expand};
use crate::error::{Error, ExitKind, Result};
use crate::text::text_with;

/// The name of the text of an instruction, in errors.
const NAME: &str = "--change";

/// The escape character.
const ESCAPE: char = '\\';

/// The instructions that change only the config, as Docker has them here.
const KNOWN: &str =
    "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// The part `config` of an image's config, after these instructions. A variable in them is one of the image's environment.
///
/// # Errors
/// One is none of these instructions, or its arguments are wrong.
pub fn changed(config: Value, instructions: &[String]) -> Result<Value> {
    let mut whole = json!({ "config": config });
    if !whole["config"].is_object() {
        whole["config"] = json!({});
    }
    let mut has_command = false;
    for written in instructions {
        let first = written.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        // Instructions of the file as a whole, which are no steps.
        if ["FROM", "MAINTAINER", "ARG"].contains(&&*first) {
            return Err(unknown(&first));
        }
        let change = dockerfile::trigger(NAME, written);
        change
            .and_then(|step| apply(&mut whole, &SourceText::new(NAME, written), &step, &mut has_command))
            .map_err(|error| Error { kind: ExitKind::Refused, ..error })?;
    }
    Ok(whole["config"].take())
}

/// The error of an instruction that is none of the known ones.
fn unknown(name: &str) -> Error {
    let what = text_with("image.change.unknown", &[("instruction", name)]);
    Error::new(ExitKind::Refused, what).why(text_with("image.change.known", &[("known", KNOWN)]))
}

fn apply(
    whole: &mut Value,
    source: &SourceText,
    step: &Placed<Instruction>,
    has_command: &mut bool,
) -> Result<()> {
    let name = step.value.name();
    if !KNOWN.split(", ").any(|known| known == name) {
        return Err(unknown(name));
    }
    let variables = environment(whole);
    let words = |word: &str| expand((source, ESCAPE), step, word, &|name: &str| variables.get(name).cloned());
    let one = |word: &str| words(word).map(|expanded| expanded.text);
    if let Instruction::Workdir(path) = &step.value {
        let own = whole["config"]["WorkingDir"].as_str().unwrap_or_default();
        let path = one(path)?;
        let path = if path.starts_with('/') { path } else { format!("{own}/{path}") };
        let path = format!("/{}", String::from_utf8_lossy(&clean_inside(path.as_bytes())));
        whole["config"]["WorkingDir"] = path.into();
        return Ok(());
    }
    let all = |word: &str| words(word).map(|expanded| expanded.words);
    let applied = configure::apply(whole, &step.value, has_command, &one, &all);
    applied.map(drop).map_err(|error| error.placed(source, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_config() {
        let written = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let instructions = written(&[
            "CMD [\"sh\", \"-c\", \"x y\"]",
            "entrypoint  echo hello",
            "ENV A=1 B=\"x y\"",
            "ENV C d e",
            "LABEL a.b=$A",
            "EXPOSE 80 53/udp",
            "VOLUME [\"/data\"]",
            "VOLUME /x /y",
            "USER 1000:1000",
            "WORKDIR /work",
            "WORKDIR ../other",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN echo x",
            "HEALTHCHECK --retries=2 CMD true",
        ]);
        let wanted = json!({
            "Cmd": ["sh", "-c", "x y"],
            "Entrypoint": ["/bin/sh", "-c", "echo hello"],
            "Env": ["PATH=/bin", "A=1", "B=x y", "C=d e"],
            "Labels": { "a.b": "1" },
            "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
            "Volumes": { "/data": {}, "/x": {}, "/y": {} },
            "User": "1000:1000",
            "WorkingDir": "/other",
            "StopSignal": "SIGINT",
            "OnBuild": ["RUN echo x"],
            "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Retries": 2 },
        });
        let own = json!({ "Env": ["PATH=/bin", "A=0"] });
        assert_eq!(changed(own.clone(), &instructions), Ok(wanted));
        // The command of an image is for the entrypoint of the image.
        let own_command = json!({ "Cmd": ["x"] });
        let entrypoint = changed(own_command, &written(&["ENTRYPOINT [\"y\"]"]));
        assert_eq!(entrypoint, Ok(json!({ "Entrypoint": ["y"] })));
        for wrong in [
            "",
            "CMD",
            "RUN ls",
            "COPY a b",
            "EXPOSE x",
            "EXPOSE 80/ip",
            "ENV A",
            "ENV =x",
            "FROM x",
            "FOO x",
        ] {
            let error = changed(own.clone(), &written(&[wrong]));
            assert_eq!(error.map_err(|error| error.kind), Err(ExitKind::Refused), "{wrong}");
        }
    }
}
