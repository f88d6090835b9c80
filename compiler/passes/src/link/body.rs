//! Statements: definitions, appends and loops of a frame's function in the linked one.

use super::frame::{Bound, FrameId};
use super::{Block, LinkError, Linker};
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{CallResult, Carry, Elem, Function, Loop, Op, Stmt, Tensor, TensorKind, TermId};
use sawmill_ir::index::{AxisId, Index, TensorId};

impl<'m> Linker<'m> {
    /// Links statements into the innermost block.
    pub(super) fn body(&mut self, frame: FrameId, stmts: &[Stmt]) -> Result<(), LinkError> {
        for stmt in stmts {
            match stmt {
                Stmt::Define(id) => self.definition(frame, *id)?,
                Stmt::Loop(inner) => self.counted_loop(frame, inner)?,
            }
        }
        Ok(())
    }

    fn definition(&mut self, frame: FrameId, id: TensorId) -> Result<(), LinkError> {
        let function = self.frames[frame].function;
        let tensor = &function.tensors[id];
        let name = self.name(frame, &tensor.name);
        let bound = match &tensor.kind {
            TensorKind::Def { axes, value, .. } if is_longer_cache(function, axes, *value) => {
                self.called(frame, *value)?
            }
            TensorKind::Def { axes, value, rounded } => {
                let own = self.own_axes(frame, axes)?;
                let value = self.term(frame, *value)?;
                let elem = self.defined_elem(frame, &tensor.elem);
                let inlined = function.outputs.contains(&id) && self.frames[frame].depth > 0;
                let rounded = *rounded || (inlined && is_storage(&elem));
                self.define_led(frame, &name, own, value, elem, rounded)
            }
            TensorKind::Append { base, at, dim, axes, value } => {
                let own = self.bind_axes(frame, axes)?;
                let value = self.term(frame, *value)?;
                let at = self.indices(frame, at)?;
                self.append(frame, &name, id, (*base, at), *dim, own, value)?
            }
            _ => return Err(self.error(format!("`{}` is no definition", tensor.name))),
        };
        self.frames[frame].tensors.insert(id, bound);
        Ok(())
    }
    /// The axes of a definition in the linked function: new ones, but for those of loops whose steps it collects.
    fn own_axes(&mut self, frame: FrameId, axes: &[AxisId]) -> Result<Vec<AxisId>, LinkError> {
        let mut own = Vec::with_capacity(axes.len());
        for axis in axes {
            let of_loop = self.frames[frame].axes.get(axis).and_then(Index::as_axis);
            match of_loop.filter(|linked| self.loops.contains(linked)) {
                Some(linked) => own.push(linked),
                None => own.extend(self.bind_axes(frame, &[*axis])?),
            }
        }
        Ok(own)
    }
    /// Names of inlined definitions say where they come from.
    fn name(&self, frame: FrameId, name: &str) -> String {
        let frame = &self.frames[frame];
        if frame.depth == 0 { name.to_owned() } else { format!("{}.{name}", frame.function.name) }
    }
    /// Defines a tensor over the leading axes its value depends on and its own.
    fn define_led(
        &mut self,
        frame: FrameId,
        name: &str,
        own: Vec<AxisId>,
        value: TermId,
        elem: Elem,
        rounded: bool,
    ) -> Bound<'m> {
        let free = self.free_axes(value);
        let lead: Vec<AxisId> = self.frames[frame].lead.iter().copied().filter(|axis| free.contains(axis)).collect();
        let open = own.len();
        let axes: Vec<AxisId> = lead.iter().copied().chain(own).collect();
        let id = if lead.is_empty() {
            let shape = axes.iter().map(|axis| self.out.axes[*axis].extent.clone()).collect();
            let kind = TensorKind::Def { axes, value, rounded };
            let id = self.out.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind });
            self.push_stmt(Stmt::Define(id));
            id
        } else {
            self.define_over(name, &axes, value, elem, rounded)
        };
        let subs =
            lead.into_iter().map(|axis| Some(Index::axis(axis))).chain(std::iter::repeat_n(None, open)).collect();
        Bound::Tensor { id, subs }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
    fn append(
        &mut self,
        frame: FrameId,
        name: &str,
        id: TensorId,
        (base, at): (TensorId, Vec<Index>),
        dim: u32,
        axes: Vec<AxisId>,
        value: TermId,
    ) -> Result<Bound<'m>, LinkError> {
        let tensor = &self.frames[frame].function.tensors[id];
        let Some(Bound::Tensor { id: base, subs }) = self.frames[frame].tensors.get(&base).cloned() else {
            return Err(self.error(format!("`{}` appends to what is no cache", tensor.name)));
        };
        let led = self.frames[frame].lead.iter().any(|axis| self.free_axes(value).contains(axis));
        if led {
            return Err(self.error(format!("`{}` pushes in a call made for many positions", tensor.name)));
        }
        let fixed = subs.into_iter().flatten().chain(at).collect();
        let shape = self.indices(frame, &tensor.shape)?;
        let elem = self.out.tensors[base].elem.clone();
        let rank = shape.len();
        let kind = TensorKind::Append { base, at: fixed, dim, axes, value };
        let id = self.out.tensors.push(Tensor { name: name.to_owned(), elem, shape, kind });
        self.push_stmt(Stmt::Define(id));
        Ok(Bound::Tensor { id, subs: vec![None; rank] })
    }

    fn counted_loop(&mut self, frame: FrameId, inner: &Loop) -> Result<(), LinkError> {
        let function = self.frames[frame].function;
        let index = self.bind_axes(frame, &[inner.index])?[0];
        let lead = self.frames[frame].lead.clone();
        let mut carries = Vec::new();
        for carry in &inner.carries {
            let tensor = &function.tensors[carry.inside];
            let name = self.name(frame, &tensor.name);
            let init = self.whole(frame, carry.init, &name, &tensor.shape)?;
            let own = self.indices(frame, &tensor.shape)?;
            let shape: Vec<Index> = lead.iter().map(|axis| self.out.axes[*axis].extent.clone()).chain(own).collect();
            let elem = self.defined_elem(frame, &tensor.elem);
            let open = tensor.shape.len();
            let declare = |linker: &mut Self, of: TensorId, kind: TensorKind, name: String| {
                let tensor = Tensor { name, elem: elem.clone(), shape: shape.clone(), kind };
                let id = linker.out.tensors.push(tensor);
                let subs = lead.iter().map(|axis| Some(Index::axis(*axis)));
                let subs = subs.chain(std::iter::repeat_n(None, open)).collect();
                linker.frames[frame].tensors.insert(of, Bound::Tensor { id, subs });
                id
            };
            let inside = declare(self, carry.inside, TensorKind::Carry, name);
            let result_name = self.name(frame, &function.tensors[carry.result].name);
            let result = declare(self, carry.result, TensorKind::Final, result_name);
            carries.push(Carry { init, inside, next: inside, result });
        }
        self.loops.insert(index);
        self.blocks.push(Block::default());
        self.body(frame, &inner.body)?;
        for (linked, carry) in carries.iter_mut().zip(&inner.carries) {
            let tensor = &function.tensors[carry.next];
            linked.next = self.whole(frame, carry.next, &self.name(frame, &tensor.name), &tensor.shape)?;
        }
        let body = self.blocks.pop().expect("pushed above").stmts;
        self.loops.remove(&index);
        self.push_stmt(Stmt::Loop(Loop { index, rev: inner.rev, carries, body }));
        Ok(())
    }

    /// A tensor of the linked function that is exactly the frame's tensor over all leading axes; a copy if there is none.
    fn whole(&mut self, frame: FrameId, id: TensorId, name: &str, shape: &[Index]) -> Result<TensorId, LinkError> {
        let lead = self.frames[frame].lead.clone();
        let bound = self.frames[frame].tensors.get(&id).cloned();
        let bound = bound.ok_or_else(|| self.error(format!("carry `{name}` is not defined")))?;
        if let Bound::Tensor { id, subs } = &bound {
            let (first, rest) = subs.split_at(lead.len().min(subs.len()));
            let led = first.iter().zip(&lead).all(|(sub, axis)| sub.as_ref().and_then(Index::as_axis) == Some(*axis));
            if led && first.len() == lead.len() && rest.iter().all(Option::is_none) {
                return Ok(*id);
            }
        }
        let mut own = Vec::new();
        for size in shape {
            let extent = self.index(frame, size)?;
            own.push(self.out.axes.push(sawmill_ir::graph::Axis { name: "i".to_owned(), extent }));
        }
        let elem = self.elem(frame, &self.frames[frame].function.tensors[id].elem.clone());
        let dtype = sawmill_ir::graph::typing::read_dtype(&self.out, &elem);
        let subs = own.iter().copied().map(Index::axis).collect();
        let value = self.read_bound(&bound, subs, false, dtype)?;
        let axes: Vec<AxisId> = lead.into_iter().chain(own).collect();
        Ok(self.define_over(name, &axes, value, elem, false))
    }

    /// A term that stands for closure parameter `at` while calls are compared.
    pub(super) fn placeholder(&mut self, at: u32, dtype: DType) -> TermId {
        if dtype.is_int() {
            let index = Index::atom(sawmill_ir::index::Atom::Param(at));
            let term = self.add(Op::Index(index), Vec::new(), DType::I64);
            return self.cast(term, dtype);
        }
        self.add(Op::ClosureParam(at), Vec::new(), dtype)
    }
}

/// Whether a definition is a cache as a call left it: another name for what the call appended.
fn is_longer_cache(function: &Function, axes: &[AxisId], value: TermId) -> bool {
    match &function.terms[value].op {
        Op::Call { output: CallResult::After(_), subs, .. } => {
            subs.len() == axes.len() && subs.iter().zip(axes).all(|(sub, axis)| sub.as_axis() == Some(*axis))
        }
        _ => false,
    }
}

/// Whether values are rounded when they are stored as `elem`.
fn is_storage(elem: &Elem) -> bool {
    matches!(elem, Elem::Type(dtype) if !dtype.is_compute())
}
