//! The machine code of hot loops: nothing of them may live on the stack, and they reach the machine's rate.

use std::time::Instant;

use sawmill_cranelift::{Compiler, JitCode};
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, Val};

use crate::harness::{Buffer, compare, run_code};

const DEPTH: i64 = 256;

/// c[rows][columns] += a[k][rows]^T b[k][columns], `unroll` steps of k in each turn; one product for each grid block, all
/// on the same operands. Odd steps go through the rows backwards: Cranelift's multiply-add overwrites a factor, not the
/// sum, so that a sum moves on to the register of its neighbour in one step and comes back in the next.
fn product(rows: usize, columns: u8, unroll: i64) -> Function {
    let mut b = Builder::new("product");
    let [left, right, out] = [0, 1, 2].map(|word| b.arg(word, Type::I64));
    let ty = Type::vector(Elem::F32, columns);
    let zero = b.float(ty, 0.0);
    let (first, end) = (b.first(), b.end());
    b.begin_for(first, end, 1, &[]);
    let (start, depth) = (b.i64(0), b.i64(DEPTH));
    let (k, mut sums) = b.begin_for(start, depth, unroll, &vec![zero; rows]);
    let (row_bytes, column_bytes) = (b.i64(rows as i64 * 4), b.i64(i64::from(ty.bytes())));
    let (row_offset, column_offset) = (b.mul(k, row_bytes), b.mul(k, column_bytes));
    let (left_at, right_at) = (b.add(left, row_offset), b.add(right, column_offset));
    for step in 0..unroll as i32 {
        let vector = b.load(ty, Address::new(right_at).offset(step * ty.bytes() as i32));
        let mut order: Vec<usize> = (0..rows).collect();
        if step % 2 == 1 {
            order.reverse();
        }
        for row in order {
            let at = Address::new(left_at).offset((step * rows as i32 + row as i32) * 4);
            let scalar = b.load_splat(ty, at);
            sums[row] = b.fma(scalar, vector, sums[row]);
        }
    }
    let sums = b.end_for(&sums);
    for (row, sum) in sums.iter().enumerate() {
        b.store(*sum, Address::new(out).offset(row as i32 * ty.bytes() as i32));
    }
    b.end_for(&[]);
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}

/// The dot product of a row of q4_1 blocks (scale f16, minimum f16, 16 bytes of two 4-bit numbers each) with x, whose sums
/// over blocks of 32 stand in a second buffer; one row for each grid block.
fn packed_row(blocks: i64) -> Function {
    let mut b = Builder::new("packed_row");
    let [weights, x, sums, out] = [0, 1, 2, 3].map(|word| b.arg(word, Type::I64));
    let ty = Type::vector(Elem::F32, 16);
    let (first, end) = (b.first(), b.end());
    let (row, _) = b.begin_for(first, end, 1, &[]);
    let row_bytes = b.i64(blocks * 20);
    let row_offset = b.mul(row, row_bytes);
    let row_at = b.add(weights, row_offset);
    let (zero, zero_scalar) = (b.float(Type::vector(Elem::F32, 4), 0.0), b.float(Type::F32, 0.0));
    let (start, count) = (b.i64(0), b.i64(blocks));
    let (block, carried) = b.begin_for(start, count, 1, &[zero, zero_scalar]);
    let block_at = Address::indexed(row_at, block, 20);
    let [scale, minimum] = [0, 2].map(|disp| {
        let bits = b.load(Type::I16, block_at.offset(disp));
        b.from_f16(bits, Elem::F32)
    });
    let bytes = b.load(Type::vector(Elem::I8, 16), block_at.offset(4));
    let halves = nibbles(&mut b, bytes);
    let x_at = Address::indexed(x, block, 128);
    let [low, high] = [0, 1].map(|half| {
        let numbers = b.zext(halves[half as usize], Elem::I32);
        let numbers = b.sint_to_float(numbers, Elem::F32);
        let operand = b.load(ty, x_at.offset(half * 64));
        (numbers, operand)
    });
    let product = b.mul(low.0, low.1);
    let product = b.fma(high.0, high.1, product);
    let product = quarter_sum(&mut b, product);
    let scale = b.splat(scale, 4);
    let sum = b.fma(product, scale, carried[0]);
    let x_sum = b.load(Type::F32, Address::indexed(sums, block, 4));
    let offset = b.fma(minimum, x_sum, carried[1]);
    let total = b.end_for(&[sum, offset]);
    let sum = b.reduce_add(total[0]);
    let sum = b.add(sum, total[1]);
    b.store(sum, Address::indexed(out, row, 4));
    b.end_for(&[]);
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}

/// The low and the high halves of bytes.
fn nibbles(b: &mut Builder, bytes: Val) -> [Val; 2] {
    let words = Type::vector(Elem::I16, 8);
    let mask = b.int(b.ty(bytes), 15);
    let four = b.int(words, 4);
    let low = b.and(bytes, mask);
    let high = b.bitcast(bytes, words);
    let high = b.ushr(high, four);
    let high = b.bitcast(high, b.ty(bytes));
    [low, b.and(high, mask)]
}

/// The sum of the four quarters of f32x16.
fn quarter_sum(b: &mut Builder, value: Val) -> Val {
    let [first, second, third, fourth] = [0, 4, 8, 12].map(|start| b.slice(value, start, 4));
    let (low, high) = (b.add(first, second), b.add(third, fourth));
    b.add(low, high)
}

