//! The known name that was probably meant by an unknown one.

/// The nearest of the known names, if one is near. At most two characters may be missing, added, wrong or swapped with
/// the next one. At least half of the characters must be right, or the first one. Capital letters are the same.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let small = name.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&small, &known.to_lowercase());
    let distances = known.into_iter().map(|known| (distance(known), known));
    let (distance, near) = distances.min()?;
    let length = near.len().min(name.len());
    let begins_so = near.chars().next() == small.chars().next();
    (distance <= 2 && (2 * distance <= length || distance < length && begins_so)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("memroy", ["memory", "env"]), Some("memory"));
        assert_eq!(nearest("luk", ["look"]), Some("look"));
        // Two swapped characters are one difference.
        assert_eq!(nearest("pdi", ["pids", "pid"]), Some("pid"));
        assert_eq!(nearest("PID", ["pids", "pid"]), Some("pid"));
        assert_eq!(nearest("net_admin", ["NET_ADMIN"]), Some("NET_ADMIN"));
    }

    #[test]
    fn a_name_that_shares_too_little_is_not_near() {
        assert_eq!(nearest("xy", ["pid", "lo"]), None);
        assert_eq!(nearest("foo", ["box", "lo"]), None);
        assert_eq!(nearest("", ["lo"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
