//! The specs that come with sandbox: one a purpose, each a file to read, to print and to change.

/// A spec that comes with sandbox.
#[derive(Debug)]
pub struct Shipped {
    /// What it's for, in a word: the name of its file.
    pub purpose: &'static str,
    /// The file.
    pub text: &'static str,
}

impl Shipped {
    /// What it's for, in a sentence: its first line.
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

/// All of them. A test holds that no file is left out.
pub const ALL: &[Shipped] = shipped!(
    "batch" "build" "clock" "devices" "first" "fork-bomb" "homework" "hostname" "memory-starved" "rootless" "shell" "web"
);
