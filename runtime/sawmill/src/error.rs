//! What can go wrong with a call. Three kinds, never mixed: the caller's mistake, a compiler bug, the environment.

use sawmill_ir::backend::{CompileError, RunError};

/// Why a call failed. Nothing has run, or its outputs are dropped.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An argument does not fit the signature.
    #[error("{function}: argument `{argument}`: {message}")]
    Argument {
        /// The function called.
        function: String,
        /// The argument, by its name in the signature.
        argument: String,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// The sizes of a call break a requirement of the function.
    #[error("{function}: {message}")]
    Requirement {
        /// The function called.
        function: String,
        /// The requirement, and the sizes that break it.
        message: String,
    },
    /// A tensor could not be made from what was given.
    #[error("tensor: {0}")]
    Tensor(String),
    /// Memory could not be allocated.
    #[error("out of memory: {bytes} bytes for {what}")]
    OutOfMemory {
        /// What it was for.
        what: String,
        /// How much was asked for.
        bytes: u128,
    },
    /// The engine can't do what the program needs.
    #[error("{function}: not supported by engine {engine}: {message}")]
    Unsupported {
        /// The function called.
        function: String,
        /// The engine.
        engine: String,
        /// What it can't do.
        message: String,
    },
    /// Something the machine should offer is missing.
    #[error("environment: {0}")]
    Environment(String),
    /// The compiler broke its own rules. Please report the text.
    #[error("compiler bug in {function}: {message}\nreproduce with `sawmill explain` on this program:\n{text}")]
    Bug {
        /// The function called.
        function: String,
        /// Which rule is broken.
        message: String,
        /// IR text that reproduces it.
        text: String,
    },
    /// The device failed while it ran.
    #[error("{function}: {message}")]
    Device {
        /// The function called.
        function: String,
        /// What the device reports.
        message: String,
    },
    /// A worker thread panicked.
    #[error("{function}: a worker panicked: {message}")]
    Worker {
        /// The function called.
        function: String,
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// A mistake in argument `argument` of `function`.
    pub(crate) fn argument(function: &str, argument: &str, message: impl Into<String>) -> Self {
        Self::Argument { function: function.into(), argument: argument.into(), message: message.into() }
    }
    /// A compiler bug, with the text that shows it.
    pub(crate) fn bug(function: &str, message: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Bug { function: function.into(), message: message.into(), text: text.into() }
    }
    /// A failure of a backend's compilation.
    pub(crate) fn compile(function: &str, engine: &str, error: CompileError) -> Self {
        match error {
            CompileError::Bug { message, text } => Self::bug(function, message, text),
            CompileError::Unsupported(message) => {
                Self::Unsupported { function: function.into(), engine: engine.into(), message }
            }
        }
    }
    /// A failure of a run.
    pub(crate) fn run(function: &str, error: RunError) -> Self {
        match error {
            RunError::OutOfMemory { what, bytes } => Self::OutOfMemory { what, bytes },
            RunError::Worker(message) => Self::Worker { function: function.into(), message },
            RunError::Device(message) => Self::Device { function: function.into(), message },
            RunError::Bug(message) => Self::bug(function, message, String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use sawmill_ir::backend::RunError;

    #[test]
    fn failures_of_a_run_keep_their_kind() {
        let worker = Error::run("f", RunError::Worker("item 3".into()));
        assert!(matches!(&worker, Error::Worker { .. }), "{worker:?}");
        assert_eq!(worker.to_string(), "f: a worker panicked: item 3");
        let memory = Error::run("f", RunError::OutOfMemory { what: "`t`".into(), bytes: 8 });
        assert!(matches!(memory, Error::OutOfMemory { bytes: 8, .. }));
        assert!(matches!(Error::run("f", RunError::Bug("b".into())), Error::Bug { .. }));
    }
}
