//! Readers of keys with rules of their own: a name, arguments, a path, environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::text::text;
use crate::value::parse::checked;

/// Reads the name of a container.
pub(super) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked(deserializer, |label: &String| {
        let bytes = label.as_bytes();
        let holds = bytes.len() <= 63
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte));
        holds.then_some(()).ok_or_else(|| text("spec.label.form"))
    })
}

/// Reads an absolute path.
pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    checked(deserializer, |path: &PathBuf| match path {
        path if path.is_absolute() => Ok(()),
        path if path.starts_with("~") => Err(text("spec.tilde")),
        _ => Err(text("spec.absolute.form")),
    })
}

/// A string that execve(2) can pass: without a null byte.
struct ExecString(String);

impl<'de> Deserialize<'de> for ExecString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `null` and `~` are read as strings otherwise, which nobody means.
        let string = Option::<String>::deserialize(deserializer)?;
        let string = string.ok_or_else(|| D::Error::custom(text("spec.null")))?;
        if string.contains('\0') { Err(D::Error::custom(text("spec.nul"))) } else { Ok(ExecString(string)) }
    }
}

/// Reads a command and its arguments.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
    let all = Option::<Vec<ExecString>>::deserialize(deserializer)?.unwrap_or_default();
    // A shell would expand the name of the program. Other arguments may begin with `~` on purpose.
    let is_from_home = |name: &str| name == "~" || (name.starts_with('~') && name.contains('/'));
    if all.first().is_some_and(|ExecString(name)| is_from_home(name)) {
        return Err(D::Error::custom(text("spec.tilde")));
    }
    Ok(all.into_iter().map(|ExecString(argument)| argument.into()).collect())
}

/// Reads environment variables. In environ(7), a name has no `=`, and neither name nor value has a null byte.
pub(super) fn variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, OsString>, D::Error> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct VariableName(String);

    impl<'de> Deserialize<'de> for VariableName {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = String::deserialize(deserializer)?;
            let holds = !name.is_empty() && !name.contains(['=', '\0']);
            if holds { Ok(VariableName(name)) } else { Err(D::Error::custom(text("spec.variable.form"))) }
        }
    }

    let all = Option::<BTreeMap<VariableName, ExecString>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().map(|(VariableName(name), ExecString(value))| (name, value.into())).collect())
}
