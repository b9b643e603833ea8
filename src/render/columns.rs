//! A table in the form of Docker's: a line of titles, and columns that are as wide as their widest value.

use unicode_width::UnicodeWidthStr;

use crate::text::pad;

/// The space between two columns.
const GAP: usize = 3;

/// The minimum width of a column, with the space.
const MIN_WIDTH: usize = 10;

/// The lines of a table.
pub fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let of = |row: &Vec<String>| row.get(column).map_or(0, |value| value.width());
        let widest = rows.iter().map(of).chain([titles[column].width()]).max().unwrap_or_default();
        (widest + GAP).max(MIN_WIDTH)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |values: &[String]| {
        let last = values.len().saturating_sub(1);
        let cell = |(column, value): (usize, &String)| match column == last {
            true => value.clone(),
            false => pad(value, widths[column]),
        };
        values.iter().enumerate().map(cell).collect::<String>() + "\n"
    };
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    std::iter::once(&titles).chain(rows).map(|values| line(values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_dockers_widths() {
        let rows = [vec!["4f3a".to_owned(), "host".to_owned(), "web".to_owned()]];
        let expected = "CONTAINER ID   IMAGE     NAMES\n4f3a           host      web\n";
        assert_eq!(table(&["CONTAINER ID", "IMAGE", "NAMES"], &rows), expected);
        assert_eq!(table(&["A"], &[]), "A\n");
    }
}
