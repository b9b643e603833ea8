use unicode_width::UnicodeWidthStr;

use super::frame::LINES;
use super::{frame, short, spoken};
use crate::teach::demo::plot::{Mark, Plot, Sample};

/// The line without the escape sequences for colours.
fn bare(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.filter_map(|part| Some(part.split_once('m')?.1)).collect::<String>()
}

fn drawn(plot: &Plot, width: usize) -> Vec<String> {
    frame(plot, width, false).iter().map(|line| bare(line)).collect()
}

fn add(plot: &mut Plot, name: &str, character: char, values: &[f64], mark: Option<Mark>) -> usize {
    let lane = plot.lane(name, character, "data");
    for (index, &value) in values.iter().enumerate() {
        let mark = mark.filter(|_| index + 1 == values.len());
        plot.push(lane, Sample { seconds: index as f64 * 0.1, value, mark });
    }
    lane
}

fn memory() -> Plot {
    let mut plot = Plot::new("Memory that the cgroup uses, over time (memory.current)", "MiB", Some(32.0));
    let rising = |by: f64| (0..33).map(|step| (f64::from(step) * by).min(32.0)).collect::<Vec<_>>();
    let file = add(&mut plot, "write a file of 64 MiB", 'c', &rising(1.9), Some(Mark::Limit));
    plot.lanes[file].note = "times at the limit: 391; kills by the OOM killer: 0".into();
    let memory = add(&mut plot, "allocate 64 MiB", 'a', &rising(0.98), Some(Mark::Killed));
    plot.lanes[memory].note = "times at the limit: 447; kills by the OOM killer: 1".into();
    plot
}

/// Plots with all kinds of numbers, and with up to seven lanes.
fn plots() -> Vec<Plot> {
    let numbers = [0.0, -0.0, -7.0, 0.004, 1.0, 31.4, 1e5, 1e12, f64::MAX, f64::NAN, f64::INFINITY];
    let mut plots = vec![Plot::new("", "", None), memory()];
    for lanes in [1, 2, 7] {
        for (nth, limit) in numbers.iter().enumerate() {
            let mut plot = Plot::new("a title ".repeat(nth * 2), "% of a CPU", Some(*limit));
            for lane in 0..lanes {
                let values: Vec<f64> =
                    (0..nth * 9).map(|step| numbers[(step + lane) % numbers.len()]).collect();
                let name = ["x", "a long name of a lane, or two", "\u{4e2d}\n\x1b[2J"][lane % 3];
                let mark = [None, Some(Mark::Killed), Some(Mark::Throttled)][(lane + nth) % 3];
                let lane = add(&mut plot, name, ['#', '\u{4e2d}'][lane % 2], &values, mark);
                plot.lanes[lane].limit = numbers.get(lane + nth).copied();
                plot.lanes[lane].note = "note ".repeat(nth);
                plot.lanes[lane].samples.extend(numbers.map(|n| Sample { seconds: n, value: n, mark }));
            }
            plots.push(plot);
        }
    }
    plots
}

#[test]
fn a_picture_fits_with_any_values() {
    for plot in plots() {
        for width in [30, 43, 80] {
            for is_stable in [true, false] {
                let lines = frame(&plot, width, is_stable);
                assert!(lines.len() <= LINES, "{lines:#?}");
                for line in lines.iter().map(|line| bare(line)) {
                    assert!(line.width() <= width && !line.contains('\x1b'), "{width} {line:?}");
                }
            }
        }
    }
}

/// No row explains itself: each character has a line of its own, and each number a label and a unit.
#[test]
fn every_character_is_explained_and_every_number_has_a_label() {
    let mut plot = memory();
    add(&mut plot, "compute", '3', &[10.0, 20.0], Some(Mark::Throttled));
    plot.lanes.rotate_right(1);
    for width in [40, 60, 80, 100] {
        for plots in [&plot.lanes[..1], &plot.lanes[1..2], &plot.lanes[1..]] {
            // On the narrowest terminals, a picture of two lanes has no room for the rows over time.
            if width < 60 && plots.len() > 1 {
                continue;
            }
            let plot = Plot { lanes: plots.to_vec(), ..plot.clone() };
            let lines = drawn(&plot, width);
            assert!(lines[0].starts_with("Memory that the cgroup uses"), "{lines:#?}");
            let is_row = |line: &&String| line.starts_with("   last [") || line.starts_with("   time [");
            let rows: Vec<&String> = lines.iter().filter(is_row).collect();
            assert_eq!(rows.len(), 2 * plot.lanes.len(), "{lines:#?}");
            for row in rows {
                let (bar, after) = row.split_once('[').unwrap().1.split_once(']').unwrap();
                for character in
                    bar.chars().chain(after.chars().take(1)).filter(|character| *character != ' ')
                {
                    let explains = |line: &&String| {
                        let signs = line.split(' ').next().unwrap();
                        signs.contains(character) && line.len() > signs.len() + 4
                    };
                    assert!(lines[1..].iter().any(|line| explains(&line)), "{character}: {lines:#?}");
                }
                assert!(after.ends_with(" MiB") || after.contains("0 to ") && after.ends_with(" s"), "{row}");
            }
            assert!(lines.iter().any(|line| line.contains("limit: 32 MiB")), "{lines:#?}");
        }
    }
}

