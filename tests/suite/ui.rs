//! What a user sees when a program is wrong: the compiler's messages for `tests/ui/types/*.rs`, compared with the committed ones.
//!
//! In: programs that must not compile. Out: a failure that shows the difference. `SAWMILL_BLESS=1` rewrites the messages.
//! Mistakes inside of `arch!` are tested in `dsl/syntax`; these are the ones that only the types of the wrappers show.

use sawmill_tests::golden::blessing;
use sawmill_tests::layout::repository;
use std::process::Command;

/// The variable by which `trybuild` rewrites.
const OVERWRITE: &str = "TRYBUILD";

#[test]
fn messages_are_those_that_were_reviewed() {
    if blessing() && std::env::var_os(OVERWRITE).is_none() {
        // A process cannot safely change its own environment, so the test runs once more with the variable set.
        let this = std::env::current_exe().expect("this test is a file");
        let mut again = Command::new(this);
        again.args(["ui::messages_are_those_that_were_reviewed", "--exact"]).env(OVERWRITE, "overwrite");
        assert!(again.status().expect("this test runs again").success());
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail(repository().join("tests/ui/types/*.rs"));
}
