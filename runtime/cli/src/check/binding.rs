//! From a fixture to the arguments of a function: everything is bound by name.
//!
//! In: inputs with the names of their axes, parameters as JSON, and a function's signature. Out: [`Bound`].
//! Invariants: an input goes to the argument of its name; a parameter to the scalar, tensor or dim of its name; `null`
//! means the default; a number that the argument's type does not hold is an error, never rounded. What no argument
//! takes is listed, not an error.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    array::{Array, Numbers},
    signature::{Argument, Candidate, Element, Signature},
};

/// A fixture's values, before they are bound.
#[derive(Debug, Default)]
pub struct Given {
    /// Inputs with the names of their axes, where the manifest has them.
    pub inputs: BTreeMap<String, (Array, Option<Vec<String>>)>,
    /// Parameters.
    pub parameters: BTreeMap<String, Value>,
    /// Sizes of the expected outputs, for dims that nothing else determines.
    pub outputs: BTreeMap<String, Vec<usize>>,
}

/// Arguments by name, and what was left over.
#[derive(Debug, Default, PartialEq)]
pub struct Bound {
    /// Tensors and scalars (shape `[]`).
    pub arguments: BTreeMap<String, Array>,
    /// Dims stated by parameters.
    pub dims: BTreeMap<String, u64>,
    /// Inputs and parameters that nothing takes.
    pub unused: Vec<String>,
}

/// Why a fixture cannot be bound to a function.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BindingError {
    /// A required argument.
    #[error("nothing gives the argument `{0}`")]
    Missing(String),
    /// The ranks differ.
    #[error("`{name}` has {given} axes, the argument has {wanted}")]
    Rank {
        /// The argument.
        name: String,
        /// Axes given.
        given: usize,
        /// Axes of the argument.
        wanted: usize,
    },
    /// A number that the type does not hold.
    #[error("`{name}` holds {value}, which the argument's type does not hold")]
    Value {
        /// The argument or dim.
        name: String,
        /// The number.
        value: String,
    },
    /// JSON that is neither a number, a boolean nor a regular array of them.
    #[error("the parameter `{0}` is no number, boolean or regular array of them")]
    Parameter(String),
    /// Two sources of one argument.
    #[error("`{0}` is both an input and a parameter")]
    Twice(String),
}

/// The candidate that declares the row and system and whose selecting strings are the parameters' values.
///
/// Of several the one that selects by the most strings is taken, the first on a tie.
pub fn select<'c>(
    candidates: &'c [Candidate],
    row: &str,
    system: &str,
    parameters: &BTreeMap<String, Value>,
) -> Option<&'c Candidate> {
    let chosen = |candidate: &&Candidate| {
        let stated =
            |(name, value): &(String, String)| parameters.get(name).and_then(Value::as_str) == Some(value.as_str());
        candidate.row == row && candidate.system == system && candidate.when.iter().all(stated)
    };
    candidates.iter().filter(chosen).rev().max_by_key(|candidate| candidate.when.len())
}

/// Binds a fixture's values to a function's arguments.
///
/// # Errors
/// [`BindingError`].
pub fn bind(given: &Given, candidate: &Candidate) -> Result<Bound, BindingError> {
    let signature = &candidate.signature;
    let mut bound = Bound::default();
    for argument in &signature.arguments {
        if let Some(value) = value(given, argument)? {
            bound.arguments.insert(argument.name.clone(), value);
        } else if !argument.optional {
            return Err(BindingError::Missing(argument.name.clone()));
        }
    }
    let takes = |name: &String| signature.arguments.iter().any(|argument| argument.name == *name);
    bound.unused.extend(given.inputs.keys().filter(|name| !takes(name)).cloned());
    for (name, json) in given.parameters.iter().filter(|(name, json)| !takes(name) && !json.is_null()) {
        let selects = candidate.when.iter().any(|(selecting, _)| selecting == name);
        if signature.dims.contains(name) {
            let size =
                json.as_u64().ok_or_else(|| BindingError::Value { name: name.clone(), value: json.to_string() })?;
            bound.dims.insert(name.clone(), size);
        } else if !selects {
            bound.unused.push(name.clone());
        }
    }
    output_dims(given, signature, &mut bound);
    Ok(bound)
}

