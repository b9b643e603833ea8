//! Right answers that are not the solution of the author: another command, another way to write a number, a program that
//! forks. Each one passes.

mod support;

use std::fs;
use std::path::Path;

use support::{alone, repository, sample, sandbox, skip, text};

/// A lesson, an exercise, and of its data what is replaced by what.
struct Answer {
    lesson: &'static str,
    exercise: &'static str,
    from: &'static str,
    to: &'static str,
}

const ANSWERS: [Answer; 9] = [
    // The container of the image stays.
    Answer {
        lesson: "28-whiteouts",
        exercise: "gone",
        from: "      sandbox run -q box.yaml -- sleep $seconds &\n    wrong:",
        to: "      sandbox run -d box.yaml -- sleep $seconds\n    wrong:",
    },
    // With an init, the parent of the command is no supervisor.
    Answer {
        lesson: "24-life",
        exercise: "stay",
        from: "      echo 'pid:' > box.yaml\n      sandbox run -d --name $name box.yaml -- sleep $seconds\n    wrong:",
        to: "      echo 'pid: {init: true}' > box.yaml\n      sandbox run -d --name $name box.yaml -- sleep $seconds\n    wrong:",
    },
    // A parent with the same arguments waits for the process.
    Answer {
        lesson: "05-root",
        exercise: "jail",
        from: "      cc -o jail jail.c && ./jail $seconds &\n    wrong:",
        to: "      printf '%s\\n' '#include <sys/wait.h>' '#include <unistd.h>' \\\n        '__attribute__((constructor)) static void start(void)' \\\n        '{ if (fork()) { wait(0); _exit(0); } }' > start.c\n      cc -o jail jail.c start.c && ./jail $seconds &\n    wrong:",
    },
    // Another environment than that of the shell.
    Answer {
        lesson: "20-exec",
        exercise: "join",
        from: "      cp \"$material/solution.c\" join.c\n      . \"$material/start.sh\"\n",
        to: "      sed 's/clearenv();/clearenv(); setenv(\"PATH\", \"\\/usr\\/bin:\\/bin\", 1);/' $material/solution.c > join.c\n      grep -q 'setenv(\"PATH' join.c\n      . $material/start.sh\n",
    },
    Answer {
        lesson: "17-hardening",
        exercise: "mask",
        from: "printf '%x' $((1 << bit))",
        to: "printf '0x%016X' $((1 << bit))",
    },
    Answer {
        lesson: "29-objects",
        exercise: "left",
        from: "solution: echo $((count - removed)) 1",
        to: "solution: echo \"$((count - removed)), 1\"",
    },
    Answer {
        lesson: "26-data",
        exercise: "twice",
        from: "solution: echo $second $((first + second))",
        to: "solution: echo \"$second，$((first + second))\"",
    },
    Answer {
        lesson: "24-life",
        exercise: "lines",
        from: "solution: echo $after",
        to: "solution: echo \"$after.0\"",
    },
    Answer {
        lesson: "03-init",
        exercise: "status",
        from: "solution: echo $handled",
        to: "solution: echo $handled | sed 's/0/０/g; s/1/１/g; s/2/２/g; s/3/３/g; s/4/４/g; s/5/５/g; s/6/６/g; s/7/７/g; s/8/８/g; s/9/９/g'",
    },
];

/// A pack with the lesson of an answer. The answer is in the place of the solution.
fn pack(answer: &Answer) -> tempfile::TempDir {
    let (root, lessons) = (tempfile::tempdir().unwrap(), repository().join("lessons"));
    let write = |file: &str, content: String| {
        let target = root.path().join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    };
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    // Its parts begin with lessons that are not in this pack.
    write("pack.yaml", read(&lessons.join("pack.yaml")).split_once("parts:").unwrap().0.to_owned());
    for language in ["en", "zh"] {
        let file = format!("{language}/{}.md", answer.lesson);
        let text = read(&lessons.join(&file));
        // Lessons that come before are not in this pack.
        let needs = text.lines().find(|line| line.starts_with("needs: ")).unwrap_or("needs: []").to_owned();
        write(&file, text.replacen(&needs, "needs: []", 1));
    }
    for picture in fs::read_dir(lessons.join("pictures")).unwrap().flatten() {
        write(&format!("pictures/{}", picture.file_name().display()), read(&picture.path()));
    }
    let data = read(&lessons.join(format!("exercises/{}.yaml", answer.lesson)));
    assert_eq!(data.matches(answer.from).count(), 1, "{}: {}", answer.lesson, answer.from);
    write(&format!("exercises/{}.yaml", answer.lesson), data.replacen(answer.from, answer.to, 1));
    let material = lessons.join("exercises").join(answer.lesson);
    for exercise in fs::read_dir(material).into_iter().flatten().flatten() {
        for file in fs::read_dir(exercise.path()).unwrap().flatten() {
            let (exercise, name) = (exercise.file_name(), file.file_name());
            let target = format!("exercises/{}/{}/{}", answer.lesson, exercise.display(), name.display());
            write(&target, read(&file.path()));
        }
    }
    root
}

#[test]
fn a_right_answer_passes_in_whatever_way_it_is_given() {
    let _alone = alone();
    let mut wrong = String::new();
    for answer in sample(3, &ANSWERS) {
        let pack = pack(answer);
        let name = answer.lesson.split_once('-').unwrap().1;
        let words =
            ["lesson", "test", "--pack", pack.path().to_str().unwrap(), name, "--exercise", answer.exercise];
        let output = sandbox(&words).output().unwrap();
        let printed = text(&output.stdout);
        if let Some(line) = printed.lines().find(|line| line.starts_with("skip")) {
            skip("a_right_answer_passes_in_whatever_way_it_is_given", &format!("machine: {line}"));
        } else if !printed.contains(&format!("ok    {name} {}: solution", answer.exercise)) {
            wrong.push_str(&format!(
                "\n{} {}: {printed}{}",
                answer.lesson,
                answer.exercise,
                text(&output.stderr)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
