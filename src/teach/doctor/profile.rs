//! An AppArmor profile for this one program. Ubuntu denies capabilities in new user namespaces to programs without a
//! profile; one that says `userns` is the way that it provides, and all other programs stay as they are.

/// The profile for the program at `path`. apparmor.d(5)
pub fn text(path: &str) -> String {
    format!(
        "\
# Lets this one program use user namespaces. Made by: sandbox doctor --apparmor-profile
# `unconfined`: AppArmor takes nothing else from it, as from a program without a profile.

abi <abi/4.0>,
include <tunables/global>

profile sandbox {} flags=(unconfined) {{
  userns,

  include if exists <local/sandbox>
}}
",
        pattern(path)
    )
}

/// A path is a pattern there: its signs are escaped, and quotes hold blanks together.
fn pattern(path: &str) -> String {
    let escaped: String = path
        .chars()
        .flat_map(|sign| {
            let special = "*?[]{}^,\"\\".contains(sign);
            special.then_some('\\').into_iter().chain([sign])
        })
        .collect();
    if escaped.contains(char::is_whitespace) { format!("\"{escaped}\"") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_pattern_that_matches_itself_alone() {
        assert_eq!(pattern("/usr/local/bin/sandbox"), "/usr/local/bin/sandbox");
        assert_eq!(pattern("/home/a b/s*x"), "\"/home/a b/s\\*x\"");
    }
}