/// States the dims that are the size of an expected output and are mentioned by no argument that is given.
fn output_dims(given: &Given, signature: &Signature, bound: &mut Bound) {
    let given_arguments = signature.arguments.iter().filter(|argument| bound.arguments.contains_key(&argument.name));
    let mentioned: Vec<&String> = given_arguments.flat_map(|argument| &argument.axes).collect();
    let names = |text: &str, dim: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == dim);
    for output in &signature.outputs {
        let sizes = given.outputs.get(&output.name).filter(|sizes| sizes.len() == output.axes.len());
        for (axis, size) in output.axes.iter().zip(sizes.into_iter().flatten()) {
            let open = signature.dims.contains(axis) && !mentioned.iter().any(|text| names(text, axis));
            if open {
                bound.dims.entry(axis.clone()).or_insert(*size as u64);
            }
        }
    }
}

/// What the fixture gives for an argument, in the argument's layout and type.
fn value(given: &Given, argument: &Argument) -> Result<Option<Array>, BindingError> {
    let parameter = given.parameters.get(&argument.name);
    let input = given.inputs.get(&argument.name);
    let array = match (input, parameter) {
        (Some(_), Some(_)) => return Err(BindingError::Twice(argument.name.clone())),
        (Some((array, axes)), None) => laid_out(array, axes.as_deref(), &argument.axes),
        (None, Some(Value::Null)) | (None, None) => return Ok(None),
        (None, Some(json)) => from_json(json).ok_or_else(|| BindingError::Parameter(argument.name.clone()))?,
    };
    if array.shape.len() != argument.axes.len() {
        let (given, wanted) = (array.shape.len(), argument.axes.len());
        return Err(BindingError::Rank { name: argument.name.clone(), given, wanted });
    }
    let numbers = converted(&array.numbers, argument.element)
        .map_err(|value| BindingError::Value { name: argument.name.clone(), value })?;
    Ok(Some(Array { shape: array.shape, numbers }))
}

/// The order in which the axes `from` give the axes `to`, if they are the same names in another order.
pub fn permutation(from: &[String], to: &[String]) -> Option<Vec<usize>> {
    let place = |name: &String| {
        let mut places = from.iter().enumerate().filter(|(_, other)| *other == name);
        let (place, _) = places.next()?;
        places.next().is_none().then_some(place)
    };
    if from.len() == to.len() { to.iter().map(place).collect() } else { None }
}

/// The array with its axes in the argument's order: where both name the same axes by name, else as it is.
fn laid_out(array: &Array, from: Option<&[String]>, to: &[String]) -> Array {
    let order = from.filter(|from| from.len() == array.shape.len()).and_then(|from| permutation(from, to));
    order.map_or_else(|| array.clone(), |order| array.transposed(&order))
}

/// Numbers as the argument's type holds them; the first that it does not hold on failure.
fn converted(numbers: &Numbers, element: Element) -> Result<Numbers, String> {
    let integers: Vec<i64> = match (numbers, element) {
        (Numbers::Float(_), Element::Float) => return Ok(numbers.clone()),
        (Numbers::Integer(values), Element::Float) => {
            return Ok(Numbers::Float(values.iter().map(|&value| value as f64).collect()));
        }
        (Numbers::Integer(values), _) => values.clone(),
        (Numbers::Float(values), _) => {
            let whole = |&value: &f64| {
                let integer = value as i64;
                if integer as f64 == value { Ok(integer) } else { Err(value.to_string()) }
            };
            values.iter().map(whole).collect::<Result<_, _>>()?
        }
    };
    let (least, most) = match element {
        Element::Integer { least, most } => (least, most),
        Element::Bool | Element::Float => (0, 1),
    };
    match integers.iter().find(|&&value| value < least || value > most) {
        Some(value) => Err(value.to_string()),
        None => Ok(Numbers::Integer(integers)),
    }
}

/// A number, a boolean, or a regular array of them.
fn from_json(json: &Value) -> Option<Array> {
    let scalar = |numbers| Some(Array { shape: Vec::new(), numbers });
    match json {
        Value::Bool(value) => scalar(Numbers::Integer(vec![i64::from(*value)])),
        Value::Number(number) => scalar(match number.as_i64() {
            Some(value) => Numbers::Integer(vec![value]),
            None => Numbers::Float(vec![number.as_f64()?]),
        }),
        Value::Array(values) => stacked(&values.iter().map(from_json).collect::<Option<Vec<_>>>()?),
        _ => None,
    }
}

