//! Settings of a new container that contradict each other. Docker refuses these before it makes the container, with these messages.

use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::mount_settings::targets;
use super::settings::{keys, list, part, string, truth};
use crate::text::printed;

/// Refuses a body whose settings contradict each other.
pub(super) fn check(body: &Value) -> Answered<()> {
    let host = part(body, "HostConfig")?;
    let refuse = |is_so: bool, what: &str, with: &str| match is_so {
        true => Err(ApiError::bad(format!("conflicting options: {what} and the {with}"))),
        false => Ok(()),
    };
    let has_hostname = string(body, "Hostname")?.is_some();
    refuse(has_hostname && string(host, "UTSMode")? == Some("host"), "hostname", "UTS mode")?;
    let mode = string(host, "NetworkMode")?.unwrap_or_default();
    if mode == "host" && !list(host, "Links")?.is_empty() {
        let message = "conflicting options: host type networking can't be used with links. This would result in undefined behavior";
        return Err(ApiError::bad(message));
    }
    if mode.starts_with("container:") {
        let has = |name: &str| Answered::Ok(!list(host, name)?.is_empty());
        let publishes = truth(host, "PublishAllPorts")? || !keys(host, "PortBindings")?.is_empty();
        refuse(has_hostname, "hostname", "network mode")?;
        refuse(has("Dns")?, "dns", "network mode")?;
        refuse(has("ExtraHosts")?, "custom host-to-IP mapping", "network mode")?;
        refuse(publishes, "port publishing", "container type network mode")?;
        refuse(!keys(body, "ExposedPorts")?.is_empty(), "port exposing", "container type network mode")?;
    }
    let policy = string(part(host, "RestartPolicy")?, "Name")?;
    if truth(host, "AutoRemove")? && policy.is_some_and(|policy| policy != "no") {
        return Err(ApiError::bad("can't create 'AutoRemove' container with restart policy"));
    }
    let mut places: Vec<String> = Vec::new();
    for target in targets(host)? {
        let place = target.trim_end_matches('/').to_owned();
        if places.contains(&place) {
            return Err(ApiError::bad(format!("Duplicate mount point: {}", printed(&target))));
        }
        places.push(place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for wrong in [
            json!({"Hostname": "x", "HostConfig": {"UTSMode": "host"}}),
            json!({"Hostname": "x", "HostConfig": {"NetworkMode": "container:a"}}),
            json!({"HostConfig": {"NetworkMode": "container:a", "ExtraHosts": ["a:1.2.3.4"]}}),
            json!({"HostConfig": {"NetworkMode": "container:a", "PortBindings": {"80/tcp": []}}}),
            json!({"HostConfig": {"NetworkMode": "host", "Links": ["db:a"]}}),
            json!({"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:a"}}),
            json!({"HostConfig": {"AutoRemove": true, "RestartPolicy": {"Name": "always"}}}),
            json!({"HostConfig": {"Binds": ["/a:/x", "/b:/x/"]}}),
            json!({"HostConfig": {"Binds": ["/a:/x"], "Mounts": [{"Target": "/x"}]}}),
        ] {
            assert_eq!(check(&wrong).map_err(|error| error.status.as_u16()), Err(400), "{wrong}");
        }
        let right = json!({"Hostname": "x", "HostConfig": {"NetworkMode": "host", "AutoRemove": true, "Binds": ["/a:/x", "/a:/y"]}});
        assert!(check(&right).is_ok());
    }
}
