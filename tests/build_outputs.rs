//! `ADD URL`, `COPY --parents`, `build --output`, and the cache in `system df`.
//!
//! Other inputs of the same kind as the ones here:
//! - redirects to other servers; answers without a length; files that change between two builds.
//! - outputs into directories that have files already, onto full disks, to closed pipes.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::json;
use support::build::{PATH, base, build, context, run};
use support::image::digest;
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::terminal::Terminal;
use support::{is_root, text};

fn lab() -> KeptHome {
    let home = KeptHome::new();
    base(&home, "lab", |layer| layer.directory("existing"), json!({ "Env": [PATH] }));
    home
}

/// Serves these answers until the test ends: the first line, further headers, and the content of each path.
fn serve(answers: BTreeMap<&'static str, (&'static str, String, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned));
            let _ = lines.find(String::is_empty);
            let none = ("404 Not Found", String::new(), "");
            let (status, headers, content) = answers.get(path.unwrap_or_default().as_str()).unwrap_or(&none);
            let length = content.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{content}"
            );
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_file_of_a_server_is_added() {
    if ran_with_loopback("a_file_of_a_server_is_added") {
        return;
    }
    let home = lab();
    let modified = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned();
    let server = serve(BTreeMap::from([
        ("/a/file.txt?x=1", ("200 OK", modified, "from a server")),
        ("/a/na%20me.txt", ("200 OK", String::new(), "a space")),
        ("/moved", ("302 Found", "Location: /a/file.txt?x=1\r\n".to_owned(), "")),
    ]));
    let sum = digest(b"from a server");
    let dockerfile = format!(
        "FROM lab\nADD {server}/a/file.txt?x=1 /into/\nADD --checksum={sum} --chmod=644 {server}/moved /named\n\
         ADD {server}/a/file.txt?x=1 file /both/\nADD {server}/a/na%20me.txt /both/\n"
    );
    let place = context(&home, "url", &dockerfile, &[("file", "F")]);
    build(&home, &["-t", "url", place.to_str().unwrap()]);
    let shown = run(&home, &["url", "sh", "-c", "cat /into/file.txt /named /both/file.txt /both/file"]);
    assert_eq!(shown, "from a serverfrom a serverfrom a serverF");
    assert_eq!(run(&home, &["url", "cat", "/both/na me.txt"]), "a space");
    let shown = run(&home, &["url", "stat", "-c", "%a %u %Y", "/into/file.txt", "/named"]);
    assert_eq!(shown, "600 0 784111777\n644 0 784111777");
    // The content decides whether the step is taken from the cache.
    let again = build(&home, &[place.to_str().unwrap()]);
    assert_eq!(again.iter().filter(|line| *line == " ---> Using cache").count(), 4, "{again:#?}");
    for (instruction, wanted) in [
        (format!("ADD --checksum=sha256:{} {server}/moved /x", "0".repeat(64)), "the file has the digest"),
        (format!("ADD {server}/absent /x"), "404"),
        (format!("ADD --checksum={sum} file /x"), "--checksum is for one source"),
        (format!("ADD --checksum=md5:1 {server}/moved /x"), "is not a digest"),
        (format!("ADD {server}/ /existing"), "404"),
        (format!("ADD {server}/x.git /x"), "a git repository"),
    ] {
        fs::write(place.join("Dockerfile"), format!("FROM lab\n{instruction}\n")).unwrap();
        let message = home.refused(&["build", "--network", "none", place.to_str().unwrap()], 1);
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(wanted) && message.contains("Dockerfile"), "{instruction}: {message}");
    }
}

