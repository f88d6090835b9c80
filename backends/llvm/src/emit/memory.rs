//! Loads and stores: whole vectors, their first lanes, and lane by lane.
//!
//! Addresses are integers in VIR. What is computed from the scratch arena stays a pointer into it here, so that LLVM can tell
//! its accesses from those of the caller's memory.

use sawmill_simd::vir::{Elem, Function, Inst, Op, Type, Val};

use super::Emitter;
use super::types::{literal, spelled, spelled_as, stored};

impl Emitter<'_> {
    /// The pointer form of an address that is a pointer moved by a number.
    pub(super) fn moved_pointer(&mut self, inst: &Inst) -> Option<String> {
        if inst.op != Op::Add || self.ty(inst.results[0]) != Type::I64 {
            return None;
        }
        let (base, by) = match [inst.args[0], inst.args[1]].map(|arg| self.pointers.get(&arg).cloned()) {
            [Some(base), None] => (base, self.operand(inst.args[1])),
            [None, Some(base)] => (base, self.operand(inst.args[0])),
            _ => return None,
        };
        Some(self.line(&format!("getelementptr i8, ptr {base}, i64 {by}")))
    }

    /// `base + index * scale + disp` as a pointer.
    fn place(&mut self, args: &[Val], imms: &[i64]) -> String {
        let mut pointer = match self.pointers.get(&args[0]) {
            Some(pointer) => pointer.clone(),
            None => {
                let address = self.operand(args[0]);
                self.line(&format!("inttoptr i64 {address} to ptr"))
            }
        };
        if let Some(index) = args.get(1) {
            let index = self.operand(*index);
            let scaled = if imms[0] == 1 { index } else { self.two("mul", Type::I64, &index, &imms[0].to_string()) };
            pointer = self.line(&format!("getelementptr i8, ptr {pointer}, i64 {scaled}"));
        }
        if imms[1] != 0 {
            pointer = self.line(&format!("getelementptr i8, ptr {pointer}, i64 {}", imms[1]));
        }
        pointer
    }

    pub(super) fn load(&mut self, inst: &Inst, ty: Type) -> String {
        let pointer = self.place(&inst.args, &inst.imms);
        // Nobody writes argument words.
        let is_word = inst.args[0] == self.func.block(Function::ENTRY).params[0];
        let note = if is_word { ", !invariant.load !0" } else { "" };
        let value = self.line(&format!("load {}, ptr {pointer}, align 1{note}", spelled(stored(ty))));
        self.computed_form(ty, value)
    }

    /// A value as computed with, from its form in memory.
    fn computed_form(&mut self, ty: Type, value: String) -> String {
        if ty.elem != Elem::Bool {
            return value;
        }
        let bytes = stored(ty);
        self.two("icmp ne", bytes, &value, &literal(bytes, 0))
    }

    /// A value in its form in memory.
    fn stored_form(&mut self, value: Val) -> String {
        let (ty, text) = (self.ty(value), self.operand(value));
        if ty.elem == Elem::Bool { self.cast("zext", ty, &text, stored(ty)) } else { text }
    }

    pub(super) fn write(&mut self, inst: &Inst) {
        let ty = stored(self.ty(inst.args[0]));
        match inst.op {
            Op::Store => {
                let value = self.stored_form(inst.args[0]);
                let pointer = self.place(&inst.args[1..], &inst.imms);
                self.effect(&format!("store {} {value}, ptr {pointer}, align 1", spelled(ty)));
            }
            Op::StorePart => self.store_part(inst, ty),
            _ => self.scatter(inst, ty),
        }
    }

    /// Whether the machine reads and writes single lanes of this type under a mask.
    fn has_masks(&self, ty: Type) -> bool {
        self.level.has_byte_masks() || ty.elem.bits() >= 32
    }

    pub(super) fn load_part(&mut self, inst: &Inst, ty: Type) -> String {
        let count = self.operand(inst.args[0]);
        let pointer = self.place(&inst.args[1..], &inst.imms);
        let held = stored(ty);
        let value = if self.has_masks(held) {
            self.masked_load(held, &count, &pointer)
        } else {
            self.whole_or_part(&count, ty, Some(held), &|e, whole| match whole {
                true => e.line(&format!("load {}, ptr {pointer}, align 1", spelled(held))),
                false => e.masked_load(held, &count, &pointer),
            })
        };
        self.computed_form(ty, value)
    }

    fn masked_load(&mut self, ty: Type, count: &str, pointer: &str) -> String {
        let mask = self.below(count, ty);
        let (spelled, suffix) = (spelled(ty), Self::access_suffix(ty, "p0"));
        let masks = spelled_as("i1", ty.lanes);
        self.line(&format!(
            "call {spelled} @llvm.masked.load.{suffix}(ptr align 1 {pointer}, {masks} {mask}, {spelled} zeroinitializer)"
        ))
    }

    fn store_part(&mut self, inst: &Inst, ty: Type) {
        let value = self.stored_form(inst.args[0]);
        let count = self.operand(inst.args[1]);
        let pointer = self.place(&inst.args[2..], &inst.imms);
        if self.has_masks(ty) {
            self.masked_store(ty, &value, &count, &pointer);
            return;
        }
        self.whole_or_part(&count, ty, None, &|e, whole| {
            match whole {
                true => e.effect(&format!("store {} {value}, ptr {pointer}, align 1", spelled(ty))),
                false => e.masked_store(ty, &value, &count, &pointer),
            }
            String::new()
        });
    }

    fn masked_store(&mut self, ty: Type, value: &str, count: &str, pointer: &str) {
        let mask = self.below(count, ty);
        let (spelled, suffix) = (spelled(ty), Self::access_suffix(ty, "p0"));
        let masks = spelled_as("i1", ty.lanes);
        self.effect(&format!(
            "call void @llvm.masked.store.{suffix}({spelled} {value}, ptr align 1 {pointer}, {masks} {mask})"
        ));
    }

    /// Where single lanes are costly: branches on whether `count` covers all lanes. Joins a value of type `result`, if any.
    fn whole_or_part(
        &mut self,
        count: &str,
        ty: Type,
        result: Option<Type>,
        access: &dyn Fn(&mut Self, bool) -> String,
    ) -> String {
        let [whole, part, done] = ["whole", "part", "done"].map(|name| self.fresh(name));
        let covers = self.line(&format!("icmp sge i64 {count}, {}", ty.lanes));
        self.effect(&format!("br i1 {covers}, label %{whole}, label %{part}"));
        let sides = [(&whole, true), (&part, false)].map(|(label, is_whole)| {
            self.label(label);
            let value = access(self, is_whole);
            self.effect(&format!("br label %{done}"));
            value
        });
        self.label(&done);
        match result {
            Some(ty) => {
                let [a, b] = sides;
                self.line(&format!("phi {} [ {a}, %{whole} ], [ {b}, %{part} ]", spelled(ty)))
            }
            None => String::new(),
        }
    }

    /// The addresses of the lanes of a gather or scatter, as a vector of pointers.
    fn places(&mut self, args: &[Val], imms: &[i64]) -> String {
        let base = self.place(&args[..1], imms);
        let from = self.ty(args[1]);
        let wide = from.with_elem(Elem::I64);
        let mut offsets = self.operand(args[1]);
        if from.elem != Elem::I64 {
            offsets = self.cast("sext", from, &offsets, wide);
        }
        if imms[0] != 1 {
            offsets = self.two("mul", wide, &offsets, &literal(wide, imms[0]));
        }
        self.line(&format!("getelementptr i8, ptr {base}, {} {offsets}", spelled(wide)))
    }

    fn mask_or_all(&self, mask: Option<&Val>, ty: Type) -> String {
        mask.map_or_else(|| literal(ty.with_elem(Elem::Bool), 1), |mask| self.operand(*mask))
    }

    pub(super) fn gather(&mut self, inst: &Inst, ty: Type) -> String {
        let held = stored(ty);
        let mask = self.mask_or_all(inst.args.get(2), ty);
        let places = self.places(&inst.args[..2], &inst.imms);
        let (spelled, pointers, masks) = (spelled(held), spelled_as("ptr", ty.lanes), spelled_as("i1", ty.lanes));
        let suffix = Self::access_suffix(held, &format!("v{}p0", ty.lanes));
        let value = self.line(&format!(
            "call {spelled} @llvm.masked.gather.{suffix}({pointers} align 1 {places}, {masks} {mask}, {spelled} zeroinitializer)"
        ));
        self.computed_form(ty, value)
    }

    fn scatter(&mut self, inst: &Inst, ty: Type) {
        let value = self.stored_form(inst.args[0]);
        let mask = self.mask_or_all(inst.args.get(3), ty);
        let places = self.places(&inst.args[1..3], &inst.imms);
        let (spelled, pointers, masks) = (spelled(ty), spelled_as("ptr", ty.lanes), spelled_as("i1", ty.lanes));
        let suffix = Self::access_suffix(ty, &format!("v{}p0", ty.lanes));
        self.effect(&format!(
            "call void @llvm.masked.scatter.{suffix}({spelled} {value}, {pointers} align 1 {places}, {masks} {mask})"
        ));
    }
}
