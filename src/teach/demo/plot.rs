//! What was measured over time, as data: drawn live, printed as a table, or written as a picture (`render`).

use serde::Serialize;

/// Some measurements of one kind, on one scale.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plot {
    /// What is measured.
    pub title: String,
    /// In what: `MiB`, `% of a CPU`, `MiB/s`, `processes`.
    pub unit: &'static str,
    /// What no lane can exceed, unless it has a limit of its own.
    pub limit: Option<f64>,
    /// What was measured, each beside the others.
    pub lanes: Vec<Lane>,
}

/// One thing that is measured again and again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What its bar is drawn with: `a` for anonymous memory, `c` for page cache, `#` for anything else.
    pub sign: char,
    /// Its own limit, if it isn't the plot's.
    pub limit: Option<f64>,
    /// In the order of time.
    pub samples: Vec<Sample>,
    /// A short line for below the bar: counters, say.
    pub note: String,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Since the plot's start.
    pub seconds: f64,
    /// In the plot's unit.
    pub value: f64,
    /// What the kernel did at that moment, if it's worth a sign.
    pub mark: Option<Mark>,
}

/// What the kernel did. The graver is the greater: where there's room for one sign, it's the one to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It let the value come up to the limit, and no further.
    Limit,
    /// It made the processes wait.
    Throttled,
    /// It killed a process.
    Killed,
}

impl Mark {
    /// One ASCII character.
    pub fn sign(self) -> char {
        match self {
            Mark::Limit => '|',
            Mark::Throttled => '!',
            Mark::Killed => 'X',
        }
    }

    /// What the sign means.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Limit => "limit",
            Mark::Throttled => "throttled",
            Mark::Killed => "killed",
        }
    }
}

impl Plot {
    /// A plot without lanes.
    pub fn new(title: impl Into<String>, unit: &'static str, limit: Option<f64>) -> Plot {
        Plot { title: title.into(), unit, limit, lanes: vec![] }
    }

    /// Adds an empty lane and gives its index.
    pub fn lane(&mut self, name: impl Into<String>, sign: char) -> usize {
        let lane = Lane { name: name.into(), sign, limit: None, samples: vec![], note: String::new() };
        self.lanes.push(lane);
        self.lanes.len() - 1
    }

    /// Adds a sample to the lane of that index. Without such a lane there's nothing to add to.
    pub fn push(&mut self, lane: usize, sample: Sample) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.samples.push(sample);
        }
    }

    /// The limit that holds for a lane.
    pub fn limit(&self, lane: &Lane) -> Option<f64> {
        lane.limit.or(self.limit).filter(|limit| limit.is_finite())
    }

    /// Where the axis of values ends: a little above the largest value and limit, and never 0.
    pub fn most(&self) -> f64 {
        let values = self.samples().map(|sample| sample.value);
        let limits = self.lanes.iter().filter_map(|lane| self.limit(lane)).chain(self.limit);
        match values.chain(limits).filter(|value| value.is_finite()).fold(0.0, f64::max) {
            0.0 => 1.0,
            largest => (largest * 1.05).min(f64::MAX),
        }
    }

    /// Where the axis of time ends: the last sample's seconds, or 0.
    pub fn end(&self) -> f64 {
        let seconds = self.samples().map(|sample| sample.seconds);
        seconds.filter(|seconds| seconds.is_finite()).fold(0.0, f64::max)
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.lanes.iter().flat_map(|lane| &lane.samples)
    }
}

impl Lane {
    /// The value at a time: a sample holds until the next one. Before the first and after the last there's none.
    pub fn at(&self, seconds: f64) -> Option<f64> {
        let last = self.samples.last()?;
        let sample = self.samples.iter().rev().find(|sample| sample.seconds <= seconds)?;
        (seconds <= last.seconds).then_some(sample.value)
    }

    /// What the kernel did last, for the bar's end. Who was killed stays so, whatever is measured afterwards.
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
    fn an_axis_always_has_a_length() {
        let mut plot = Plot::new("memory", "MiB", None);
        assert_eq!((plot.most(), plot.end()), (1.0, 0.0));
        let lane = plot.lane("one", 'a');
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0] {
            plot.push(lane, sample(value, value));
        }
        assert_eq!((plot.most(), plot.end()), (1.0, 0.0));
        plot.push(lane, sample(2.0, f64::MAX));
        assert_eq!((plot.most(), plot.end()), (f64::MAX, 2.0));
    }

    #[test]
    fn an_axis_has_room_for_every_limit() {
        let mut plot = Plot::new("memory", "MiB", Some(32.0));
        let lane = plot.lane("one", 'a');
        assert!((32.0..40.0).contains(&plot.most()));
        plot.lanes[lane].limit = Some(64.0);
        assert!(plot.most() > 64.0);
        assert_eq!(plot.limit(&plot.lanes[lane]), Some(64.0));
    }

    #[test]
    fn a_sample_holds_until_the_next() {
        let mut plot = Plot::new("memory", "MiB", None);
        let lane = plot.lane("one", 'a');
        plot.push(lane, sample(1.0, 10.0));
        plot.push(lane, sample(2.0, 20.0));
        plot.push(lane + 1, sample(3.0, 30.0));
        let at = [0.5, 1.0, 1.5, 2.0, 2.5].map(|seconds| plot.lanes[lane].at(seconds));
        assert_eq!(at, [None, Some(10.0), Some(10.0), Some(20.0), None]);
    }

    #[test]
    fn the_dead_stay_dead() {
        let mut plot = Plot::new("memory", "MiB", None);
        let lane = plot.lane("one", 'a');
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
    fn marks_are_words_for_programs() {
        assert_eq!(
            serde_json::to_string(&[Mark::Killed, Mark::Throttled, Mark::Limit]).unwrap_or_default(),
            r#"["killed","throttled","limit"]"#
        );
    }
}
