//! The parts of a container as a picture: in text, or as an SVG document.
//!
//! Both draw the same panels: the processes, what the kernel isolates and limits them by, and the files.

use std::fmt::Write;

use super::paint;
use super::svg::escape;
use crate::container::anatomy::{Anatomy, AnatomyFile, AnatomyNamespace, ProcessRole};
use crate::text::{first_of, pad, text, text_with, wrap};

/// The maximum number of rows of a panel. What is beyond them is counted.
const ROWS: usize = 14;

/// The titles of the columns of processes.
const TITLES: [&str; 4] =
    ["container.tree.process", "container.tree.outside", "container.tree.inside", "container.tree.what"];

/// The panels of what the kernel isolates and limits the container by.
const INSIDE_PANELS: [&str; 3] =
    ["container.tree.namespaces", "container.tree.cgroups", "container.tree.mounts"];

/// A part of the picture.
struct Panel {
    title: String,
    /// What the rows mean.
    about: String,
    rows: Vec<Vec<String>>,
}

impl Panel {
    fn new(title: &str, about: &str, values: &[(&str, &str)], rows: Vec<Vec<String>>) -> Panel {
        Panel { title: text(title), about: text_with(about, values), rows }
    }

    /// The rows with columns of equal width, each in at most `width` columns.
    fn lines(&self, width: usize) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let of = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| paint::columns(cell));
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| of(row, column)).max().unwrap_or_default())
            .collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(column, cell)| pad(cell, widths[column]));
            paint::cut(cells.collect::<Vec<_>>().join("  ").trim_end(), width)
        };
        let mut lines: Vec<String> = self.rows.iter().take(ROWS).map(line).collect();
        if self.rows.len() > ROWS {
            let more = (self.rows.len() - ROWS).to_string();
            lines.push(text_with("container.tree.more", &[("count", &more)]));
        }
        lines
    }
}

/// `web  4f3a21e93055  running`.
fn title(anatomy: &Anatomy) -> String {
    text_with(
        "container.tree.title",
        &[("name", &anatomy.name), ("id", &anatomy.id), ("status", anatomy.status)],
    )
}

/// The picture as text.
pub fn text_of(anatomy: &Anatomy) -> String {
    let width = paint::width();
    let mut out = format!("{}\n", paint::heading(&title(anatomy)));
    for panel in panels(anatomy) {
        let _ = writeln!(out, "\n{}", paint::heading(&panel.title));
        panel.lines(width - 2).iter().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
        wrap(&panel.about, width - 2).iter().for_each(|line| {
            let _ = writeln!(out, "  {}", paint::faint(line));
        });
    }
    out
}

fn panels(anatomy: &Anatomy) -> Vec<Panel> {
    let [home, run] = anatomy.places.each_ref().map(crate::text::printed);
    let values = [("home", &*home), ("run", &*run), ("id", &*anatomy.id)];
    let files = Panel::new(
        "container.tree.files",
        "container.tree.files.about",
        &values,
        anatomy.files.iter().map(|(kind, path)| file(*kind, path)).collect(),
    );
    let Some(command) = anatomy.command else {
        return vec![
            files,
            Panel::new(
                "container.tree.none",
                "container.tree.none.about",
                &[("name", &anatomy.name)],
                Vec::new(),
            ),
        ];
    };
    let pid = command.to_string();
    let mut all = vec![
        Panel::new("container.tree.processes", "container.tree.processes.about", &[], processes(anatomy)),
        Panel::new(
            "container.tree.namespaces",
            "container.tree.namespaces.about",
            &[("pid", &pid), ("names", &differing(&anatomy.namespaces))],
            namespaces(anatomy),
        ),
        cgroups(anatomy),
    ];
    let count = anatomy.mount_count.to_string();
    let mounts = anatomy.mounts.iter().map(|mount| {
        vec![mount.place.clone(), mount.filesystem.clone(), mount.access.to_owned(), mount.root.clone()]
    });
    all.push(Panel::new(
        "container.tree.mounts",
        "container.tree.mounts.about",
        &[("count", &count), ("pid", &pid)],
        mounts.collect(),
    ));
    if !anatomy.ports.is_empty() {
        let ports = anatomy.ports.iter();
        let ports = ports.map(|(outside, inside)| vec![outside.clone(), "->".to_owned(), inside.clone()]);
        all.push(Panel::new("container.tree.ports", "container.tree.ports.about", &[], ports.collect()));
    }
    all.push(files);
    all
}

