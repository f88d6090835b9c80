//! The manifest of a directory of fixtures.
//!
//! In: `manifest.json`. Out: [`Manifest`]; keys that are not used are ignored, keys that are missing are errors.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The manifest.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The fixtures, in the order of the file.
    pub fixtures: Vec<Fixture>,
}

/// One file: inputs `in.*` and expected outputs `out.*` of one system.
#[derive(Debug, Deserialize)]
pub struct Fixture {
    /// The file's name in the directory.
    pub file: String,
    /// The system's row in the survey, such as `F1`.
    pub row: String,
    /// The system's name.
    pub system: String,
    /// The case's name.
    pub case: String,
    /// Constants of the case.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Inputs by name.
    pub inputs: BTreeMap<String, Described>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Described>,
    /// Digest of the file in hexadecimal.
    pub sha256: Option<String>,
}

/// What the manifest says of a tensor.
#[derive(Debug, Deserialize)]
pub struct Described {
    /// Its axes and its meaning: `[B,T,H]: text`.
    #[serde(default)]
    pub meaning: String,
    /// Largest absolute difference allowed, of an output.
    #[serde(default)]
    pub tolerance: f64,
}

impl Described {
    /// The names of the axes, if the meaning begins with them.
    pub fn axes(&self) -> Option<Vec<&str>> {
        let (axes, _) = self.meaning.strip_prefix('[')?.split_once(']')?;
        Some(axes.split(',').map(str::trim).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Described;

    #[test]
    fn axes_stand_in_brackets() {
        let axes = |meaning: &str| {
            let described = Described { meaning: meaning.to_owned(), tolerance: 0.0 };
            described.axes().map(|axes| axes.join(" "))
        };
        assert_eq!(axes("[B,T, H(N+R)]: values").as_deref(), Some("B T H(N+R)"));
        assert_eq!(axes("values"), None);
        assert_eq!(axes("[B,T"), None);
    }
}
