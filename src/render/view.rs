//! A view, as text.

use crate::observe::view::View;

/// The lines of a view.
pub fn text(view: &View) -> String {
    format!("{view:#?}\n")
}
