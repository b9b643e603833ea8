//! A rule about devices: `c 1:3 rwm`, as in the files of cgroup v1, or a path.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, major, minor, stat};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::host::resolver::Resolver;
use crate::text::{printed, text, text_with};

/// One rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `a`: every device, every access.
    All,
    /// `c 1:3 rwm`
    Device(Device),
    /// `/dev/null rwm`. The device numbers of the path are read later.
    Path(PathBuf, Access),
}

/// Devices of one type: a single one, all with the same major or minor number, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Character or block.
    pub kind: DeviceKind,
    /// The number of the driver; none is `*`, any.
    pub major: Option<u32>,
    /// The number of the device within the driver; none is `*`, any.
    pub minor: Option<u32>,
    /// The access that the rule allows or denies.
    pub access: Access,
}

/// The type of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// `b`: a block device, such as a disk.
    Block,
    /// `c`: a character device, all others.
    Character,
}

/// An access to a device: any of the letters `rwm`. The bits are BPF_DEVCG_ACC_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// `m`: to make a device file.
    pub const MKNOD: Access = Access(1);
    /// `r`: to open the device for reading.
    pub const READ: Access = Access(2);
    /// `w`: to open the device for writing.
    pub const WRITE: Access = Access(4);
    /// `rwm`
    pub const ALL: Access = Access(7);

    const LETTERS: [(char, Access); 3] = [('r', Self::READ), ('w', Self::WRITE), ('m', Self::MKNOD)];

    /// The bits that the kernel uses.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    pub(super) fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    pub(super) fn common(self, other: Access) -> Access {
        Access(self.0 & other.0)
    }

    pub(super) fn meets(self, other: Access) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Device {
    pub(super) const fn new(
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: Access,
    ) -> Device {
        Device { kind, major, minor, access }
    }

    /// The same devices with another access.
    pub(super) fn with(self, access: Access) -> Device {
        Device { access, ..self }
    }

    /// Whether it names every device that `other` names.
    pub(super) fn covers(&self, other: &Device) -> bool {
        let wider = |mine: Option<u32>, theirs| mine.is_none() || mine == theirs;
        self.kind == other.kind && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// The accesses that both rules name. None if there are none.
    pub(super) fn common(&self, other: &Device) -> Option<Device> {
        let access = self.access.common(other.access);
        let number = |mine: Option<u32>, theirs: Option<u32>| mine.or(theirs);
        self.meets(other).then(|| {
            let (major, minor) = (number(self.major, other.major), number(self.minor, other.minor));
            Device::new(self.kind, major, minor, access)
        })
    }

    /// Whether an access to some device matches both rules.
    pub(super) fn meets(&self, other: &Device) -> bool {
        let common = |mine: Option<u32>, theirs: Option<u32>| mine.zip(theirs).is_none_or(|(a, b)| a == b);
        self.kind == other.kind
            && common(self.major, other.major)
            && common(self.minor, other.minor)
            && self.access.meets(other.access)
    }
}

impl Rule {
    /// Reads the value of a flag. A path is bytes; everything else is text.
    pub(super) fn read(rule: OsString) -> Result<Rule, String> {
        if let Some(text) = rule.to_str() {
            return text.parse();
        }
        let bytes = rule.as_bytes().trim_ascii();
        if !bytes.starts_with(b"/") {
            return printed(rule).parse();
        }
        match bytes.iter().rposition(u8::is_ascii_whitespace) {
            Some(at) => {
                let path = OsStr::from_bytes(bytes[..at].trim_ascii_end());
                Ok(Rule::Path(path.into(), printed(OsStr::from_bytes(&bytes[at + 1..])).parse()?))
            }
            None => Ok(Rule::Path(OsStr::from_bytes(bytes).into(), Access::ALL)),
        }
    }

    /// Where a container gets the file of the device: the path of the rule, without `..`. A symbolic link of the device's own name
    /// stays one, as `/dev/cdrom`.
    pub fn place(&self) -> Option<PathBuf> {
        let Rule::Path(path, _) = self else { return None };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Some(path.clone()) };
        match path.components().any(|part| part == Component::ParentDir) {
            true => Some(Resolver::default().resolve(parent).container.join(name)),
            false => Some(path.clone()),
        }
    }

    /// The devices that the rule names; `None` is all. It reads the device numbers of a path, and follows symbolic
    /// links.
    ///
    /// # Errors
    /// A sentence, if the path does not exist, cannot be read, or is no device.
    pub fn resolve(&self) -> Result<Option<Device>, String> {
        let (path, access) = match self {
            Rule::All => return Ok(None),
            Rule::Device(device) => return Ok(Some(*device)),
            Rule::Path(path, access) => (path, *access),
        };
        let shown = printed(path);
        let found = stat(path).map_err(|errno| match errno {
            Errno::ENOENT => text_with("devices.path.missing", &[("path", &shown)]),
            other => text_with("devices.path.unseen", &[("path", &shown), ("error", other.desc())]),
        })?;
        let kind = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFBLK => DeviceKind::Block,
            SFlag::S_IFCHR => DeviceKind::Character,
            _ => return Err(text_with("devices.path.other", &[("path", &shown)])),
        };
        // In the kernel, the numbers have 12 and 20 bits.
        let [major, minor] = [major(found.st_rdev), minor(found.st_rdev)].map(|number| number as u32);
        Ok(Some(Device::new(kind, Some(major), Some(minor), access)))
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(rule: &str) -> Result<Self, String> {
        let rule = rule.trim();
        if rule.starts_with('~') {
            return Err(text("spec.tilde"));
        }
        if rule.starts_with('/') {
            return match rule.rsplit_once(char::is_whitespace) {
                Some((path, access)) => Ok(Rule::Path(path.trim_end().into(), access.parse()?)),
                None => Ok(Rule::Path(rule.into(), Access::ALL)),
            };
        }
        match *rule.split_whitespace().collect::<Vec<_>>() {
            // The kernel reads nothing after `a`, so it would take `a *:* r` for all of `rwm`. `devices.list` shows the
            // long form.
            ["a"] | ["a", "*:*", "rwm"] => Ok(Rule::All),
            ["a", ..] => Err(text("devices.rule.all")),
            _ => rule.parse().map(Rule::Device),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(rule: &str) -> Result<Self, String> {
        let wrong = |key, word: &str| text_with(key, &[("word", word)]);
        let mut parts = rule.split_whitespace();
        let kind = match parts.next().unwrap_or_default() {
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Character,
            other => return Err(wrong("devices.rule.kind", other)),
        };
        let numbers = parts.next().unwrap_or_default();
        let (major, minor) = numbers.split_once(':').ok_or_else(|| wrong("devices.rule.numbers", numbers))?;
        // The numbers have 12 and 20 bits. A larger one matches no device, and the kernel takes 4294967295 for `*`.
        let [major, minor] = [(major, 1 << 12), (minor, 1 << 20)].map(|(word, end)| match word.parse() {
            _ if word == "*" => Ok(None),
            Ok(number) if number < end && !word.starts_with('+') => Ok(Some(number)),
            _ => Err(wrong("devices.rule.number", word)),
        });
        let access = parts.next().map_or(Ok(Access::ALL), str::parse)?;
        match parts.next() {
            Some(more) => Err(wrong("devices.rule.more", more)),
            None => Ok(Device::new(kind, major?, minor?, access)),
        }
    }
}

impl FromStr for Access {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let bit = |letter| Self::LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| *bit);
        let access = word.chars().try_fold(Access(0), |sum, letter| Some(sum.and(bit(letter)?)));
        access
            .filter(|access| !access.is_empty())
            .ok_or_else(|| text_with("devices.rule.access", &[("word", word)]))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::All => f.write_str("a"),
            Rule::Device(device) => device.fmt(f),
            Rule::Path(path, access) => write!(f, "{} {access}", printed(path)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor] = [self.major, self.minor]
            .map(|number| number.map_or_else(|| "*".to_owned(), |number| number.to_string()));
        write!(f, "{} {major}:{minor} {}", self.kind, self.access)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::Block => "b",
            DeviceKind::Character => "c",
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.iter().filter(|(_, bit)| self.meets(*bit)).map(|(letter, _)| letter);
        f.write_str(&letters.collect::<String>())
    }
}

