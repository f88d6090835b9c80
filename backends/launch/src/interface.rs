//! How a C program calls a function that was compiled ahead of time.
//!
//! In: a linked function and its plan. Out: an [`Interface`]: the one struct that an entry takes, member by member with their
//! offsets, how each buffer of the plan follows from it, what a call must satisfy, and how it reports what it does not.
//! The code of the entry, the header and the manifest are all made from it, so that they cannot disagree.
//!
//! Invariants: members lie where a C compiler for the x86-64 System V ABI puts them, in this order; dims of the interface are the first
//! dims of the module, under the same ids.

use sawmill_ir::backend::CompileError;
use sawmill_ir::dtype::DType;
use sawmill_ir::graph::{self, Field, Input, Param, Require, TensorKind};
use sawmill_ir::index::{DimId, Index, TensorId};
use sawmill_ir::tile::{Buffer, BufferId, BufferKind, Module};

/// Declares what an entry may return: name, code, the name in C, the meaning.
macro_rules! statuses {
    ($($name:ident $code:literal $symbol:literal $meaning:literal;)*) => {
        /// What an entry returns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Status { $(#[doc = $meaning] $name,)* }

        impl Status {
            /// Every status, in order of code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The value in C.
            pub const fn code(self) -> i32 { match self { $(Self::$name => $code,)* } }
            /// The name in C.
            pub const fn symbol(self) -> &'static str { match self { $(Self::$name => $symbol,)* } }
            /// What it means.
            pub const fn meaning(self) -> &'static str { match self { $(Self::$name => $meaning,)* } }
        }
    };
}

statuses! {
    Ok 0 "SAWMILL_OK" "The outputs are written.";
    Missing 1 "SAWMILL_MISSING" "A pointer is missing: the arguments, or a tensor that has elements.";
    Size 2 "SAWMILL_SIZE" "A size is negative.";
    Requirement 3 "SAWMILL_REQUIREMENT" "The sizes break a requirement of the function.";
    TooLarge 4 "SAWMILL_TOO_LARGE" "The sizes or strides make a tensor larger than memory can be.";
    Promise 5 "SAWMILL_PROMISE" "An integer lies outside of the range that the function states for it.";
    Memory 6 "SAWMILL_MEMORY" "The system gave no memory for temporaries.";
    Workspace 7 "SAWMILL_WORKSPACE" "The workspace given is too small.";
    Workers 8 "SAWMILL_WORKERS" "The workers given are not between 1 and 4096, or their function reported a failure.";
    Defect 9 "SAWMILL_DEFECT" "The library broke one of its own rules: please report it.";
}

/// Most workers that a call may bring.
pub const MOST_WORKERS: i64 = 4096;
/// Bytes that the elements of one tensor may span: what a process on x86-64 can address.
pub const MOST_BYTES: i64 = 1 << 47;

/// The C interface of a function.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The name of the entry; other names of the library begin with it.
    pub symbol: String,
    /// Members of the struct of arguments, in order.
    pub members: Vec<Member>,
    /// Bytes of the struct.
    pub bytes: u32,
    /// Sizes that the caller states, with where they stand.
    pub dims: Vec<(DimId, u32)>,
    /// What must hold of the sizes; reads are of scalar arguments.
    pub requires: Vec<Require>,
    /// Tensors and scalars, inputs in the order of the signature, then outputs.
    pub arguments: Vec<Argument>,
    /// Where the address of the workspace, its bytes and the address of the workers stand.
    pub tail: Tail,
}

/// A member of the struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in C.
    pub name: String,
    /// Its declaration in C up to the name, `const float *`.
    pub declared: String,
    /// Bytes from the start of the struct.
    pub offset: u32,
}

/// Members that every struct ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The address of the workspace, or null.
    pub workspace: u32,
    /// Bytes of the workspace.
    pub workspace_bytes: u32,
    /// The address of the workers, or null.
    pub workers: u32,
}

/// An argument of the function, as the caller sees it.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name in the language.
    pub name: String,
    /// Which buffers of the plan it is, and how.
    pub form: Form,
    /// What is done with it.
    pub role: Role,
    /// The range that its integers are promised to lie in: from, below.
    pub promise: Option<(Index, Index)>,
    /// Where its value or address stands in the struct.
    pub offset: u32,
    /// The packed format of its rows.
    pub format: Option<String>,
}

/// What a function does with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads it.
    Input,
    /// Reads it and appends to it.
    InPlace,
    /// Writes all of it.
    Output,
}

/// How an argument is given.
#[derive(Clone, Debug)]
pub enum Form {
    /// By value, in the struct.
    Scalar {
        /// The buffer of the plan, of rank 0.
        buffer: BufferId,
        /// The tensor of the linked function.
        tensor: TensorId,
        /// Its type.
        dtype: DType,
    },
    /// By address, with strides.
    Tensor(Strided),
}

