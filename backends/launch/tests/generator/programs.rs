//! Random programs: the interpreter on the program as built and as tidied, and machine code of both, all agree.
//!
//! A program reads elements of an input buffer, computes through random operations, loops and branches, and writes every
//! value that it ends with to slots of an output buffer. The bits of floats are never looked at as integers, since the
//! payload of a NaN is nobody's business.

use sawmill_simd::vir::{Address, Builder, Elem, Function, Group, Op, Type, Val, parse, tidy};

use crate::harness::{Buffer, Random, compare};
use crate::subjects::{lesser, subjects};

/// Bytes of the input, and of the room that scattered and partial stores share.
const BYTES: usize = 4096;
/// Bytes of one output slot: the largest value.
const SLOT: i32 = 512;
const PROGRAMS: u64 = 300;

struct Generator {
    b: Builder,
    random: Random,
    /// Values in scope.
    pool: Vec<Val>,
    input: Val,
    room: Val,
    depth: usize,
}

fn elements() -> [Elem; 7] {
    Elem::ALL
}

impl Generator {
    fn any_type(&mut self) -> Type {
        let elem = elements()[self.random.below(7)];
        Type::vector(elem, 1 << self.random.below(6))
    }

    /// A value in scope of this type, or a new constant or load.
    fn value(&mut self, ty: Type) -> Val {
        let fitting: Vec<Val> = self.pool.iter().copied().filter(|value| self.b.ty(*value) == ty).collect();
        if !fitting.is_empty() && self.random.below(8) > 0 {
            return fitting[self.random.below(fitting.len())];
        }
        let value = match self.random.below(3) {
            0 => {
                let bits = self.random.bits(ty.elem).cast_signed();
                if ty.elem.is_float() { self.b.constant(ty, bits) } else { self.b.int(ty, bits >> 3) }
            }
            1 => {
                let at = self.place(ty);
                self.b.load(ty, at)
            }
            _ => {
                let disp = self.random.below(BYTES - 512) as i32;
                self.b.load(ty, Address::new(self.input).offset(disp))
            }
        };
        self.pool.push(value);
        value
    }

    /// A place in the input that depends on a value.
    fn place(&mut self, ty: Type) -> Address {
        let index = self.value(Type::I64);
        let limit = self.b.i64((BYTES as i64 - 512) / 8);
        let index = self.b.rem(index, limit);
        let scale = [1, 2, 4, 8, 5, 3][self.random.below(6)];
        let disp = self.random.below(16) as i32 - 8 + 8 * i32::from(ty.lanes > 0);
        Address::indexed(self.input, index, scale).offset(disp)
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0 if self.depth < 3 => self.for_loop(),
            1 if self.depth < 3 => self.branch(),
            2 => self.lanes(),
            3 => self.memory(),
            4 => self.addresses(),
            _ => self.operation(),
        }
    }

    /// Sums and products of integers, as addresses have them.
    fn addresses(&mut self) {
        let a = self.value(Type::I64);
        let c = self.random.below(20) as i64 - 4;
        let c = self.b.i64(c);
        let value = match self.random.below(4) {
            0 => self.b.mul(a, c),
            1 => self.b.sub(a, c),
            2 => self.b.mul(c, a),
            _ => self.b.add(a, c),
        };
        self.pool.push(value);
    }

    fn operation(&mut self) {
        let op = Op::ALL[self.random.below(Op::ALL.len())];
        let ty = self.any_type();
        let to = self.any_type();
        let count = match op.group() {
            Group::Unary | Group::Convert => 1,
            Group::Binary => 2,
            Group::Ternary => 3,
            Group::Special => return,
        };
        // The table says what fits; candidates are tried in a throwaway function.
        let results = [ty, ty.with_elem(to.elem), ty.with_elem(Elem::Bool), ty.with_lanes(1)];
        let firsts = [ty, ty.with_elem(Elem::Bool), Type::BOOL, Type::vector(Elem::I8, 16)];
        for (first, result) in firsts.iter().flat_map(|first| results.map(|result| (*first, result))) {
            let mut types = vec![ty; count];
            types[0] = first;
            if accepts(op, &types, result) {
                let args: Vec<Val> = types.iter().map(|ty| self.value(*ty)).collect();
                let value = self.b.value(op, &args, &[], result);
                return self.pool.push(value);
            }
        }
    }

    fn lanes(&mut self) {
        let ty = self.any_type();
        if ty.is_scalar() {
            return;
        }
        let (a, c) = (self.value(ty), self.value(ty));
        let lane = self.random.below(usize::from(ty.lanes)) as u8;
        let value = match self.random.below(5) {
            0 => self.b.extract(a, lane),
            1 => {
                let scalar = self.value(ty.with_lanes(1));
                self.b.insert(a, scalar, lane)
            }
            2 => {
                let scalar = self.value(ty.with_lanes(1));
                self.b.splat(scalar, ty.lanes)
            }
            3 if ty.elem.is_int() => self.b.iota(ty),
            _ => {
                let count = 1 << (1 + self.random.below(5));
                let lanes: Vec<u8> = (0..count).map(|_| self.random.below(2 * usize::from(ty.lanes)) as u8).collect();
                self.b.shuffle(a, c, &lanes)
            }
        };
        self.pool.push(value);
    }

    fn memory(&mut self) {
        let ty = self.any_type();
        if ty.is_scalar() {
            return;
        }
        let count = self.value(Type::I64);
        let disp = self.random.below(BYTES - 512) as i32;
        let room = Address::new(self.room).offset(disp);
        match self.random.below(4) {
            0 => {
                let value = self.b.load_part(ty, Address::new(self.input).offset(disp), count);
                self.pool.push(value);
            }
            1 => {
                let value = self.value(ty);
                self.b.store_part(value, room, count);
            }
            kind => {
                let indices = self.value(ty.with_elem(Elem::I32));
                let limit = self.b.int(ty.with_elem(Elem::I32), 200);
                let indices = self.b.rem(indices, limit);
                let mask = (self.random.below(2) == 0).then(|| self.value(ty.with_elem(Elem::Bool)));
                let place = |base| Address::indexed(base, indices, 8);
                if kind == 2 {
                    let value = self.b.gather(ty.elem, place(self.input), mask);
                    self.pool.push(value);
                } else {
                    let value = self.value(ty);
                    self.b.scatter(value, place(self.room), mask);
                }
            }
        }
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn for_loop(&mut self) {
        let types: Vec<Type> = (0..self.random.below(4)).map(|_| self.any_type()).collect();
        let inits: Vec<Val> = types.iter().map(|ty| self.value(*ty)).collect();
        let (start, end) = (self.random.below(4) as i64, self.random.below(7) as i64);
        let (start, mut end) = (self.b.i64(start), self.b.i64(end));
        if self.random.below(2) == 0 {
            // A bound that is not a constant.
            let five = self.b.i64(5);
            let value = self.value(Type::I64);
            end = self.b.rem(value, five);
        }
        let (iv, carried) = self.b.begin_for(start, end, 1 + self.random.below(3) as i64, &inits);
        let outer = self.pool.len();
        self.pool.push(iv);
        self.pool.extend(&carried);
        self.depth += 1;
        let count = 2 + self.random.below(6);
        self.steps(count);
        self.depth -= 1;
        let next: Vec<Val> = types.iter().map(|ty| self.value(*ty)).collect();
        self.pool.truncate(outer);
        let results = self.b.end_for(&next);
        self.pool.extend(results);
    }

    fn branch(&mut self) {
        let types: Vec<Type> = (0..self.random.below(3)).map(|_| self.any_type()).collect();
        let cond = self.value(Type::BOOL);
        self.b.begin_if(cond);
        let mut yields = Vec::new();
        for side in 0..2 {
            let outer = self.pool.len();
            self.depth += 1;
            let count = self.random.below(4);
            self.steps(count);
            self.depth -= 1;
            yields = types.iter().map(|ty| self.value(*ty)).collect();
            self.pool.truncate(outer);
            if side == 0 {
                self.b.begin_else(&yields);
            }
        }
        let results = self.b.end_if(&yields);
        self.pool.extend(results);
    }
}

