//! The requests about the daemon and the machine, and what is not there.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName};
use serde_json::{Value, json};

use super::answer::{Answered, ApiError, ok, typed, with_header};
use super::command::blocking;
use super::request::{ApiRequest, ApiVersion};
use super::{Daemon, containers, images, pull, volumes};
use crate::container::usage_details::PossibleLimits;
use crate::host::home::HomePlace;
use crate::text::{printed, text};
use crate::value::timestamp::Timestamp;

/// The version from which on nothing reports memory of the kernel alone, and the cache of builds has no size of its own.
const WITHOUT_KERNEL_MEMORY: ApiVersion = ApiVersion(1, 42);

/// Docker's word for this processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first request of each command of `docker`: it reads the version from the headers, which all answers have.
pub(super) async fn ping(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    let answer = typed(StatusCode::OK, "text/plain; charset=utf-8", b"OK".to_vec());
    let answer = with_header(answer, CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    Ok(with_header(answer, HeaderName::from_static("builder-version"), "1"))
}

/// The versions.
pub(super) async fn version(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    let own = env!("CARGO_PKG_VERSION");
    let (newest, oldest) = (ApiVersion::NEWEST.to_string(), ApiVersion::OLDEST.to_string());
    let kernel = kernel();
    ok(&json!({
        "Platform": { "Name": "sandbox" },
        "Components": [{
            "Name": "Engine",
            "Version": own,
            "Details": {
                "ApiVersion": newest, "MinAPIVersion": oldest, "Arch": architecture(), "Os": "linux",
                "KernelVersion": kernel, "GitCommit": "", "GoVersion": "", "BuildTime": "", "Experimental": "false",
            },
        }],
        "Version": own,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "BuildTime": "",
    }))
}

/// What is known about the machine.
pub(super) async fn info(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let (images, [running, paused, stopped]) = blocking(images::counts).await?;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let release = read("/etc/os-release");
    let of_release = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let is_v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let is_root = nix::unistd::geteuid().is_root();
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    if !is_root {
        security.push("name=rootless");
    }
    let limits = blocking(|| Ok(PossibleLimits::here())).await?;
    let warnings: Vec<String> = [
        (limits.memory, "memory limit"),
        (limits.swap || !limits.memory, "swap limit"),
        (limits.cpu, "cpu cfs quota"),
        (limits.cpu, "cpu cfs period"),
        (limits.cpu, "cpu shares"),
        (limits.cpuset, "cpuset"),
    ]
    .into_iter()
    .filter(|(is_possible, _)| !is_possible)
    .map(|(_, what)| format!("WARNING: No {what} support"))
    .collect();
    let mut about = json!({
        "ID": HomePlace::find().hash(),
        "Containers": running + paused + stopped,
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": stopped,
        "Images": images,
        "Driver": "overlay2",
        "DriverStatus": [],
        "Plugins": { "Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file"] },
        "MemoryLimit": limits.memory,
        "SwapLimit": limits.swap,
        "CpuCfsPeriod": limits.cpu,
        "CpuCfsQuota": limits.cpu,
        "CPUShares": limits.cpu,
        "CPUSet": limits.cpuset,
        "PidsLimit": limits.pids,
        "IPv4Forwarding": read("/proc/sys/net/ipv4/ip_forward").trim() == "1",
        "OomKillDisable": false,
        "Debug": false,
        "NFd": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        "NGoroutines": 0,
        "SystemTime": Timestamp::now(),
    });
    let more = json!({
        "LoggingDriver": "json-file",
        "CgroupDriver": if limits.any() { "cgroupfs" } else { "none" },
        "CgroupVersion": if is_v2 { "2" } else { "1" },
        "NEventsListener": 0,
        "KernelVersion": kernel(),
        "OperatingSystem": of_release("PRETTY_NAME"),
        "OSVersion": of_release("VERSION_ID"),
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": { "InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": [] },
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory.unwrap_or_default() * 1024,
        "GenericResources": null,
        "DockerRootDir": daemon.home,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": rustix::system::uname().nodename().to_string_lossy(),
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": { "sandbox": { "path": "sandbox" } },
        "DefaultRuntime": "sandbox",
        "Swarm": { "LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": false, "RemoteManagers": null },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "sandbox",
        "SecurityOptions": security,
        "Warnings": warnings,
    });
    if let (Some(about), Value::Object(more)) = (about.as_object_mut(), more) {
        about.extend(more);
    }
    if request.version >= ApiVersion(1, 44) {
        about["CDISpecDirs"] = json!([]);
    }
    if request.version < WITHOUT_KERNEL_MEMORY {
        (about["KernelMemory"], about["KernelMemoryTCP"]) = (json!(false), json!(false));
    }
    ok(&about)
}

/// Checks a password for a registry.
pub(super) async fn auth(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    pull::login(&daemon, &mut request).await
}

/// How much space everything takes.
pub(super) async fn disk_usage(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    // Only what is asked for is counted. Without a type, that is everything.
    let types = request.query.all("type");
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(other) = types.iter().find(|one| !known.contains(&one.as_str())) {
        return Err(ApiError::bad(format!("unknown object type: {}", printed(other))));
    }
    let is_asked = |name: &str| types.is_empty() || types.iter().any(|one| one == name);
    request.query = super::request::RequestQuery::parse("all=1&size=1");
    let version = request.version;
    let mut answer =
        json!({ "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null, "BuildCache": null });
    if is_asked("image") {
        let (images, size) = blocking(move || images::rows(version)).await?;
        (answer["Images"], answer["LayersSize"]) = (images.into(), size.into());
    }
    if is_asked("volume") {
        answer["Volumes"] = json!(blocking(volumes::rows).await?);
    }
    if is_asked("container") {
        answer["Containers"] = json!(containers::rows(&daemon, &request).await?);
    }
    if is_asked("build-cache") {
        answer["BuildCache"] = json!([]);
    }
    if version < WITHOUT_KERNEL_MEMORY {
        answer["BuilderSize"] = json!(0);
    }
    ok(&answer)
}

/// A build by BuildKit.
pub(super) async fn buildkit(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, text("daemon.buildkit")))
}

/// There are none.
pub(super) async fn no_plugins(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    ok(&Vec::<Value>::new())
}

/// There are none.
pub(super) async fn no_plugin(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let message = format!("plugin \"{}\" not found", printed(request.name()));
    Err(ApiError::new(StatusCode::NOT_FOUND, message))
}

/// What a registry has.
pub(super) async fn distribution(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    Err(ApiError::absent(&text("daemon.what.distribution")))
}

/// There is no swarm.
pub(super) async fn swarm(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text("daemon.swarm")))
}
