use super::frame::LINES;
use super::table::{ROWS, WIDTH, choose};
use super::{frame, short, table};
use crate::teach::demo::plot::{Mark, Plot, Sample};

/// The line without the escape sequences for colours.
fn bare(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.filter_map(|part| Some(part.split_once('m')?.1)).collect::<String>()
}

fn drawn(plot: &Plot, width: usize) -> Vec<String> {
    frame(plot, width).iter().map(|line| bare(line)).collect()
}

fn add(plot: &mut Plot, name: &str, character: char, values: &[f64], mark: Option<Mark>) -> usize {
    let lane = plot.lane(name, character);
    for (index, &value) in values.iter().enumerate() {
        let mark = mark.filter(|_| index + 1 == values.len());
        plot.push(lane, Sample { seconds: index as f64 * 0.1, value, mark });
    }
    lane
}

fn memory() -> Plot {
    let mut plot = Plot::new("memory.current at memory.max = 32 MiB", "MiB", Some(32.0));
    let rising = |by: f64| (0..33).map(|step| (f64::from(step) * by).min(32.0)).collect::<Vec<_>>();
    let file = add(&mut plot, "1/2 write a 64 MiB file", 'c', &rising(1.9), Some(Mark::Limit));
    plot.lanes[file].note = "max 391  oom_kill 0      at the limit; old cache dropped; alive".into();
    let memory = add(&mut plot, "2/2 allocate 64 MiB", 'a', &rising(0.98), Some(Mark::Killed));
    plot.lanes[memory].note = "max 447  oom_kill 1      no swap to move it to: killed at 31 MiB".into();
    plot
}

/// Plots with all kinds of numbers, and with up to seven lanes.
fn plots() -> Vec<Plot> {
    let numbers = [0.0, -0.0, -7.0, 0.004, 1.0, 31.4, 1e5, 1e12, f64::MAX, f64::NAN, f64::INFINITY];
    let mut plots = vec![Plot::new("", "", None), memory()];
    for lanes in 1..=7 {
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
        for width in 30..=100 {
            let lines = drawn(&plot, width);
            assert!(lines.len() <= LINES, "{lines:#?}");
            for line in &lines {
                assert!(
                    line.len() <= width && line.chars().all(|character| (' '..='~').contains(&character)),
                    "{width} {line:?}"
                );
            }
        }
    }
}

#[test]
fn a_table_fits_with_any_values() {
    for plot in plots() {
        let table = bare(&table(&plot));
        // A title, a heading, and a line about what is left out.
        assert!(table.lines().count() <= ROWS + 3, "{table}");
        assert!(table.lines().all(|line| line.len() <= WIDTH && line.is_ascii()), "{table}");
    }
}

#[test]
fn limit_and_mark_are_at_the_right_columns() {
    for width in 30..=100 {
        for value in [0.0, 8.0, 40.0, 64.0] {
            let mut plot = Plot::new("", "MiB", Some(32.0));
            add(&mut plot, "x", 'a', &[64.0, value], Some(Mark::Throttled));
            let line = &drawn(&plot, width)[1];
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
    let line = &drawn(&plot, 80)[1];
    assert!(line.contains("c|") && !line.contains("|c"), "{line}");
}

#[test]
fn a_whole_picture() {
    let expected = "\
memory.current at memory.max = 32 MiB   | limit   X killed
1/2 write a 64 MiB file [ccccccccccccccccccccccccccccccccccccccc| ]| 32.0/32 MiB
                          ....:::---====++****###################|   0-3.2 s
    max 391  oom_kill 0      at the limit; old cache dropped; alive
2/2 allocate 64 MiB     [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | ]X 31.4/32 MiB
                          .........::::::-------======+++++******X   0-3.2 s
    max 447  oom_kill 1      no swap to move it to: killed at 31 MiB
";
    assert_eq!(drawn(&memory(), 80).join("\n") + "\n", expected);
}

#[test]
fn a_whole_table() {
    let expected = "\
memory.current at memory.max = 32 MiB (MiB, limit 32)
seconds  1/2 write a 64 MiB file  2/2 allocate 64 MiB
   0.00                    0.0                  0.0
   0.20                    3.8                  2.0
   0.50                    9.5                  4.9
   0.80                   15.2                  7.8
   1.10                   20.9                 10.8
   1.40                   26.6                 13.7
   1.80                   32.0                 17.6
   2.10                   32.0                 20.6
   2.40                   32.0                 23.5
   2.70                   32.0                 26.5
   3.00                   32.0                 29.4
   3.20                   32.0 |               31.4 X
(| limit, X killed, 12 of 33 rows)
";
    assert_eq!(bare(&table(&memory())), expected);
}

#[test]
fn the_first_the_last_and_the_marked_rows_are_kept() {
    let mut ranks = vec![3; 300];
    (ranks[0], ranks[299], ranks[77]) = (0, 0, 1);
    ranks[100..150].fill(2);
    let kept = choose(&ranks, ROWS);
    assert_eq!(kept.len(), ROWS);
    assert!([0, 77, 299].iter().all(|index| kept.contains(index)) && kept.is_sorted());
    assert_eq!(choose(&[0, 3, 0], ROWS), [0, 1, 2]);
    assert_eq!(choose(&[], ROWS), [0; 0]);
}

#[test]
fn numbers_have_three_digits() {
    let texts = [0.0, -0.0, 0.25, 0.0012, 3.0, 31.44, 447.2, 12345.0, 4e9, f64::NAN].map(short);
    assert_eq!(texts, ["0", "0", "0.25", "0.0012", "3", "31.4", "447", "12345", "4.0e9", "?"]);
}
