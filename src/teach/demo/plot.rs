//! Measurements over time, as data. `render` draws them as a picture, describes them in words, or writes them as SVG.

use serde::Serialize;

/// Several series of measurements on one scale.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plot {
    /// What is measured, and by which file of the kernel.
    pub title: String,
    /// The unit: `MiB`, `% of a CPU`, `MiB/s`, `processes`.
    pub unit: String,
    /// The unit after the number 1, if it differs: `process`.
    #[serde(skip)]
    pub unit_of_one: Option<String>,
    /// The limit for every lane that has no limit of its own.
    pub limit: Option<f64>,
    /// The series, drawn one below the other.
    pub lanes: Vec<Lane>,
}

/// One series of measurements, drawn as one bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lane {
    /// The name.
    pub name: String,
    /// The character that its bar is drawn with: `a` for anonymous memory, `c` for page cache, `#` for anything else.
    #[serde(rename = "sign")]
    pub character: char,
    /// What one such character means: `page cache`.
    pub meaning: String,
    /// Its own limit, if it differs from that of the plot.
    pub limit: Option<f64>,
    /// The measurements, in order of time.
    pub samples: Vec<Sample>,
    /// The kernel's counters, each with its name.
    pub note: String,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start of the plot.
    pub seconds: f64,
    /// The value in the unit of the plot.
    pub value: f64,
    /// What the kernel did at that moment, if it is marked.
    pub mark: Option<Mark>,
}

/// What the kernel did because of a limit. They are ordered by severity: where only one fits, the greatest is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// The value reached the limit.
    Limit,
    /// The processes had to wait.
    Throttled,
    /// A process was killed.
    Killed,
}

impl Mark {
    /// The ASCII character that it is drawn with.
    pub fn character(self) -> char {
        match self {
            Mark::Limit => '|',
            Mark::Throttled => '!',
            Mark::Killed => 'X',
        }
    }
}

impl Plot {
    /// Makes a plot without lanes.
    pub fn new(title: impl Into<String>, unit: impl Into<String>, limit: Option<f64>) -> Plot {
        Plot { title: title.into(), unit: unit.into(), unit_of_one: None, limit, lanes: vec![] }
    }

    /// Adds an empty lane and returns its index. `meaning` says what one character of its bar means.
    pub fn lane(&mut self, name: impl Into<String>, character: char, meaning: impl Into<String>) -> usize {
        let (name, meaning) = (name.into(), meaning.into());
        self.lanes.push(Lane { name, character, meaning, limit: None, samples: vec![], note: String::new() });
        self.lanes.len() - 1
    }

    /// The marks in it, each once, and the limit if there is one.
    pub fn marks(&self) -> Vec<Mark> {
        let has_limit = self.lanes.iter().any(|lane| self.limit(lane).is_some());
        let mut marks: Vec<Mark> = self.samples().filter_map(|sample| sample.mark).collect();
        marks.extend(has_limit.then_some(Mark::Limit));
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// Adds a sample to the lane with that index. Does nothing if there is no such lane.
    pub fn push(&mut self, lane: usize, sample: Sample) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.samples.push(sample);
        }
    }

    /// The limit of a lane: its own, or that of the plot.
    pub fn limit(&self, lane: &Lane) -> Option<f64> {
        lane.limit.or(self.limit).filter(|limit| limit.is_finite())
    }

    /// The end of the value axis: a little above the largest value and limit, and never 0.
    pub fn value_end(&self) -> f64 {
        let values = self.samples().map(|sample| sample.value);
        let limits = self.lanes.iter().filter_map(|lane| self.limit(lane)).chain(self.limit);
        match values.chain(limits).filter(|value| value.is_finite()).fold(0.0, f64::max) {
            0.0 => 1.0,
            largest => (largest * 1.05).min(f64::MAX),
        }
    }

    /// The end of the time axis: the seconds of the last sample, or 0.
    pub fn time_end(&self) -> f64 {
        let seconds = self.samples().map(|sample| sample.seconds);
        seconds.filter(|seconds| seconds.is_finite()).fold(0.0, f64::max)
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.lanes.iter().flat_map(|lane| &lane.samples)
    }
}

