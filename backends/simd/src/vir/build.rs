//! The builder of VIR functions.
//!
//! In: calls, one for each instruction, in the order of execution. Out: a verified [`Function`].
//!
//! Result types are inferred from operands. A call with operands that don't fit is recorded as it is: [`Builder::finish`]
//! runs the verifier, which says where and why. Constants are shared within a block and those around it.

use rustc_hash::FxHashMap;
use sawmill_ir::error::VerifyError;

use super::func::{Block, BlockId, Function, Inst, InstId, Val};
use super::ops::{Op, op_table};
use super::rules;
use super::types::{Elem, Type};
use super::verify::verify;

/// A place in memory: `base + index * scale + disp` bytes. `base` and `index` are i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address that the others are added to.
    pub base: Val,
    /// A run-time index, if any. It is signed.
    pub index: Option<Val>,
    /// Bytes by which the index is scaled; 1, 2, 4 and 8 cost nothing.
    pub scale: u32,
    /// Bytes added.
    pub disp: i32,
}

impl Address {
    /// The place `base` points to.
    pub fn new(base: Val) -> Address {
        Address { base, index: None, scale: 1, disp: 0 }
    }

    /// The element `index` of `scale` bytes after `base`.
    pub fn indexed(base: Val, index: Val, scale: u32) -> Address {
        Address { base, index: Some(index), scale, disp: 0 }
    }

    /// The place `disp` bytes further.
    pub fn offset(self, disp: i32) -> Address {
        Address { disp: self.disp.wrapping_add(disp), ..self }
    }
}

/// What an open block belongs to.
enum Owner {
    Function,
    For { args: Vec<Val>, step: i64 },
    Then { cond: Val },
    Else { cond: Val, then: BlockId },
}

struct Open {
    block: BlockId,
    owner: Owner,
    constants: FxHashMap<(Type, i64), Val>,
}

/// Builds one function; see the module.
pub struct Builder {
    func: Function,
    open: Vec<Open>,
}

macro_rules! builder_methods {
    ($($group:ident { $($variant:ident $method:ident $rule:ident $(($with:expr))? $doc:literal;)* })*) => {
        impl Builder { $($(builder_methods!(@ $group $variant $method $doc);)*)* }
    };
    (@ Unary $variant:ident $method:ident $doc:literal) => {
        #[doc = $doc]
        pub fn $method(&mut self, a: Val) -> Val { self.infer(Op::$variant, &[a], &[]) }
    };
    (@ Binary $variant:ident $method:ident $doc:literal) => {
        #[doc = $doc]
        pub fn $method(&mut self, a: Val, b: Val) -> Val { self.infer(Op::$variant, &[a, b], &[]) }
    };
    (@ Ternary $variant:ident $method:ident $doc:literal) => {
        #[doc = $doc]
        pub fn $method(&mut self, a: Val, b: Val, c: Val) -> Val { self.infer(Op::$variant, &[a, b, c], &[]) }
    };
    (@ Convert $variant:ident $method:ident $doc:literal) => {
        #[doc = $doc]
        pub fn $method(&mut self, a: Val, to: Elem) -> Val {
            let ty = self.ty(a).with_elem(to);
            self.value(Op::$variant, &[a], &[], ty)
        }
    };
    (@ Special $variant:ident $method:ident $doc:literal) => {};
}
op_table!(builder_methods);

impl Builder {
    /// A function with the parameters of the ABI and nothing else.
    pub fn new(name: impl Into<String>) -> Builder {
        let func = Function {
            name: name.into(),
            scratch_bytes: 0,
            values: vec![Type::I64; 4],
            insts: Vec::new(),
            blocks: vec![Block { params: (0..4).map(Val::at).collect(), ..Block::default() }],
        };
        let entry = Open { block: Function::ENTRY, owner: Owner::Function, constants: FxHashMap::default() };
        Builder { func, open: vec![entry] }
    }

    /// The address of the argument words.
    pub fn args(&self) -> Val {
        Val::at(0)
    }

    /// The first grid block of this call.
    pub fn first(&self) -> Val {
        Val::at(1)
    }

    /// One past the last grid block of this call.
    pub fn end(&self) -> Val {
        Val::at(2)
    }

    /// The address of the scratch arena.
    pub fn scratch(&self) -> Val {
        Val::at(3)
    }

    /// The type of a value.
    pub fn ty(&self, value: Val) -> Type {
        self.func.ty(value)
    }

    /// Reads argument word number `word` as a scalar of type `ty` (its low bits).
    pub fn arg(&mut self, word: u32, ty: Type) -> Val {
        let args = self.args();
        let disp = i32::try_from(u64::from(word) * 8).unwrap_or(i32::MAX);
        self.load(ty, Address::new(args).offset(disp))
    }

