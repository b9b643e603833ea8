//! How long to wait on this machine. The limits of scripts and the waits for a state are written for a usual machine. On a
//! slower one, such as an emulated one, a right answer takes longer too, so these times are multiplied by a factor. It is
//! measured, or given.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The factor of the slowest machine. On a machine that is slower still, right answers can fail.
const SLOWEST: f64 = 30.0;

/// How long bash takes to start `true` eight times, where the factor is 1: five times what a machine of today needs.
const USUAL: Duration = Duration::from_millis(60);

/// How often the starts are measured. The shortest time counts: a longer one was disturbed.
const MEASUREMENTS: u32 = 3;

/// How long waits last, and when all of them together must have ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    given: Option<f64>,
    end: Option<Instant>,
}

impl Pace {
    /// With this factor. Without one, it is measured when it is needed.
    pub fn new(given: Option<f64>) -> Pace {
        Pace { given, end: None }
    }

    /// The same pace, where all waits together end after this time.
    pub fn ending_after(self, time: Duration) -> Pace {
        Pace { end: Instant::now().checked_add(time), ..self }
    }

    /// By how much times are multiplied: at least 1 if it is measured.
    pub fn factor(self) -> f64 {
        static MEASURED: OnceLock<f64> = OnceLock::new();
        self.given.unwrap_or_else(|| *MEASURED.get_or_init(measured))
    }

    /// A time of a usual machine, as long as it is on this one.
    pub fn scaled(self, time: Duration) -> Duration {
        time.mul_f64(self.factor())
    }

    /// The same, but at most what is left of the time of all waits.
    pub fn at_most(self, time: Duration) -> Duration {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        left.map_or_else(|| self.scaled(time), |left| left.min(self.scaled(time)))
    }

    /// Whether the time of all waits is over.
    pub fn is_over(self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// Measures how much slower programs start here.
fn measured() -> f64 {
    const STARTS: &str = "for i in 1 2 3 4 5 6 7 8; do env true; done";
    let start = || {
        let begun = Instant::now();
        let mut bash = Command::new("bash");
        let ended = bash.args(["-c", STARTS]).stdin(Stdio::null()).stdout(Stdio::null()).status();
        ended.is_ok_and(|status| status.success()).then(|| begun.elapsed())
    };
    let times = (0..MEASUREMENTS).filter_map(|_| start());
    factor_of(times.min().unwrap_or(USUAL))
}

fn factor_of(time: Duration) -> f64 {
    // One decimal is enough, and prints well.
    let factor = (time.as_secs_f64() / USUAL.as_secs_f64() * 10.0).round() / 10.0;
    factor.clamp(1.0, SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_scaled_and_bounded() {
        assert_eq!(factor_of(Duration::from_millis(1)), 1.0);
        assert_eq!(factor_of(USUAL * 4), 4.0);
        assert_eq!(factor_of(USUAL * 1000), SLOWEST);
        let second = Duration::from_secs(1);
        assert_eq!(Pace::new(Some(2.5)).scaled(second), Duration::from_millis(2500));
        assert_eq!(Pace::new(Some(0.5)).at_most(second), Duration::from_millis(500));
        let short = Pace::new(Some(20.0)).ending_after(second);
        assert!(short.at_most(second) <= second && !short.is_over());
        assert!(Pace::new(None).ending_after(Duration::ZERO).is_over() && !Pace::default().is_over());
        assert!((1.0..=SLOWEST).contains(&Pace::default().factor()));
    }
}
