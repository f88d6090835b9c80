//! Golden files: a text that a stage prints, compared with the one that was reviewed and committed.
//!
//! In: a name such as `passes/rms_norm.tile` and the text as it is now. Out: nothing, or a panic that shows the first
//! difference. `SAWMILL_BLESS=1` writes the file instead; the review of its diff is the check then.
//! Invariant: a golden file shows *what* a stage does. Whether it is right is another test's business.

use crate::layout::repository;
use std::fs;
use std::path::PathBuf;

/// The one variable that rewrites every expectation (golden files and the messages of UI tests).
pub const BLESS: &str = "SAWMILL_BLESS";

/// Whether expectations are being rewritten.
#[must_use]
pub fn blessing() -> bool {
    std::env::var_os(BLESS).is_some_and(|value| value == "1")
}

/// Where the golden file called `name` lies.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    repository().join("tests/golden").join(name)
}

/// Compares `actual` with the golden file `name`, or writes it when [`blessing`].
///
/// # Panics
/// When the file is missing, cannot be written, or differs.
pub fn check(name: &str, actual: &str) {
    let file = path(name);
    if blessing() {
        let folder = file.parent().expect("a golden file lies in a folder");
        fs::create_dir_all(folder).expect("the folder of golden files can be created");
        fs::write(&file, actual).expect("a golden file can be written");
        return;
    }
    let Ok(expected) = fs::read_to_string(&file) else {
        panic!("{} is missing; write it with {BLESS}=1 and review it", file.display());
    };
    if let Some(difference) = first_difference(&expected, actual) {
        panic!("{} differs; rewrite it with {BLESS}=1 if the change is meant\n{difference}", file.display());
    }
}

/// Describes the first line where two texts part, with two lines before it, or nothing when they are equal.
#[must_use]
pub fn first_difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let old: Vec<&str> = expected.split('\n').collect();
    let new: Vec<&str> = actual.split('\n').collect();
    let at = old.iter().zip(&new).take_while(|(left, right)| left == right).count();
    let mut report = format!("first difference in line {}:\n", at + 1);
    for line in &old[at.saturating_sub(2)..at] {
        report.push_str(&format!("    {line}\n"));
    }
    report.push_str(&format!("  - {}\n", old.get(at).unwrap_or(&"(end of the golden file)")));
    report.push_str(&format!("  + {}", new.get(at).unwrap_or(&"(end of the text)")));
    Some(report)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn the_first_differing_line_is_shown() {
        let report = first_difference("a\nb\nc", "a\nx\nc").expect("they differ");
        assert!(report.contains("line 2") && report.contains("- b") && report.contains("+ x"), "{report}");
    }

    #[test]
    fn a_missing_end_is_a_difference() {
        assert!(first_difference("a\nb", "a").expect("they differ").contains("(end of the text)"));
    }
}
