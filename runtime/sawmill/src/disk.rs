//! Compiled functions kept between processes: one file for each key, in a folder of the user's own.
//!
//! A file is a header line, the key in full, the digest of the payload, the payload. It is written aside and renamed, so that
//! readers and concurrent writers see a whole file or none. A file that is short, foreign, of another key or damaged is
//! ignored, and rewritten by the next compilation. A folder that cannot be used costs a compilation, never a failure: the
//! reason is returned for the caller to report.

use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The first bytes of a file: its kind and version.
const HEADER: &[u8] = b"sawmill kernel 1\n";

/// What the compiler that this program contains was built from.
pub(crate) const BUILD_DIGEST: &str = env!("SAWMILL_BUILD_DIGEST");

/// Hexadecimal SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The payload kept for `key` in `folder`; `None` if there is none that can be trusted.
pub(crate) fn read(folder: &Path, key: &str) -> Option<Vec<u8>> {
    check_private(folder).ok()?;
    let mut file = fs::File::open(path(folder, key)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let rest = bytes.strip_prefix(HEADER)?.strip_prefix(key.as_bytes())?.strip_prefix(b"\n")?;
    let (claimed, rest) = rest.split_at_checked(64)?;
    let payload = rest.strip_prefix(b"\n")?;
    (digest(payload).as_bytes() == claimed).then(|| payload.to_vec())
}

/// Keeps `payload` for `key` in `folder`, which is made if missing.
pub(crate) fn write(folder: &Path, key: &str, payload: &[u8]) -> io::Result<()> {
    make_private(folder)?;
    check_private(folder)?;
    let target = path(folder, key);
    let aside = folder.join(format!(".{}.{}", std::process::id(), unique()));
    let written = fs::File::create(&aside).and_then(|mut file| {
        file.write_all(HEADER)?;
        file.write_all(key.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(digest(payload).as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(payload)
    });
    let kept = written.and_then(|()| fs::rename(&aside, &target));
    if kept.is_err() {
        // The write has failed already; what is left of it is only litter.
        let _ = fs::remove_file(&aside);
    }
    kept
}

fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(digest(key.as_bytes()))
}

/// A number no other write of this process uses.
fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Code is only taken from a folder that nobody else can write to.
#[cfg(unix)]
fn check_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let meta = fs::metadata(folder)?;
    let own = fs::metadata("/proc/self").map_or(meta.uid(), |me| me.uid());
    if meta.uid() != own || meta.permissions().mode() & 0o022 != 0 {
        let message = format!("{} can be written by others: run `chmod 700` on it", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::disk::{path, read, write};
    use std::fs;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("new").join("deeper");
        assert_eq!(read(&folder, "key"), None);
        write(&folder, "key", b"payload").expect("the folder can be written");
        assert_eq!(read(&folder, "key").as_deref(), Some(&b"payload"[..]));
        assert_eq!(read(&folder, "other"), None);
    }

    #[test]
    fn damaged_short_and_foreign_files_are_ignored_and_rewritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("kernels");
        write(&folder, "key", b"payload").expect("the folder can be written");
        let file = path(&folder, "key");
        let whole = fs::read(&file).expect("just written");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).expect("can be written");
            assert_eq!(read(&folder, "key"), None, "byte {at} damaged");
            fs::write(&file, &whole[..at]).expect("can be written");
            assert_eq!(read(&folder, "key"), None, "cut at {at}");
        }
        write(&folder, "key", b"again").expect("can be rewritten");
        assert_eq!(read(&folder, "key").as_deref(), Some(&b"again"[..]));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_others_can_write_to_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("kernels");
        write(&folder, "key", b"payload").expect("the folder can be written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("own folder");
        assert_eq!(read(&folder, "key"), None);
        assert!(write(&folder, "key", b"payload").is_err());
    }
}
