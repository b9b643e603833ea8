//! POST /containers/create: the body becomes a command line of `sandbox create`.

use std::ffi::OsString;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, OTHER_PLATFORM};
use super::command::{blocking, run_noted, typed, words};
use super::containers::{created, signal_of};
use super::mount_settings::targets;
use super::private_file::PrivateFile;
use super::request::{ApiRequest, ApiVersion};
use super::settings::{endpoints, flag, host, keys, list, pairs, part, string, truth};
use crate::container::store::ContainerStore;
use crate::image::store::ImageStore;
use crate::text::{printed, text, text_with};

/// Makes a container.
pub(super) async fn create(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    if body.is_null() {
        return Err(ApiError::bad("config cannot be empty in order to create a container"));
    }
    if !body.is_object() {
        return Err(ApiError::bad(text_with("daemon.setting", &[("name", "body")])));
    }
    let missing = || ApiError::bad(text_with("daemon.parameter", &[("name", "Image")]));
    let wanted = string(&body, "Image")?.ok_or_else(missing)?.to_owned();
    // The client pulls an image that is not there, if this answer is 404.
    blocking(move || Ok(ImageStore::open()?.find(&wanted)?)).await?;
    let name = request.query.get("name").map(|name| name.trim_start_matches('/').to_owned());
    if let Some(name) = name.clone() {
        // Before layers are unpacked for nothing.
        let taken =
            blocking(move || Ok(ContainerStore::open()?.find(&name).ok().filter(|found| found.name == name)));
        if let Some(owner) = taken.await? {
            return Err(crate::container::refusal::taken(&owner.name, &owner.record.id).into());
        }
    }
    let (mut line, variables) = command_line(&body, name.as_deref(), request.query.get("platform"))?;
    let mut shown = line.clone();
    shown.splice(1..1, variables.iter().map(|one| flag("env", one)));
    daemon.trace.command(request.number, &typed(&shown));
    let variables = PrivateFile::of_variables(&variables)?;
    let files = in_files(&mut line)?;
    let settings = PrivateFile::of(settings(&body, request.version).to_string().as_bytes())?;
    line.splice(1..1, variables.iter().map(|file| file.flag("env-file")));
    line.insert(1, settings.flag("client-settings"));
    // The image is there, or one for another platform is. Of anything else that is not found, 404 would make the client pull the image.
    let made = run_noted(&daemon, line, None).await.map_err(|mut error| {
        // The client knows nothing of the files. A message can name that of a seccomp profile.
        for file in &files {
            error.message = error.message.replace(&printed(file.path()), "seccomp.json");
        }
        error
    });
    let (output, warnings) = made.map_err(|error| match error.status {
        StatusCode::INTERNAL_SERVER_ERROR => of_request(error, &body),
        StatusCode::NOT_FOUND if !error.message.contains(OTHER_PLATFORM) => ApiError::bad(error.message),
        _ => error,
    })?;
    drop((variables, settings, files));
    let output = String::from_utf8_lossy(&output);
    let mut lines: Vec<&str> = output.lines().collect();
    let id = lines.pop().unwrap_or_default().trim().to_owned();
    created(&id, &warnings)
}

/// The total size of labels from which on they are in a file.
const LONG: usize = 64 << 10;

/// The flags of a command line: they end before the image.
fn flags(line: &[OsString]) -> impl Iterator<Item = (usize, &str)> {
    let flags = line.iter().enumerate().skip(1);
    let flags = flags.take_while(|(_, word)| word.as_encoded_bytes().starts_with(b"--"));
    flags.filter_map(|(at, word)| Some((at, word.to_str()?)))
}

