//! What loads a dump into a live server, for a person to read and for upkeep to run: the same commands.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::config::secret::SecretValue;
use crate::database::DatabaseError;
use crate::database::process::Tool;

/// One step of a restore.
#[derive(Debug, Clone)]
pub enum RestoreStep {
    /// A command that upkeep can run.
    Run(RestoreCommand),
    /// What only a person can do, such as stopping a server.
    Person(String),
}

/// A command that takes a file of a dump on its standard input.
#[derive(Debug, Clone)]
pub struct RestoreCommand {
    /// The file of the dump.
    pub file: String,
    /// What it does, as half a sentence.
    pub title: String,
    /// Whether some of its statements may fail without harm, such as making a role that is there.
    pub forgiving: bool,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// The variable that carries the password, with the password.
    pub(super) secret: Option<(&'static str, SecretValue)>,
}

impl RestoreCommand {
    /// Program and arguments. No secret is among them.
    pub fn argv(&self) -> Vec<OsString> {
        let program = self.program.clone().into_os_string();
        [program].into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// The line that a person would paste into a shell, with the dump's files in `folder`. A password is left for them to
    /// fill in.
    pub fn line(&self, folder: &Path) -> String {
        format!("{} < {}", self.shell(), quoted(folder.join(&self.file).as_os_str()))
    }

    /// The same without its input.
    pub fn shell(&self) -> String {
        let secret = self.secret.as_ref().map(|(variable, _)| format!("{variable}='***' ")).unwrap_or_default();
        let words: Vec<String> = self.argv().iter().map(|word| quoted(word)).collect();
        format!("{secret}{}", words.join(" "))
    }

    /// The same as another user of this machine, for servers that know their accounts by that.
    #[must_use]
    pub fn as_user(mut self, user: &str) -> Self {
        let switch = [format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()];
        let program = std::mem::replace(&mut self.program, "/usr/bin/setpriv".into());
        self.arguments = switch.map(OsString::from).into_iter().chain([program.into()]).chain(self.arguments).collect();
        self
    }

    /// Runs it with this as its input.
    ///
    /// # Errors
    ///
    /// When it fails: with what it said.
    pub fn run(&self, content: &mut dyn Read, cancel: &CancellationToken) -> Result<(), DatabaseError> {
        let mut tool = Tool::new(&self.program).args(&self.arguments);
        if let Some((variable, secret)) = &self.secret {
            tool = tool.env(variable, secret.reveal()).hiding(Some(secret.clone()));
        }
        tool.feed(content, cancel).map(drop)
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,@%+".contains(it);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_word_back() {
        for word in ["plain", "", "it's", "two words", "$HOME `id` \"x\" \\", "数据\nline", "a;b", "--dbname=x y"] {
            let output =
                std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word.as_ref()))]).output();
            assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), word);
        }
    }
}
