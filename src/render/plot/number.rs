//! Numbers as short text.

use crate::teach::demo::plot::Plot;

/// The digits after the decimal point for the values of a plot: none for integers, otherwise three digits in total.
pub(super) fn digits(plot: &Plot) -> usize {
    let mut values = plot.lanes.iter().flat_map(|lane| &lane.samples).map(|sample| sample.value);
    if values.all(|value| !value.is_finite() || value.fract() == 0.0) {
        0
    } else {
        significant(plot.value_end())
    }
}

/// The digits after the decimal point, so that a number has three digits in total.
fn significant(value: f64) -> usize {
    match value.abs() {
        value if value > 0.0 && value.is_finite() => (2.0 - value.log10().floor()).clamp(0.0, 6.0) as usize,
        _ => 0,
    }
}

/// A number with so many digits after the decimal point. Large numbers have an exponent, so that they stay short.
pub(super) fn number(value: f64, digits: usize) -> String {
    match value {
        value if !value.is_finite() => "?".into(),
        value if value.abs() >= 1e9 => format!("{value:.1e}"),
        // Adding 0 turns -0 into 0.
        value => format!("{:.digits$}", value + 0.0),
    }
}

/// A number with at most three digits, without zeros at the end: `32`, `31.4`, `0.25`.
pub(in crate::render) fn short(value: f64) -> String {
    let long = number(value, significant(value));
    if long.contains('.') && !long.contains('e') {
        long.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        long
    }
}

/// A short number with its unit: `32 MiB`, `1 process`.
pub(in crate::render) fn with_unit(plot: &Plot, value: f64) -> String {
    format!("{} {}", short(value), unit_of(plot, value))
}

/// The unit after a number.
pub(super) fn unit_of(plot: &Plot, value: f64) -> &str {
    plot.unit_of_one.as_deref().filter(|_| value == 1.0).unwrap_or(&plot.unit)
}