/// Writes to files what a word of a command line has no room for: each seccomp profile, of which the client sends the content, and long
/// labels.
fn in_files(line: &mut Vec<OsString>) -> Answered<Vec<PrivateFile>> {
    let mut files = Vec::new();
    let profile = |(at, word): (usize, &str)| {
        let json = word.strip_prefix("--security-opt=seccomp")?.strip_prefix(['=', ':'])?;
        json.starts_with('{').then(|| (at, json.to_owned()))
    };
    for (at, json) in flags(line).filter_map(profile).collect::<Vec<_>>() {
        let file = PrivateFile::of(json.as_bytes())?;
        line[at] = file.flag("security-opt=seccomp");
        files.push(file);
    }
    let label = |(at, word): (usize, &str)| Some((at, word.strip_prefix("--label=")?.to_owned()));
    let (places, labels): (Vec<usize>, Vec<String>) = flags(line).filter_map(label).unzip();
    if labels.iter().map(String::len).sum::<usize>() > LONG {
        let file = PrivateFile::of_records("Labels", &labels)?;
        places.iter().rev().for_each(|at| drop(line.remove(*at)));
        line.insert(1, file.flag("label-file"));
        files.push(file);
    }
    Ok(files)
}

/// Gives an error of the request the status that Docker has for it, and Docker's message. Docker finds some of them only at the start.
fn of_request(error: ApiError, body: &Value) -> ApiError {
    let mounts = body["HostConfig"]["Mounts"].as_array().into_iter().flatten();
    let sources = mounts.filter_map(|mount| mount["Source"].as_str());
    let missing = text("mnt.bind.nosource");
    for source in sources.filter(|_| error.message.contains(&missing)) {
        if error.message.contains(&format!("{} does not exist", printed(source))) {
            let source = printed(source);
            return ApiError::bad(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            ));
        }
    }
    let of_words = ["unable to find user", "unable to find group", "no running container of yours"];
    match of_words.iter().any(|words| error.message.contains(words)) {
        true => ApiError::bad(error.message),
        false => error,
    }
}

/// What the client finds again in the answer of `inspect`.
fn settings(body: &Value, version: ApiVersion) -> Value {
    let mut config = body.clone();
    if let Some(config) = config.as_object_mut() {
        // These are known from the container itself.
        ["HostConfig", "NetworkingConfig", "Env", "Cmd", "Entrypoint"].iter().for_each(|name| {
            config.remove(*name);
        });
    }
    let mut host = body["HostConfig"].clone();
    // Before this version, the size of the terminal meant nothing on Linux.
    if version < ApiVersion(1, 42)
        && let Some(host) = host.as_object_mut()
    {
        host.remove("ConsoleSize");
    }
    json!({ "HostConfig": host, "Config": config })
}

/// A name as the client expects it in a message.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// The command line for a body, and the variables, which are not on it.
fn command_line(
    body: &Value,
    name: Option<&str>,
    platform: Option<&str>,
) -> Answered<(Vec<OsString>, Vec<String>)> {
    let mut line = words(&["create", "--pull=never"]);
    line.extend(name.map(|name| flag("name", name)));
    line.extend(platform.map(|platform| flag("platform", platform)));
    line.extend(host(part(body, "HostConfig")?)?);
    super::conflicts::check(body)?;
    line.extend(endpoints(part(body, "NetworkingConfig")?)?);
    if truth(body, "NetworkDisabled")? {
        line.push(flag("network", "none"));
    }
    for (name, own) in [
        ("Hostname", "hostname"),
        ("Domainname", "domainname"),
        ("User", "user"),
        ("WorkingDir", "workdir"),
        ("MacAddress", "mac-address"),
    ] {
        line.extend(string(body, name)?.map(|value| flag(own, value)));
    }
    if let Some(signal) = string(body, "StopSignal")? {
        line.push(flag("stop-signal", &signal_of(signal)?.to_string()));
    }
    for (name, own) in [("OpenStdin", "interactive"), ("Tty", "tty")] {
        if truth(body, name)? {
            line.push(format!("--{own}").into());
        }
    }
    match &body["StopTimeout"] {
        Value::Null => {}
        Value::Number(seconds) => line.push(flag("stop-timeout", &seconds.to_string())),
        _ => return Err(ApiError::bad(text_with("daemon.setting", &[("name", "StopTimeout")]))),
    }
    // A variable without a value is removed, as docker's client asks for it.
    let mut variables = list(body, "Env")?;
    if let Some(wrong) = variables.iter().find(|one| one.is_empty() || one.starts_with('=')) {
        return Err(ApiError::bad(format!("invalid environment variable: {}", printed(wrong))));
    }
    variables.retain(|one| one.contains('='));
    let labels = pairs(body, "Labels")?;
    without(labels.iter().map(|(key, _)| key), '=', "Labels")?;
    line.extend(labels.iter().map(|(key, value)| flag("label", &format!("{key}={value}"))));
    line.extend(keys(body, "ExposedPorts")?.iter().map(|port| flag("expose", port)));
    let mut volumes = keys(body, "Volumes")?;
    // Something else is mounted there.
    let taken = targets(&body["HostConfig"])?;
    volumes.retain(|path| !taken.contains(path));
    if let Some(wrong) = volumes.iter().find(|path| path.contains(':')) {
        return Err(ApiError::bad(format!("invalid volume specification: '{}'", printed(wrong))));
    }
    line.extend(volumes.iter().map(|path| flag("volume", path)));
    named_networks(body)?;
    let test = list(part(body, "Healthcheck")?, "Test")?;
    if !test.is_empty() && test[0] != "NONE" {
        line.push(flag("health-cmd", "x"));
    }
    let entrypoint = list(body, "Entrypoint")?;
    let mut command = list(body, "Cmd")?;
    if let Some((first, rest)) = entrypoint.split_first() {
        line.push(flag("entrypoint", first));
        command.splice(0..0, rest.iter().cloned());
    }
    let image = string(body, "Image")?.unwrap_or_default();
    // On a command line, a word with such an end is the file of a spec.
    let is_spec = |name: &str| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    let image = if is_spec(image) { with_tag(image) } else { image.to_owned() };
    if is_spec(&image) {
        return Err(ApiError::bad(text_with("daemon.image.spec", &[("name", &printed(&image))])));
    }
    line.push(image.into());
    line.extend(command.into_iter().map(OsString::from));
    Ok((line, variables))
}