/// The instructions of the longest block that ends by jumping back: the body of an innermost loop without branches.
fn inner_loop(assembly: &str) -> Vec<&str> {
    let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
    let label = |line: &str| line.strip_prefix("block")?.strip_suffix(':')?.parse::<u32>().ok();
    let starts: Vec<usize> = (0..lines.len()).filter(|at| label(lines[*at]).is_some()).collect();
    let mut best: Vec<&str> = Vec::new();
    for (position, start) in starts.iter().enumerate() {
        let end = starts.get(position + 1).copied().unwrap_or(lines.len());
        let body = &lines[start + 1..end];
        let target = body.last().and_then(|line| line.strip_prefix("jmp")?.trim().strip_prefix("label")?.parse().ok());
        let jumps_back = target.is_some_and(|target: u32| Some(target) < label(lines[*start]));
        if jumps_back && body.len() > best.len() {
            best = body.to_vec();
        }
    }
    best
}

fn assert_in_registers(func: &Function, fmas: usize) {
    let compiler = Compiler::host().expect("a known processor");
    let text = compiler.assembly_text(func).unwrap_or_else(|error| panic!("{error}"));
    let body = inner_loop(&text);
    assert!(!body.is_empty(), "no loop in\n{text}");
    let on_stack = body.iter().find(|line| line.contains("rsp") || line.contains("rbp"));
    assert!(on_stack.is_none(), "{on_stack:?} in\n{}", body.join("\n"));
    let count = body.iter().filter(|line| line.contains("fmadd")).count();
    assert_eq!(count, fmas, "multiply-adds in\n{}", body.join("\n"));
}

fn product_buffers(rows: usize, columns: usize) -> Vec<Buffer> {
    let numbers = |count: usize| (0..count).map(|i| u64::from(((i % 7) as f32 - 3.0).to_bits())).collect::<Vec<u64>>();
    let depth = DEPTH as usize;
    vec![
        Buffer::of(Elem::F32, &numbers(depth * rows)),
        Buffer::of(Elem::F32, &numbers(depth * columns)),
        Buffer::room(Elem::F32, rows * columns),
    ]
}

fn packed_buffers(blocks: usize, rows: usize) -> Vec<Buffer> {
    let mut bytes = Vec::new();
    for block in 0..blocks * rows {
        bytes.extend([0x00, 0x38 + (block % 3) as u8, 0x00, 0xb4]);
        bytes.extend((0..16).map(|i| (block * 31 + i * 17) as u8));
    }
    let x: Vec<f32> = (0..blocks * 32).map(|i| (i % 11) as f32 - 5.0).collect();
    let sums: Vec<u64> = x.chunks(32).map(|part| u64::from(part.iter().sum::<f32>().to_bits())).collect();
    let x: Vec<u64> = x.iter().map(|value| u64::from(value.to_bits())).collect();
    let weights = Buffer { elem: Elem::I8, bytes };
    vec![weights, Buffer::of(Elem::F32, &x), Buffer::of(Elem::F32, &sums), Buffer::room(Elem::F32, rows)]
}

#[test]
fn register_blocks_stay_in_registers() {
    assert_in_registers(&product(6, 8, 2), 24);
    assert_in_registers(&product(5, 8, 4), 40);
    assert_in_registers(&product(12, 4, 4), 48);
}

#[test]
fn hot_loops_agree_with_the_interpreter() {
    let compiler = Compiler::host().expect("a known processor");
    compare(&compiler, &product(6, 8, 4), &product_buffers(6, 8), &[], (0, 1));
    compare(&compiler, &packed_row(18), &packed_buffers(18, 3), &[], (0, 3));
}

/// Seconds of the fastest of several runs of `blocks` grid blocks.
fn seconds(func: &Function, mut buffers: Vec<Buffer>, blocks: u64) -> f64 {
    let compiler = Compiler::host().expect("a known processor");
    let code = compiler.compile(func).unwrap_or_else(|error| panic!("{error}"));
    let code = JitCode::new(&code).expect("memory for code");
    let run = |buffers: &mut Vec<Buffer>| {
        let start = Instant::now();
        run_code(&code, buffers, &[], (0, blocks));
        start.elapsed().as_secs_f64()
    };
    (0..200).map(|_| run(&mut buffers)).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "measures this machine"]
fn report_rates() {
    for (rows, columns, unroll) in [(6, 8, 2), (12, 4, 2), (12, 4, 4), (4, 8, 2), (5, 8, 4)] {
        let blocks = 400;
        let time = seconds(&product(rows, columns, unroll), product_buffers(rows, columns.into()), blocks);
        let operations = blocks as f64 * DEPTH as f64 * rows as f64 * f64::from(columns) * 2.0;
        println!("{rows}x{columns} unroll {unroll}: {:.1} GFLOP/s", operations / time / 1e9);
    }
    let (blocks, rows) = (18, 512);
    let time = seconds(&packed_row(blocks), packed_buffers(blocks as usize, rows), rows as u64);
    let weights = blocks as f64 * 32.0 * rows as f64;
    println!("q4_1: {:.2} G weights/s", weights / time / 1e9);
}
