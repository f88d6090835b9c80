//! Moving and combining lanes.

use sawmill_simd::vir::{Elem, Inst, Op, Type, Val};

use super::Emitter;
use super::types::{bits_of, iota, literal, spelled, stored, suffix, vector};

/// Bytes of a table that is looked up.
const TABLE: u8 = 16;

/// The lane-wise operation that a reduction repeats.
pub(super) fn combiner(op: Op) -> Option<Op> {
    Some(match op {
        Op::ReduceAdd => Op::Add,
        Op::ReduceMul => Op::Mul,
        Op::ReduceMax => Op::Max,
        Op::ReduceMin => Op::Min,
        Op::ReduceAnd => Op::And,
        Op::ReduceOr => Op::Or,
        _ => return None,
    })
}

impl Emitter<'_> {
    pub(super) fn splat(&mut self, scalar: Val, result: Val) -> String {
        let ty = self.ty(result);
        if let Some(bits) = self.constants[scalar.index()] {
            self.constants[result.index()] = Some(bits);
            return literal(ty, bits);
        }
        let value = self.operand(scalar);
        self.in_every_lane(ty, &value)
    }

    /// A vector of `ty` whose lanes are all `scalar`.
    pub(super) fn in_every_lane(&mut self, ty: Type, scalar: &str) -> String {
        let elem = spelled(ty.with_lanes(1));
        let first = self.line(&format!("insertelement {} poison, {elem} {scalar}, i64 0", spelled(ty)));
        self.shuffle(ty, &first, "poison", &vec![0; usize::from(ty.lanes)])
    }

    /// Lanes of two vectors of type `from`; from its number of lanes on, numbers mean the second.
    pub(super) fn shuffle(&mut self, from: Type, a: &str, b: &str, lanes: &[i64]) -> String {
        let (from, order) = (spelled(from), vector(Elem::I32, lanes.iter().copied()));
        self.line(&format!("shufflevector {from} {a}, {from} {b}, <{} x i32> {order}", lanes.len()))
    }

    /// Combines the halves of a vector until one lane is left.
    pub(super) fn reduce(&mut self, op: Op, ty: Type, value: String) -> String {
        let (mut ty, mut value) = (ty, value);
        while !ty.is_scalar() {
            let half = ty.lanes / 2;
            let [low, high] = [0, half].map(|first| {
                let lanes: Vec<i64> = (first..first + half).map(i64::from).collect();
                match half {
                    1 => self.line(&format!("extractelement {} {value}, i64 {first}", spelled(ty))),
                    _ => self.shuffle(ty, &value, "poison", &lanes),
                }
            });
            ty = ty.with_lanes(half);
            value = self.lane_wise(op, ty, &low, &high);
        }
        value
    }

    /// Bytes of a table by index. The machine takes an index by its low bits, or gives 0 where the highest bit is set, which an
    /// addition that saturates sets for every index above 15.
    pub(super) fn lookup(&mut self, inst: &Inst, ty: Type) -> String {
        let (table, index) = (self.operand(inst.args[0]), self.operand(inst.args[1]));
        let marked = self.intrinsic("uadd.sat", ty, &[&index, &literal(ty, 0x70)]);
        let widest = if self.level.has_byte_masks() { 64 } else { 32 };
        if ty.lanes < TABLE {
            let lanes: Vec<i64> = (0..i64::from(TABLE)).map(|lane| lane % i64::from(ty.lanes)).collect();
            let wide = self.shuffle(ty, &marked, "poison", &lanes);
            let found = self.lookup_register(&table, &wide, TABLE);
            let lanes: Vec<i64> = (0..i64::from(ty.lanes)).collect();
            return self.shuffle(ty.with_lanes(TABLE), &found, "poison", &lanes);
        }
        if ty.lanes <= widest {
            return self.lookup_register(&table, &marked, ty.lanes);
        }
        let halves = [0, widest].map(|first| {
            let lanes: Vec<i64> = (first..first + widest).map(i64::from).collect();
            let half = self.shuffle(ty, &marked, "poison", &lanes);
            self.lookup_register(&table, &half, widest)
        });
        let lanes: Vec<i64> = (0..i64::from(ty.lanes)).collect();
        self.shuffle(ty.with_lanes(widest), &halves[0], &halves[1], &lanes)
    }

    /// The same on one register of 16, 32 or 64 bytes, each 16 of which have their own copy of the table.
    fn lookup_register(&mut self, table: &str, index: &str, lanes: u8) -> String {
        let bytes = Type::vector(Elem::I8, TABLE);
        let repeated: Vec<i64> = (0..i64::from(lanes)).map(|lane| lane % i64::from(TABLE)).collect();
        let table = match lanes {
            TABLE => table.to_owned(),
            _ => self.shuffle(bytes, table, "poison", &repeated),
        };
        let name = match lanes {
            TABLE => "ssse3.pshuf.b.128",
            32 => "avx2.pshuf.b",
            _ => "avx512.pshuf.b.512",
        };
        let ty = spelled(bytes.with_lanes(lanes));
        self.line(&format!("call {ty} @llvm.x86.{name}({ty} {table}, {ty} {index})"))
    }

    /// Which lanes of `ty` are below an i64 count: a mask.
    pub(super) fn below(&mut self, count: &str, ty: Type) -> String {
        let most = self.intrinsic("smin", Type::I64, &[count, &literal(Type::I64, i64::from(ty.lanes))]);
        let valid = self.intrinsic("smax", Type::I64, &[&most, &literal(Type::I64, 0)]);
        // Lanes as wide as those that the mask is for, so that it need not be spread.
        let lanes = bits_of(stored(ty));
        let narrow = match lanes.elem {
            Elem::I64 => valid,
            _ => self.cast("trunc", Type::I64, &valid, lanes.with_lanes(1)),
        };
        let counts = self.in_every_lane(lanes, &narrow);
        self.two("icmp ult", lanes, &iota(lanes), &counts)
    }

    /// The suffix of an intrinsic that accesses memory of this type.
    pub(super) fn access_suffix(ty: Type, pointers: &str) -> String {
        format!("{}.{pointers}", suffix(ty))
    }
}