#[test]
fn limit_and_mark_are_at_the_right_columns() {
    for width in [40, 41, 57, 80, 100] {
        for value in [0.0, 8.0, 40.0, 64.0] {
            let mut plot = Plot::new("", "MiB", Some(32.0));
            add(&mut plot, "x", 'a', &[64.0, value], Some(Mark::Throttled));
            let lines = drawn(&plot, width);
            let line = lines.iter().find(|line| line.starts_with("   last [")).expect("a bar");
            let (from, to) = (line.find('[').expect("a bar") + 1, line.rfind(']').expect("its end"));
            assert!(line[to..].starts_with("]! "), "{line}");
            let bar = &line[from..to];
            let place = |value: f64| value / plot.value_end() * bar.len() as f64;
            let limit = bar.find('|').expect("the limit") as f64;
            assert!((limit - place(32.0)).abs() <= 0.5, "{line}");
            let filled = bar.rfind('a').map_or(0, |last| last + 1) as f64;
            assert!((filled - place(value)).abs() <= 0.5, "{line}");
        }
    }
}

#[test]
fn a_bar_at_its_limit_touches_the_limit() {
    let mut plot = Plot::new("", "", Some(32.0));
    add(&mut plot, "x", 'c', &[32.0], None);
    let lines = drawn(&plot, 80);
    assert!(lines.iter().any(|line| line.contains("c|")) && !lines.concat().contains("|c"), "{lines:#?}");
}

#[test]
fn a_whole_picture() {
    let expected = "\
Memory that the cgroup uses, over time (memory.current)
c  write a file of 64 MiB: data
   last [ccccccccccccccccccccccccccccccccccccccccccccccccccccccc|  ]| 32.0 MiB
   time [ ......:::::----=====++++*****@@@@@@@@@@@@@@@@@@@@@@@@@@@|]  0 to 3.2 s
   times at the limit: 391; kills by the OOM killer: 0
a  allocate 64 MiB: data
   last [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa |  ]X 31.4 MiB
   time [ .............:::::::::---------=========+++++++*********X]  0 to 3.2 s
   times at the limit: 447; kills by the OOM killer: 1
|        limit: 32 MiB; in the row \"time\": the limit is reached
X        killed by the kernel
.:-=+*@  values in the row \"time\", from low to high
";
    assert_eq!(drawn(&memory(), 80).join("\n") + "\n", expected);
}

#[test]
fn a_whole_picture_that_is_narrow() {
    let mut plot = memory();
    plot.lanes.truncate(1);
    let expected = "\
Memory that the cgroup uses, over time
(memory.current)
c  write a file of 64 MiB: data
   last [ccccccccccccccccc|]| 32.0 MiB
   time [..:--=+**@@@@@@@@|]  0 to 3.2 s
   times at the limit: 391; kills by the
   OOM killer: 0
|        limit: 32 MiB; in the row
         \"time\": the limit is reached
.:-=+*@  values in the row \"time\", from
         low to high
";
    assert_eq!(drawn(&plot, 40).join("\n") + "\n", expected);
}

#[test]
fn a_stable_picture_has_nothing_that_was_measured() {
    let expected = "\
Memory that the cgroup uses, over time (memory.current)
c  write a file of 64 MiB: data
   last <measured> MiB
a  allocate 64 MiB: data
   last <measured> MiB
|  limit: 32 MiB
X  killed by the kernel
";
    assert_eq!(frame(&memory(), 80, true).iter().map(|line| bare(line) + "\n").collect::<String>(), expected);
}

#[test]
fn wide_characters_take_two_columns() {
    let mut plot = Plot::new("cgroup 使用的内存", "个进程", Some(4.0));
    add(&mut plot, "写入 64 MiB 的文件", 'c', &[1.0, 4.0], Some(Mark::Limit));
    for width in [30, 31, 50, 80] {
        let lines = drawn(&plot, width);
        assert!(lines.iter().all(|line| line.width() <= width && !line.contains('?')), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("4 个进程")), "{lines:#?}");
    }
}

#[test]
fn one_process_is_not_one_processes() {
    let mut plot = Plot::new("", "processes", Some(1.0));
    plot.unit_of_one = Some("process".into());
    add(&mut plot, "x", '#', &[1.0], None);
    let lines = drawn(&plot, 80).join("\n");
    assert!(lines.contains("limit: 1 process") && !lines.contains("processes"), "{lines}");
}

#[test]
fn a_plot_can_be_read_aloud() {
    let expected = "Memory that the cgroup uses, over time (memory.current), for 3.2 s. The limit is 32 MiB. write a file of 64 MiB: \
        at most 32 MiB, at the end 32 MiB. Limit reached: at 3.2 s. times at the limit: 391; kills by the OOM killer: 0. \
        allocate 64 MiB: at most 31.4 MiB, at the end 31.4 MiB. Killed: at 3.2 s. times at the limit: 447; kills by the OOM \
        killer: 1.";
    let lines = spoken(&memory(), 60);
    assert!(lines.iter().all(|line| line.len() <= 60), "{lines:#?}");
    assert_eq!(lines.join(" "), expected);
}

#[test]
fn numbers_have_three_digits() {
    let texts = [0.0, -0.0, 0.25, 0.0012, 3.0, 31.44, 447.2, 12345.0, 4e9, f64::NAN].map(short);
    assert_eq!(texts, ["0", "0", "0.25", "0.0012", "3", "31.4", "447", "12345", "4.0e9", "?"]);
}
