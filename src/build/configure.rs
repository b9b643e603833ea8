//! The instructions that change only the config of an image. Each makes an entry of the history without a layer, with the text that
//! Docker writes: `/bin/sh -c #(nop)  CMD ["sh"]`.

use std::time::Duration;

use serde_json::{Value, json};

use super::dockerfile::{CommandForm, Healthcheck, Instruction, Placed, SourceText};
use crate::text::{printed, text_with};

/// The shell of an image without `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The PATH of a container whose image has none.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the shell form of an instruction is executed with.
pub fn shell_of(config: &Value) -> Vec<String> {
    let own = config["config"]["Shell"].as_array().filter(|own| !own.is_empty());
    match own {
        Some(own) => own.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        None => SHELL.map(str::to_owned).to_vec(),
    }
}

/// The arguments of a command.
pub fn arguments(form: &CommandForm, config: &Value) -> Vec<String> {
    match form {
        CommandForm::Exec(list) => list.clone(),
        CommandForm::Shell(line) => [shell_of(config), vec![line.clone()]].concat(),
    }
}

/// The entry of the history of an instruction that executes nothing.
pub fn no_operation(config: &Value, what: &str) -> String {
    format!("{} #(nop) {what}", shell_of(config).join(" "))
}

/// The base image is taken over: what belongs to its own containers only is removed.
pub fn begin(config: &mut Value) -> Vec<String> {
    let own = &mut config["config"];
    if !own.is_object() {
        *own = json!({});
    }
    let has_path = own["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|variable| variable.as_str().is_some_and(|variable| variable.starts_with("PATH=")));
    if !has_path {
        push(&mut own["Env"], PATH.into());
    }
    // The triggers are for the first stage that begins with this image.
    let triggers = own.as_object_mut().and_then(|own| own.remove("OnBuild"));
    let triggers = triggers.as_ref().and_then(Value::as_array).into_iter().flatten();
    triggers.filter_map(|trigger| trigger.as_str().map(str::to_owned)).collect()
}

/// Adds an item to a list. Anything else than a list is replaced by one.
pub(super) fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(list) => list.push(item),
        other => *other = json!([item]),
    }
}

/// Sets an entry of a map. Anything else than a map is replaced by one: what an image has there may have any form.
pub(super) fn entry(map: &mut Value, name: &str, value: Value) {
    if !map.is_object() {
        *map = json!({});
    }
    map[name] = value;
}

/// Expands a word.
pub type Expand<'e> = &'e dyn Fn(&str) -> crate::error::Result<Vec<String>>;

/// A list as Go prints it: `["sh" "-c"]`.
fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// Changes the config by an instruction. `one` expands a word as a whole, `words` into words. Returns the entry of the history, without
/// its beginning; None: the instruction needs files.
///
/// # Errors
/// A word cannot be expanded, or its value is wrong.
pub fn apply(
    config: &mut Value,
    instruction: &Instruction,
    has_command: &mut bool,
    one: &dyn Fn(&str) -> crate::error::Result<String>,
    words: Expand<'_>,
) -> Result<Option<String>, ConfigError> {
    let done = match instruction {
        Instruction::Cmd(form) => {
            let list = arguments(form, config);
            *has_command = true;
            let text = format!(" CMD {}", quoted(&list));
            config["config"]["Cmd"] = json!(list);
            text
        }
        Instruction::Entrypoint(form) => {
            let list = arguments(form, config);
            // The command of the base image is meant for the entrypoint of the base image.
            if !*has_command && let Some(own) = config["config"].as_object_mut() {
                own.remove("Cmd");
            }
            let text = format!(" ENTRYPOINT {}", quoted(&list));
            config["config"]["Entrypoint"] = json!(list);
            text
        }
        Instruction::Env(pairs) => {
            let mut all = Vec::new();
            for pair in pairs {
                all.push((one(&pair.name)?, one(&pair.value)?));
            }
            let mut texts = Vec::new();
            for (name, value) in all {
                texts.push(format!("{name}={value}"));
                set_variable(&mut config["config"]["Env"], &name, &value);
            }
            format!(" ENV {}", texts.join(" "))
        }
        Instruction::Label(pairs) => {
            let mut texts = Vec::new();
            for pair in pairs {
                let (name, value) = (one(&pair.name)?, one(&pair.value)?);
                texts.push(format!("{name}={value}"));
                entry(&mut config["config"]["Labels"], &name, value.into());
            }
            format!(" LABEL {}", texts.join(" "))
        }
        Instruction::Expose(ports) => {
            let mut texts = Vec::new();
            for written in ports {
                for port in words(written)? {
                    expose(&mut config["config"]["ExposedPorts"], &port)
                        .ok_or_else(|| wrong(written, "build.expose", ("port", &port)))?;
                    texts.push(port);
                }
            }
            format!(" EXPOSE {}", texts.join(" "))
        }
        Instruction::Volume(paths) => {
            let mut texts = Vec::new();
            for written in paths {
                let path = one(written)?;
                if path.trim().is_empty() {
                    return Err(wrong(written, "build.volume.empty", ("path", &path)));
                }
                entry(&mut config["config"]["Volumes"], &path, json!({}));
                texts.push(path);
            }
            format!(" VOLUME [{}]", texts.join(" "))
        }
        Instruction::User(user) => {
            let user = one(user)?;
            let text = format!(" USER {user}");
            config["config"]["User"] = user.into();
            text
        }
        Instruction::Shell(list) => {
            config["config"]["Shell"] = json!(list);
            format!(" SHELL [{}]", list.join(" "))
        }
        Instruction::StopSignal(written) => {
            let signal = one(written)?;
            if crate::sys::signal::of_word(&signal).is_none() {
                return Err(wrong(written, "build.signal", ("signal", &signal)));
            }
            let text = format!(" STOPSIGNAL {signal}");
            config["config"]["StopSignal"] = signal.into();
            text
        }
        Instruction::Healthcheck(check) => {
            let (value, text) = healthcheck(check);
            config["config"]["Healthcheck"] = value;
            format!(" HEALTHCHECK {text}")
        }
        Instruction::Onbuild(trigger) => {
            push(&mut config["config"]["OnBuild"], trigger.text.clone().into());
            format!(" ONBUILD {}", trigger.text)
        }
        Instruction::Maintainer(author) => {
            config["author"] = author.clone().into();
            format!(" MAINTAINER {author}")
        }
        Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Workdir(_)
        | Instruction::Arg(_) => return Ok(None),
    };
    Ok(Some(done))
}