/// Refuses values with a character that separates the parts of a flag.
pub(super) fn without<'v>(
    values: impl IntoIterator<Item = &'v String>,
    separator: char,
    name: &'static str,
) -> Answered<()> {
    match values.into_iter().any(|value| value.contains(separator)) {
        true => Err(ApiError::bad(text_with("daemon.setting", &[("name", name)]))),
        false => Ok(()),
    }
}

/// Refuses networks that have a name.
fn named_networks(body: &Value) -> Answered<()> {
    for name in keys(&body["NetworkingConfig"], "EndpointsConfig")? {
        if !["default", "bridge", "host", "none"].contains(&name.as_str()) {
            let message = text_with("daemon.network.named", &[("name", &printed(&name))]);
            return Err(ApiError::new(hyper::StatusCode::NOT_IMPLEMENTED, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_in_a_file() {
        let of = |length: usize| {
            let labels = json!({ "a": "x".repeat(length), "b": "two\nlines" });
            let (mut line, _) =
                command_line(&json!({ "Image": "app", "Labels": labels, "Tty": true }), None, None).unwrap();
            let files = in_files(&mut line).unwrap();
            let content = files.first().map(|file| std::fs::read_to_string(file.path()).unwrap());
            (line.len(), content)
        };
        assert_eq!(of(1000), (6, None));
        let (words, content) = of(LONG);
        assert_eq!((words, content), (5, Some(format!("a={}\0b=two\nlines\0", "x".repeat(LONG)))));
    }

    #[test]
    fn a_body_becomes_a_command_line() {
        let body = json!({
            "Image": "alpine", "Cmd": ["-c", "echo hi"], "Entrypoint": ["sh", "-e"], "Env": ["A=b c", "GONE"], "Tty": true,
            "OpenStdin": true, "Labels": {"x": "y"}, "Hostname": "box", "ExposedPorts": {"80/tcp": {}}, "Healthcheck": null,
            "HostConfig": {"NetworkMode": "none"}, "NetworkingConfig": {"EndpointsConfig": {"default": {}}},
        });
        let (line, variables) = command_line(&body, Some("web"), None).unwrap();
        assert_eq!(variables, ["A=b c"]);
        let line: Vec<String> = line.into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(
            line.join(" "),
            "create --pull=never --name=web --network=none --hostname=box --interactive --tty --label=x=y \
             --expose=80/tcp --entrypoint=sh alpine -e -c echo hi"
        );
    }
}
