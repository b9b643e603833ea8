//! What a command of a container's life does, step by step, for `--explain`: each file that is written, each process that is
//! started, each signal and each message, with its reason.

use std::fmt::Display;

/// Where the steps are told. Without a listener, nothing is written.
#[derive(Clone, Copy, Default)]
pub struct Explainer {
    listener: Option<fn(&str, &str)>,
}

impl Explainer {
    /// Tells `listener` each step: the call, and the key of the message with its reason.
    pub fn new(listener: Option<fn(&str, &str)>) -> Explainer {
        Explainer { listener }
    }

    /// Whether somebody listens.
    pub fn is_on(self) -> bool {
        self.listener.is_some()
    }

    /// A step that is about to be made.
    pub fn step(self, call: impl Display, why: &str) {
        if let Some(listener) = self.listener {
            listener(&call.to_string(), why);
        }
    }
}
