//! The verifier of VIR functions.
//!
//! In: any function. Out: nothing, or the first objection with its place. Checks the typing rule of every instruction,
//! that each value is defined before its uses and in scope, and that blocks, yields and carried values fit.

use sawmill_ir::error::VerifyError;

use super::func::{BlockId, Function, Inst, Val};
use super::ops::Op;
use super::rules;
use super::types::Type;

/// Checks a function.
///
/// # Errors
/// The first instruction, in the order of execution, that breaks a rule.
pub fn verify(func: &Function) -> Result<(), VerifyError> {
    let name_ok = !func.name.is_empty() && func.name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c));
    if !name_ok {
        return Err(error(func, "its name", "a name has letters, digits, `_` and `.` only"));
    }
    let mut verifier = Verifier { func, defined: vec![false; func.values.len()], seen: vec![false; func.blocks.len()] };
    let entry = func.blocks.first().ok_or_else(|| error(func, "the entry", "there is no block"))?;
    let types: Option<Vec<Type>> = entry.params.iter().map(|p| func.values.get(p.index()).copied()).collect();
    if types.as_deref() != Some(&[Type::I64; 4]) || !entry.yields.is_empty() {
        return Err(error(func, "the entry", "it takes four i64 and yields nothing"));
    }
    verifier.block(Function::ENTRY)
}

struct Verifier<'a> {
    func: &'a Function,
    defined: Vec<bool>,
    seen: Vec<bool>,
}

impl Verifier<'_> {
    fn block(&mut self, id: BlockId) -> Result<(), VerifyError> {
        let place = id.to_string();
        match self.seen.get_mut(id.index()) {
            None => return Err(error(self.func, &place, "does not exist")),
            Some(true) => return Err(error(self.func, &place, "has two owners")),
            Some(seen) => *seen = true,
        }
        let block = self.func.block(id);
        let mut scope = Vec::new();
        self.define(&block.params, &place, &mut scope)?;
        for inst in &block.insts {
            let inst =
                self.func.insts.get(inst.index()).ok_or_else(|| error(self.func, &place, format!("no {inst}")))?;
            let at = self.func.head_text(inst);
            self.inst(inst).map_err(|message| error(self.func, &at, message))?;
            for block in &inst.blocks {
                self.block(*block)?;
            }
            if matches!(inst.op, Op::For | Op::If) {
                self.yields(inst).map_err(|message| error(self.func, &at, message))?;
            }
            self.define(&inst.results, &at, &mut scope)?;
        }
        self.used(&block.yields).map_err(|message| error(self.func, &place, message))?;
        for value in scope {
            self.defined[value.index()] = false;
        }
        Ok(())
    }

    fn define(&mut self, values: &[Val], place: &str, scope: &mut Vec<Val>) -> Result<(), VerifyError> {
        for value in values {
            match self.defined.get_mut(value.index()) {
                Some(defined) if !*defined => *defined = true,
                _ => {
                    return Err(error(self.func, place, format!("{value} is defined twice or has no type")));
                }
            }
            if !self.func.ty(*value).is_legal() {
                return Err(error(self.func, place, format!("{} is not a type", self.func.ty(*value))));
            }
            scope.push(*value);
        }
        Ok(())
    }

    fn used(&self, values: &[Val]) -> Result<(), String> {
        match values.iter().find(|v| !self.defined.get(v.index()).copied().unwrap_or(false)) {
            Some(value) => Err(format!("{value} is not defined here")),
            None => Ok(()),
        }
    }

    fn types(&self, values: &[Val]) -> Vec<Type> {
        values.iter().map(|value| self.func.ty(*value)).collect()
    }

    fn inst(&self, inst: &Inst) -> Result<(), String> {
        self.used(&inst.args)?;
        if let Some(value) = inst.results.iter().find(|value| value.index() >= self.func.values.len()) {
            return Err(format!("{value} has no type"));
        }
        let args = self.types(&inst.args);
        match inst.op {
            Op::For => self.for_head(inst, &args),
            Op::If => match (&args[..], inst.blocks.len(), inst.imms.len()) {
                ([Type::BOOL], 2, 0) => Ok(()),
                _ => Err("takes one scalar bool and two blocks".into()),
            },
            op => {
                let results = self.types(&inst.results);
                if results.len() > 1 || !inst.blocks.is_empty() {
                    return Err("has at most one result and no block".into());
                }
                rules::check(op, &args, &inst.imms, results.first().copied())
            }
        }
    }

    fn for_head(&self, inst: &Inst, args: &[Type]) -> Result<(), String> {
        if args.len() < 2 || args[..2] != [Type::I64; 2] {
            return Err("start and end are i64".into());
        }
        if inst.imms.len() != 1 || inst.imms[0] <= 0 {
            return Err("the step is one positive constant".into());
        }
        if inst.blocks.len() != 1 || self.func.blocks.len() <= inst.blocks[0].index() {
            return Err("has one block".into());
        }
        let params = self.types(&self.func.block(inst.blocks[0]).params);
        if params[..1] != [Type::I64] || params[1..] != args[2..] {
            return Err("the body's parameters are the i64 counter and the carried values".into());
        }
        Ok(())
    }

    fn yields(&self, inst: &Inst) -> Result<(), String> {
        let results = self.types(&inst.results);
        let expected = match inst.op {
            Op::For => self.types(&inst.args[2..]),
            _ => results.clone(),
        };
        for block in &inst.blocks {
            let block = self.func.block(*block);
            if self.types(&block.yields) != expected || (inst.op == Op::If && !block.params.is_empty()) {
                return Err("a block yields other types than its owner defines or carries".into());
            }
        }
        if results == expected { Ok(()) } else { Err("the results are not of the types carried".into()) }
    }
}

fn error(func: &Function, entity: &str, message: impl Into<String>) -> VerifyError {
    VerifyError { function: func.name.clone(), entity: entity.to_owned(), message: message.into() }
}
