//! Restart policies: whether a container is started again when it ends, and when. They are Docker's.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::text_with;

/// The time from the first end to the next start.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The maximum of that time. It is doubled at each end.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// A container that has run for so long begins with the first delay again.
const LONG: Duration = Duration::from_secs(10);

/// Whether a container is started again when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// When.
    pub name: RestartWhen,
    /// How often at most after failures. Zero: there is no limit.
    pub maximum_retry_count: u32,
}

/// When a container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// Never.
    #[default]
    No,
    /// If its exit status is not 0.
    OnFailure,
    /// Unless `stop` or `kill` has ended it. `start --all` starts it then too.
    Always,
    /// Unless `stop` or `kill` has ended it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a container is started again that has ended with this status, after `count` restarts. `is_stopped` is whether
    /// a user has ended it.
    pub fn restarts(self, exit_code: i32, count: u32, is_stopped: bool) -> bool {
        match self.name {
            _ if is_stopped => false,
            RestartWhen::No => false,
            RestartWhen::Always | RestartWhen::UnlessStopped => true,
            RestartWhen::OnFailure => {
                exit_code != 0 && (self.maximum_retry_count == 0 || count < self.maximum_retry_count)
            }
        }
    }

    /// Whether `start --all` starts a container that has ended.
    pub fn starts_with_all(self, exit_code: i32, count: u32, is_stopped: bool) -> bool {
        self.name == RestartWhen::Always || self.restarts(exit_code, count, is_stopped)
    }

    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self.name {
            RestartWhen::No => "no",
            RestartWhen::OnFailure => "on-failure",
            RestartWhen::Always => "always",
            RestartWhen::UnlessStopped => "unless-stopped",
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(written: &str) -> Result<RestartPolicy, String> {
        let wrong = || text_with("container.restart.form", &[("policy", written)]);
        let (name, count) =
            written.split_once(':').map_or((written, None), |(name, count)| (name, Some(count)));
        let name = match name {
            "" | "no" => RestartWhen::No,
            "on-failure" => RestartWhen::OnFailure,
            "always" => RestartWhen::Always,
            "unless-stopped" => RestartWhen::UnlessStopped,
            _ => return Err(wrong()),
        };
        let count = match count {
            None => 0,
            Some(count) if name == RestartWhen::OnFailure => count.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        Ok(RestartPolicy { name, maximum_retry_count: count })
    }
}

/// The times to wait before each restart.
#[derive(Debug)]
pub(super) struct BackOff(Duration);

impl BackOff {
    pub(super) fn new() -> BackOff {
        BackOff(FIRST_DELAY)
    }

    /// The time to wait now, after a run of this length.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        let delay = if ran >= LONG { FIRST_DELAY } else { self.0 };
        self.0 = (delay * 2).min(MAX_DELAY);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        let policy = |written: &str| written.parse::<RestartPolicy>().unwrap();
        assert!(!policy("no").restarts(1, 0, false));
        assert!(policy("always").restarts(0, 9, false) && !policy("always").restarts(0, 0, true));
        assert!(
            policy("always").starts_with_all(0, 0, true)
                && !policy("unless-stopped").starts_with_all(0, 0, true)
        );
        let failure = policy("on-failure:2");
        assert_eq!([0, 1, 2].map(|count| failure.restarts(1, count, false)), [true, true, false]);
        assert!(!failure.restarts(0, 0, false) && policy("on-failure").restarts(1, 99, false));
        for wrong in ["never", "always:1", "on-failure:x", "on-failure:-1", "no:"] {
            assert!(wrong.parse::<RestartPolicy>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_time_between_restarts_grows_up_to_a_minute() {
        let mut wait = BackOff::new();
        let times: Vec<u128> = (0..12).map(|_| wait.next(Duration::ZERO).as_millis()).collect();
        assert_eq!((times[0], times[1], times[9], times[11]), (100, 200, 51_200, 60_000));
        assert_eq!(wait.next(LONG).as_millis(), 100);
    }
}
