//! Items and signatures, each item recovered at the next one.

use super::Parser;
use super::tokens::{at_word, commas, end, expected, group, here, name, take_word, to_name};
use crate::ast::{
    Cache, ClosureType, Dim, DimKind, Expr, Field, File, Format, Function, Import, Item, ItemKind, Name, Param,
    ParamType, Promise, Signature, Struct, Type, TypeClass,
};
use crate::errors::{Loc, Outcome, Problem, fail};
use proc_macro2::TokenTree;
use syn::parse::ParseStream;
use syn::{Attribute, Expr as RustExpr, Ident, Lit, Meta, Token, UseTree, token};

impl Parser {
    /// All items; those that fail are reported and passed over.
    pub(super) fn file(&mut self, input: ParseStream<'_>) -> File {
        let mut items = Vec::new();
        while !input.is_empty() {
            match self.item(input) {
                Ok(item) => items.push(item),
                Err(d) => {
                    self.errors.push(*d);
                    skip_item(input);
                }
            }
        }
        File { items }
    }

    pub(super) fn item(&mut self, input: ParseStream<'_>) -> Outcome<Item> {
        let docs = self.docs(input)?;
        let public = input.peek(Token![pub]);
        if public {
            input.parse::<Token![pub]>()?;
        }
        let kind = self.item_kind(input)?;
        Ok(Item { docs, public, kind })
    }

    fn item_kind(&mut self, input: ParseStream<'_>) -> Outcome<ItemKind> {
        if input.peek(Token![fn]) {
            let signature = self.signature(input)?;
            let (body, broken) = self.block(input)?;
            return Ok(ItemKind::Function(Function { signature, body, broken }));
        }
        if input.peek(Token![struct]) {
            input.parse::<Token![struct]>()?;
            return self.structure(input).map(ItemKind::Struct);
        }
        if input.peek(Token![extern]) {
            input.parse::<Token![extern]>()?;
            let signature = self.signature(input)?;
            semicolon(input)?;
            return Ok(ItemKind::Extern(signature));
        }
        if input.peek(Token![use]) {
            input.parse::<Token![use]>()?;
            return imports(input).map(ItemKind::Use);
        }
        if take_word(input, "cache")?.is_some() {
            return self.cache(input).map(ItemKind::Cache);
        }
        if take_word(input, "format")?.is_some() {
            return self.format(input).map(ItemKind::Format);
        }
        Err(expected(input, "an item", "an item is `fn`, `struct`, `cache`, `format`, `extern` or `use`"))
    }

    /// Doc comments; other attributes are errors.
    fn docs(&mut self, input: ParseStream<'_>) -> Outcome<Vec<String>> {
        let mut docs = Vec::new();
        for attribute in Attribute::parse_outer(input)? {
            match doc_line(&attribute) {
                Some(line) => docs.push(line),
                None => self.errors.report(Loc::at(attribute.pound_token.span), Problem::Attribute),
            }
        }
        Ok(docs)
    }

    fn signature(&mut self, input: ParseStream<'_>) -> Outcome<Signature> {
        if input.peek(Token![fn]) {
            input.parse::<Token![fn]>()?;
        }
        let name = name(input, "the name of the function")?;
        let dims = dims(input)?;
        let (content, _) = group(input, '(', "the parameters follow the name and its dims")?;
        let groups = commas(&content, "`,` or `)`", |c| self.params(c))?;
        if !input.peek(Token![->]) {
            return Err(expected(input, "`->`", "outputs are named: `-> y: f32[N]` or `-> (a: f32[N], b: f32[M])`"));
        }
        input.parse::<Token![->]>()?;
        let outputs = self.outputs(input)?;
        let requirements = self.requirements(input)?;
        Ok(Signature { name, dims, params: groups.into_iter().flatten().collect(), outputs, requirements })
    }

    fn outputs(&mut self, input: ParseStream<'_>) -> Outcome<Vec<Field>> {
        if input.peek(token::Paren) {
            let (content, _) = group(input, '(', "")?;
            return commas(&content, "`,` or `)`", |c| self.output(c));
        }
        Ok(vec![self.output(input)?])
    }

    fn output(&mut self, input: ParseStream<'_>) -> Outcome<Field> {
        let output = name(input, "the name of an output")?;
        if !input.peek(Token![:]) {
            return Err(expected(input, "`:`", "outputs are named: `-> y: f32[N]`"));
        }
        input.parse::<Token![:]>()?;
        Ok(Field { name: output, ty: self.ty(input)? })
    }

    fn requirements(&mut self, input: ParseStream<'_>) -> Outcome<Vec<Expr>> {
        let mut requirements = Vec::new();
        if !input.peek(Token![where]) {
            return Ok(requirements);
        }
        input.parse::<Token![where]>()?;
        loop {
            requirements.push(self.or(input)?);
            if !input.peek(Token![,]) {
                return Ok(requirements);
            }
            input.parse::<Token![,]>()?;
            if input.peek(token::Brace) || input.peek(Token![=]) || input.peek(Token![;]) {
                return Ok(requirements);
            }
        }
    }

