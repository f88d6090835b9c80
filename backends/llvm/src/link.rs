//! From an object file to code that can be placed anywhere.
//!
//! In: a relocatable ELF file for x86-64 with one function. Out: its text and constants in one block of bytes, the function
//! first. What the text refers to is in the same block, at a distance that does not change, so every relocation is resolved
//! here and none is left. Invariant: a file that would need anything else is refused with what it needs.

use std::collections::BTreeMap;

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, Relocation, RelocationKind, RelocationTarget, SectionKind};

/// To what multiple the block is placed; no section may ask for more.
const ALIGNMENT: u64 = 64;

/// Places the sections that the function `entry` needs after each other.
pub(crate) fn link(file: &[u8], entry: &str) -> Result<Vec<u8>, String> {
    let file: ElfFile64<'_> = ElfFile64::parse(file).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut starts: BTreeMap<usize, u64> = BTreeMap::new();
    // Text first: the entry is at the start of the block.
    for kind in [SectionKind::Text, SectionKind::ReadOnlyData] {
        for section in file.sections().filter(|section| is_kept(section, kind)) {
            let align = section.align().max(1);
            if align > ALIGNMENT {
                return Err(format!("a section asks for an alignment of {align}"));
            }
            bytes.resize(bytes.len().next_multiple_of(align as usize), 0);
            starts.insert(section.index().0, bytes.len() as u64);
            bytes.extend(section.data().map_err(|error| error.to_string())?);
        }
    }
    if let Some(section) = file.sections().find(|section| section.size() > 0 && is_data(section.kind())) {
        return Err(format!("the code has variables, in {}", section.name().unwrap_or("a section")));
    }
    let symbol = file.symbols().find(|symbol| symbol.is_definition() && symbol.name() == Ok(entry));
    let symbol = symbol.ok_or("the function is not in the file")?;
    if symbol.section_index().and_then(|index| starts.get(&index.0)) != Some(&0) || symbol.address() != 0 {
        return Err("the function is not at the start of the text".to_owned());
    }
    for section in file.sections() {
        let Some(start) = starts.get(&section.index().0) else { continue };
        for (offset, relocation) in section.relocations() {
            let target = address_of(&file, &starts, &relocation)?;
            resolve(&mut bytes, start + offset, &relocation, target)?;
        }
    }
    Ok(bytes)
}

fn is_kept<'a>(section: &impl ObjectSection<'a>, kind: SectionKind) -> bool {
    let is_unwinding = section.name().is_ok_and(|name| name.starts_with(".eh_frame"));
    let of_kind = match section.kind() {
        SectionKind::ReadOnlyString => kind == SectionKind::ReadOnlyData,
        known => known == kind,
    };
    section.size() > 0 && of_kind && !is_unwinding
}

fn is_data(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::Data
            | SectionKind::UninitializedData
            | SectionKind::ReadOnlyDataWithRel
            | SectionKind::Common
            | SectionKind::Tls
            | SectionKind::UninitializedTls
    )
}

/// Where in the block the target of a relocation is.
fn address_of(file: &ElfFile64<'_>, starts: &BTreeMap<usize, u64>, relocation: &Relocation) -> Result<i64, String> {
    let (section, offset, name) = match relocation.target() {
        RelocationTarget::Section(index) => (Some(index), 0, "a section".to_owned()),
        RelocationTarget::Symbol(index) => {
            let symbol = file.symbol_by_index(index).map_err(|error| error.to_string())?;
            (symbol.section_index(), symbol.address(), symbol.name().unwrap_or("?").to_owned())
        }
        _ => (None, 0, "an absolute address".to_owned()),
    };
    let start = section.and_then(|index| starts.get(&index.0)).ok_or_else(|| format!("the code refers to {name}"))?;
    i64::try_from(start + offset).map_err(|_| "the file is too large".to_owned())
}

/// Writes the distance from the place to its target.
fn resolve(bytes: &mut [u8], place: u64, relocation: &Relocation, target: i64) -> Result<(), String> {
    let is_distance = matches!(relocation.kind(), RelocationKind::Relative | RelocationKind::PltRelative);
    if !is_distance || relocation.size() != 32 {
        return Err(format!("a relocation that is no distance of 32 bits: {relocation:?}"));
    }
    let distance = target + relocation.addend() - place as i64;
    let distance = i32::try_from(distance).map_err(|_| "a distance exceeds 32 bits".to_owned())?;
    let slot = bytes.get_mut(place as usize..).and_then(|rest| rest.first_chunk_mut::<4>());
    *slot.ok_or("a relocation is outside of its section")? = distance.to_le_bytes();
    Ok(())
}
