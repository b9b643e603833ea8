//! `--log-opt`: the options of a container's log, as Docker writes them.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::container::record::LogOptions;
use crate::error::{Error, Result};
use crate::text::{text, text_with};

/// The maximum number of files of a log. At each change of files, all of them are renamed.
const MAX_LOG_FILES: u32 = 1000;

/// The options that Docker's log of this kind has besides, and values of others.
const UNSUPPORTED_LOG_OPTIONS: [&str; 4] = ["compress", "max-buffer-size", "mode", "tag"];

/// A size as Docker reads that of a log: `10k` is 10,000 bytes, also written `10kb` and `10KiB`, and `1.5m` is 1,500,000.
fn decimal_size(written: &str) -> Option<u64> {
    let unit = written.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = written.split_at(unit.unwrap_or(written.len()));
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let factor = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "p" => 1e15,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Reads the values of `--log-opt`.
///
/// # Errors
/// An option is unknown or not supported, or its value is wrong.
pub(super) fn log_options(options: &[String]) -> Result<LogOptions> {
    let mut log = LogOptions::default();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = || Error::failed(text_with("container.log.value", &[("name", name), ("value", value)]));
        match name {
            "max-size" => {
                let size = decimal_size(value).ok_or_else(wrong)?;
                if size == 0 {
                    return Err(Error::failed(text("container.log.size")));
                }
                log.max_size = Some(size);
            }
            "max-file" => {
                log.max_files = value
                    .parse()
                    .ok()
                    .filter(|number| (1..=MAX_LOG_FILES).contains(number))
                    .ok_or_else(wrong)?
            }
            // `container::log::attributes` reads them.
            "labels" | "env" => {}
            "labels-regex" | "env-regex" => drop(Regex::new(value).map_err(|_| wrong())?),
            // So a log is written here.
            "compress" if ["0", "f", "F", "false", "FALSE", "False"].contains(&value) => {}
            "mode" if value == "blocking" => {}
            _ if UNSUPPORTED_LOG_OPTIONS.contains(&name) => {
                let error = Error::failed(text_with("container.log.unsupported", &[("name", name)]));
                return Err(error.why(text("container.log.unsupported.reason")));
            }
            _ => return Err(Error::failed(text_with("container.log.option", &[("name", name)]))),
        }
    }
    if log.max_files > 1 && log.max_size.is_none() {
        return Err(Error::failed(text("container.log.files")));
    }
    Ok(log)
}

/// The options as they were written.
pub(super) fn log_written(options: &[String]) -> BTreeMap<String, String> {
    let parts = options.iter().map(|option| option.split_once('=').unwrap_or((option, "")));
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_dockers_options() {
        let options =
            |all: &[&str]| log_options(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        let both = LogOptions { max_size: Some(10_000_000), max_files: 3 };
        assert_eq!(options(&["max-size=10m", "max-file=3"]), Ok(both));
        let usual =
            ["compress=false", "mode=blocking", "labels=a,b", "env=A", "env-regex=^A", "labels-regex="];
        assert_eq!(options(&usual), Ok(LogOptions::default()));
        assert_eq!(options(&[]), Ok(LogOptions::default()));
        for (written, size) in
            [("10k", 10_000), ("1.5m", 1_500_000), ("7", 7), ("2KiB", 2_000), ("1 gb", 1_000_000_000)]
        {
            assert_eq!(decimal_size(written), Some(size), "{written}");
        }
        for wrong in [
            &["max-size=x"][..],
            &["max-file=0", "max-size=1k"],
            &["max-file=2"],
            &["compress=true"],
            &["mode=non-blocking"],
            &["labels-regex=("],
            &["tag={{.Name}}"],
            &["max-size"],
            &["max-size=0"],
            &["max-size=1kk"],
            &["max-size=1ib"],
            &["max-size=1ki"],
            &["max-size=1kbb"],
            &["max-size=-1"],
        ] {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