    /// `Ident {"," Ident} ":" (FnType | Type) ["=" default]`, one entry per name.
    fn params(&mut self, input: ParseStream<'_>) -> Outcome<Vec<Param>> {
        let names = self.names(input, "a parameter")?;
        let ty = if input.peek(Token![|]) {
            ParamType::Closure(closure_type(input)?)
        } else {
            ParamType::Value(self.ty(input)?)
        };
        let default = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Some(self.argument(input)?)
        } else {
            None
        };
        Ok(names.into_iter().map(|name| Param { name, ty: ty.clone(), default: default.clone() }).collect())
    }

    fn names(&mut self, input: ParseStream<'_>, what: &str) -> Outcome<Vec<Name>> {
        self.docs(input)?;
        let mut names = vec![name(input, what)?];
        while input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            names.push(name(input, what)?);
        }
        if !input.peek(Token![:]) {
            return Err(expected(input, "`:`", "a type follows: `x: f32[N, D]`"));
        }
        input.parse::<Token![:]>()?;
        Ok(names)
    }

    fn fields(&mut self, input: ParseStream<'_>) -> Outcome<Vec<Field>> {
        let (content, _) = group(input, '{', "the fields follow")?;
        let groups = commas(&content, "`,` or `}`", |c| {
            let names = self.names(c, "a field")?;
            let ty = self.ty(c)?;
            Ok(names.into_iter().map(move |name| Field { name, ty: ty.clone() }))
        })?;
        Ok(groups.into_iter().flatten().collect())
    }

    fn structure(&mut self, input: ParseStream<'_>) -> Outcome<Struct> {
        let name = name(input, "the name of the struct")?;
        Ok(Struct { name, dims: dims(input)?, fields: self.fields(input)? })
    }

    fn cache(&mut self, input: ParseStream<'_>) -> Outcome<Cache> {
        let cache = name(input, "the name of the cache")?;
        let dims = dims(input)?;
        let fields = self.fields(input)?;
        let help = "a cache names the dim it grows along: `cache Kv<H, C> { .. } grow T;`";
        if take_word(input, "grow")?.is_none() {
            return Err(expected(input, "`grow`", help));
        }
        let grow = name(input, "the dim that grows")?;
        semicolon(input)?;
        Ok(Cache { name: cache, dims, fields, grow })
    }

    fn format(&mut self, input: ParseStream<'_>) -> Outcome<Format> {
        let name = name(input, "the name of the format")?;
        let dims = dims(input)?;
        let fields = self.fields(input)?;
        let requirements = self.requirements(input)?;
        if !input.peek(Token![=]) {
            return Err(expected(input, "`=`", "a format ends in its equation: `= |k| d[k / 32] * q[k];`"));
        }
        input.parse::<Token![=]>()?;
        let value = self.closure(input)?;
        semicolon(input)?;
        Ok(Format { name, dims, fields, requirements, value })
    }

    fn ty(&mut self, input: ParseStream<'_>) -> Outcome<Type> {
        if input.peek(token::Bracket) {
            let (content, loc) = group(input, '[', "")?;
            let item = Box::new(self.ty(&content)?);
            if !content.peek(Token![;]) {
                return Err(expected(&content, "`;`", "a list is written `[Layer<D>; L]`"));
            }
            content.parse::<Token![;]>()?;
            let len = self.or(&content)?;
            end(&content, "`]`")?;
            return Ok(Type::List { item, len, loc });
        }
        let element = name(input, "a type")?;
        if input.peek(Token![<]) {
            return Ok(Type::Record { name: element, args: record_args(input)? });
        }
        let mut axes = Vec::new();
        if input.peek(token::Bracket) {
            let (content, _) = group(input, '[', "")?;
            axes = commas(&content, "`,` or `]`", |c| self.or(c))?;
        }
        let promise = self.promise(input)?;
        Ok(Type::Tensor { element, axes, promise })
    }

    fn promise(&mut self, input: ParseStream<'_>) -> Outcome<Option<Box<Promise>>> {
        if !input.peek(Token![in]) {
            return Ok(None);
        }
        input.parse::<Token![in]>()?;
        let range = self.range(input)?;
        let ascending = take_word(input, "ascending")?.map(|word| word.span);
        Ok(Some(Box::new(Promise { range, ascending })))
    }
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let RustExpr::Lit(literal) = &pair.value else { return None };
    match (&literal.lit, pair.path.is_ident("doc")) {
        (Lit::Str(text), true) => Some(text.value()),
        _ => None,
    }
}

fn semicolon(input: ParseStream<'_>) -> Outcome<()> {
    if !input.peek(Token![;]) {
        return Err(expected(input, "`;`", ""));
    }
    input.parse::<Token![;]>()?;
    Ok(())
}