    /// Reserves `bytes` of the scratch arena, aligned to 64 bytes, and gives their address.
    pub fn scratch_alloc(&mut self, bytes: u64) -> Val {
        let offset = self.func.scratch_bytes;
        self.func.scratch_bytes = offset.saturating_add(bytes.next_multiple_of(64));
        let scratch = self.scratch();
        let offset = self.i64(i64::try_from(offset).unwrap_or(i64::MAX));
        self.add(scratch, offset)
    }

    /// A constant whose lanes have the low bits of `bits` (sign-extended for integers, `to_bits` for floats).
    pub fn constant(&mut self, ty: Type, bits: i64) -> Val {
        if let Some(known) = self.open.iter().find_map(|open| open.constants.get(&(ty, bits))) {
            return *known;
        }
        let value = self.value(Op::Const, &[], &[bits], ty);
        self.top().constants.insert((ty, bits), value);
        value
    }

    /// An i64.
    pub fn i64(&mut self, value: i64) -> Val {
        self.constant(Type::I64, value)
    }

    /// An integer (or bool) of type `ty`, in every lane; the bits above the lane's width are dropped.
    pub fn int(&mut self, ty: Type, value: i64) -> Val {
        let unused = 64 - ty.elem.bits();
        self.constant(ty, value << unused >> unused)
    }

    /// A floating-point number of type `ty`, in every lane, rounded to it.
    pub fn float(&mut self, ty: Type, value: f64) -> Val {
        let bits = match ty.elem {
            Elem::F32 => i64::from((value as f32).to_bits()),
            _ => value.to_bits().cast_signed(),
        };
        self.constant(ty, bits)
    }

    /// A truth value, in every lane of `lanes`.
    pub fn bool(&mut self, lanes: u8, value: bool) -> Val {
        self.constant(Type::vector(Elem::Bool, lanes), i64::from(value))
    }

    /// 0, 1, 2, .. along the lanes of the integer vector `ty`.
    pub fn iota(&mut self, ty: Type) -> Val {
        self.value(Op::Iota, &[], &[], ty)
    }

    /// The scalar in each of `lanes` lanes; itself for one lane.
    pub fn splat(&mut self, scalar: Val, lanes: u8) -> Val {
        let ty = self.ty(scalar).with_lanes(lanes);
        if lanes == 1 { scalar } else { self.value(Op::Splat, &[scalar], &[], ty) }
    }

    /// The same bits as the type `ty`.
    pub fn bitcast(&mut self, value: Val, ty: Type) -> Val {
        if self.ty(value) == ty { value } else { self.value(Op::Bitcast, &[value], &[], ty) }
    }

    /// Reads a scalar or vector.
    pub fn load(&mut self, ty: Type, at: Address) -> Val {
        self.access(Op::Load, &[], at, Some(ty)).expect("invariant: a load has a result")
    }

    /// Reads one element of `ty` and puts it in every lane.
    pub fn load_splat(&mut self, ty: Type, at: Address) -> Val {
        let scalar = self.load(ty.with_lanes(1), at);
        self.splat(scalar, ty.lanes)
    }

    /// Writes a scalar or vector.
    pub fn store(&mut self, value: Val, at: Address) {
        self.access(Op::Store, &[value], at, None);
    }

    /// Reads the lanes below `count` (i64) of a vector; the others are 0.
    pub fn load_part(&mut self, ty: Type, at: Address, count: Val) -> Val {
        self.access(Op::LoadPart, &[count], at, Some(ty)).expect("invariant: a load has a result")
    }

    /// Writes the lanes below `count` (i64) of a vector.
    pub fn store_part(&mut self, value: Val, at: Address, count: Val) {
        self.access(Op::StorePart, &[value, count], at, None);
    }

    /// Reads a vector of `elem` lane by lane; `at.index` is a vector of i32 or i64. Lanes where the mask is false are 0.
    pub fn gather(&mut self, elem: Elem, at: Address, mask: Option<Val>) -> Val {
        let indices = at.index.unwrap_or(at.base);
        let args: Vec<Val> = [at.base, indices].into_iter().chain(mask).collect();
        let ty = self.ty(indices).with_elem(elem);
        self.value(Op::Gather, &args, &[i64::from(at.scale), i64::from(at.disp)], ty)
    }

    /// Writes a vector lane by lane; `at.index` is a vector of i32 or i64. Lanes where the mask is false are left alone.
    pub fn scatter(&mut self, value: Val, at: Address, mask: Option<Val>) {
        let indices = at.index.unwrap_or(at.base);
        let args: Vec<Val> = [value, at.base, indices].into_iter().chain(mask).collect();
        self.push(Op::Scatter, &args, &[i64::from(at.scale), i64::from(at.disp)], Vec::new(), &[]);
    }

