//! Runs one function in the interpreter and as machine code on the same buffers and compares what they leave behind.
//!
//! In: a function whose first argument words are the addresses of the buffers. Out: a panic that shows the function at
//! the first difference. NaNs are equal whatever their payload.

use crate::subject::Subject;
use sawmill_launch::JitCode;
use sawmill_simd::vir::{Elem, Function, Memory, Options, interpret};

/// A buffer and how to compare its elements.
#[derive(Clone)]
pub(crate) struct Buffer {
    pub(crate) elem: Elem,
    pub(crate) bytes: Vec<u8>,
}

impl Buffer {
    /// Room for `count` elements, filled with a pattern.
    pub(crate) fn room(elem: Elem, count: usize) -> Buffer {
        Buffer { elem, bytes: vec![0x5a; count * elem.bytes() as usize] }
    }

    /// The low bits of the words as elements.
    pub(crate) fn of(elem: Elem, words: &[u64]) -> Buffer {
        let width = elem.bytes() as usize;
        Buffer { elem, bytes: words.iter().flat_map(|word| word.to_le_bytes()[..width].to_vec()).collect() }
    }

    fn element(&self, index: usize) -> u64 {
        let width = self.elem.bytes() as usize;
        self.bytes[index * width..][..width].iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    /// The first element that differs.
    pub(crate) fn difference(&self, other: &Buffer) -> Option<usize> {
        let is_nan = |bits: u64| match self.elem {
            Elem::F32 => f32::from_bits(bits as u32).is_nan(),
            Elem::F64 => f64::from_bits(bits).is_nan(),
            _ => false,
        };
        (0..self.bytes.len() / self.elem.bytes() as usize).find(|index| {
            let (a, b) = (self.element(*index), other.element(*index));
            a != b && !(is_nan(a) && is_nan(b))
        })
    }
}

/// Runs grid blocks `first..end` of machine code on buffers.
pub(crate) fn run_code(code: &JitCode, buffers: &mut [Buffer], words: &[u64], (first, end): (u64, u64)) {
    let addresses = buffers.iter_mut().map(|buffer| buffer.bytes.as_mut_ptr() as u64);
    let args: Vec<u64> = addresses.chain(words.iter().copied()).collect();
    let mut scratch = vec![0u8; code.scratch_bytes() as usize + 64];
    let aligned = scratch.as_mut_ptr().align_offset(64);
    // SAFETY: the tests' functions stay inside of their buffers (the interpreter has checked it on the same data) and of
    // the scratch they ask for; the code was compiled for this processor or its baseline.
    unsafe { code.call(&args, first, end, scratch.as_mut_ptr().add(aligned)) }
}

/// Compares interpreter and machine code; gives the buffers afterwards.
pub(crate) fn compare(
    subject: &Subject,
    func: &Function,
    buffers: &[Buffer],
    words: &[u64],
    blocks: (u64, u64),
) -> Vec<Buffer> {
    let mut memory = Memory::default();
    let addresses: Vec<u64> = buffers.iter().map(|buffer| memory.alloc(buffer.bytes.clone())).collect();
    let args: Vec<u64> = addresses.iter().chain(words).copied().collect();
    let options = Options { fused: subject.target.fma, ..Options::default() };
    interpret(func, &mut memory, &args, blocks, options).unwrap_or_else(|error| panic!("{error}\n{func}"));
    let code = subject.compile(func);
    let mut result = buffers.to_vec();
    run_code(&code, &mut result, words, blocks);
    for (number, (buffer, address)) in result.iter().zip(addresses).enumerate() {
        let expected = Buffer { elem: buffer.elem, bytes: memory.contents(address).to_vec() };
        if let Some(index) = expected.difference(buffer) {
            let (want, got) = (expected.element(index), buffer.element(index));
            panic!("{}: buffer {number}, element {index}: expected {want:#x}, got {got:#x}\n{func}", subject.name());
        }
    }
    result
}

/// A small generator of random numbers (xorshift64*, Vigna 2016): tests need repeatable ones only.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// The bits of an element: often one at the edge of something, else random.
    pub(crate) fn bits(&mut self, elem: Elem) -> u64 {
        const INTS: [i64; 14] = [0, 1, -1, 2, 3, -7, 15, 127, -128, 32767, -32768, 0x7fff_ffff, i64::MIN, i64::MAX];
        const FLOATS: [f64; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            2.5,
            0.5,
            65520.0,
            -1e-41,
            6e-8,
            4294967296.0,
            -9.3e18,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        let random = self.next();
        let (edge, small) = (random & 3 == 0, random & 3 == 1);
        let pick = self.below(14);
        match elem {
            Elem::Bool => random >> 8 & 1,
            Elem::F32 if edge => u64::from((FLOATS[pick] as f32).to_bits()),
            Elem::F64 if edge => FLOATS[pick].to_bits(),
            Elem::F32 if small => u64::from(((random >> 40) as f32 / 65536.0 - 128.0).to_bits()),
            Elem::F64 if small => ((random >> 40) as f64 / 65536.0 - 128.0).to_bits(),
            Elem::F32 => random >> 32,
            Elem::F64 => random,
            _ if edge => INTS[pick].cast_unsigned(),
            _ => random >> 8,
        }
    }
}
