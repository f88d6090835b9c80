//! One function from its tree to graph IR.

use super::compact::compact;
use super::elab::Elab;
use super::items::{Callable, Given, Items};
use super::scope::Binding;
use crate::ast::{Argument, Function, Param, ParamType};
use crate::errors::{Diagnostics, Problem};
use sawmill_ir::dtype::DType;
use sawmill_ir::entity::Entity;
use sawmill_ir::graph::Function as IrFunction;

/// What is left of a function after checking.
pub(crate) struct Checked {
    /// How others call it.
    pub(crate) callable: Callable,
    /// Its graph IR, if nothing was wrong.
    pub(crate) function: Option<IrFunction>,
    /// Nothing was wrong with its signature.
    pub(crate) heading_is_sound: bool,
}

/// Checks and lowers a function; of one that is on a cycle of calls, the signature only.
pub(crate) fn check_function(items: &Items, source: &Function, cyclic: bool, errors: &mut Diagnostics) -> Checked {
    let known = errors.list().len();
    let mut elab = Elab::new(items, errors);
    let (params, outputs) = elab.signature(&source.signature);
    let heading_is_sound = elab.errors.list().len() == known;
    elab.outputs = outputs.clone();
    let heading = elab.function.clone();
    let mark = elab.scope.mark();
    if !source.broken && !cyclic {
        elab.block(&source.body);
        elab.all_assigned(source);
    }
    elab.scope.leave(mark);
    let given = elab.closures_done(&source.signature.params);
    let mut function = std::mem::take(&mut elab.function);
    function.body = std::mem::take(&mut elab.body);
    let assigned: Option<Vec<_>> =
        outputs.iter().map(|o| elab.assigned_outputs.get(&o.name).and_then(|(id, _)| *id)).collect();
    let pushes = elab.pushes();
    let sound = errors.list().len() == known && !source.broken && !cyclic;
    let function = assigned.filter(|_| sound).map(|outputs| {
        function.outputs = outputs;
        compact(&mut function);
        function
    });
    let heading = with_closures(heading, &given);
    Checked { callable: Callable { heading, params, outputs, given, pushes }, function, heading_is_sound }
}

/// The types of closure parameters, once the body is known, belong to the heading as well.
fn with_closures(mut heading: IrFunction, given: &[Vec<Given>]) -> IrFunction {
    for (id, given) in heading.closures.keys().zip(given) {
        heading.closures[id].params = given.iter().map(|(dtype, _)| *dtype).collect();
    }
    heading
}

impl Elab<'_> {
    fn all_assigned(&mut self, source: &Function) {
        for output in &source.signature.outputs {
            // Of an output that is none nothing more is said.
            let poison = self.scope.get(&output.name.text).is_some_and(|e| matches!(e.binding, Binding::Poison));
            if !poison && !self.assigned_outputs.contains_key(&output.name.text) {
                let problem = Problem::Unassigned { output: output.name.text.clone() };
                self.errors.report(output.name.loc(), problem);
            }
        }
    }

    /// Types of closure parameters, and their defaults.
    pub(crate) fn closures_done(&mut self, params: &[Param]) -> Vec<Vec<Given>> {
        let mut all = Vec::new();
        for id in self.function.closures.keys() {
            let used = &self.closures[id.index()];
            let given = used.given.clone().unwrap_or_else(|| vec![(DType::I64, None); used.params.len()]);
            self.function.closures[id].params = given.iter().map(|(dtype, _)| *dtype).collect();
            all.push(given);
        }
        for param in params {
            let (ParamType::Closure(_), Some(Argument::Closure(closure))) = (&param.ty, &param.default) else {
                continue;
            };
            let Some(Binding::Closure(id)) = self.scope.get(&param.name.text).map(|entry| entry.binding.clone()) else {
                continue;
            };
            let result = self.function.closures[id].result;
            // What a default defines for itself comes before everything that applies it.
            let after = std::mem::take(&mut self.body);
            let default = self.closure(closure, &param.name.text, &all[id.index()], result);
            self.body.extend(after);
            self.function.closures[id].default = default;
        }
        all
    }
}
