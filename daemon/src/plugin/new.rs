//! `upkeep plugin new`: the folder of a plugin that builds and runs at once, to be changed from there.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::plugin::manifest;

const CARGO_TOML: &str = include_str!("new/Cargo.toml.in");
const PLUGIN_TOML: &str = include_str!("new/plugin.toml.in");
const LIB_RS: &str = include_str!("new/lib.rs.in");
const TASK_TOML: &str = include_str!("new/task.toml.in");

/// Why no plugin was started.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name cannot stand in a manifest.
    #[error("`{0}` is no name for a plugin: small letters, digits and hyphens, a letter first")]
    Name(String),
    /// There is something.
    #[error("{} exists and is not empty; give another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// The SDK is not where it was said to be.
    #[error("{}: no SDK here: this must be the folder plugin-sdk of upkeep's source", .0.display())]
    Sdk(PathBuf),
    /// A file cannot be written.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Standard output is gone.
    #[error("cannot write to the terminal: {0}")]
    Terminal(#[from] std::io::Error),
}

/// Makes the folder `dir` of a plugin `name`, depending on the published SDK or on the one in the folder `sdk`.
///
/// # Errors
/// When the name is none, the folder is not empty, or cannot be written.
pub fn create(name: &str, dir: &Path, sdk: Option<&Path>, tell: &mut dyn Write) -> Result<(), NewError> {
    if !manifest::is_name(name) {
        return Err(NewError::Name(name.to_owned()));
    }
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(NewError::Exists(dir.to_owned()));
    }
    let dependency = match sdk {
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
        Some(sdk) => {
            let absolute = sdk.canonicalize().ok().filter(|it| it.join("wit").is_dir());
            let absolute = absolute.ok_or_else(|| NewError::Sdk(sdk.to_owned()))?;
            format!("{{ path = {absolute:?} }}")
        }
    };
    let fill = |text: &str| text.replace("{name}", name).replace("{dependency}", &dependency);
    let task = format!("{name}.task.toml");
    for (path, text) in [
        ("Cargo.toml", fill(CARGO_TOML)),
        ("plugin.toml", fill(PLUGIN_TOML)),
        ("src/lib.rs", fill(LIB_RS)),
        (&task, fill(TASK_TOML)),
        (".gitignore", "/target\n/*.wasm\n".to_owned()),
    ] {
        let file = dir.join(path);
        write(&file, &text).map_err(|source| NewError::File { file, source })?;
    }
    writeln!(tell, "{} is ready. Next:\n", dir.display())?;
    writeln!(tell, "    cd {}", dir.display())?;
    writeln!(tell, "    cargo test                      # on this machine, in an in-memory host")?;
    writeln!(tell, "    upkeep plugin build             # {name}.wasm")?;
    writeln!(tell, "    upkeep plugin inspect {name}.wasm")?;
    Ok(())
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(file, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::Manifest;

    #[test]
    fn the_folder_holds_a_valid_manifest_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("night-watch");
        create("night-watch", &dir, None, &mut Vec::new()).unwrap();
        assert_eq!(Manifest::read(&dir.join("plugin.toml")).unwrap().name, "night-watch");
        let cargo: toml::Table = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap();
        assert_eq!(cargo["dependencies"]["upkeep-plugin"].as_str(), Some(env!("CARGO_PKG_VERSION")));
        assert!(matches!(create("night-watch", &dir, None, &mut Vec::new()), Err(NewError::Exists(_))));
    }

    #[test]
    fn names_and_sdk_folders_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("x");
        assert!(matches!(create("../x", &dir, None, &mut Vec::new()), Err(NewError::Name(_))));
        assert!(matches!(create("x", &dir, Some(folder.path()), &mut Vec::new()), Err(NewError::Sdk(_))));
        assert!(!dir.exists());
    }
}