/// Why a config cannot be changed.
#[derive(Debug)]
pub enum ConfigError {
    /// An error with its place.
    Placed(crate::error::Error),
    /// A value is wrong.
    Value {
        /// The word as it was written.
        word: String,
        /// Why: a sentence.
        why: String,
    },
}

impl ConfigError {
    /// The error at the place of the word.
    pub(super) fn placed(self, source: &SourceText, step: &Placed<Instruction>) -> crate::error::Error {
        match self {
            ConfigError::Placed(error) => error,
            ConfigError::Value { word, why } => source.error(&step.place_of(&word), why),
        }
    }
}

/// The error of a word whose value is wrong.
fn wrong(word: &str, key: &str, (name, value): (&str, &str)) -> ConfigError {
    ConfigError::Value { word: word.to_owned(), why: text_with(key, &[(name, &printed(value))]) }
}

impl From<crate::error::Error> for ConfigError {
    fn from(error: crate::error::Error) -> ConfigError {
        ConfigError::Placed(error)
    }
}

/// Sets a variable in a list of `NAME=VALUE`. One that is there keeps its place.
fn set_variable(list: &mut Value, name: &str, value: &str) {
    let begins = format!("{name}=");
    let new: Value = format!("{name}={value}").into();
    let own = list
        .as_array_mut()
        .and_then(|list| list.iter_mut().find(|own| own.as_str().unwrap_or_default().starts_with(&begins)));
    match own {
        Some(own) => *own = new,
        None => push(list, new),
    }
}

/// `80`, `80/udp`, `8000-8010`. As with Docker, a form of `run -p` such as `127.0.0.1:8080:80` names the container's port too. None: it
/// is no port.
fn expose(ports: &mut Value, written: &str) -> Option<()> {
    let (above, port) = written.rsplit_once(':').map_or((None, written), |(above, port)| (Some(above), port));
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    let (first, last) = port_range(range).filter(|_| ["tcp", "udp", "sctp"].contains(&protocol.as_str()))?;
    if let Some(above) = above {
        let (address, host) = above.rsplit_once(':').unwrap_or(("", above));
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        if !host.is_empty() {
            port_range(host).filter(|(low, high)| first == last || high - low == last - first)?;
        }
        if !address.is_empty() {
            bare.parse::<std::net::IpAddr>().ok()?;
        }
    }
    for port in first..=last {
        entry(ports, &format!("{port}/{protocol}"), json!({}));
    }
    Some(())
}