/// Strided memory of the caller.
#[derive(Clone, Debug)]
pub struct Strided {
    /// Lengths of lists around it, outermost first; each element has an address, all have the same strides.
    pub lists: Vec<Index>,
    /// Sizes that have a stride; the last of a packed argument counts records.
    pub shape: Vec<Index>,
    /// Element type; a byte of a packed argument.
    pub dtype: DType,
    /// Bytes of one element or record.
    pub unit: u32,
    /// Where the address of the strides stands in the struct.
    pub strides: u32,
    /// The buffers of the plan that it is.
    pub parts: Vec<Part>,
}

/// A buffer of the plan in an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The buffer.
    pub buffer: BufferId,
    /// Bytes from the argument's address.
    pub offset: u32,
    /// Strides of the buffer's dimensions after those that the caller gives strides for.
    pub inner: Vec<i64>,
}

impl Interface {
    /// The interface of `linked`, which was lowered to `module`, under a name in C.
    ///
    /// # Errors
    /// Arguments that C has no form for, with the reason; a module of another function.
    pub fn of(symbol: &str, linked: &graph::Function, module: &Module) -> Result<Interface, CompileError> {
        let mut making = Making { linked, module, members: Vec::new(), bytes: 0 };
        let dims: Vec<(DimId, u32)> =
            linked.dims.iter().map(|(id, dim)| (id, making.member(&dim.name, "int64_t ", 8))).collect();
        let mut arguments: Vec<Argument> = Vec::new();
        for (id, input) in linked.params.iter().filter_map(|param| input_of(linked, param)) {
            let known = input.field.as_ref().and_then(|field| arguments.iter_mut().find(|a| a.name == field.of));
            match (known, &input.field) {
                (Some(Argument { form: Form::Tensor(packed), .. }), Some(field)) => {
                    packed.parts.push(making.field(id, input, field)?);
                }
                (_, Some(field)) => arguments.push(making.packed(id, input, field)?),
                (_, None) => arguments.push(making.plain(id, input)?),
            }
        }
        for (id, buffer) in module.buffers.iter().filter(|(_, buffer)| buffer.kind == BufferKind::Output) {
            arguments.push(making.tensor(&buffer.name, Vec::new(), id, buffer, Role::Output)?);
        }
        let workspace = making.member("workspace", "void *", 8);
        let workspace_bytes = making.member("workspace_bytes", "int64_t ", 8);
        let workers = making.member("workers", "const sawmill_workers *", 8);
        let tail = Tail { workspace, workspace_bytes, workers };
        let (members, bytes) = (making.members, making.bytes.next_multiple_of(8));
        Ok(Interface {
            symbol: symbol.to_owned(),
            members,
            bytes,
            dims,
            requires: linked.requires.clone(),
            arguments,
            tail,
        })
    }

    /// The member at an offset.
    pub fn member(&self, offset: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.offset == offset)
    }

    /// The argument that a buffer of the plan is in.
    pub fn argument_of(&self, buffer: BufferId) -> Option<&Argument> {
        self.arguments.iter().find(|argument| match &argument.form {
            Form::Scalar { buffer: own, .. } => *own == buffer,
            Form::Tensor(strided) => strided.parts.iter().any(|part| part.buffer == buffer),
        })
    }
}

/// The type in C of an element; bits where C has no such type.
pub fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::I64 => "int64_t",
        DType::I32 => "int32_t",
        DType::U32 => "uint32_t",
        DType::I16 => "int16_t",
        DType::U16 | DType::F16 | DType::BF16 => "uint16_t",
        DType::I8 => "int8_t",
        _ => "uint8_t",
    }
}

fn input_of<'f>(linked: &'f graph::Function, param: &Param) -> Option<(TensorId, &'f Input)> {
    let Param::Tensor(id) = param else { return None };
    match &linked.tensors[*id].kind {
        TensorKind::Input(input) => Some((*id, input)),
        _ => None,
    }
}

/// The struct as far as it is made.
struct Making<'a> {
    linked: &'a graph::Function,
    module: &'a Module,
    members: Vec<Member>,
    bytes: u32,
}

