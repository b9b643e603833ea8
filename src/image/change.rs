//! Instructions of a Dockerfile that change the config of an image: `--change` of `import` and `commit`.

use serde_json::{Value, json};

use crate::text::{printed, text_with};

/// The instructions that change only the config.
const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// Applies an instruction to the part `config` of an image's config.
///
/// # Errors
/// It is none of these instructions, or its arguments are wrong: why.
pub fn apply(config: &mut Value, instruction: &str) -> Result<(), String> {
    let instruction = instruction.trim();
    let (name, arguments) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
    let arguments = arguments.trim();
    let wrong = || text_with("image.change.form", &[("instruction", &printed(instruction))]);
    if arguments.is_empty() {
        return Err(wrong());
    }
    match name.to_ascii_uppercase().as_str() {
        "CMD" => config["Cmd"] = command(arguments),
        "ENTRYPOINT" => config["Entrypoint"] = command(arguments),
        "USER" => config["User"] = arguments.into(),
        "WORKDIR" => config["WorkingDir"] = arguments.into(),
        "STOPSIGNAL" => config["StopSignal"] = arguments.into(),
        "ENV" => {
            for (key, value) in pairs(arguments).ok_or_else(wrong)? {
                let mut all: Vec<Value> = config["Env"].as_array().cloned().unwrap_or_default();
                let begins = format!("{key}=");
                all.retain(|own| !own.as_str().unwrap_or_default().starts_with(&begins));
                all.push(format!("{key}={value}").into());
                config["Env"] = all.into();
            }
        }
        "LABEL" => {
            for (key, value) in pairs(arguments).ok_or_else(wrong)? {
                config["Labels"][key] = value.into();
            }
        }
        "EXPOSE" => {
            for port in arguments.split_whitespace() {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                let is_known = ["tcp", "udp", "sctp"].contains(&protocol);
                number.parse::<u16>().ok().filter(|_| is_known).ok_or_else(wrong)?;
                config["ExposedPorts"][format!("{number}/{protocol}")] = json!({});
            }
        }
        "VOLUME" => {
            let list: Vec<String> = match serde_json::from_str(arguments) {
                Ok(list) => list,
                Err(_) => arguments.split_whitespace().map(str::to_owned).collect(),
            };
            list.into_iter().for_each(|path| config["Volumes"][path] = json!({}));
        }
        _ => {
            let values = [("instruction", &*printed(name)), ("known", KNOWN)];
            return Err(text_with("image.change.unknown", &values));
        }
    }
    Ok(())
}

/// `["sh", "-c", "x"]` is the list itself. Anything else is a line for the shell.
fn command(arguments: &str) -> Value {
    match serde_json::from_str::<Vec<String>>(arguments) {
        Ok(list) => json!(list),
        Err(_) => json!(["/bin/sh", "-c", arguments]),
    }
}

/// `A=1 B="x y"`, or `A 1`.
fn pairs(arguments: &str) -> Option<Vec<(String, String)>> {
    let first = arguments.split_whitespace().next()?;
    if !first.contains('=') {
        let (key, value) = arguments.split_once(char::is_whitespace)?;
        return Some(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in arguments.chars() {
        match (quote, character) {
            (Some(open), end) if open == end => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, blank) if blank.is_whitespace() => words.push(std::mem::take(&mut word)),
            (_, other) => word.push(other),
        }
    }
    words.push(word);
    let words = words.into_iter().filter(|word| !word.is_empty());
    let pair = |word: String| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    words.map(|word| pair(word).filter(|(key, _)| !key.is_empty())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_config() {
        let mut config = json!({ "Env": ["PATH=/bin", "A=0"] });
        for instruction in [
            "CMD [\"sh\", \"-c\", \"x y\"]",
            "entrypoint  echo hello",
            "ENV A=1 B=\"x y\"",
            "ENV C d e",
            "LABEL a.b=c",
            "EXPOSE 80 53/udp",
            "VOLUME [\"/data\"]",
            "VOLUME /x /y",
            "USER 1000:1000",
            "WORKDIR /work",
            "STOPSIGNAL SIGINT",
        ] {
            assert_eq!(apply(&mut config, instruction), Ok(()), "{instruction}");
        }
        let wanted = json!({
            "Cmd": ["sh", "-c", "x y"],
            "Entrypoint": ["/bin/sh", "-c", "echo hello"],
            "Env": ["PATH=/bin", "A=1", "B=x y", "C=d e"],
            "Labels": { "a.b": "c" },
            "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
            "Volumes": { "/data": {}, "/x": {}, "/y": {} },
            "User": "1000:1000",
            "WorkingDir": "/work",
            "StopSignal": "SIGINT",
        });
        assert_eq!(config, wanted);
        for wrong in
            ["", "CMD", "RUN ls", "COPY a b", "EXPOSE x", "EXPOSE 80/ip", "ENV A", "ENV =x", "LABEL a=1 b"]
        {
            assert!(apply(&mut config, wrong).is_err(), "{wrong}");
        }
    }
}
