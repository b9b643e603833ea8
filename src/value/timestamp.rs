//! A point in time, as logs and state files write it: RFC 3339 in UTC, with up to 9 digits after the second, as Go prints
//! `time.RFC3339Nano`. Also lengths of time in words, as `docker ps` prints them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i128);

const SECOND: i128 = 1_000_000_000;

impl Timestamp {
    /// The present time.
    pub fn now() -> Timestamp {
        Timestamp::from(SystemTime::now())
    }

    /// The time from this moment to `later`. Zero: it is not later.
    pub fn until(self, later: Timestamp) -> Duration {
        let nanoseconds = u128::try_from(later.0 - self.0).unwrap_or_default();
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// The moment that is `length` before this one.
    pub fn before(self, length: Duration) -> Timestamp {
        Timestamp(self.0 - i128::try_from(length.as_nanos()).unwrap_or(i128::MAX))
    }
}

impl Timestamp {
    /// The moment without what is less than a second.
    pub fn of_second(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(SECOND))
    }

    /// The moment in whole seconds since 1970.
    pub fn seconds(self) -> i128 {
        self.0.div_euclid(SECOND)
    }

    /// The moment as Docker's lists print it: `2026-11-29 09:45:11 +0000 UTC`.
    pub fn in_a_list(self, zone: &Zone) -> String {
        let shown = Timestamp(self.0 + zone.offset * SECOND).of_second().to_string();
        let offset = zone.written_offset();
        shown.replace('T', " ").replace('Z', &format!(" {offset} {}", zone.name))
    }

    /// The moment in a zone, with nine digits after the second: `2026-11-29T10:45:11.500000000+01:00`.
    pub fn in_zone(self, zone: &Zone) -> String {
        let shown = Timestamp(self.0 + zone.offset * SECOND).with_all_digits();
        match zone.written_offset() {
            _ if zone.offset == 0 => shown,
            offset => format!("{}{}:{}", shown.trim_end_matches('Z'), &offset[..3], &offset[3..]),
        }
    }

    /// Reads a time as [`Timestamp::from_str`] does. One that names no zone is in the zone that is this number of seconds ahead of UTC.
    /// None: it is no time.
    pub fn read_in(written: &str, ahead: i128) -> Option<Timestamp> {
        read(written, ahead).ok()
    }

    /// The moment with nine digits after the second, also if they are zeros.
    pub fn with_all_digits(self) -> String {
        let second = self.of_second().to_string();
        format!("{}.{:09}Z", second.trim_end_matches('Z'), self.0.rem_euclid(SECOND))
    }
}

/// A time zone at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// How many seconds it is ahead of UTC.
    pub offset: i128,
    /// Its name then: `CET`, `CEST`, `-03`.
    pub name: String,
}

impl Zone {
    /// Universal time.
    pub fn utc() -> Zone {
        Zone { offset: 0, name: "UTC".to_owned() }
    }