    /// One lane of a vector.
    pub fn extract(&mut self, vector: Val, lane: u8) -> Val {
        self.infer(Op::Extract, &[vector], &[i64::from(lane)])
    }

    /// The vector with one lane replaced by a scalar.
    pub fn insert(&mut self, vector: Val, scalar: Val, lane: u8) -> Val {
        self.infer(Op::Insert, &[vector, scalar], &[i64::from(lane)])
    }

    /// Any lanes of `a` (numbers below its lanes) and `b` (numbers from there on), in any order.
    pub fn shuffle(&mut self, a: Val, b: Val, lanes: &[u8]) -> Val {
        let imms: Vec<i64> = lanes.iter().map(|lane| i64::from(*lane)).collect();
        self.infer(Op::Shuffle, &[a, b], &imms)
    }

    /// `a` followed by `b`.
    pub fn concat(&mut self, a: Val, b: Val) -> Val {
        let lanes: Vec<u8> = (0..self.ty(a).lanes * 2).collect();
        self.shuffle(a, b, &lanes)
    }

    /// `lanes` lanes of a vector from lane `start` on; a scalar if `lanes` is 1.
    pub fn slice(&mut self, a: Val, start: u8, lanes: u8) -> Val {
        if lanes == 1 {
            return self.extract(a, start);
        }
        let lanes: Vec<u8> = (start..start + lanes).collect();
        self.shuffle(a, a, &lanes)
    }

    /// a0 b0 a1 b1 .. of the lower halves: as many lanes as each operand has.
    pub fn interleave_low(&mut self, a: Val, b: Val) -> Val {
        let n = self.ty(a).lanes;
        let lanes: Vec<u8> = (0..n / 2).flat_map(|i| [i, n + i]).collect();
        self.shuffle(a, b, &lanes)
    }

    /// a0 b0 a1 b1 .. of the upper halves: as many lanes as each operand has.
    pub fn interleave_high(&mut self, a: Val, b: Val) -> Val {
        let n = self.ty(a).lanes;
        let lanes: Vec<u8> = (n / 2..n).flat_map(|i| [i, n + i]).collect();
        self.shuffle(a, b, &lanes)
    }

    /// Transposes a square of 4 vectors of 4 lanes.
    pub fn transpose4(&mut self, rows: [Val; 4]) -> [Val; 4] {
        let [a, b, c, d] = rows;
        let (ab_low, ab_high) = (self.interleave_low(a, b), self.interleave_high(a, b));
        let (cd_low, cd_high) = (self.interleave_low(c, d), self.interleave_high(c, d));
        let (low, high) = ([0, 1, 4, 5], [2, 3, 6, 7]);
        [
            self.shuffle(ab_low, cd_low, &low),
            self.shuffle(ab_low, cd_low, &high),
            self.shuffle(ab_high, cd_high, &low),
            self.shuffle(ab_high, cd_high, &high),
        ]
    }

