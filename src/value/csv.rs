//! The fields of one line of comma-separated values, as encoding/csv of Go reads it: Docker's flags have this form.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The fields. A field that begins with a double quote ends at the next one; it may have commas, and two double quotes are one.
/// None: a quote is not closed, or is inside of a field.
pub fn fields(written: &OsStr) -> Option<Vec<OsString>> {
    let mut all = Vec::new();
    let mut rest = written.as_bytes();
    loop {
        let (field, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => read_quoted(quoted)?,
            None => {
                let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains(&b'"') {
                    return None;
                }
                (field.to_vec(), after)
            }
        };
        all.push(OsString::from_vec(field));
        match after {
            [] => return Some(all),
            [b',', next @ ..] => rest = next,
            _ => return None,
        }
    }
}

/// A field after its first quote, and what follows its last one.
fn read_quoted(written: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut field = Vec::new();
    let mut rest = written;
    loop {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        field.extend(&rest[..end]);
        match &rest[end + 1..] {
            [b'"', next @ ..] => {
                field.push(b'"');
                rest = next;
            }
            after => return Some((field, after)),
        }
    }
}

/// The same as keys and values. Keys are in small letters. None: a field has no `=` either.
pub fn pairs(written: &str) -> Option<Vec<(String, String)>> {
    let pair = |field: OsString| {
        let field = field.into_string().ok()?;
        let (key, value) = field.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), value.to_owned()))
    };
    fields(written.as_ref())?.into_iter().map(pair).collect()
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
            let wanted = wanted.map(|all| all.into_iter().map(OsString::from).collect::<Vec<_>>());
            assert_eq!(fields(written.as_ref()), wanted, "{written}");
        }
        assert_eq!(pairs("Type=x, DEST=a=b").unwrap()[1], ("dest".to_owned(), "a=b".to_owned()));
        assert_eq!(pairs("type=x,y"), None);
    }
}
