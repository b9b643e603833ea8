//! The specs that come with `sandbox`, one for each purpose. Each is a file to read, to print and to change.

/// A spec that comes with sandbox.
#[derive(Debug)]
pub struct Shipped {
    /// The purpose in one word: the name of the file.
    pub purpose: &'static str,
    /// The content of the file.
    pub text: &'static str,
}

impl Shipped {
    /// The purpose in one sentence: the first line of the file.
    pub fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

macro_rules! shipped {
    ($($purpose:literal)*) => {
        &[$(Shipped {
            purpose: $purpose,
            text: include_str!(concat!("../../../lessons/specs/", $purpose, ".yaml")),
        }),*]
    };
}

/// All specs. A test checks that no file is missing here.
pub const ALL: &[Shipped] = shipped!(
    "batch" "build" "clock" "devices" "first" "fork-bomb" "homework" "hostname" "memory-starved" "rootless" "shell" "web"
);