#[test]
fn the_directories_of_a_source_are_kept() {
    let home = lab();
    let dockerfile = "\
FROM lab AS first
RUN mkdir -p /x/y/z && echo deep > /x/y/z/file
FROM lab
COPY --parents a/b/one.txt a/*/two.txt c /plain/
COPY --parents a/./b/one.txt /pivot/
COPY --parents --from=first /x/y/./z /stage/
";
    let files = [("a/b/one.txt", "1"), ("a/d/two.txt", "2"), ("c/e/three.txt", "3")];
    let place = context(&home, "parents", dockerfile, &files);
    build(&home, &["-t", "parents", place.to_str().unwrap()]);
    let paths = ["/plain/a/b/one.txt", "/plain/a/d/two.txt", "/plain/c/e/three.txt", "/pivot/b/one.txt"];
    assert_eq!(run(&home, &[&["parents", "cat"], &paths[..], &["/stage/z/file"]].concat()), "1231deep");
}

#[test]
fn the_result_is_written_outside_of_the_store() {
    let home = lab();
    let dockerfile = "FROM lab AS build\nRUN mkdir /out && echo built > /out/result && ln /out/result /out/other\n\
        FROM scratch\nCOPY --from=build /out /\n";
    let place = context(&home, "output", dockerfile, &[]);
    let (path, out) = (place.to_str().unwrap(), home.around().join("out"));
    let named = home.out(&["images", "-q"]).lines().count();
    build(&home, &["-o", out.to_str().unwrap(), path]);
    assert_eq!(fs::read_to_string(out.join("result")).unwrap(), "built\n");
    assert_eq!(fs::read_to_string(out.join("other")).unwrap(), "built\n");
    // Without a name, no image is added.
    assert_eq!(home.out(&["images", "-q"]).lines().count(), named);
    let file = home.around().join("result.tar");
    build(&home, &["-o", &format!("type=tar,dest={}", file.display()), path]);
    let names = |bytes: &[u8]| {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        let names = entries.map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names(&fs::read(&file).unwrap()), ["other", "result"]);
    // Standard output has the archive alone.
    let output = home.run(&["build", "--network", "none", "-o", "-", path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(names(&output.stdout), ["other", "result"]);
    build(&home, &["-t", "kept", "-o", &format!("type=oci,dest={}", file.display()), path]);
    home.out(&["rmi", "kept"]);
    home.out(&["load", "-q", "-i", file.to_str().unwrap()]);
    assert!(home.out(&["images"]).contains("kept"));
    home.refused(&["build", "-o", "type=image", path], 2);
    home.refused(&["build", "-o", "/proc/1/none", path], 1);
}

#[test]
fn the_cache_takes_space_of_its_own() {
    let home = lab();
    let row = || {
        let all = home.out(&["system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Size}}"]);
        all.lines().find(|line| line.starts_with("Build Cache")).unwrap().to_owned()
    };
    assert_eq!(row(), "Build Cache: 0 0B");
    let place = context(&home, "df", "FROM lab\nCOPY large /\nCOPY other /\n", &[("other", "x")]);
    fs::write(place.join("large"), vec![b'x'; 3_000_000]).unwrap();
    build(&home, &["-t", "df", place.to_str().unwrap()]);
    // The named image has the same layers.
    assert_eq!(row(), "Build Cache: 2 0B");
    home.out(&["rmi", "df"]);
    assert_eq!(row(), "Build Cache: 2 3MB");
    let verbose =
        home.out(&["system", "df", "-v", "--format", "{{range .BuildCache}}{{.Size}} {{.Shared}},{{end}}"]);
    let mut steps: Vec<&str> = verbose.split_terminator(',').collect();
    steps.sort_unstable();
    assert_eq!(steps, ["1B false", "3MB false"]);
    let verbose = home.out(&["system", "df", "-v"]);
    assert!(verbose.contains("Build cache usage: 3MB\n\nCACHE ID       CACHE TYPE   SIZE"), "{verbose}");
    home.out(&["builder", "prune", "-f"]);
    assert_eq!(row(), "Build Cache: 0 0B");
}

/// A step that is done has a line with its time. A running one shows its last lines.
#[test]
fn a_terminal_shows_the_running_steps() {
    let home = lab();
    let dockerfile = "FROM lab\nRUN echo visible; while ! cat /c/now 2> /dev/null; do sleep 0.1; done\n";
    let dockerfile = dockerfile
        .replace("RUN", "RUN --mount=type=cache,target=/c")
        .replace("echo visible", "echo working; echo visible");
    let place = context(&home, "live", &dockerfile, &[]);
    let own = format!("SANDBOX_HOME={}", home.path().display());
    let program = support::binary();
    let words = [&*own, "TERM=xterm", "NO_COLOR=1", program.to_str().unwrap(), "build", "--network", "none"];
    let words = [&words[..], &["-t", "live", place.to_str().unwrap()]].concat();
    let mut terminal = Terminal::of(std::path::Path::new("/usr/bin/env"), &words);
    terminal.wait_for("    visible");
    let mounts = home.path().join("images/mounts");
    let cache = fs::read_dir(&mounts).unwrap().next().unwrap().unwrap().path();
    fs::write(cache.join("files/now"), "").unwrap();
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(shown.contains("Step 2/2 : RUN") && shown.contains("Successfully tagged live:latest"), "{shown}");
    // Again, with the cache, and as lines.
    let mut terminal = Terminal::of(std::path::Path::new("/usr/bin/env"), &words);
    terminal.wait_for("cached");
    assert!(terminal.end().0.success());
    let plain = [&words[..], &["--progress", "plain"]].concat();
    let mut terminal = Terminal::of(std::path::Path::new("/usr/bin/env"), &plain);
    terminal.wait_for(" ---> Using cache");
    assert!(terminal.end().0.success());
    // A failed command has printed why.
    fs::write(place.join("Dockerfile"), "FROM lab\nRUN echo the reason; exit 3\n").unwrap();
    let mut terminal = Terminal::of(std::path::Path::new("/usr/bin/env"), &words);
    terminal.wait_for("the reason");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(3), "{shown}");
}

#[test]
fn famous_mistakes_are_built_beside_the_right_way() {
    let home = KeptHome::new();
    let listed = home.out(&["build", "--break"]);
    for (name, wrong, right) in [
        (
            "cache-order",
            "RUN cat /app/libraries > /installed  Running",
            "RUN cat /app/libraries > /installed  Using cache",
        ),
        ("secret-in-layer", "grep -c PASSWORD  1", "grep -c PASSWORD  0"),
        ("rm-in-next-layer", "5MB", "0B"),
    ] {
        assert!(listed.contains(name), "{listed}");
        let shown = home.out(&["build", "--break", name]);
        let lines: Vec<String> = shown
            .lines()
            .map(|line| line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
            .collect();
        let at = |wanted: &str| {
            let wanted = wanted.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            lines.iter().position(|line| line.contains(&wanted))
        };
        let (first, second) =
            (at(wrong), lines.iter().rposition(|line| line.contains(&right.replace("  ", " "))));
        assert!(first.is_some() && second > first, "{name}: {shown}");
    }
    let message = home.refused(&["build", "--break", "cache-oder"], 2);
    assert!(message.contains("cache-order"), "{message}");
}

/// With one ID, no file can belong to another user, but layers and archives keep the owners.
#[test]
fn owners_that_are_not_mapped_are_kept() {
    let home = lab();
    let dockerfile = "FROM lab AS first\nCOPY --chown=5:6 tree /owned\nCOPY --chown=5:6 file /owned/file\n\
                      FROM lab\nCOPY --from=first /owned /copied\nCOPY file /copied/new\n";
    let files = [("file", "x"), ("tree/in", "y")];
    let place = context(&home, "owners", dockerfile, &files);
    let (path, around) = (place.to_str().unwrap(), home.around());
    let [tar, local] = ["owned.tar", "local"].map(|name| around.join(name).display().to_string());
    let output = format!("type=tar,dest={tar}");
    let words = ["build", "--network", "none", "-o", &output, "-o", &local, path];
    let done = home.run(&words);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let listed = Command::new("tar").args(["--numeric-owner", "-tvf", &tar]).output().unwrap();
    let listed = text(&listed.stdout);
    let owner = |name: &str| {
        let line = listed.lines().find(|line| line.trim_end_matches('/').ends_with(name));
        line.unwrap_or_default().split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(["copied/file", "copied/in", "copied/new"].map(owner), ["5/6", "5/6", "0/0"]);
    let has_note = text(&done.stderr).contains("belong to you");
    assert_eq!(has_note, !is_root(), "{}", text(&done.stderr));
    if !is_root() {
        // The command sees why.
        fs::write(place.join("Dockerfile"), "FROM lab\nRUN chown 5:6 /bin/sh\n").unwrap();
        let message = home.refused(&["build", "--network", "none", path], 1);
        assert!(message.contains("/etc/subuid") && message.contains("Only your own ID"), "{message}");
    }
}
