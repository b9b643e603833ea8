//! The fields of one line of comma-separated values, as encoding/csv of Go reads it: Docker's flags have this form.

/// The fields. A field that begins with a double quote ends at the next one; it may have commas, and two double quotes are one.
/// None: a quote is not closed, or is inside of a field.
pub fn fields(written: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut rest = written;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => read_quoted(quoted)?,
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (field.to_owned(), after)
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return None;
        }
        all.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(all),
        }
    }
}

/// A field after its first quote, and what follows its last one.
fn read_quoted(written: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = written;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

/// The same as keys and values. Keys are in small letters. None: a field has no `=` either.
pub fn pairs(written: &str) -> Option<Vec<(String, String)>> {
    let pair = |field: String| {
        let (key, value) = field.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), value.to_owned()))
    };
    fields(written)?.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_go() {
        for (written, wanted) in [
            ("a,b", Some(vec!["a", "b"])),
            ("", Some(vec![""])),
            ("a,,", Some(vec!["a", "", ""])),
            ("id=a,\"src=f,x\"", Some(vec!["id=a", "src=f,x"])),
            ("\"a\"\"b\",c", Some(vec!["a\"b", "c"])),
            ("\"\"", Some(vec![""])),
            ("a\"b", None),
            ("\"a", None),
            ("\"a\"b", None),
        ] {
            let wanted = wanted.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(fields(written), wanted, "{written}");
        }
        assert_eq!(pairs("Type=x, DEST=a=b").unwrap()[1], ("dest".to_owned(), "a=b".to_owned()));
        assert_eq!(pairs("type=x,y"), None);
    }
}