fn processes(anatomy: &Anatomy) -> Vec<Vec<String>> {
    let titles = TITLES.map(text);
    let row = |process: &crate::container::anatomy::AnatomyProcess| {
        let branch = match process.depth {
            0 => String::new(),
            depth => format!("{}+- ", "   ".repeat(depth - 1)),
        };
        let what = match process.role {
            ProcessRole::Supervisor => text("container.tree.supervisor"),
            ProcessRole::Relay => text("container.tree.relay"),
            ProcessRole::Network => text("container.tree.network"),
            ProcessRole::Inside => process.command.clone(),
        };
        let inside = process.inside.map_or("-".to_owned(), |pid| pid.to_string());
        vec![format!("{branch}{}", process.name), process.pid.to_string(), inside, what]
    };
    std::iter::once(titles.to_vec()).chain(anatomy.processes.iter().map(row)).collect()
}

fn is_new(namespace: &AnatomyNamespace) -> bool {
    namespace.name.is_some() && namespace.name != namespace.callers
}

/// The kinds of the namespaces that are not the caller's.
fn differing(namespaces: &[AnatomyNamespace]) -> String {
    let names: Vec<String> = namespaces
        .iter()
        .filter(|namespace| is_new(namespace))
        .map(|one| one.kind.name().to_owned())
        .collect();
    if names.is_empty() { "-".to_owned() } else { first_of(&names, names.len()) }
}

fn namespaces(anatomy: &Anatomy) -> Vec<Vec<String>> {
    let titles = vec![text("container.tree.shell"), String::new(), text("container.tree.container")];
    let row = |namespace: &AnatomyNamespace| {
        let unread = || text("container.tree.unread");
        let relation = match &namespace.name {
            None => "??",
            Some(_) if is_new(namespace) => "!=",
            Some(_) => "==",
        };
        let callers = namespace.callers.clone().unwrap_or_else(unread);
        vec![callers, relation.to_owned(), namespace.name.clone().unwrap_or_else(unread)]
    };
    std::iter::once(titles).chain(anatomy.namespaces.iter().map(row)).collect()
}

fn cgroups(anatomy: &Anatomy) -> Panel {
    if anatomy.cgroups.is_empty() {
        return Panel::new("container.tree.nocgroups", "container.tree.nocgroups.about", &[], Vec::new());
    }
    let row = |cgroup: &crate::container::anatomy::AnatomyCgroup| {
        let limits: Vec<String> =
            cgroup.limits.iter().map(|(file, value)| format!("{file} = {value}")).collect();
        vec![cgroup.hierarchy.clone(), limits.join(", "), cgroup.path.clone()]
    };
    Panel::new(
        "container.tree.cgroups",
        "container.tree.cgroups.about",
        &[("id", &anatomy.id)],
        anatomy.cgroups.iter().map(row).collect(),
    )
}

fn file(kind: AnatomyFile, path: &std::path::Path) -> Vec<String> {
    let key = match kind {
        AnatomyFile::Config => "container.tree.file.config",
        AnatomyFile::State => "container.tree.file.state",
        AnatomyFile::Log => "container.tree.file.log",
        AnatomyFile::Upper => "container.tree.file.upper",
        AnatomyFile::Name => "container.tree.file.name",
        AnatomyFile::Volume => "container.tree.file.volume",
        AnatomyFile::Socket => "container.tree.file.socket",
        AnatomyFile::Journal => "container.tree.file.journal",
    };
    vec![text(key), crate::text::printed(path)]
}

/// The width of the document. A browser or a slide scales it.
const WIDTH: usize = 800;
/// The space around a panel.
const MARGIN: usize = 16;
/// The height of a line of text.
const LINE: usize = 17;
/// The number of characters of a monospaced line in a panel.
const CHARACTERS: usize = 102;
/// The frames of the panels: those of the machine, and those of the container. The dashes differ in black and white too.
const OUTSIDE: (&str, &str) = ("#0072b2", "none");
const INSIDE: (&str, &str) = ("#c04a00", "8 4");

