//! A word that means nothing, and the one that was probably meant.

/// The nearest of the known words, where one is near: at most two slips of the finger away, and not all of it slips.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (slips, near) = known.into_iter().map(|known| (distance(word, known), known)).min()?;
    (slips <= 2 && slips < near.len().min(word.len())).then_some(near)
}

/// How many letters are missing, too many, wrong, or swapped with the next: the distance of Damerau and Levenshtein.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let wrong = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + wrong);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_letters_count_once() {
        assert_eq!(distance("pdi", "pid"), 1);
        assert_eq!(distance("pids", "pid"), 1);
        assert_eq!(distance("", "pid"), 3);
        assert_eq!(distance("docter", "doctor"), 1);
    }

    #[test]
    fn what_shares_no_letter_is_not_near() {
        assert_eq!(nearest("memroy", ["memory", "env"]), Some("memory"));
        assert_eq!(nearest("xy", ["pid", "lo"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
