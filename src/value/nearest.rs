//! The known name that an unknown one was probably meant to be.

/// The nearest of the known names, if one is near: at most two characters are missing, added, wrong or swapped with the next,
/// and at least one is right.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|known| (strsim::osa_distance(name, known), known));
    let (distance, near) = distances.min()?;
    (distance <= 2 && distance < near.len().min(name.len())).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("memroy", ["memory", "env"]), Some("memory"));
        // Swapped characters count once.
        assert_eq!(nearest("pdi", ["pids", "pid"]), Some("pid"));
    }

    #[test]
    fn a_name_that_shares_no_character_is_not_near() {
        assert_eq!(nearest("xy", ["pid", "lo"]), None);
        assert_eq!(nearest("", ["lo"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
