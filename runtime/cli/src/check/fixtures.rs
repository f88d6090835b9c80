//! Running a directory of fixtures.
//!
//! In: a directory, the functions of the zoo, and something that runs them. Out: one [`Line`] a fixture and the counts.
//! Invariants: a fixture passes only if every expected output was compared; files are read only if their digest is the
//! manifest's.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::{
    array::Array,
    binding::{Bound, Given, bind, output_laid_out, select},
    compare::compare,
    manifest::{Described, Fixture, Manifest},
    signature::Candidate,
};
use crate::error::Failure;

/// Reordered sums may take this many times the tolerance.
const SLACK: f64 = 4.0;

/// What runs a function.
pub trait Runner {
    /// Runs `candidate` on bound arguments and gives its outputs by name.
    ///
    /// # Errors
    /// What went wrong, as text for the fixture's line.
    fn run(&self, candidate: &Candidate, bound: &Bound) -> Result<BTreeMap<String, Array>, String>;
}

/// How a fixture went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All outputs agree.
    Passed,
    /// Something does not; the reason.
    Failed(String),
    /// The zoo has no function for it.
    NoFunction,
}

/// One fixture's line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The file.
    pub file: String,
    /// Row, system and case.
    pub title: String,
    /// The function, where there is one.
    pub function: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// Inputs and parameters that nothing takes.
    pub unused: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::NoFunction => "no function",
        };
        write!(f, "{verdict:11} {} ({})", self.title, self.file)?;
        if let Outcome::Failed(reason) = &self.outcome {
            write!(f, ": {reason}")?;
        }
        if !self.unused.is_empty() {
            write!(f, " [unused: {}]", self.unused.join(", "))?;
        }
        Ok(())
    }
}

/// How many fixtures went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All outputs agree.
    pub passed: usize,
    /// Something does not.
    pub failed: usize,
    /// No function.
    pub without: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} without a function", self.passed, self.failed, self.without)
    }
}

/// Runs the fixtures of `directory`, those of one row if `row` is given, and hands each line to `show` as it comes.
///
/// # Errors
/// A user error if the manifest cannot be read or no fixture is of the row.
pub fn run(
    directory: &Path,
    row: Option<&str>,
    candidates: &[Candidate],
    runner: &dyn Runner,
    show: &mut dyn FnMut(&Line),
) -> Result<Count, Failure> {
    let manifest = manifest(directory)?;
    let chosen = |fixture: &&Fixture| row.is_none_or(|row| fixture.row == row);
    let mut count = Count::default();
    for fixture in manifest.fixtures.iter().filter(chosen) {
        let line = line(directory, fixture, candidates, runner);
        match line.outcome {
            Outcome::Passed => count.passed += 1,
            Outcome::Failed(_) => count.failed += 1,
            Outcome::NoFunction => count.without += 1,
        }
        show(&line);
    }
    match row {
        Some(row) if count == Count::default() => Err(Failure::user(format!("no fixture is of the row {row}"))),
        _ => Ok(count),
    }
}

fn manifest(directory: &Path) -> Result<Manifest, Failure> {
    let path = directory.join("manifest.json");
    let failed = |error: &dyn fmt::Display| Failure::user(format!("cannot read {}: {error}", path.display()));
    let text = std::fs::read(&path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

fn line(directory: &Path, fixture: &Fixture, candidates: &[Candidate], runner: &dyn Runner) -> Line {
    let mut line = Line {
        file: fixture.file.clone(),
        title: format!("{} {} {}", fixture.row, fixture.system, fixture.case),
        function: None,
        outcome: Outcome::NoFunction,
        unused: Vec::new(),
    };
    if let Some(candidate) = select(candidates, &fixture.row, &fixture.system, &fixture.parameters) {
        line.function = Some(candidate.name.clone());
        line.outcome = match checked(directory, fixture, candidate, runner, &mut line.unused) {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Failed(reason),
        };
    }
    line
}

fn checked(
    directory: &Path,
    fixture: &Fixture,
    candidate: &Candidate,
    runner: &dyn Runner,
    unused: &mut Vec<String>,
) -> Result<(), String> {
    let bytes = read(directory, fixture)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let wanted = expected(&file, fixture)?;
    let outputs = wanted.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect();
    let mut given = Given { inputs: BTreeMap::new(), parameters: fixture.parameters.clone(), outputs };
    for (name, described) in &fixture.inputs {
        let array = Array::read(&file, &format!("in.{name}")).map_err(|error| format!("input `{name}`: {error}"))?;
        given.inputs.insert(name.clone(), (array, axes(described)));
    }
    let bound = bind(&given, candidate).map_err(|error| error.to_string())?;
    unused.clone_from(&bound.unused);
    let outputs = runner.run(candidate, &bound)?;
    if fixture.outputs.is_empty() {
        return Err("the manifest expects no output".to_owned());
    }
    for (name, described) in &fixture.outputs {
        let found = outputs.get(name).ok_or_else(|| format!("the function has no output `{name}`"))?;
        let found = output_laid_out(found, &candidate.signature, name, axes(described).as_deref());
        compare(&found, &wanted[name], SLACK * described.tolerance)
            .map_err(|error| format!("output `{name}`: {error}"))?;
    }
    Ok(())
}

/// The expected outputs by name.
fn expected(file: &SafeTensors<'_>, fixture: &Fixture) -> Result<BTreeMap<String, Array>, String> {
    let read = |name: &String| {
        let array = Array::read(file, &format!("out.{name}")).map_err(|error| format!("output `{name}`: {error}"))?;
        Ok((name.clone(), array))
    };
    fixture.outputs.keys().map(read).collect()
}

fn axes(described: &Described) -> Option<Vec<String>> {
    described.axes().map(|axes| axes.into_iter().map(str::to_owned).collect())
}

/// The fixture's bytes, if they are the ones that the manifest was written for.
fn read(directory: &Path, fixture: &Fixture) -> Result<Vec<u8>, String> {
    let name = PathBuf::from(&fixture.file);
    if name.file_name() != Some(name.as_os_str()) {
        return Err("the file's name is no plain name".to_owned());
    }
    let path = directory.join(&name);
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    match &fixture.sha256 {
        Some(wanted) if *wanted != found => Err(format!("the file's SHA-256 is {found}, not the manifest's {wanted}")),
        _ => Ok(bytes),
    }
}
