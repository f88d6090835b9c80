//! One number for each axis of a tensor, in place for the usual ranks.
//!
//! A call describes hundreds of tensors by their sizes and strides; with a vector for each, allocating them took longer than all else.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Ranks up to this are kept in place.
const IN_PLACE: usize = 6;

/// One number for each axis. Dereferences to a slice.
#[derive(Clone, Default)]
pub struct PerAxis {
    rank: usize,
    here: [i64; IN_PLACE],
    /// All of them where there are more.
    elsewhere: Vec<i64>,
}

impl Deref for PerAxis {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        if self.rank <= IN_PLACE { &self.here[..self.rank] } else { &self.elsewhere }
    }
}

impl DerefMut for PerAxis {
    fn deref_mut(&mut self) -> &mut [i64] {
        if self.rank <= IN_PLACE { &mut self.here[..self.rank] } else { &mut self.elsewhere }
    }
}

impl FromIterator<i64> for PerAxis {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        let mut all = Self::default();
        for number in numbers {
            if all.rank < IN_PLACE {
                all.here[all.rank] = number;
            } else {
                if all.elsewhere.is_empty() {
                    all.elsewhere.extend(all.here);
                }
                all.elsewhere.push(number);
            }
            all.rank += 1;
        }
        all
    }
}

impl From<&[i64]> for PerAxis {
    fn from(numbers: &[i64]) -> Self {
        numbers.iter().copied().collect()
    }
}

impl From<Vec<i64>> for PerAxis {
    fn from(numbers: Vec<i64>) -> Self {
        numbers.into_iter().collect()
    }
}

impl PartialEq for PerAxis {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for PerAxis {}

impl fmt::Debug for PerAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{IN_PLACE, PerAxis};

    #[test]
    fn any_rank_reads_back() {
        for rank in 0..2 * IN_PLACE as i64 + 2 {
            let numbers: Vec<i64> = (10..10 + rank).collect();
            let mut all: PerAxis = numbers.iter().copied().collect();
            assert_eq!(*all, *numbers);
            assert_eq!(format!("{all:?}"), format!("{numbers:?}"));
            assert_eq!(all, PerAxis::from(numbers.as_slice()));
            if let Some(last) = all.last_mut() {
                *last = -1;
                assert_ne!(all, PerAxis::from(numbers));
            }
        }
    }
}
