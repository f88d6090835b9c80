//! The machine code of hot loops: nothing of them may live on the stack, and they reach the machine's rate.

use std::time::Instant;

use crate::subjects::subjects;
use sawmill_cranelift::{Compiler, JitCode};
use sawmill_simd::vir::{Address, Builder, Elem, Function, Type, Val, tidy};

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
/// over blocks of 32 stand in a second buffer; four blocks in each turn, one row for each grid block.
fn packed_row(blocks: i64) -> Function {
    let mut b = Builder::new("packed_row");
    let [weights, x, sums, out] = [0, 1, 2, 3].map(|word| b.arg(word, Type::I64));
    let (first, end) = (b.first(), b.end());
    let (row, _) = b.begin_for(first, end, 1, &[]);
    let row_bytes = b.i64(blocks * 20);
    let row_offset = b.mul(row, row_bytes);
    let row_at = b.add(weights, row_offset);
    let quad = Type::vector(Elem::F32, 4);
    let zero = b.float(quad, 0.0);
    let (start, count) = (b.i64(0), b.i64(blocks));
    let (block, carried) = b.begin_for(start, count, 4, &[zero, zero]);
    let twenty = b.i64(20);
    let offset = b.mul(block, twenty);
    let block_at = b.add(row_at, offset);
    let [scales, minima] = block_constants(&mut b, Address::new(block_at));
    // d q + m = d / 2 (32 + 2 q) + m - 16 d.
    let [half, sixteen] = [0.5, -16.0].map(|factor| b.float(quad, factor));
    let minima = b.fma(sixteen, scales, minima);
    let scales = b.mul(half, scales);
    let mut sum = carried[0];
    for number in 0..4 {
        let bytes = b.load(Type::vector(Elem::I8, 16), Address::new(block_at).offset(20 * number + 4));
        let product = packed_block(&mut b, bytes, Address::indexed(x, block, 128).offset(128 * number));
        let scale = b.extract(scales, number as u8);
        let scale = b.splat(scale, 4);
        sum = b.fma(product, scale, sum);
    }
    let x_sums = b.load(quad, Address::indexed(sums, block, 4));
    let offset = b.fma(minima, x_sums, carried[1]);
    let total = b.end_for(&[sum, offset]);
    let total = b.add(total[0], total[1]);
    let total = b.reduce_add(total);
    b.store(total, Address::indexed(out, row, 4));
    b.end_for(&[]);
    tidy(&b.finish().unwrap_or_else(|error| panic!("{error}")))
}

/// Scales and minima of four blocks.
fn block_constants(b: &mut Builder, at: Address) -> [Val; 2] {
    let mut pairs = b.int(Type::vector(Elem::I32, 4), 0);
    for number in 0..4 {
        let pair = b.load(Type::I32, at.offset(20 * i32::from(number)));
        pairs = b.insert(pairs, pair, number);
    }
    let halves = b.bitcast(pairs, Type::vector(Elem::I16, 8));
    [[0, 2, 4, 6], [1, 3, 5, 7]].map(|lanes| {
        let bits = b.shuffle(halves, halves, &lanes);
        b.from_f16(bits, Elem::F32)
    })
}

/// The products of a block's 32 numbers with x, added up to four lanes; each number q stands as 32 + 2 q, which has it in the
/// upper bits of the fraction and needs no conversion.
fn packed_block(b: &mut Builder, bytes: Val, x_at: Address) -> Val {
    let [low, high] = nibbles(b, bytes).map(|half| shifted_floats(b, half));
    let ty = Type::vector(Elem::F32, 4);
    let mut sums = Vec::new();
    for (number, part) in low.into_iter().chain(high).enumerate() {
        let operand = b.load(ty, x_at.offset(16 * number as i32));
        if number < 4 {
            sums.push(b.mul(part, operand));
        } else {
            sums[number - 4] = b.fma(part, operand, sums[number - 4]);
        }
    }
    let (first, second) = (b.add(sums[0], sums[1]), b.add(sums[2], sums[3]));
    b.add(first, second)
}

/// 32 + 2 q of 16 bytes 8 q, in four vectors.
fn shifted_floats(b: &mut Builder, bytes: Val) -> [Val; 4] {
    let words = Type::vector(Elem::I16, 8);
    let (exponent, zero) = (b.int(b.ty(bytes), 0x42), b.int(words, 0));
    let low = b.interleave_low(bytes, exponent);
    let high = b.interleave_high(bytes, exponent);
    let halves = [low, high].map(|half| b.bitcast(half, words));
    let [first, second] = halves.map(|half| [b.interleave_low(zero, half), b.interleave_high(zero, half)]);
    [first[0], first[1], second[0], second[1]].map(|bits| b.bitcast(bits, Type::vector(Elem::F32, 4)))
}

/// The low and the high halves of bytes, times 8.
fn nibbles(b: &mut Builder, bytes: Val) -> [Val; 2] {
    let words = Type::vector(Elem::I16, 8);
    let mask = b.int(b.ty(bytes), 0x78);
    let [one, three] = [1, 3].map(|count| b.int(words, count));
    let value = b.bitcast(bytes, words);
    let halves = [b.shl(value, three), b.ushr(value, one)];
    halves.map(|half| {
        let half = b.bitcast(half, b.ty(bytes));
        b.and(half, mask)
    })
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
fn a_packed_row_stays_in_registers() {
    assert_in_registers(&packed_row(20), 22);
}

#[test]
fn hot_loops_agree_with_the_interpreter() {
    let subject = &subjects()[0];
    compare(subject, &product(6, 8, 4), &product_buffers(6, 8), &[], (0, 1));
    compare(subject, &packed_row(20), &packed_buffers(20, 3), &[], (0, 3));
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
    for (blocks, rows) in [(20, 64), (288, 4)] {
        let time = seconds(&packed_row(blocks), packed_buffers(blocks as usize, rows), rows as u64);
        let weights = blocks as f64 * 32.0 * rows as f64;
        println!("q4_1 of {blocks} blocks: {:.2} G weights/s", weights / time / 1e9);
    }
}
