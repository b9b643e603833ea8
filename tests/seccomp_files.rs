//! The files of seccomp profiles: each mistake has its place, and a file that is no profile is not waited for.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{feed, sandbox, text};

#[test]
fn a_mistake_in_a_profile_has_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, "seccomp: profile.json\ncommand: [\"true\"]\n").unwrap();
    let check = |content: &[u8]| {
        fs::write(directory.path().join("profile.json"), content).unwrap();
        let output = sandbox(&["spec", "check", spec.to_str().unwrap()]).output().unwrap();
        (output.status.code(), text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let rule = |inner: &str| {
        format!("{{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n  \"syscalls\": [{{ {inner} }}] }}")
    };
    let cases = [
        ("{ \"defaultAction\": \"SCMP_ACT_ALOW\" }".to_owned(), ":1:20:", "SCMP_ACT_ALLOW"),
        ("{ \"syscalls\": [] }".into(), ":1:1:", "defaultAction"),
        ("{ \"defaultAction\": \"SCMP_ACT_NOTIFY\" }".into(), ":1:20:", "SCMP_ACT_NOTIFY"),
        ("{ \"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"SECCOMP_FILTER_FLAG_NEW_LISTENER\"] }".into(), ":1:48:", "NEW_LISTENER"),
        ("{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n\t\"architectures\": [\"SCMP_ARCH_Z80\"] }".into(), ":2:20:", "did you mean SCMP_ARCH_X86?"),
        ("{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"architectures\": [\"SCMP_ARCH_X86\"],\n \"archMap\": [{ \"architecture\": \"SCMP_ARCH_X86_64\" }] }".into(), ":3:2:", "exclude each other"),
        (rule("\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 4096"), ":2:77:", "0 to 4095"),
        (rule("\"names\": [\"read\"], \"nmae\": 1, \"action\": \"SCMP_ACT_ERRNO\""), ":2:37:", "name"),
        (rule("\"name\": \"read\", \"names\": [\"write\"], \"action\": \"SCMP_ACT_ERRNO\""), ":2:16:", "exclude each other"),
        (rule("\"action\": \"SCMP_ACT_ERRNO\""), ":2:16:", "names"),
        (rule("\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": [{ \"index\": 6, \"value\": 0, \"op\": \"SCMP_CMP_EQ\" }]"), ":2:85:", "0 to 5"),
        (rule("\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": { \"minKernel\": \"new\" }"), ":2:92:", "4.8"),
        (rule("\"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\", \"includes\": { \"caps\": [\"CAP_NO\"] }"), ":2:88:", "CAP_NO"),
        ("{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [}".into(), ":2:15:", "not JSON"),
        ("defaultAction: SCMP_ACT_ALLOW".into(), ":1:1:", "not JSON"),
        (String::new(), ":1:1:", "not JSON"),
        ("[".repeat(100_000), ":1:", "not JSON"),
        (format!("{}1{}", "[".repeat(100), "]".repeat(100)), ":1:65:", "64 levels"),
    ];
    for (content, place, message) in cases {
        let (status, error) = check(content.as_bytes());
        let shown = &content[..content.len().min(200)];
        assert_eq!(status, Some(125), "{shown}: {error}");
        assert!(
            error.contains(&format!("profile.json{place}")) && error.contains(message),
            "{shown}: {error}"
        );
    }
    assert!(check(b"\xff{}").1.contains("UTF-8"));
    assert!(check(&vec![b' '; (1 << 20) + 1]).1.contains("1 MiB"));
}

#[test]
fn a_file_that_is_no_profile_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo.json");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let sparse = fs::File::create(directory.path().join("large.json")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let cases = [
        (fifo.as_path(), "regular file"),
        (Path::new("/dev/zero"), "regular file"),
        (Path::new("/proc"), "regular file"),
        (&directory.path().join("large.json"), "1 MiB"),
        (Path::new("/no/such/profile.json"), "ENOENT"),
    ];
    for (path, message) in cases {
        let spec = format!("seccomp: {}\ncommand: [\"true\"]\n", path.display());
        let output = feed(&mut sandbox(&["run", "-"]), spec);
        let error = text(&output.stderr);
        assert!(output.status.code() == Some(125) && error.contains(message), "{}: {error}", path.display());
    }
    for (value, message) in
        [("unconfined", "did you mean none?"), ("profile", "./profile.json"), ("~/a.json", "whole path")]
    {
        let output = feed(&mut sandbox(&["run", "-"]), format!("seccomp: {value}\ncommand: [\"true\"]\n"));
        let error = text(&output.stderr);
        assert!(output.status.code() == Some(125) && error.contains(message), "{value}: {error}");
    }
    // More instructions than the kernel accepts.
    let values: Vec<Value> = (0..3000)
        .map(|value| {
            let args = json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
            json!({ "names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": args })
        })
        .collect();
    let file = directory.path().join("long.json");
    fs::write(&file, json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": values }).to_string()).unwrap();
    let spec = format!("seccomp: {}\ncommand: [\"true\"]\n", file.display());
    let output = feed(&mut sandbox(&["run", "-"]), spec);
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(125) && error.contains("4096"), "{error}");
}