/// `8000-8010`, or one port.
fn port_range(written: &str) -> Option<(u16, u16)> {
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let range = (first.parse().ok()?, last.parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

fn healthcheck(check: &Healthcheck) -> (Value, String) {
    let Healthcheck::Command { form, interval, timeout, start_period, start_interval, retries } = check
    else {
        return (json!({ "Test": ["NONE"] }), "NONE".to_owned());
    };
    let (test, text) = match form {
        CommandForm::Shell(line) => (vec!["CMD-SHELL".to_owned(), line.clone()], line.clone()),
        CommandForm::Exec(list) => ([vec!["CMD".to_owned()], list.clone()].concat(), quoted(list)),
    };
    let mut value = json!({ "Test": test });
    let mut options = String::new();
    let times = [
        ("Interval", "interval", interval),
        ("Timeout", "timeout", timeout),
        ("StartPeriod", "start-period", start_period),
        ("StartInterval", "start-interval", start_interval),
    ];
    for (key, flag, time) in times {
        if let Some(time) = time.filter(|time| *time != Duration::ZERO) {
            value[key] = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into();
            options += &format!("--{flag}={time:?} ");
        }
    }
    if let Some(retries) = retries.filter(|retries| *retries > 0) {
        value["Retries"] = retries.into();
        options += &format!("--retries={retries} ");
    }
    (value, format!("{options}CMD {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::dockerfile;

    /// Applies the instructions of a Dockerfile. Returns the texts of the history.
    fn applied(config: &mut Value, text: &str) -> Result<Vec<String>, ConfigError> {
        let parsed = dockerfile::parse("Dockerfile", format!("FROM x\n{text}\n").as_bytes())?;
        let mut has_command = false;
        let one = |word: &str| Ok(word.trim_matches('"').to_owned());
        let words = |word: &str| Ok(vec![word.to_owned()]);
        let mut texts = Vec::new();
        for step in &parsed.stages[0].steps {
            texts.extend(apply(config, &step.value, &mut has_command, &one, &words)?);
        }
        Ok(texts)
    }

    #[test]
    fn the_history_has_dockers_texts() {
        let mut config = json!({ "config": { "Cmd": ["of the base"] } });
        let text = "ENTRYPOINT [\"a\", \"b c\"]\nCMD x y\nEXPOSE 80-81/udp\nVOLUME [\"/v\"]\nSHELL [\"/bin/bash\", \"-c\"]\n\
            CMD z\nONBUILD RUN x\nHEALTHCHECK --retries=2 CMD [\"t\"]";
        let texts = applied(&mut config, text).unwrap();
        let wanted = [
            " ENTRYPOINT [\"a\" \"b c\"]",
            " CMD [\"/bin/sh\" \"-c\" \"x y\"]",
            " EXPOSE 80-81/udp",
            " VOLUME [/v]",
            " SHELL [/bin/bash -c]",
            " CMD [\"/bin/bash\" \"-c\" \"z\"]",
            " ONBUILD RUN x",
            " HEALTHCHECK --retries=2 CMD [\"t\"]",
        ];
        assert_eq!(texts, wanted);
        assert_eq!(config["config"]["ExposedPorts"], json!({ "80/udp": {}, "81/udp": {} }));
        assert_eq!(config["config"]["Healthcheck"], json!({ "Test": ["CMD", "t"], "Retries": 2 }));
    }

    #[test]
    fn an_entrypoint_removes_the_command_of_the_base_only() {
        let mut config = json!({ "config": { "Cmd": ["of the base"] } });
        applied(&mut config, "ENTRYPOINT [\"a\"]").unwrap();
        assert_eq!(config["config"].get("Cmd"), None);
        applied(&mut config, "CMD [\"own\"]\nENTRYPOINT [\"a\"]").unwrap();
        assert_eq!(config["config"]["Cmd"], json!(["own"]));
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in
            ["EXPOSE x", "EXPOSE 80/ip", "EXPOSE 9-8", "EXPOSE 65536", "STOPSIGNAL SIGNONE", "STOPSIGNAL 65"]
        {
            let mut config = json!({ "config": {} });
            assert!(matches!(applied(&mut config, wrong), Err(ConfigError::Value { .. })), "{wrong}");
        }
    }

    /// The cases of buildkit's convert_expose_test.go.
    #[test]
    fn a_form_of_publish_exposes_the_port_of_the_container() {
        let exposed = |written: &str| {
            let mut ports = json!({});
            expose(&mut ports, written)?;
            Some(ports.as_object()?.keys().cloned().collect::<Vec<_>>().join(" "))
        };
        for (written, wanted) in [
            ("8080:80", "80/tcp"),
            ("127.0.0.1:53:53/UDP", "53/udp"),
            ("127.0.0.1::53", "53/tcp"),
            ("[::1]:80:80", "80/tcp"),
            ("::1:80:80", "80/tcp"),
            ("::::80", "80/tcp"),
            ("[2001:4860:0:2001::68]::333", "333/tcp"),
            ("1234-1236:3333-3335/sctp", "3333/sctp 3334/sctp 3335/sctp"),
            ("8000-9000:80", "80/tcp"),
            ("80/", "80/tcp"),
        ] {
            assert_eq!(exposed(written).as_deref(), Some(wanted), "{written}");
        }
        for wrong in ["", "80:", "localhost:1:1", "x:80", "1-3:80-81", "80:80/ip", "1.2.3:1:1"] {
            assert_eq!(exposed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_base_image_gives_its_triggers_once() {
        let mut config = json!({ "config": { "OnBuild": ["RUN a"], "Env": ["A=1"] } });
        assert_eq!(begin(&mut config), ["RUN a"]);
        assert_eq!(config["config"], json!({ "Env": ["A=1", PATH] }));
        assert_eq!(begin(&mut config), Vec::<String>::new());
    }
}
