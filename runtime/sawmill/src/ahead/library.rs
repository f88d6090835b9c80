//! A static library for C programs, and its header.
//!
//! In: a plan and the code of its kernels. Out: [`BuiltLibrary`]. The archive has one object: kernels as code, and code that runs
//! the plan. Nothing of the compiler is in it.

use std::io::Cursor;

use crate::explain::Specialisation;
use crate::function::Function;
use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use sawmill_cranelift::interface::Interface;
use sawmill_cranelift::{Code, Library};
use sawmill_ir::backend::CompileError;
use sawmill_ir::graph;
use sawmill_ir::tile::Module;

use super::header;

/// A library that follows a plan.
#[derive(Clone, Debug)]
pub struct BuiltLibrary {
    /// The static library.
    pub archive: Vec<u8>,
    /// The C header.
    pub header: String,
    /// How C calls the function.
    pub interface: Interface,
    /// What made the code, and what it needs of the machine that runs it.
    pub made_by: String,
}

/// What a header says of where a library comes from.
pub(super) struct About<'a> {
    pub(super) function: &'static Function,
    pub(super) given: &'a Specialisation,
    pub(super) target: &'static str,
    pub(super) generator: &'static str,
    pub(super) level: String,
}

impl About<'_> {
    pub(super) fn made_by(&self) -> String {
        format!("{}: {}", self.generator, self.level)
    }
}

/// Makes the library.
///
/// # Errors
/// What has no form in C, or a defect.
pub(super) fn make(
    about: &About<'_>,
    linked: &graph::Function,
    module: &Module,
    kernels: &[Code],
    name: &str,
) -> Result<BuiltLibrary, CompileError> {
    let interface = Interface::of(&format!("sawmill_{name}"), linked, module)?;
    let object = Library { module, kernels, interface: &interface }.object()?;
    let archive = archive(&object, &format!("{name}.o"))?;
    let header = header::text(about, linked, &interface, name);
    Ok(BuiltLibrary { archive, header, interface, made_by: about.made_by() })
}

/// An archive of one object, without dates or owners.
fn archive(object: &[u8], name: &str) -> Result<Vec<u8>, CompileError> {
    let members = [NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, name.to_owned())];
    let mut written = Cursor::new(Vec::new());
    write_archive_to_stream(&mut written, &members, ArchiveKind::Gnu, false, None)
        .map_err(|error| CompileError::Bug { message: format!("writing the archive: {error}"), text: String::new() })?;
    Ok(written.into_inner())
}