/// The picture as an SVG document that needs no other file.
pub fn svg_of(anatomy: &Anatomy) -> String {
    let panels = panels(anatomy);
    let mut body = String::new();
    let mut top = 48;
    for panel in &panels {
        let lines = panel.lines(CHARACTERS);
        let about = wrap(&panel.about, CHARACTERS);
        let height = (lines.len() + about.len() + 2) * LINE;
        let is_inside = INSIDE_PANELS.iter().any(|title| panel.title == text(title));
        let (color, dashes) = if is_inside { INSIDE } else { OUTSIDE };
        let _ = writeln!(
            body,
            r##"<rect x="{MARGIN}" y="{top}" width="{}" height="{height}" rx="6" fill="none" stroke="{color}" stroke-dasharray="{dashes}"/>"##,
            WIDTH - 2 * MARGIN
        );
        let (x, mut y) = (MARGIN + 12, top + LINE + 3);
        let _ = writeln!(body, r#"<text x="{x}" y="{y}" font-weight="600">{}</text>"#, escape(&panel.title));
        for line in &lines {
            y += LINE;
            let _ = writeln!(
                body,
                r#"<text x="{x}" y="{y}" font-family="monospace" xml:space="preserve">{}</text>"#,
                escape(line)
            );
        }
        for line in &about {
            y += LINE;
            let _ = writeln!(body, r##"<text x="{x}" y="{y}" fill="#555">{}</text>"##, escape(line));
        }
        top += height + MARGIN;
    }
    let described = panels.iter().map(|panel| format!("{}: {}", panel.title, panel.about));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img" aria-labelledby="title desc" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif" font-size="12" fill="#222">
<title id="title">{title}</title>
<desc id="desc">{description}</desc>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="30" font-size="16" font-weight="600">{title}</text>
{body}</svg>
"##,
        title = escape(&title(anatomy)),
        description = escape(&described.collect::<Vec<_>>().join(" ")),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::container::anatomy::{AnatomyCgroup, AnatomyMount, AnatomyProcess};
    use crate::feature::Feature;

    fn sample() -> Anatomy {
        let process = |role, depth, pid, inside| AnatomyProcess {
            role,
            depth,
            name: "<sh>".into(),
            pid,
            inside,
            command: "sh -c 'a & b'".into(),
        };
        let namespace = |kind: Feature, name: Option<&str>| AnatomyNamespace {
            kind,
            name: name.map(str::to_owned),
            callers: Some(format!("{kind}:[1]")),
        };
        let mount = |number: usize| AnatomyMount {
            place: format!("/m{number}"),
            filesystem: "tmpfs".into(),
            access: "rw",
            root: "/".into(),
        };
        Anatomy {
            name: "web".into(),
            id: "4f3a21e93055".into(),
            places: [PathBuf::from("/home"), PathBuf::from("/run")],
            status: "running",
            processes: vec![
                process(ProcessRole::Supervisor, 0, 10, None),
                process(ProcessRole::Relay, 1, 11, None),
                process(ProcessRole::Inside, 1, 12, Some(1)),
                process(ProcessRole::Inside, 2, 13, Some(2)),
            ],
            command: Some(12),
            namespaces: vec![
                namespace(Feature::Pid, Some("pid:[2]")),
                namespace(Feature::Net, Some("net:[1]")),
                namespace(Feature::User, None),
            ],
            cgroups: vec![AnatomyCgroup {
                hierarchy: "pids".into(),
                path: "/sandbox/4f3a".into(),
                limits: vec![("pids.max".into(), "50".into())],
            }],
            mounts: (0..20).map(mount).collect(),
            mount_count: 40,
            ports: vec![("0.0.0.0:80".into(), "80/tcp".into())],
            files: vec![(AnatomyFile::Log, PathBuf::from("/log"))],
        }
    }

    #[test]
    fn every_part_is_drawn_once() {
        let drawn = text_of(&sample());
        for part in [
            "web  4f3a21e93055  running",
            "<sh>        10       -",
            "+- <sh>     12       1",
            "   +- <sh>  13       2",
            "pid:[1]     !=  pid:[2]",
            "net:[1]     ==  net:[1]",
            "user:[1]    ??",
            "pids  pids.max = 50  /sandbox/4f3a",
            "/m13  tmpfs  rw  /",
            "0.0.0.0:80  ->  80/tcp",
        ] {
            assert_eq!(drawn.matches(part).count(), 1, "{part}\n{drawn}");
        }
        assert!(!drawn.contains("/m14") && drawn.contains("6 more"), "{drawn}");
    }

    #[test]
    fn the_document_has_the_same_parts_and_is_escaped() {
        let document = svg_of(&sample());
        assert!(document.starts_with("<svg ") && document.ends_with("</svg>\n"));
        assert_eq!(document.matches("<text").count(), document.matches("</text>").count());
        assert!(document.contains("+- &lt;sh&gt;") && document.contains("a &amp; b"), "{document}");
        assert!(!document.contains("<sh>"));
        let stopped = Anatomy { command: None, status: "exited", ..sample() };
        assert!(text_of(&stopped).contains("exited") && !svg_of(&stopped).contains("namespaces"));
    }
}