/// `<A, const B = 2, type E: float>`
fn dims(input: ParseStream<'_>) -> Outcome<Vec<Dim>> {
    let mut dims = Vec::new();
    if !input.peek(Token![<]) {
        return Ok(dims);
    }
    input.parse::<Token![<]>()?;
    while !input.peek(Token![>]) {
        dims.push(dim(input)?);
        if !input.peek(Token![,]) {
            break;
        }
        input.parse::<Token![,]>()?;
    }
    if !input.peek(Token![>]) {
        return Err(expected(input, "`,` or `>`", "dims are names: `<B, const D, type E: float>`"));
    }
    input.parse::<Token![>]>()?;
    Ok(dims)
}

fn dim(input: ParseStream<'_>) -> Outcome<Dim> {
    if input.peek(Token![const]) {
        input.parse::<Token![const]>()?;
        let name = name(input, "a dim")?;
        let mut default = None;
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            if !input.peek(syn::LitInt) {
                return Err(expected(input, "an integer", "the default of a dim is a number"));
            }
            default = Some(input.parse::<syn::LitInt>()?.base10_parse()?);
        }
        return Ok(Dim { name, kind: DimKind::Const(default) });
    }
    if input.peek(Token![type]) {
        input.parse::<Token![type]>()?;
        let name = name(input, "a type parameter")?;
        if !input.peek(Token![:]) {
            return Err(expected(input, "`:`", "write `type E: float` or `type E: int`"));
        }
        input.parse::<Token![:]>()?;
        let class = if take_word(input, "float")?.is_some() {
            TypeClass::Float
        } else if take_word(input, "int")?.is_some() {
            TypeClass::Int
        } else {
            return Err(expected(input, "`float` or `int`", "write `type E: float` or `type E: int`"));
        };
        return Ok(Dim { name, kind: DimKind::Type(class) });
    }
    Ok(Dim { name: name(input, "a dim")?, kind: DimKind::Size })
}

/// `|i, j| -> bool`
fn closure_type(input: ParseStream<'_>) -> Outcome<ClosureType> {
    let mut params = Vec::new();
    if input.peek(Token![||]) {
        input.parse::<Token![||]>()?;
    } else {
        input.parse::<Token![|]>()?;
        while !input.peek(Token![|]) {
            params.push(name(input, "a parameter of the closure")?);
            if !input.peek(Token![,]) {
                break;
            }
            input.parse::<Token![,]>()?;
        }
        if !input.peek(Token![|]) {
            return Err(expected(input, "`,` or `|`", "a closure's type is written `|i, j| -> bool`"));
        }
        input.parse::<Token![|]>()?;
    }
    if !input.peek(Token![->]) {
        return Err(expected(input, "`->`", "a closure's type is written `|i, j| -> bool`"));
    }
    input.parse::<Token![->]>()?;
    Ok(ClosureType { params, result: name(input, "a dtype")? })
}

fn record_args(input: ParseStream<'_>) -> Outcome<Vec<Name>> {
    input.parse::<Token![<]>()?;
    let mut args = Vec::new();
    while !input.peek(Token![>]) {
        args.push(name(input, "a dim or type parameter")?);
        if !input.peek(Token![,]) {
            break;
        }
        input.parse::<Token![,]>()?;
    }
    if !input.peek(Token![>]) {
        return Err(expected(input, "`,` or `>`", "the dims of a struct are names: `Layer<D, F>`"));
    }
    input.parse::<Token![>]>()?;
    Ok(args)
}

fn imports(input: ParseStream<'_>) -> Outcome<Vec<Import>> {
    let mut prefix = Vec::new();
    if input.peek(Token![::]) {
        let loc = here(input);
        input.parse::<Token![::]>()?;
        prefix.push(Name { text: String::new(), span: loc.start });
    }
    let tree: UseTree = input.parse()?;
    semicolon(input)?;
    let mut found = Vec::new();
    flatten(&tree, &prefix, &mut found)?;
    Ok(found)
}

fn flatten(tree: &UseTree, prefix: &[Name], found: &mut Vec<Import>) -> Outcome<()> {
    let with = |ident: &Ident| {
        let mut path = prefix.to_vec();
        path.push(to_name(ident));
        path
    };
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(&path.ident), found),
        UseTree::Name(leaf) => {
            found.push(Import { path: with(&leaf.ident), name: to_name(&leaf.ident) });
            Ok(())
        }
        UseTree::Rename(leaf) => {
            found.push(Import { path: with(&leaf.ident), name: to_name(&leaf.rename) });
            Ok(())
        }
        UseTree::Glob(star) => fail(Loc::at(star.star_token.span), Problem::GlobImport),
        UseTree::Group(group) => group.items.iter().try_for_each(|tree| flatten(tree, prefix, found)),
    }
}

/// Passes over an item that failed: up to the next word that begins one.
fn skip_item(input: ParseStream<'_>) {
    let mut first = true;
    while !input.is_empty() {
        let begins = input.peek(Token![pub])
            || input.peek(Token![fn])
            || input.peek(Token![struct])
            || input.peek(Token![use])
            || input.peek(Token![#])
            || (at_word(input, "cache") || at_word(input, "format")) && input.peek2(Ident);
        if begins && !first {
            return;
        }
        first = false;
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}
