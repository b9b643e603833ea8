//! The files of the course that are compiled in. A test checks that no file of `lessons/` is missing here.

/// A file of a pack: its path in the directory of the pack, and its content.
pub type PackFile = (&'static str, &'static [u8]);

/// One file of `lessons/`.
macro_rules! file {
    ($($path:expr),+) => {
        (concat!($($path),+), include_bytes!(concat!("../../../lessons/", $($path),+)).as_slice())
    };
}

/// The names of the pictures, and a row for each lesson: its name with its number, the languages of its text, and the
/// files of its exercises.
macro_rules! lessons {
    (
        pictures [$($picture:literal)*];
        $($lesson:literal [$($language:literal)+] [$($file:literal)*];)*
    ) => {
        /// All files of the course.
        pub const FILES: &[&[PackFile]] = &[
            &[file!("pack.yaml"), $(file!("pictures/", $picture, ".svg"),)*],
            $(&[
                $(file!($language, "/", $lesson, ".md"),)+
                file!("exercises/", $lesson, ".yaml"),
                $(file!("exercises/", $lesson, "/", $file),)*
            ],)*
        ];
    };
}

// A file of an exercise is written as "EXERCISE/FILE".
lessons! {
    pictures [
        "attacks" "blkio" "build" "cache" "container" "conversation" "cpu" "daemon" "data" "devices" "exec" "hardening"
        "image" "init" "ipc" "join" "layers" "life" "look" "memory" "mnt" "net" "objects" "overlay" "pid" "pids" "ports"
        "root" "seccomp" "signals" "small" "socket" "tree" "user" "uts" "whiteouts"
    ];

    "01-look" ["en" "zh"] [];
    "02-pid" ["en" "zh"] ["repair/box.yaml" "repair/solved.yaml" "forks/forks.c" "forks/solution.c"];
    "03-init" ["en" "zh"] ["init/init.c" "init/orphans.sh" "init/reaps.c" "init/solution.c"];

    "04-mnt" ["en" "zh"] [
        "slave/measure.sh" "leak/box.sh" "leak/late.c" "leak/mounts.c" "leak/nothing.c" "leak/solution.c"
    ];

    "05-root" ["en" "zh"] [
        "jail/jail.c" "jail/nothing.c" "jail/old.c" "jail/sleep.c" "jail/solution.c" "new-root/make-root.sh" "table/measure.sh"
    ];

    "06-uts" ["en" "zh"] ["node-c/node.c" "node-c/short.c" "node-c/solution.c"];

    "07-ipc" ["en" "zh"] ["box/box.yaml" "box/solved.yaml" "visible/measure.sh"];

    "08-net" ["en" "zh"] ["server/server.c" "server/solution.c"];

    "09-user" ["en" "zh"] ["maps/maps.c" "maps/solution.c"];

    "10-memory" ["en" "zh"] ["box/box.yaml" "box/solved.yaml" "hold/hold.c" "hold/solution.c"];

    "11-cpu" ["en" "zh"] ["share/share.yaml" "share/solved.yaml" "ratio/spin.sh"];

    "12-blkio" ["en" "zh"] ["disk/disk.yaml" "disk/solved.yaml"];

    "13-devices" ["en" "zh"] [];

    "14-pids" ["en" "zh"] ["workers/workers.c" "workers/solution.c"];

    "15-tree" ["en" "zh"] ["tree/tree.sh" "tree/solved.sh" "lower/count.sh"];

    "16-container" ["en" "zh"] [
        "repair/lab.yaml" "repair/lab-solved.yaml" "links/count.sh" "by-hand/box.sh" "by-hand/box-solved.sh"
    ];

    "17-hardening" ["en" "zh"] [
        "repair/hard.yaml" "repair/hard-solved.yaml" "filter/filter.c" "filter/solution.c"
    ];

    "18-attacks" ["en" "zh"] [
        "reach/reach.sh" "repair/open.yaml" "repair/closed.yaml" "launch/launch.c" "launch/solution.c" "launch/token"
    ];

    "19-ports" ["en" "zh"] [
        "publish/serve.pl" "bridge/bridge.sh" "bridge/solved.sh" "socket/publish.c" "socket/solution.c"
    ];

    "20-exec" ["en" "zh"] [
        "join/join.c" "join/solution.c" "join/start.sh" "join/web.yaml" "numbers/measure.sh" "second/box.yaml"
    ];

    "21-seccomp" ["en" "zh"] [
        "count/count.json" "count/count.sh" "limits/plugin.sh" "signals/signals.json" "signals/signals.sh"
        "signals/signals.yaml"
    ];

    "22-join" ["en" "zh"] ["parameter/log.yaml" "parameter/pod.yaml" "same/measure.sh" "sidecar/web.yaml"];

    "23-layers" ["en" "zh"] [
        "hide/hide.yaml" "hide/make-secret.sh" "names/measure.sh" "order/box.yaml" "order/make-layers.sh"
    ];

    "24-life" ["en" "zh"] ["keep/keep.sh" "keep/solved.sh" "lines/lines.sh" "supervisors/measure.sh"];

    "25-signals" ["en" "zh"] [
        "between/server.sh" "between/web.yaml" "server/box.yaml" "server/server.c" "server/solution.c" "status/measure.sh"
    ];

    "26-data" ["en" "zh"] [
        "starts/count.yaml" "starts/make-count.sh" "starts/three.sh" "twice/measure.sh" "volume/box.yaml"
        "volume/make-base.sh"
    ];

    "27-image" ["en" "zh"] ["blobs/measure.sh" "own/box.yaml"];

    "28-whiteouts" ["en" "zh"] ["gone/box.yaml" "gone/make-image.sh" "marks/measure.sh"];

    "29-objects" ["en" "zh"] ["left/measure.sh" "two/box.yaml" "two/make-image.sh"];

    "30-build" ["en" "zh"] ["cache/measure.sh"];

    "31-cache" ["en" "zh"] ["argument/measure.sh" "fresh/Dockerfile"];

    "32-small" ["en" "zh"] ["kept/measure.sh" "scratch/wait.c" "stages/stages.Dockerfile"];

    "33-daemon" ["en" "zh"] ["stopped/measure.sh"];

    "34-conversation" ["en" "zh"] [
        "client/solution.c" "client/talk.c" "frames/measure.sh" "resize/make-image.sh"
    ];

    "35-socket" ["en" "zh"] ["dangerous/box.json" "readable/measure.sh" "readonly/note.txt"];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::FILES;
    use crate::teach::course::pack::{LANGUAGES, Pack};

    #[test]
    fn every_file_of_the_lessons_is_compiled_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
        let mut on_disk = BTreeSet::from(["pack.yaml".to_owned()]);
        let mut directories: Vec<_> =
            LANGUAGES.iter().copied().chain(["exercises", "pictures"]).map(|name| root.join(name)).collect();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    on_disk.insert(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        let compiled: BTreeSet<String> =
            FILES.iter().flat_map(|files| files.iter()).map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(compiled, on_disk, "list the files of lessons/ in src/teach/course/shipped.rs");
    }

    #[test]
    fn the_course_has_no_mistake() {
        let pack = Pack::linted(None).map_err(|error| crate::render::error::text_in(&error, 100));
        let pack = pack.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let names: Vec<&str> = pack.lessons.iter().map(|lesson| lesson.name.as_str()).collect();
        assert_eq!(names[..2], ["look", "pid"]);
    }
}
