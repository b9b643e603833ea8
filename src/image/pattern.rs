//! Patterns of names, as the filter `reference` has them.

use super::reference::Reference;

/// Whether a name fits a pattern: with `*` and `?`, without a tag for all tags, and as Docker prints it or whole.
pub fn is_named(name: &Reference, pattern: &str) -> bool {
    let has_tag = pattern.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let forms = match has_tag {
        true => [name.familiar(), name.to_string()],
        false => [name.familiar_name(), name.name()],
    };
    forms.iter().any(|form| fits(form.as_bytes(), pattern.as_bytes()))
}

/// Whether a text fits a pattern. `*` and `?` do not stand for a `/`, as in Docker.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    match (text, pattern) {
        ([], []) => true,
        (_, [b'*', rest @ ..]) => {
            let most = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=most).any(|length| fits(&text[length..], rest))
        }
        ([first, text @ ..], [b'?', pattern @ ..]) if *first != b'/' => fits(text, pattern),
        ([first, text @ ..], [wanted, pattern @ ..]) => first == wanted && fits(text, pattern),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_about_a_name_or_all_its_tags() {
        let name: Reference = "localhost:5000/team/tool:1.2".parse().unwrap();
        for pattern in ["localhost:5000/team/tool", "localhost:5000/*/tool:1.*", "*/team/t??l:*"] {
            assert!(is_named(&name, pattern), "{pattern}");
        }
        for pattern in ["tool", "*", "localhost:5000/team/tool:2", "*/*", ""] {
            assert!(!is_named(&name, pattern), "{pattern}");
        }
        let short: Reference = "ubuntu:15.10".parse().unwrap();
        assert!(
            is_named(&short, "ubuntu")
                && is_named(&short, "ub*")
                && is_named(&short, "docker.io/library/ubuntu")
        );
    }
}
