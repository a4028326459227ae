//! Which files a configuration consists of, and their text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::diagnostic::Diagnostic;
use crate::config::source::{KeyPath, Source};

/// The daemon's file.
pub const DAEMON_FILE: &str = "upkeep.toml";
/// The folder of the task files.
pub const TASKS_DIR: &str = "tasks.d";

/// A configuration file is written by hand; one that is larger is something else.
const LARGEST: u64 = 1 << 20;

/// A task file: `NAME.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskPath {
    /// Name of the task.
    pub(crate) name: Arc<str>,
    /// The file.
    pub(crate) file: PathBuf,
}

/// The task files, by name. Hidden files, backups of editors and whatever does not end in `.toml` are none.
pub(crate) fn tasks(dir: &Path, problems: &mut Vec<Diagnostic>) -> Vec<TaskPath> {
    let folder = dir.join(TASKS_DIR);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let help = format!(
                "create it and put one file for each task into it, or copy an example: mkdir {}",
                folder.display()
            );
            problems.push(whole(&folder, "the folder of the task files does not exist").help(help).warning());
            return Vec::new();
        }
        Err(error) => {
            let help = "make the folder readable for the daemon's user".to_owned();
            problems.push(whole(&folder, format!("the folder cannot be read: {}", in_words(&error))).help(help));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let file = entry.path();
        let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned)
        else {
            continue;
        };
        if name.starts_with(['.', '#']) {
            continue;
        }
        if is_task_name(&name) {
            found.push(TaskPath { name: name.into(), file });
        } else {
            let fitting: String = name.chars().filter(char::is_ascii).take(64).collect();
            let fitting = fitting.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
            let to = if fitting.is_empty() { String::new() } else { format!(" to `{fitting}.toml`, for example") };
            let help = format!(
                "rename it{to}: a task is called like its file, with at most 64 letters a-z and A-Z, digits, `-` and `_`"
            );
            problems.push(whole(&file, format!("\"{name}\" cannot be the name of a task")).help(help));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Whether a task may have this name.
pub fn is_task_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The text of a file.
pub(crate) fn read(file: &Path, problems: &mut Vec<Diagnostic>) -> Option<Arc<Source>> {
    let mut refuse = |message: String, help: &str| {
        problems.push(whole(file, message).help(help));
        None
    };
    let size = match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return refuse("this is not a file".to_owned(), "remove it, or move it to another folder"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refuse(
                "the file does not exist".to_owned(),
                "create it; a link leads nowhere: remove or correct it",
            );
        }
        Err(error) => {
            return refuse(
                format!("the file cannot be read: {}", in_words(&error)),
                "run as the user of the daemon, or as root",
            );
        }
    };
    if size > LARGEST {
        return refuse(
            format!("the file has {size} bytes; at most {LARGEST} are read"),
            "this is hardly a task file: remove it",
        );
    }
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            return refuse(
                format!("the file cannot be read: {}", in_words(&error)),
                "run as the user of the daemon, or as root",
            );
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(Arc::new(Source { name: file.display().to_string(), text })),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            refuse(
                format!("line {line} is not UTF-8"),
                "save the file as UTF-8, for example: iconv -f GB18030 -t UTF-8 FILE > NEW && mv NEW FILE",
            )
        }
    }
}

/// What the system says, without its number.
pub(crate) fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A diagnostic about a file or folder as a whole.
pub(crate) fn whole(path: &Path, message: impl Into<String>) -> Diagnostic {
    let source = Arc::new(Source { name: path.display().to_string(), text: String::new() });
    Diagnostic::error(&source, KeyPath::default(), message)
}