/// In a spec, a rule is the same string as after a flag.
macro_rules! written {
    ($($kind:ty),*) => {
        $(impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

written!(Rule, Device);

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*(/|a\b|[bc]\s+([0-9]+|\*):([0-9]+|\*))" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_printed_as_they_are_written() {
        for rule in
            ["a", "c 1:3 rwm", "b 8:* r", "c *:* m", "c 4095:1048575 rw", "/dev/null w", "/dev/my disk rm"]
        {
            let read: Rule = rule.parse().unwrap();
            assert_eq!(read.to_string(), rule);
            assert_eq!(serde_json::from_value::<Rule>(serde_json::json!(rule)).unwrap(), read);
            assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::json!(rule));
        }
        for (written, printed) in [
            ("c 1:3", "c 1:3 rwm"),
            ("  b   8:0\tmwr ", "b 8:0 rwm"),
            ("c 01:3 rr", "c 1:3 r"),
            ("a *:* rwm", "a"),
            ("/dev/null", "/dev/null rwm"),
        ] {
            assert_eq!(written.parse::<Rule>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn a_wrong_part_of_a_rule_is_named() {
        for (rule, key, word) in [
            ("", "kind", ""),
            ("x 1:3 r", "kind", "x"),
            ("dev/null", "kind", "dev/null"),
            ("c", "numbers", ""),
            ("c 1 3", "numbers", "1"),
            ("c 1:3:4 r", "number", "3:4"),
            ("c +1:3 r", "number", "+1"),
            ("c -1:3 r", "number", "-1"),
            ("c :3 r", "number", ""),
            ("c 4096:3 r", "number", "4096"),
            ("c 1:4294967295 r", "number", "4294967295"),
            ("c 1:3 rx", "access", "rx"),
            ("/dev/my disk", "access", "disk"),
            ("c 1:3 r w", "more", "w"),
            ("a *:* r", "all", ""),
        ] {
            let expected = text_with(&format!("devices.rule.{key}"), &[("word", word)]);
            assert_eq!(rule.parse::<Rule>(), Err(expected), "{rule}");
        }
    }

    #[test]
    fn a_path_must_be_a_device() {
        let resolve = |rule: &str| rule.parse::<Rule>().unwrap().resolve();
        assert_eq!(resolve("/dev/null rw"), Ok(Some("c 1:3 rw".parse().unwrap())));
        assert_eq!(resolve("/dev/none"), Err(text_with("devices.path.missing", &[("path", "/dev/none")])));
        assert_eq!(resolve("/dev"), Err(text_with("devices.path.other", &[("path", "/dev")])));
        let below = [("path", "/dev/null/x"), ("error", "Not a directory")];
        assert_eq!(resolve("/dev/null/x"), Err(text_with("devices.path.unseen", &below)));
    }
}