impl Making<'_> {
    /// Adds a member of `size` bytes, aligned to its size; gives its offset.
    fn member(&mut self, name: &str, declared: &str, size: u32) -> u32 {
        let offset = self.bytes.next_multiple_of(size);
        self.bytes = offset + size;
        let name = self.unused(name);
        self.members.push(Member { name, declared: declared.to_owned(), offset });
        offset
    }

    /// The name in C of a name in the language.
    fn unused(&self, name: &str) -> String {
        let mut spelled: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if spelled.starts_with(|c: char| c.is_ascii_digit()) {
            spelled.insert(0, '_');
        }
        while KEYWORDS.contains(&spelled.as_str()) || self.members.iter().any(|member| member.name == spelled) {
            spelled.push('_');
        }
        spelled
    }

    /// The buffer of a parameter; arguments keep their names.
    fn buffer(&self, id: TensorId) -> Result<(BufferId, &Buffer), CompileError> {
        let name = &self.linked.tensors[id].name;
        let found = self.module.buffers.iter().find(|(_, buffer)| buffer.name == *name);
        found.ok_or_else(|| CompileError::Bug { message: format!("the plan lost `{name}`"), text: String::new() })
    }

    fn lists(&self, id: TensorId, input: &Input) -> Vec<Index> {
        self.linked.tensors[id].shape[..input.lists as usize].to_vec()
    }

    fn plain(&mut self, id: TensorId, input: &Input) -> Result<Argument, CompileError> {
        let (buffer_id, buffer) = self.buffer(id)?;
        let (name, promise, lists) = (buffer.name.clone(), input.promise.clone(), self.lists(id, input));
        if buffer.shape.is_empty() && lists.is_empty() {
            let dtype = buffer.dtype;
            let size = whole_bytes(dtype, &name)?;
            let offset = self.member(&name, &format!("{} ", c_type(dtype)), size);
            let form = Form::Scalar { buffer: buffer_id, tensor: id, dtype };
            return Ok(Argument { name, form, role: Role::Input, promise, offset, format: None });
        }
        let role = if matches!(buffer.kind, BufferKind::InOut { .. }) { Role::InPlace } else { Role::Input };
        let (module, linked_name) = (self.module, name);
        let made = self.tensor(&linked_name, lists, buffer_id, &module.buffers[buffer_id], role)?;
        Ok(Argument { promise, ..made })
    }

    fn tensor(
        &mut self,
        name: &str,
        lists: Vec<Index>,
        id: BufferId,
        buffer: &Buffer,
        role: Role,
    ) -> Result<Argument, CompileError> {
        let unit = whole_bytes(buffer.dtype, name)?;
        let element = c_type(buffer.dtype);
        let pointer = if role == Role::Input { format!("const {element} *") } else { format!("{element} *") };
        let (offset, strides) = self.pointers(name, &pointer, !lists.is_empty());
        let parts = vec![Part { buffer: id, offset: 0, inner: Vec::new() }];
        let strided = Strided { lists, shape: buffer.shape.clone(), dtype: buffer.dtype, unit, strides, parts };
        let form = Form::Tensor(strided);
        Ok(Argument { name: name.to_owned(), form, role, promise: None, offset, format: None })
    }

    /// The members of a tensor: its address, or those of a list's elements, and its strides.
    fn pointers(&mut self, name: &str, pointer: &str, list: bool) -> (u32, u32) {
        let declared = if list { format!("{pointer}const *") } else { pointer.to_owned() };
        let address = self.member(name, &declared, 8);
        (address, self.member(&format!("{name}_strides"), "const int64_t *", 8))
    }

    /// A packed argument, of which this is the first field.
    fn packed(&mut self, id: TensorId, input: &Input, field: &Field) -> Result<Argument, CompileError> {
        let part = self.field(id, input, field)?;
        let lists = self.lists(id, input);
        let own = field.record_dim as usize + 1;
        let shape = self.linked.tensors[id].shape[lists.len()..own].to_vec();
        let (offset, strides) = self.pointers(&field.of, "const uint8_t *", !lists.is_empty());
        let strided = Strided { lists, shape, dtype: DType::U8, unit: field.record, strides, parts: vec![part] };
        Ok(Argument {
            name: field.of.clone(),
            form: Form::Tensor(strided),
            role: Role::Input,
            promise: None,
            offset,
            format: Some(field.format.clone()),
        })
    }

    /// A field in its packed argument: its elements inside of a record are dense, two of half a byte to a byte.
    fn field(&self, id: TensorId, input: &Input, field: &Field) -> Result<Part, CompileError> {
        let (buffer_id, buffer) = self.buffer(id)?;
        let bits = buffer.dtype.bits();
        let (unit, values) = if bits < 8 { (1, i64::from(8 / bits)) } else { (i64::from(bits / 8), 1) };
        let within = (field.record_dim - input.lists) as usize + 1;
        let mut step = unit;
        let mut inner = Vec::new();
        for (at, size) in buffer.shape[within..].iter().rev().enumerate() {
            inner.push(step);
            let size = size.as_int().ok_or_else(|| CompileError::Bug {
                message: format!("a record of `{}` has no known size", buffer.name),
                text: String::new(),
            })?;
            step *= if at == 0 { size / values } else { size };
        }
        inner.reverse();
        Ok(Part { buffer: buffer_id, offset: field.offset, inner })
    }
}

fn whole_bytes(dtype: DType, name: &str) -> Result<u32, CompileError> {
    let refused = || format!("`{name}` holds {dtype}, elements of no whole bytes, for which C has no pointers");
    dtype.bytes().ok_or_else(|| CompileError::Unsupported(refused()))
}

/// Names that no member may have in C or C++.
const KEYWORDS: &[&str] = &[
    "alignas",
    "alignof",
    "and",
    "asm",
    "auto",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "constexpr",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "not",
    "nullptr",
    "operator",
    "or",
    "private",
    "protected",
    "public",
    "register",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "template",
    "this",
    "throw",
    "true",
    "try",
    "typedef",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "while",
    "xor",
];
