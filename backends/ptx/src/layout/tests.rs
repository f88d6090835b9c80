//! Layouts on integer patterns: each element has an owner, copies are where the layout says, nothing else is anywhere.

use super::{Bit, Layout, bits_of};
use sawmill_ir::entity::Entity as _;
use sawmill_ir::tile::AxisId;
use std::collections::BTreeMap;

/// 128 threads.
const THREADS: usize = 7;

fn axis(number: usize) -> AxisId {
    AxisId::new(number)
}

/// How many (thread, register) pairs hold each element of the padded tile.
fn owners(layout: &Layout, axes: &[(AxisId, u32)]) -> BTreeMap<Vec<u32>, u32> {
    let mut owners = BTreeMap::new();
    for thread in 0..1 << layout.thread_bits().len() {
        for register in 0..layout.registers() {
            let at: Vec<u32> = axes.iter().map(|(a, _)| layout.coordinate(*a, register, thread)).collect();
            *owners.entry(at).or_insert(0) += 1;
        }
    }
    owners
}

/// Every element of the padded tile is held equally often, and so often as bits are repeated.
fn covers(layout: &Layout, axes: &[(AxisId, u32)]) {
    let owners = owners(layout, axes);
    let padded: u32 = axes.iter().map(|(_, extent)| 1 << bits_of(*extent)).product();
    assert_eq!(owners.len(), padded as usize, "{layout:?}");
    let copies = 1 << layout.repeated().count_ones();
    assert!(owners.values().all(|n| *n == copies), "{layout:?}: {copies} copies expected");
}

#[test]
fn a_spread_tile_has_every_element_and_known_copies() {
    for a in [1, 2, 3, 4, 7, 8, 32, 33, 64] {
        for b in [1, 2, 5, 16, 31, 32, 64, 100, 128] {
            let axes = [(axis(0), a), (axis(1), b)];
            for threads in [0, 3, 5, THREADS, 10] {
                covers(&Layout::spread(&axes, threads), &axes);
            }
        }
    }
    let three = [(axis(2), 3), (axis(0), 16), (axis(1), 5)];
    covers(&Layout::spread(&three, THREADS), &three);
}

#[test]
fn neighbours_of_the_last_axis_lie_in_neighbouring_lanes() {
    let layout = Layout::spread(&[(axis(0), 32), (axis(1), 64)], THREADS);
    assert_eq!(layout.registers(), 16);
    assert_eq!(layout.repeated(), 0);
    for thread in 0..32 {
        assert_eq!(layout.coordinate(axis(1), 0, thread), thread);
        assert_eq!(layout.coordinate(axis(0), 0, thread), 0);
    }
    assert_eq!(layout.coordinate(axis(0), 0, 32), 8, "warps share the outer rows");
    assert_eq!(layout.lane_axis(), Some(axis(1)));
}

#[test]
fn a_projection_repeats_what_it_lost() {
    let axes = [(axis(0), 32), (axis(1), 64)];
    let layout = Layout::spread(&axes, THREADS);
    let rows = layout.project(&[axis(0)]);
    covers(&rows, &axes[..1]);
    assert_eq!(rows.repeated(), 0b11111, "all lanes hold the same rows");
    assert!(rows.is_uniform_in_warps());
    for thread in 0..128 {
        for register in 0..layout.registers() {
            let held = rows.register_like(&layout, register);
            let (wide, narrow) = (layout.coordinate(axis(0), register, thread), rows.coordinate(axis(0), held, thread));
            assert_eq!(wide, narrow);
        }
    }
}

#[test]
fn an_accumulator_of_mma_is_a_layout() {
    // Row 16w + g + 8h, column 8j + 2q + e: lanes are q (2 bits) and g (3), registers e, h, j; 4 warps along the rows.
    let bit = |axis_number, bit| Bit { axis: axis(axis_number), bit };
    let threads = [bit(1, 1), bit(1, 2), bit(0, 0), bit(0, 1), bit(0, 2), bit(0, 4), bit(0, 5)];
    let layout = Layout::new(vec![bit(1, 0), bit(0, 3), bit(1, 3)], threads.map(Some).to_vec()).expect("distinct bits");
    covers(&layout, &[(axis(0), 64), (axis(1), 16)]);
    for thread in 0..128_u32 {
        let (w, g, q) = (thread / 32, thread % 32 / 4, thread % 4);
        for register in 0..8_u32 {
            let (e, h, j) = (register & 1, register >> 1 & 1, register >> 2);
            assert_eq!(layout.coordinate(axis(0), register, thread), 16 * w + g + 8 * h);
            assert_eq!(layout.coordinate(axis(1), register, thread), 8 * j + 2 * q + e);
        }
    }
    assert!(Layout::new(vec![bit(0, 0)], vec![Some(bit(0, 0))]).is_none(), "one bit in two places");
}