    /// A loop: `body` gets the induction variable and the carried values and gives the next ones.
    pub fn for_loop(
        &mut self,
        start: Val,
        end: Val,
        step: i64,
        inits: &[Val],
        body: impl FnOnce(&mut Builder, Val, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let (iv, carried) = self.begin_for(start, end, step, inits);
        let next = body(self, iv, &carried);
        self.end_for(&next)
    }

    /// Opens a loop of i64 `start`, `start + step`, .. below `end` (`step` is positive, and `end + step` fits 64 bits);
    /// gives the induction variable and the carried values. Close it by [`Builder::end_for`].
    pub fn begin_for(&mut self, start: Val, end: Val, step: i64, inits: &[Val]) -> (Val, Vec<Val>) {
        let mut types = vec![Type::I64];
        types.extend(inits.iter().map(|init| self.ty(*init)));
        let args = [start, end].into_iter().chain(inits.iter().copied()).collect();
        let params = self.begin(Owner::For { args, step }, &types);
        (params[0], params[1..].to_vec())
    }

    /// Closes the innermost block, which a loop owns; `next` are the values carried to the next turn. Gives the last ones.
    pub fn end_for(&mut self, next: &[Val]) -> Vec<Val> {
        let types: Vec<Type> = next.iter().map(|value| self.ty(*value)).collect();
        match self.close(next) {
            Some((block, Owner::For { args, step })) => self.push(Op::For, &args, &[step], vec![block], &types),
            _ => panic_unbalanced("end_for"),
        }
    }

    /// A branch whose two sides give the same types.
    pub fn if_else(
        &mut self,
        cond: Val,
        then: impl FnOnce(&mut Builder) -> Vec<Val>,
        otherwise: impl FnOnce(&mut Builder) -> Vec<Val>,
    ) -> Vec<Val> {
        self.begin_if(cond);
        let yields = then(self);
        self.begin_else(&yields);
        let yields = otherwise(self);
        self.end_if(&yields)
    }

    /// A branch with one side and no value.
    pub fn if_then(&mut self, cond: Val, then: impl FnOnce(&mut Builder)) {
        self.begin_if(cond);
        then(self);
        self.begin_else(&[]);
        self.end_if(&[]);
    }

    /// Opens the first side of a branch on a scalar bool.
    pub fn begin_if(&mut self, cond: Val) {
        self.begin(Owner::Then { cond }, &[]);
    }

    /// Closes the first side, which yields `yields`, and opens the second.
    pub fn begin_else(&mut self, yields: &[Val]) {
        match self.close(yields) {
            Some((then, Owner::Then { cond })) => self.begin(Owner::Else { cond, then }, &[]),
            _ => panic_unbalanced("begin_else"),
        };
    }

    /// Closes the second side of a branch; gives the values of the side taken.
    pub fn end_if(&mut self, yields: &[Val]) -> Vec<Val> {
        let types: Vec<Type> = yields.iter().map(|value| self.ty(*value)).collect();
        match self.close(yields) {
            Some((otherwise, Owner::Else { cond, then })) => {
                self.push(Op::If, &[cond], &[], vec![then, otherwise], &types)
            }
            _ => panic_unbalanced("end_if"),
        }
    }

    /// Ends the function and verifies it.
    ///
    /// # Errors
    /// The verifier's first objection, or a block that is still open.
    pub fn finish(self) -> Result<Function, VerifyError> {
        if self.open.len() != 1 {
            let message = format!("{} blocks are still open", self.open.len() - 1);
            return Err(VerifyError { function: self.func.name, entity: "its end".to_owned(), message });
        }
        verify(&self.func)?;
        Ok(self.func)
    }

    fn access(&mut self, op: Op, before: &[Val], at: Address, ty: Option<Type>) -> Option<Val> {
        let args: Vec<Val> = before.iter().copied().chain([at.base]).chain(at.index).collect();
        let imms = [i64::from(at.scale), i64::from(at.disp)];
        let types: Vec<Type> = ty.into_iter().collect();
        self.push(op, &args, &imms, Vec::new(), &types).first().copied()
    }

    fn infer(&mut self, op: Op, args: &[Val], imms: &[i64]) -> Val {
        let types: Vec<Type> = args.iter().map(|arg| self.ty(*arg)).collect();
        let ty = rules::infer(op, &types, imms).unwrap_or(Type::I64);
        self.value(op, args, imms, ty)
    }

    /// Any operation with one result of a stated type, for code that is generic in the operation.
    pub fn value(&mut self, op: Op, args: &[Val], imms: &[i64], ty: Type) -> Val {
        self.push(op, args, imms, Vec::new(), &[ty])[0]
    }

    fn push(&mut self, op: Op, args: &[Val], imms: &[i64], blocks: Vec<BlockId>, types: &[Type]) -> Vec<Val> {
        let results: Vec<Val> = types.iter().map(|ty| self.func.new_value(*ty)).collect();
        let inst = Inst { op, args: args.to_vec(), imms: imms.to_vec(), blocks, results: results.clone() };
        let id = self.func.new_inst(inst);
        let block = self.top().block;
        self.func.blocks[block.index()].insts.push(id);
        results
    }

    fn begin(&mut self, owner: Owner, types: &[Type]) -> Vec<Val> {
        let params: Vec<Val> = types.iter().map(|ty| self.func.new_value(*ty)).collect();
        let block = self.func.new_block(Block { params: params.clone(), ..Block::default() });
        self.open.push(Open { block, owner, constants: FxHashMap::default() });
        params
    }

    fn close(&mut self, yields: &[Val]) -> Option<(BlockId, Owner)> {
        if self.open.len() == 1 {
            return None;
        }
        let open = self.open.pop()?;
        self.func.blocks[open.block.index()].yields = yields.to_vec();
        Some((open.block, open.owner))
    }

    fn top(&mut self) -> &mut Open {
        self.open.last_mut().expect("invariant: the entry block stays open until the function is finished")
    }
}

/// A call that closes what was never opened is a mistake in the calling code, not in its input.
fn panic_unbalanced(method: &str) -> ! {
    panic!("invariant: `{method}` closes the block that its counterpart opened")
}

impl Function {
    pub(super) fn new_value(&mut self, ty: Type) -> Val {
        self.values.push(ty);
        Val::at(self.values.len() - 1)
    }

    pub(super) fn new_inst(&mut self, inst: Inst) -> InstId {
        self.insts.push(inst);
        InstId::at(self.insts.len() - 1)
    }

    pub(super) fn new_block(&mut self, block: Block) -> BlockId {
        self.blocks.push(block);
        BlockId::at(self.blocks.len() - 1)
    }
}
