//! An AppArmor profile for this one program. On Ubuntu, a program without a profile has no capabilities in a new user
//! namespace. A profile with the rule `userns` allows them, as Ubuntu recommends. Nothing changes for other programs.

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

/// The path as a pattern that matches only this path. Special characters are escaped. A path with spaces is quoted.
fn pattern(path: &str) -> String {
    let escaped: String = path
        .chars()
        .flat_map(|character| {
            let is_special = "*?[]{}^,\"\\".contains(character);
            is_special.then_some('\\').into_iter().chain([character])
        })
        .collect();
    if escaped.contains(char::is_whitespace) { format!("\"{escaped}\"") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_of_a_path_matches_only_this_path() {
        assert_eq!(pattern("/usr/local/bin/sandbox"), "/usr/local/bin/sandbox");
        assert_eq!(pattern("/home/a b/s*x"), "\"/home/a b/s\\*x\"");
    }
}
