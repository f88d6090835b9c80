//! How a command fails: whose fault it is, what to do about it, and the exit code that tells them apart.
//!
//! In: typed errors of the modules. Out: [`Failure`], printed once by `main`.
//! Invariant: the three kinds are never mixed; an environment error says what is missing and how to get it.

use std::fmt;

/// Exit code of a mistake in what the user wrote or in a file that the user named; the same as clap's own.
pub const USER_EXIT: u8 = 2;
/// Exit code of something missing on the machine: network, disk space, permissions, programs.
pub const ENVIRONMENT_EXIT: u8 = 3;
/// Exit code of a bug in sawmill; the same as that of a Rust panic, which is one too.
pub const DEFECT_EXIT: u8 = 101;
/// Exit code after Ctrl-C: 128 and the signal's number, as shells have it.
pub const INTERRUPTED_EXIT: u8 = 130;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or a file it names is wrong.
    User,
    /// The machine lacks something.
    Environment,
    /// sawmill itself is wrong.
    Defect,
}

/// A failed command: one message, and a line of help where there is something to do about it.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// A mistake in the command line or in a named file.
    pub fn user(message: impl fmt::Display) -> Self {
        Self::new(Kind::User, message)
    }

    /// Something that the machine lacks.
    pub fn environment(message: impl fmt::Display) -> Self {
        Self::new(Kind::Environment, message)
    }

    /// A bug in sawmill.
    pub fn defect(message: impl fmt::Display) -> Self {
        Self::new(Kind::Defect, message)
    }

    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), help: None }
    }

    /// The same failure with a line that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::User => USER_EXIT,
            Kind::Environment => ENVIRONMENT_EXIT,
            Kind::Defect => DEFECT_EXIT,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::User => "error",
            Kind::Environment => "environment error",
            Kind::Defect => "sawmill bug",
        };
        write!(f, "{kind}: {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
