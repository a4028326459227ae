//! Programs that know a fact: by their own path, with fixed arguments, an empty environment and little time.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A program that takes longer is ended.
const LONGEST: Duration = Duration::from_secs(20);
/// What it says beyond this is not read.
const MOST: u64 = 128 << 20;
const PAUSE: Duration = Duration::from_millis(5);

/// What a program prints. An error names the program.
pub(super) fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    run(program, arguments, LONGEST).map_err(|error| format!("{}: {error}", program.display()))
}

fn run(program: &Path, arguments: &[&str], longest: Duration) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    // Files, as nobody need read from them while the program runs.
    let (mut out, mut err) = (tempfile::tempfile().map_err(told)?, tempfile::tempfile().map_err(told)?);
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(told)?)
        .stderr(err.try_clone().map_err(told)?)
        .spawn()
        .map_err(told)?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(told)? {
            Some(status) => break status,
            None if start.elapsed() < longest => sleep(PAUSE),
            None => {
                // It may have ended by itself in this moment.
                let _ = child.kill();
                child.wait().map_err(told)?;
                return Err(format!("no answer within {}", humantime::format_duration(longest)));
            }
        }
    };
    match status.success() {
        true => text(&mut out).map_err(told),
        false => Err(format!("{status}: {}", text(&mut err).unwrap_or_default().trim())),
    }
}

fn text(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_no_environment_and_little_time() {
        let shell = |script: &str| run(Path::new("/bin/sh"), &["-c", script], Duration::from_millis(300));
        assert_eq!(shell("echo \"${HOME-none}\"").as_deref(), Ok("none\n"));
        let error = shell("echo no luck >&2; exit 3").unwrap_err();
        assert!(error.contains("3: no luck"), "{error}");
        assert_eq!(shell("exec sleep 10").unwrap_err(), "no answer within 300ms");
        assert!(output(Path::new("/no/such/program"), &[]).unwrap_err().starts_with("/no/such/program: "));
    }
}