fn accepts(op: Op, args: &[Type], result: Type) -> bool {
    let mut b = Builder::new("probe");
    let args: Vec<Val> = args.iter().map(|ty| b.constant(*ty, 0)).collect();
    b.value(op, &args, &[], result);
    b.finish().is_ok()
}

/// A program, and its output buffers: one for each element, with a slot for each value.
fn program(seed: u64) -> (Function, Vec<Buffer>) {
    let mut b = Builder::new(format!("program.{seed}"));
    let input = b.arg(0, Type::I64);
    let room = b.arg(1, Type::I64);
    let outputs: Vec<Val> = (0..7).map(|number| b.arg(2 + number, Type::I64)).collect();
    let (first, end) = (b.first(), b.end());
    let (block, _) = b.begin_for(first, end, 1, &[]);
    let random = Random(seed * 0x9e37_79b9 + 1);
    let mut generator = Generator { b, random, pool: vec![block], input, room, depth: 0 };
    let count = 10 + generator.random.below(30);
    generator.steps(count);
    let Generator { mut b, pool, random, .. } = generator;
    let mut used = [0; 7];
    for value in pool {
        let number = elements().iter().position(|elem| *elem == b.ty(value).elem).expect("an element");
        let at = Address::new(outputs[number]).offset(used[number] * SLOT);
        b.store(value, at);
        used[number] += 1;
    }
    b.end_for(&[]);
    let func = b.finish().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    (func, buffers(random, used))
}

fn buffers(mut random: Random, used: [i32; 7]) -> Vec<Buffer> {
    // Small integers, so that a bool is 0 or 1 now and then and floats are of every kind.
    let input: Vec<u64> =
        (0..BYTES).map(|_| if random.below(3) == 0 { random.next() } else { random.next() & 1 }).collect();
    let mut buffers = vec![Buffer::of(Elem::I8, &input), Buffer::room(Elem::I8, BYTES)];
    for (elem, slots) in elements().into_iter().zip(used) {
        buffers.push(Buffer::room(elem, (slots * SLOT) as usize / elem.bytes() as usize));
    }
    buffers
}

#[test]
fn random_programs_agree_on_every_engine() {
    let (subjects, lesser) = (subjects(), lesser());
    for seed in 0..PROGRAMS {
        let (func, buffers) = program(seed);
        let at = |list: usize| seed as usize % list.max(1);
        let rarely = lesser.get(at(lesser.len())).filter(|_| seed % 8 == 0);
        let subject = rarely.unwrap_or(&subjects[at(subjects.len())]);
        let plain = compare(subject, &func, &buffers, &[], (0, 2));
        let tidied = tidy(&func);
        let text = tidied.to_string();
        let again = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert_eq!(again.to_string(), text);
        let result = compare(subject, &tidied, &buffers, &[], (0, 2));
        for (number, (a, b)) in plain.iter().zip(&result).enumerate() {
            let difference = a.difference(b);
            assert!(difference.is_none(), "seed {seed}: buffer {number}, element {difference:?}\n{func}\n{tidied}");
        }
    }
}
