//! The system that an image is for: `OS/ARCHITECTURE[/VARIANT]`, in the words of Go.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::text;

/// The systems that Go knows.
const SYSTEMS: &str = "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris \
    wasip1 windows zos";

/// The architectures that Go knows.
const ARCHITECTURES: &str = "386 amd64 arm arm64 armbe arm64be loong64 mips mipsle mips64 mips64le ppc ppc64 ppc64le riscv \
    riscv64 s390 s390x sparc sparc64 wasm";

/// A system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Other fields, which are kept as they are.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

impl Platform {
    /// This machine's.
    pub fn here() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => normal(other, None).0,
        };
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: None,
            others: BTreeMap::new(),
        }
    }

    /// Whether programs for `self` run where `wanted` is asked for. A processor also runs what is for older variants of it. An
    /// unknown variant suits.
    pub fn suits(&self, wanted: &Platform) -> bool {
        let (own, wanted) = (self.usual(), wanted.usual());
        let is_variant = match (&own.variant, &wanted.variant) {
            (None, _) => true,
            (Some(_), wanted_variant) => match (own.level(), wanted.level()) {
                (Some(own), Some(most)) => own <= most,
                _ => wanted_variant.is_none() || own.variant == *wanted_variant,
            },
        };
        own.os == wanted.os && own.architecture == wanted.architecture && is_variant
    }

    /// The same in the words of Go. Images made by other programs have names such as `x86_64` and `Linux`.
    fn usual(&self) -> Platform {
        let (os, architecture) = (self.os.to_ascii_lowercase(), self.architecture.to_ascii_lowercase());
        let variant = self.variant.as_ref().filter(|variant| !variant.is_empty());
        let variant = variant.map(|variant| variant.to_ascii_lowercase());
        let (architecture, variant) = match architecture.as_str() {
            // Without a variant, an image may be for any.
            "arm" if variant.is_none() => ("arm", None),
            written => normal(written, variant.as_deref()),
        };
        let others = BTreeMap::new();
        Platform { os: usual_system(&os).to_owned(), architecture: architecture.to_owned(), variant, others }
    }

    /// The variant as a number: a higher one has more instructions. None: it is unknown.
    pub fn level(&self) -> Option<u32> {
        let usual = self.usual();
        let written = match (&usual.variant, usual.architecture.as_str()) {
            (Some(variant), _) => variant,
            (None, "amd64") => "v1",
            (None, "arm64") => "v8",
            (None, _) => return None,
        };
        written.strip_prefix('v').and_then(|number| number.parse().ok())
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// Reads `linux/arm64/v8`, in capitals or not, with the names that `uname -m` prints too. One word alone is a system or an
/// architecture.
impl FromStr for Platform {
    type Err = String;

    fn from_str(written: &str) -> Result<Platform, String> {
        let wrong = || text("image.pull.platform.form");
        let lower = written.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let is_word = |part: &&str| {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            !part.is_empty() && part.bytes().all(is_good)
        };
        if !parts.iter().all(is_word) {
            return Err(wrong());
        }
        let is_in = |list: &str, word: &str| list.split(' ').any(|known| known == word);
        let here = Platform::here();
        let (os, architecture, variant) = match parts[..] {
            [os] if is_in(SYSTEMS, os) => (os, here.architecture.as_str(), None),
            [architecture] if is_in(ARCHITECTURES, normal(architecture, None).0) => {
                (here.os.as_str(), architecture, None)
            }
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(wrong()),
        };
        let (architecture, variant) = normal(architecture, variant);
        let others = BTreeMap::new();
        Ok(Platform {
            os: usual_system(os).to_owned(),
            architecture: architecture.to_owned(),
            variant,
            others,
        })
    }
}

fn usual_system(os: &str) -> &str {
    if os == "macos" { "darwin" } else { os }
}

/// An architecture and its variant as images have them. The oldest variant of amd64 and of arm64 is not written, and arm alone is v7.
fn normal<'a>(architecture: &'a str, variant: Option<&str>) -> (&'a str, Option<String>) {
    let given = variant.map(|variant| match variant.as_bytes() {
        [b'0'..=b'9', ..] => format!("v{variant}"),
        _ => variant.to_owned(),
    });
    match (architecture, given.as_deref()) {
        ("i386", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", _) => ("amd64", given),
        ("aarch64" | "arm64", None | Some("v8")) => ("arm64", None),
        ("aarch64", _) => ("arm64", given),
        ("armhf", _) => ("arm", Some("v7".to_owned())),
        ("armel", _) => ("arm", Some("v6".to_owned())),
        ("arm", None) => ("arm", Some("v7".to_owned())),
        _ => (architecture, given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Platform {
        written.parse().unwrap()
    }

    #[test]
    fn a_platform_is_written_in_several_ways() {
        for (written, wanted) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("x86-64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("arm64", "linux/arm64"),
            ("linux/aarch64/8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(read(written).to_string(), wanted, "{written}");
        }
        assert_eq!(read("linux"), Platform::here());
        for wrong in ["", "linux/", "/amd64", "a/b/c/d", "linux/a b", "nothing", "linux/é"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_processor_runs_what_is_for_older_variants() {
        for (own, wanted, suits) in [
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/amd64/v2", "linux/amd64/v3", true),
            ("linux/arm/v6", "linux/arm", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/arm64/v9", "linux/arm64", false),
            ("linux/arm64", "linux/amd64", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(read(own).suits(&read(wanted)), suits, "{own} {wanted}");
        }
        let old = Platform { variant: Some("v8".to_owned()), ..read("linux/arm64") };
        assert!(old.suits(&read("linux/arm64")));
        let of_other_words = |os: &str, architecture: &str, variant: Option<&str>| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            others: BTreeMap::new(),
        };
        for (os, architecture, variant, wanted) in [
            ("linux", "x86_64", None, "linux/amd64"),
            ("Linux", "AMD64", Some("v1"), "linux/amd64"),
            ("linux", "x86-64", Some("V2"), "linux/amd64/v3"),
            ("linux", "aarch64", Some("8"), "linux/arm64"),
            ("linux", "arm64", Some(""), "linux/arm64"),
            ("linux", "armhf", None, "linux/arm/v7"),
            ("linux", "armel", None, "linux/arm/v6"),
            ("linux", "i386", None, "linux/386"),
        ] {
            let own = of_other_words(os, architecture, variant);
            assert!(own.suits(&read(wanted)) && !own.suits(&read("linux/s390x")), "{own} {wanted}");
        }
        assert!(!of_other_words("linux", "armhf", None).suits(&read("linux/arm/v6")));
        let unknown = Platform { variant: None, ..read("linux/arm") };
        assert!(unknown.suits(&read("linux/arm/v6")));
        assert!(read("linux/arm/v6").suits(&unknown));
    }
}