impl Lane {
    /// The value at a time. A sample is valid until the next one. Before the first and after the last there is no
    /// value.
    pub fn at(&self, seconds: f64) -> Option<f64> {
        let last = self.samples.last()?;
        let sample = self.samples.iter().rev().find(|sample| sample.seconds <= seconds)?;
        (seconds <= last.seconds).then_some(sample.value)
    }

    /// The first mark of each kind: its sample.
    pub fn first_marks(&self) -> Vec<(Mark, Sample)> {
        let mut firsts: Vec<(Mark, Sample)> = vec![];
        for sample in &self.samples {
            if let Some(mark) = sample.mark
                && !firsts.iter().any(|(first, _)| *first == mark)
            {
                firsts.push((mark, *sample));
            }
        }
        firsts
    }

    /// The mark at the end of the bar: what the kernel did last. Once a process was killed, the mark stays "killed".
    pub fn mark(&self) -> Option<Mark> {
        let killed = self.samples.iter().any(|sample| sample.mark == Some(Mark::Killed));
        if killed { Some(Mark::Killed) } else { self.samples.last()?.mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, value: f64) -> Sample {
        Sample { seconds, value, mark: None }
    }

    #[test]
    fn an_axis_never_has_length_zero() {
        let mut plot = Plot::new("memory", "MiB", None);
        assert_eq!((plot.value_end(), plot.time_end()), (1.0, 0.0));
        let lane = plot.lane("one", 'a', "x");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0] {
            plot.push(lane, sample(value, value));
        }
        assert_eq!((plot.value_end(), plot.time_end()), (1.0, 0.0));
        plot.push(lane, sample(2.0, f64::MAX));
        assert_eq!((plot.value_end(), plot.time_end()), (f64::MAX, 2.0));
    }

    #[test]
    fn the_value_axis_includes_every_limit() {
        let mut plot = Plot::new("memory", "MiB", Some(32.0));
        let lane = plot.lane("one", 'a', "x");
        assert!((32.0..40.0).contains(&plot.value_end()));
        plot.lanes[lane].limit = Some(64.0);
        assert!(plot.value_end() > 64.0);
        assert_eq!(plot.limit(&plot.lanes[lane]), Some(64.0));
    }

    #[test]
    fn a_sample_is_valid_until_the_next() {
        let mut plot = Plot::new("memory", "MiB", None);
        let lane = plot.lane("one", 'a', "x");
        plot.push(lane, sample(1.0, 10.0));
        plot.push(lane, sample(2.0, 20.0));
        plot.push(lane + 1, sample(3.0, 30.0));
        let at = [0.5, 1.0, 1.5, 2.0, 2.5].map(|seconds| plot.lanes[lane].at(seconds));
        assert_eq!(at, [None, Some(10.0), Some(10.0), Some(20.0), None]);
    }

    #[test]
    fn a_killed_lane_stays_killed() {
        let mut plot = Plot::new("memory", "MiB", None);
        let lane = plot.lane("one", 'a', "x");
        for mark in [Some(Mark::Throttled), None] {
            plot.push(lane, Sample { seconds: 0.0, value: 0.0, mark });
        }
        assert_eq!(plot.lanes[lane].mark(), None);
        for mark in [Some(Mark::Killed), Some(Mark::Throttled), None] {
            plot.push(lane, Sample { seconds: 1.0, value: 0.0, mark });
        }
        assert_eq!(plot.lanes[lane].mark(), Some(Mark::Killed));
    }

    #[test]
    fn marks_are_lowercase_strings_in_json() {
        assert_eq!(
            serde_json::to_string(&[Mark::Killed, Mark::Throttled, Mark::Limit]).unwrap_or_default(),
            r#"["killed","throttled","limit"]"#
        );
    }
}
