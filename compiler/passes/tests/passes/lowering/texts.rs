//! Golden texts of lowered plans.

use super::differ::forms;
use sawmill_ir::tile::text::print;

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/passes/lowering/{name}.tile", env!("CARGO_MANIFEST_DIR"));
    let found = print(&forms(text).lowered[0].1);
    if std::env::var_os("SAWMILL_BLESS").is_some() {
        std::fs::write(&path, &found).expect("the golden file can be written");
    }
    assert_eq!(found, std::fs::read_to_string(&path).expect("the golden file is there"), "{path}");
}

#[test]
fn lowered_plans_match_their_goldens() {
    golden("matmul", crate::plans::MATMUL);
    golden("softmax_sum", crate::plans::ATTENTION);
    golden("packed_rows", super::programs::PACKED);
}
