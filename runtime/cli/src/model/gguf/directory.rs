//! The header of a GGUF file: metadata and the directory of tensors.
//!
//! In: the file's bytes. Out: [`Gguf`].
//! Invariant: every tensor of a parsed file lies inside the file, aligned, and names are unique.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{GgufError, TensorType, Value, cursor::Cursor, value};

const MAGIC: &[u8] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 16;
const MAX_RANK: u32 = 4;
/// Key length, value type and the shortest value.
const LEAST_PAIR: u64 = 8 + 4 + 1;
/// Name length, rank, type and offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// A parsed file.
#[derive(Debug)]
pub struct Gguf<'a> {
    /// Metadata by key.
    pub metadata: BTreeMap<&'a str, Value<'a>>,
    /// Tensors by their name in the file.
    pub tensors: BTreeMap<&'a str, TensorInfo>,
}

/// One entry of the directory.
#[derive(Debug)]
pub struct TensorInfo {
    /// Element type.
    pub stored: &'static TensorType,
    /// Sizes, slowest axis first (the file has them the other way round).
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub start: usize,
}

struct RawEntry<'a> {
    name: &'a str,
    stored: &'static TensorType,
    sizes: Vec<u64>,
    offset: u64,
}

/// Parses the header and checks that every tensor is inside the file.
///
/// # Errors
/// [`GgufError`], which says where the file is malformed.
pub fn parse(bytes: &[u8]) -> Result<Gguf<'_>, GgufError> {
    let mut cursor = Cursor::new(bytes);
    let (tensor_count, pair_count) = counts(&mut cursor)?;
    let metadata = metadata(&mut cursor, pair_count)?;
    let entries = entries(&mut cursor, tensor_count)?;
    let alignment = alignment(&metadata)?;
    let data = (cursor.at() as u64).next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for entry in entries {
        let info = place(&entry, data, alignment, bytes.len())?;
        if tensors.insert(entry.name, info).is_some() {
            return Err(GgufError::Twice { what: "the tensor", name: entry.name.to_owned() });
        }
    }
    Ok(Gguf { metadata, tensors })
}

/// Magic, version, and the counts of tensors and of metadata pairs.
fn counts(cursor: &mut Cursor<'_>) -> Result<(u64, u64), GgufError> {
    let left = cursor.left().min(MAGIC.len()) as u64;
    let magic = cursor.take(left, "magic")?;
    if magic != MAGIC {
        return Err(GgufError::Magic(magic.to_vec()));
    }
    match cursor.u32("version")? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => return Err(GgufError::BigEndian),
        version => return Err(GgufError::Version(version)),
    }
    Ok((cursor.u64("tensor count")?, cursor.u64("metadata count")?))
}

fn metadata<'a>(cursor: &mut Cursor<'a>, claimed: u64) -> Result<BTreeMap<&'a str, Value<'a>>, GgufError> {
    let count = cursor.count(claimed, LEAST_PAIR, "metadata pairs")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = cursor.text("metadata key")?;
        let id = cursor.u32("type of a metadata value")?;
        let value = value::read(cursor, id)?;
        match metadata.entry(key) {
            Entry::Vacant(vacant) => drop(vacant.insert(value)),
            Entry::Occupied(_) => return Err(GgufError::Twice { what: "the metadata key", name: key.to_owned() }),
        }
    }
    Ok(metadata)
}

fn entries<'a>(cursor: &mut Cursor<'a>, claimed: u64) -> Result<Vec<RawEntry<'a>>, GgufError> {
    let count = cursor.count(claimed, LEAST_TENSOR, "tensors")?;
    (0..count).map(|_| entry(cursor)).collect()
}

fn entry<'a>(cursor: &mut Cursor<'a>) -> Result<RawEntry<'a>, GgufError> {
    let name = cursor.text("tensor name")?;
    let rank = cursor.u32("tensor rank")?;
    if rank > MAX_RANK {
        return Err(GgufError::Rank { name: name.to_owned(), rank });
    }
    let sizes = (0..rank).map(|_| cursor.u64("tensor size")).collect::<Result<Vec<_>, _>>()?;
    let id = cursor.u32("tensor type")?;
    let stored = TensorType::of(id).ok_or_else(|| GgufError::TensorType { name: name.to_owned(), id })?;
    Ok(RawEntry { name, stored, sizes, offset: cursor.u64("tensor offset")? })
}

fn alignment(metadata: &BTreeMap<&str, Value<'_>>) -> Result<u64, GgufError> {
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(value) => value
            .as_u32()
            .map(u64::from)
            .ok_or_else(|| GgufError::KeyType { key: "general.alignment".to_owned(), wanted: "a 32-bit integer" })?,
    };
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        Ok(alignment)
    } else {
        Err(GgufError::Alignment(alignment))
    }
}

/// Where an entry's bytes lie, all of them inside a file of `len` bytes.
fn place(entry: &RawEntry<'_>, data: u64, alignment: u64, len: usize) -> Result<TensorInfo, GgufError> {
    let name = || entry.name.to_owned();
    let sizes_error = || GgufError::Sizes { name: name(), stored: entry.stored.name, sizes: entry.sizes.clone() };
    let bytes = entry.stored.bytes_of(&entry.sizes).ok_or_else(sizes_error)?;
    if !entry.offset.is_multiple_of(alignment) {
        return Err(GgufError::Misaligned { name: name(), offset: entry.offset, alignment });
    }
    let start = data.saturating_add(entry.offset);
    let end = start.saturating_add(bytes);
    if end > len as u64 {
        return Err(GgufError::OutOfFile { name: name(), end, len });
    }
    let shape = entry.sizes.iter().rev().map(|&size| usize::try_from(size)).collect::<Result<_, _>>();
    Ok(TensorInfo { stored: entry.stored, shape: shape.map_err(|_| sizes_error())?, start: start as usize })
}