/// Arrays of one shape along a new first axis; integers become floats where they meet floats.
fn stacked(parts: &[Array]) -> Option<Array> {
    let inner = parts.first().map(|part| part.shape.clone()).unwrap_or_default();
    if parts.iter().any(|part| part.shape != inner) {
        return None;
    }
    let integers = parts.iter().map(|part| match &part.numbers {
        Numbers::Integer(values) => Some(values.as_slice()),
        Numbers::Float(_) => None,
    });
    let numbers = match integers.collect::<Option<Vec<_>>>() {
        Some(integers) => Numbers::Integer(integers.concat()),
        None => Numbers::Float(parts.iter().flat_map(|part| floats(&part.numbers)).collect()),
    };
    Some(Array { shape: [vec![parts.len()], inner].concat(), numbers })
}

/// The numbers as floats.
pub fn floats(numbers: &Numbers) -> Vec<f64> {
    match numbers {
        Numbers::Float(values) => values.clone(),
        Numbers::Integer(values) => values.iter().map(|&value| value as f64).collect(),
    }
}

/// The function's output, laid out as the manifest has it.
pub fn output_laid_out(array: &Array, signature: &Signature, name: &str, axes: Option<&[String]>) -> Array {
    let output = signature.outputs.iter().find(|output| output.name == name);
    match (output, axes) {
        (Some(output), Some(axes)) => laid_out(array, Some(&output.axes), axes),
        _ => array.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{BindingError, Bound, Given, bind, select};
    use crate::check::{
        array::{Array, Numbers},
        signature::{Argument, Candidate, Element, Output, Signature},
    };

    const INDEX: Element = Element::Integer { least: i32::MIN as i64, most: i32::MAX as i64 };

    fn argument(name: &str, element: Element, axes: &[&str], optional: bool) -> Argument {
        let axes = axes.iter().map(|axis| (*axis).to_owned()).collect();
        Argument { name: name.to_owned(), element, axes, optional }
    }

    fn candidate(arguments: Vec<Argument>, dims: &[&str], when: &[(&str, &str)]) -> Candidate {
        let text = |text: &str| text.to_owned();
        Candidate {
            name: text("f"),
            row: text("F1"),
            system: text("s"),
            when: when.iter().map(|(name, value)| (text(name), text(value))).collect(),
            signature: Signature { arguments, dims: dims.iter().map(|dim| text(dim)).collect(), outputs: Vec::new() },
        }
    }

    fn given(inputs: &[(&str, Array, &[&str])], parameters: Value) -> Given {
        let axes = |axes: &[&str]| Some(axes.iter().map(|axis| (*axis).to_owned()).collect());
        let inputs = inputs.iter().map(|(name, array, names)| ((*name).to_owned(), (array.clone(), axes(names))));
        let parameters = serde_json::from_value(parameters).expect("an object");
        Given { inputs: inputs.collect(), parameters, outputs: BTreeMap::new() }
    }

    fn floats(shape: &[usize], values: &[f64]) -> Array {
        Array { shape: shape.to_vec(), numbers: Numbers::Float(values.to_vec()) }
    }

    fn integers(shape: &[usize], values: &[i64]) -> Array {
        Array { shape: shape.to_vec(), numbers: Numbers::Integer(values.to_vec()) }
    }

    fn bound(given: &Given, candidate: &Candidate) -> Bound {
        bind(given, candidate).expect("it binds")
    }

    #[test]
    fn inputs_are_bound_by_name_and_axes_by_theirs() {
        let x = floats(&[1, 2, 3], &[0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        let given = given(&[("x", x.clone(), &["B", "T", "H"]), ("dummy", x.clone(), &["B", "T", "H"])], json!({}));
        let turned = bound(&given, &candidate(vec![argument("x", Element::Float, &["B", "H", "T"], false)], &[], &[]));
        assert_eq!(turned.arguments["x"], floats(&[1, 3, 2], &[0.0, 10.0, 1.0, 11.0, 2.0, 12.0]));
        assert_eq!(turned.unused, ["dummy"]);
        // Other names say nothing of the order.
        let other = bound(&given, &candidate(vec![argument("x", Element::Float, &["N", "H", "T"], false)], &[], &[]));
        assert_eq!(other.arguments["x"], x);
    }

    #[test]
    fn parameters_go_to_scalars_tensors_and_dims() {
        let arguments = vec![
            argument("scale", Element::Float, &[], true),
            argument("w", INDEX, &[], true),
            argument("cuts", INDEX, &["N"], true),
            argument("flag", Element::Bool, &[], true),
            argument("cap", Element::Float, &[], true),
        ];
        let parameters =
            json!({ "scale": 0.5, "w": 24, "cuts": [1, 2, 3], "flag": true, "cap": null, "block": 16, "n": 3 });
        let bound = bound(&given(&[], parameters), &candidate(arguments, &["block"], &[]));
        assert_eq!(bound.arguments["scale"], floats(&[], &[0.5]));
        assert_eq!(bound.arguments["w"], integers(&[], &[24]));
        assert_eq!(bound.arguments["cuts"], integers(&[3], &[1, 2, 3]));
        assert_eq!(bound.arguments["flag"], integers(&[], &[1]));
        assert!(!bound.arguments.contains_key("cap"));
        assert_eq!(bound.dims, BTreeMap::from([("block".to_owned(), 16)]));
        assert_eq!(bound.unused, ["n"]);
    }

    #[test]
    fn a_dim_that_only_an_output_shows_is_its_size() {
        let mut given = given(&[("x", floats(&[2], &[1.0, 2.0]), &["N"])], json!({}));
        given.outputs = BTreeMap::from([("y".to_owned(), vec![2, 8])]);
        let mut candidate = candidate(vec![argument("x", Element::Float, &["2*N"], false)], &["N", "M"], &[]);
        let axes = vec!["N".to_owned(), "M".to_owned()];
        candidate.signature.outputs.push(Output { name: "y".to_owned(), axes });
        assert_eq!(bound(&given, &candidate).dims, BTreeMap::from([("M".to_owned(), 8)]));
    }

    #[test]
    fn what_a_type_does_not_hold_is_an_error() {
        let refuse = |element, array: Array| {
            let candidate = candidate(vec![argument("x", element, &["N"], false)], &[], &[]);
            bind(&given(&[("x", array, &["N"])], json!({})), &candidate).expect_err("it must be refused")
        };
        assert!(matches!(refuse(INDEX, integers(&[1], &[1 << 40])), BindingError::Value { .. }));
        assert!(matches!(refuse(INDEX, floats(&[1], &[0.5])), BindingError::Value { .. }));
        assert!(matches!(refuse(Element::Bool, integers(&[1], &[2])), BindingError::Value { .. }));
        assert!(matches!(refuse(INDEX, integers(&[1, 1], &[1])), BindingError::Rank { given: 2, wanted: 1, .. }));
    }

    #[test]
    fn a_required_argument_that_nothing_gives_is_named() {
        let candidate = candidate(vec![argument("q", Element::Float, &["N"], false)], &[], &[]);
        let error =
            bind(&given(&[], json!({ "q": null })), &candidate).expect_err("null is the default, and q has none");
        assert_eq!(error, BindingError::Missing("q".to_owned()));
        let ragged = bind(&given(&[], json!({ "q": [[1], [1, 2]] })), &candidate);
        assert_eq!(ragged, Err(BindingError::Parameter("q".to_owned())));
    }

    #[test]
    fn a_string_selects_the_function() {
        let candidates = [
            candidate(vec![], &[], &[]),
            candidate(vec![], &[], &[("graph", "Uniform")]),
            candidate(vec![], &[], &[("graph", "Absorbing")]),
        ];
        let chosen = |parameters: Value| {
            let parameters = serde_json::from_value(parameters).expect("an object");
            select(&candidates, "F1", "s", &parameters).map(|candidate| candidate.when.clone())
        };
        let when = |value: &str| Some(vec![("graph".to_owned(), value.to_owned())]);
        assert_eq!(chosen(json!({ "graph": "Uniform" })), when("Uniform"));
        assert_eq!(chosen(json!({ "graph": "Absorbing" })), when("Absorbing"));
        assert_eq!(chosen(json!({ "graph": "Other" })), Some(vec![]));
        assert!(select(&candidates, "F1", "t", &BTreeMap::new()).is_none());
    }
}
