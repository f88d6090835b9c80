//! Comparing outputs with expected ones.
//!
//! In: two arrays of one shape and an absolute tolerance. Out: nothing, or the worst difference.
//! Invariants: NaN never agrees with anything; infinities agree with themselves only; integers agree exactly.

use super::array::{Array, Numbers};

/// How outputs differ.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Difference {
    /// Other sizes.
    #[error("shape {found:?}, expected {wanted:?}")]
    Shape {
        /// Sizes found.
        found: Vec<usize>,
        /// Sizes expected.
        wanted: Vec<usize>,
    },
    /// A value too far off.
    #[error("element {at:?}: {found}, expected {wanted} within {tolerance:e}, off by {difference:e}")]
    Value {
        /// Its index.
        at: Vec<usize>,
        /// Value found.
        found: f64,
        /// Value expected.
        wanted: f64,
        /// Allowed difference.
        tolerance: f64,
        /// Difference found.
        difference: f64,
    },
}

/// Compares; the element that is furthest off is reported.
///
/// # Errors
/// [`Difference`].
pub fn compare(found: &Array, wanted: &Array, tolerance: f64) -> Result<(), Difference> {
    if found.shape != wanted.shape {
        return Err(Difference::Shape { found: found.shape.clone(), wanted: wanted.shape.clone() });
    }
    let exact = matches!((&found.numbers, &wanted.numbers), (Numbers::Integer(_), Numbers::Integer(_)));
    let tolerance = if exact { 0.0 } else { tolerance };
    let pairs = super::binding::floats(&found.numbers).into_iter().zip(super::binding::floats(&wanted.numbers));
    let differences = pairs.enumerate().map(|(at, (found, wanted))| (at, found, wanted, distance(found, wanted)));
    match differences.max_by(|one, other| one.3.total_cmp(&other.3)) {
        // A distance of NaN is no distance within the tolerance.
        Some((at, value, expected, difference)) if difference.is_nan() || difference > tolerance => {
            Err(Difference::Value {
                at: index(at, &wanted.shape),
                found: value,
                wanted: expected,
                tolerance,
                difference,
            })
        }
        _ => Ok(()),
    }
}

/// The absolute difference; 0 for two equal infinities, NaN where either is NaN.
fn distance(found: f64, wanted: f64) -> f64 {
    if found == wanted { 0.0 } else { (found - wanted).abs() }
}

/// The index of the `at`-th element in row-major order.
fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = at % shape[axis];
        at /= shape[axis];
    }
    index
}

#[cfg(test)]
mod tests {
    use super::{Difference, compare};
    use crate::check::array::{Array, Numbers};

    fn floats(values: &[f64]) -> Array {
        Array { shape: vec![1, values.len()], numbers: Numbers::Float(values.to_vec()) }
    }

    fn difference(found: &[f64], wanted: &[f64]) -> Option<Vec<usize>> {
        match compare(&floats(found), &floats(wanted), 0.1) {
            Ok(()) => None,
            Err(Difference::Value { at, .. }) => Some(at),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_worst_element_is_reported() {
        assert_eq!(difference(&[1.0, 2.05, 3.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(difference(&[1.2, 2.5, 3.0], &[1.0, 2.0, 3.0]), Some(vec![0, 1]));
    }

    #[test]
    fn infinities_agree_with_themselves_and_nothing_with_nan() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(difference(&[-infinity, 0.0], &[-infinity, 0.0]), None);
        assert_eq!(difference(&[infinity, 0.0], &[-infinity, 0.0]), Some(vec![0, 0]));
        assert_eq!(difference(&[0.0, -infinity], &[0.0, -1e30]), Some(vec![0, 1]));
        assert_eq!(difference(&[nan, 5.0], &[0.0, 0.0]), Some(vec![0, 0]));
        assert_eq!(difference(&[0.0, 0.0], &[nan, 0.0]), Some(vec![0, 0]));
        assert_eq!(difference(&[nan], &[nan]), Some(vec![0, 0]));
    }

    #[test]
    fn integers_and_shapes_agree_exactly() {
        let integers = |values: &[i64]| Array { shape: vec![values.len()], numbers: Numbers::Integer(values.to_vec()) };
        assert!(compare(&integers(&[1, 2]), &integers(&[1, 2]), 5.0).is_ok());
        assert!(compare(&integers(&[1, 2]), &integers(&[1, 3]), 5.0).is_err());
        assert!(matches!(compare(&integers(&[1]), &integers(&[1, 3]), 5.0), Err(Difference::Shape { .. })));
    }
}
