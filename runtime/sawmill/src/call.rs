//! A call being put together: what the wrappers that `arch!` emits do.
//!
//! Arguments are bound by name; fields of structs by dotted name (`w.q`), where the entries of a list (`w.layers.0.q`, ..) are one
//! list under the name without the number.

use crate::arg::{Arg, List, Record, Value};
use crate::cache::CacheType;
use crate::closure::{Closure, IntoClosure};
use crate::function::{Function, Options};
use crate::tensor::{Tensor, View};
use crate::{Device, Error};

/// A call of a function.
pub struct Call<'a> {
    pub(crate) function: &'static Function,
    pub(crate) device: Option<Device>,
    pub(crate) options: Options,
    pub(crate) values: Vec<(String, Value<'a>)>,
    pub(crate) closures: Vec<(String, Closure<'a>)>,
    pub(crate) dims: Vec<(String, i64)>,
}

impl<'a> Call<'a> {
    /// A call of `function` where its arguments live.
    pub fn new(function: &'static Function) -> Self {
        let options = Options::default();
        Self { function, device: None, options, values: Vec::new(), closures: Vec::new(), dims: Vec::new() }
    }
    /// A call of `function` on `device`.
    pub fn on(function: &'static Function, device: &Device) -> Self {
        Self { device: Some(device.clone()), ..Self::new(function) }
    }
    /// Compiles under these options.
    pub fn options(&mut self, options: Options) {
        self.options = options;
    }
    /// Binds an argument.
    pub fn arg<K, const RANK: usize>(&mut self, name: &str, value: impl Arg<'a, K, RANK>) {
        self.value(name, value.value());
    }
    /// Binds a value.
    pub fn value(&mut self, name: &str, value: Value<'a>) {
        self.values.push((name.to_owned(), value));
    }
    /// Binds a closure.
    pub fn closure(&mut self, name: &str, closure: impl IntoClosure<'a>) {
        self.closures.push((name.to_owned(), closure.into_closure()));
    }
    /// Gives a dim that no argument determines, or specialises one.
    pub fn dim(&mut self, name: &str, value: u64) {
        // A size above i64 fails the check against the arguments' sizes.
        self.dims.push((name.to_owned(), i64::try_from(value).unwrap_or(i64::MAX)));
    }
    /// Binds the tensors of a struct.
    pub fn record<R: Record>(&mut self, name: &str, record: &'a R) {
        record.visit(&format!("{name}."), &mut |path, tensor| self.field(&path, tensor));
    }
    /// Binds the tensors of a list of structs.
    pub fn records<R: Record>(&mut self, name: &str, records: &'a [R]) {
        for (at, record) in records.iter().enumerate() {
            record.visit(&format!("{name}.{at}."), &mut |path, tensor| self.field(&path, tensor));
        }
    }
    /// Binds a cache.
    pub fn cache<C: CacheType>(&mut self, name: &str, cache: &'a mut C) {
        self.value(name, Value::Cache(cache.cache_mut()));
    }
    /// Binds a list of caches.
    pub fn caches<C: CacheType>(&mut self, name: &str, caches: &'a mut [C]) {
        self.value(name, Value::Caches(caches.iter_mut().map(CacheType::cache_mut).collect()));
    }
    /// Binds a tensor of a list: `w.3`, or `w.3.0` in a list of lists.
    pub fn entry(&mut self, path: &str, tensor: &'a Tensor) {
        self.field(path, tensor);
    }
    fn field(&mut self, path: &str, tensor: &'a Tensor) {
        let view: View<'a> = tensor.view();
        let mut name = String::with_capacity(path.len());
        let mut entries = Vec::new();
        for part in path.split('.') {
            match part.parse::<usize>() {
                Ok(entry) => entries.push(entry),
                Err(_) => {
                    name.push_str(if name.is_empty() { "" } else { "." });
                    name.push_str(part);
                }
            }
        }
        if entries.is_empty() {
            return self.value(&name, Value::Tensor(view));
        }
        let known = self.values.iter_mut().find_map(|(n, value)| match value {
            Value::List(list) if *n == name => Some(list),
            _ => None,
        });
        match known {
            Some(list) => {
                list.items.push(view);
                for (length, at) in list.lengths.iter_mut().zip(&entries) {
                    *length = (*length).max(at + 1);
                }
            }
            None => {
                let lengths = entries.iter().map(|at| at + 1).collect();
                self.value(&name, Value::List(List { lengths, items: vec![view] }));
            }
        }
    }
    /// Checks, compiles if needed, runs; the outputs in order of the signature.
    pub fn run<const N: usize>(self) -> Result<[Tensor; N], Error> {
        let function = self.function;
        let outputs: Vec<Tensor> = self.run_named()?.into_iter().map(|(_, tensor)| tensor).collect();
        let count = outputs.len();
        let message = || format!("{count} outputs, where the wrapper expects {N}");
        outputs.try_into().map_err(|_| Error::bug(function.name, message(), function.program))
    }
    /// Checks, compiles if needed, runs; the outputs by name, in order of the signature.
    pub fn run_named(self) -> Result<Vec<(String, Tensor)>, Error> {
        crate::function::run(self)
    }
    /// Compiles for the arguments bound, without running.
    pub fn compile(&self) -> Result<std::sync::Arc<crate::compiled::Compiled>, Error> {
        crate::function::prepare(self).map(|prepared| prepared.compiled)
    }
}