    /// `+0100`, `-0330`.
    fn written_offset(&self) -> String {
        let (sign, minutes) = (if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 60);
        format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        let nanoseconds = |length: Duration| i128::try_from(length.as_nanos()).unwrap_or_default();
        Timestamp(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => nanoseconds(since),
            Err(before) => -nanoseconds(before.duration()),
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date_of(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanoseconds > 0 {
            write!(f, ".{}", format!("{nanoseconds:09}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = ();

    /// Reads RFC 3339: a date, or a date and a time, with `Z`, an offset, or none (UTC).
    fn from_str(written: &str) -> Result<Timestamp, ()> {
        read(written, 0)
    }
}

/// The length of a date: `2013-01-02`.
const DATE: usize = 10;

/// Reads a time. `ahead` is how many seconds its zone is ahead of UTC, if it names none.
fn read(written: &str, ahead: i128) -> Result<Timestamp, ()> {
    let (date, time) = match written.split_once('T') {
        Some((date, time)) => (date, time.to_owned()),
        // Docker reads a date with a zone too: 2013-01-02Z, 2013-01-02-07:00.
        None if written.len() > DATE && written.is_char_boundary(DATE) => {
            (&written[..DATE], format!("00:00:00{}", &written[DATE..]))
        }
        None => (written, "00:00:00".to_owned()),
    };
    let date: Vec<&str> = date.split('-').collect();
    let [year, month, day] = date[..] else { return Err(()) };
    let number = |text: &str, length: usize, most: i128| {
        let is_number = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i128>().ok().filter(|_| is_number).ok_or(())?;
        if number <= most { Ok(number) } else { Err(()) }
    };
    let (year, month, day) = (number(year, 4, 9999)?, number(month, 2, 12)?, number(day, 2, 31)?);
    if month == 0 || day == 0 {
        return Err(());
    }
    let time = time.as_str();
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let time: Vec<&str> = time.split(':').collect();
    let (hour, minute, second) = match time[..] {
        [hour] if fraction.is_empty() => (hour, "00", "00"),
        [hour, minute] => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(()),
    };
    let (hour, minute, second) = (number(hour, 2, 23)?, number(minute, 2, 59)?, number(second, 2, 60)?);
    let nanoseconds = match fraction.len() {
        0 => 0,
        length @ 1..=9 => number(fraction, length, SECOND)? * 10_i128.pow(9 - length as u32),
        _ => return Err(()),
    };
    let offset = match (offset.get(..1), offset.get(1..)) {
        (None, _) => ahead,
        (Some("Z"), Some("")) => 0,
        (Some(sign), Some(offset)) => {
            let (hours, minutes) = offset.split_once(':').ok_or(())?;
            let offset = number(hours, 2, 23)? * 3600 + number(minutes, 2, 59)? * 60;
            if sign == "-" { -offset } else { offset }
        }
        _ => return Err(()),
    };
    let seconds = day_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Ok(Timestamp(seconds * SECOND + nanoseconds))
}

/// The year, the month and the day of a day since 1970-01-01. A year begins with March here, so a leap day is its last day.
fn date_of(day: i128) -> (i128, i128, i128) {
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i128::from(month <= 2), month, day)
}

/// The day since 1970-01-01 of a date: the inverse of [`date_of`].
fn day_of(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let written = std::borrow::Cow::<str>::deserialize(deserializer)?;
        written.parse().map_err(|()| serde::de::Error::custom("not a time of RFC 3339"))
    }
}

/// A length of time in words, as Docker's `units.HumanDuration` writes it: `About a minute`, `3 weeks`.
pub fn in_words(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours) = (seconds / 60, (length.as_secs_f64() / 3600.0).round() as u64);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read() {
        for written in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "2000-02-29T12:00:00.000000001Z",
            "2026-11-29T09:45:11.12Z",
            "2100-03-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            let moment: Timestamp = written.parse().unwrap();
            assert_eq!(moment.to_string(), written);
        }
        let moment: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(moment.with_all_digits(), "1969-12-31T23:59:59.500000000Z");
        assert_eq!(moment.in_a_list(&Zone::utc()), "1969-12-31 23:59:59 +0000 UTC");
        assert_eq!(moment.in_zone(&Zone::utc()), "1969-12-31T23:59:59.500000000Z");
        let zone = Zone { offset: -12_600, name: "NST".to_owned() };
        assert_eq!(moment.in_a_list(&zone), "1969-12-31 20:29:59 -0330 NST");
        assert_eq!(moment.in_zone(&zone), "1969-12-31T20:29:59.500000000-03:30");
        assert_eq!(Timestamp::read_in(&moment.in_zone(&zone), 7), Some(moment));
        for (written, other) in [
            ("2026-11-29T10", "2026-11-29T01:00:00Z"),
            ("2026-11-29", "2026-11-28T15:00:00Z"),
            ("2026-11-29T10Z", "2026-11-29T10:00:00Z"),
            ("2013-01-02Z", "2013-01-02T00:00:00Z"),
            ("2013-01-02-07:00", "2013-01-02T07:00:00Z"),
            ("2013-01-02+01:30", "2013-01-01T22:30:00Z"),
        ] {
            assert_eq!(Timestamp::read_in(written, 32_400), other.parse().ok(), "{written}");
        }
        assert_eq!(Timestamp(0).with_all_digits(), "1970-01-01T00:00:00.000000000Z");
        let equal =
            [("2026-11-29", "2026-11-29T00:00:00Z"), ("2026-11-29T10:00", "2026-11-29T11:00:00+01:00")];
        for (one, other) in equal {
            assert_eq!(one.parse::<Timestamp>(), other.parse());
        }
        for wrong in [
            "",
            "1",
            "2026-13-01",
            "2026-01-00",
            "2026-1-1",
            "2026-01-01T24:00:00Z",
            "2026-01-01T1:00",
            "x",
            "2026-01-01T00:00:00.Q",
            "2026-01-01T00:00:00.0123456789Z",
            "2026-01-01T00:00:00+1",
            "2026-01-01Té",
            "2026-01-01é",
            "2026-01-010",
            "2026-01-01:00",
            "2026-01-01-07",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_length_has_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (86_400, "24 hours"),
            (2 * 86_400, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (730 * 86_400, "2 years"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }
}
