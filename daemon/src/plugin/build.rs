//! `upkeep plugin build`: from a plugin's folder to its file.
//!
//! cargo compiles a core module per crate that has a `plugin.toml`; all crates of a workspace in one call. Then for
//! each: the schema of its configuration is asked from the module (the one time that the code is run outside a task),
//! the module is wrapped as a component, its imports are compared with what the manifest asks for, and the manifest is
//! stored in it. What is up to date is left alone.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::plugin::manifest::{CAPABILITIES, Manifest, ManifestError, RIGHTS, WASI};
use crate::plugin::schema::{self, SchemaError};
use crate::plugin::section::{self, SectionError};
use crate::plugin::toolchain::{self, ToolchainError};

/// The source of a plugin's manifest, beside its Cargo.toml.
pub const MANIFEST_FILE: &str = "plugin.toml";

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Folder of a crate or of a workspace.
    pub dir: PathBuf,
    /// A file name ending in `.wasm`, or the folder for `NAME.wasm`; by default the folder `dir`.
    pub out: Option<PathBuf>,
    /// cargo's target folder; by default `upkeep` within the one that cargo would use, because the compiler may be
    /// another.
    pub target_dir: Option<PathBuf>,
    /// A component made by another toolchain (`.wasm`, `.wat`), to which only the manifest is added.
    pub component: Option<PathBuf>,
    /// Whether Debian's packages may be installed when the compiler's library is missing.
    pub may_install: bool,
}

/// A plugin that is there now.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Its file.
    pub file: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Why a plugin could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// cargo reported errors, which it has printed.
    #[error("cargo could not compile {}; its messages are above", dir.display())]
    Cargo {
        /// The folder.
        dir: PathBuf,
    },
    /// Nothing there is a plugin.
    #[error(
        "{}: no plugin here: a plugin is a crate with `crate-type = [\"cdylib\"]` in Cargo.toml and a {MANIFEST_FILE} \
         beside it; `upkeep plugin new NAME` makes one",
        dir.display()
    )]
    NoPlugin {
        /// The folder.
        dir: PathBuf,
    },
    /// Several plugins cannot go into one file.
    #[error("{} has {count} plugins, so --out must be a folder: {} ends in .wasm", dir.display(), out.display())]
    OneFile {
        /// The folder.
        dir: PathBuf,
        /// How many there are.
        count: usize,
        /// What was given.
        out: PathBuf,
    },
    /// The manifest cannot stand.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The component is none.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// The schema cannot be read.
    #[error("{}: {source}", module.display())]
    Schema {
        /// The core module.
        module: PathBuf,
        /// Why.
        source: SchemaError,
    },
    /// The module cannot be wrapped, or the component is damaged.
    #[error("{}: cannot become a plugin: {message}", module.display())]
    Encode {
        /// The core module or component.
        module: PathBuf,
        /// Why.
        message: String,
    },
    /// The plugin uses what its manifest does not ask for.
    #[error("{}: the plugin calls `{capability}`, which this file does not ask for. Add:\n\n{remedy}", file.display())]
    NotRequested {
        /// `plugin.toml`.
        file: PathBuf,
        /// The capability.
        capability: String,
        /// What to add to the file.
        remedy: String,
    },
    /// The component imports what no upkeep offers.
    #[error("{}: imports `{import}`, which upkeep {api} does not offer", file.display())]
    UnknownImport {
        /// The component.
        file: PathBuf,
        /// The interface.
        import: String,
        /// The version of the host API in the manifest.
        api: String,
    },
    /// The component already carries a manifest.
    #[error("{}: this component carries a manifest already", file.display())]
    HasManifest {
        /// The component.
        file: PathBuf,
    },
    /// A file cannot be read or written.
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

impl Build {
    /// Builds, telling on `tell` which toolchain was used and what came out.
    ///
    /// # Errors
    /// When it cannot be built; the message says what to do.
    pub fn run(&self, tell: &mut dyn Write) -> Result<Vec<Built>, BuildError> {
        if let Some(component) = &self.component {
            return Ok(vec![self.adopt(component, tell)?]);
        }
        let toolchain = toolchain::obtain(&self.dir, self.may_install)?;
        writeln!(tell, "toolchain: {toolchain}")?;
        let modules = self.compile(&toolchain)?;
        if modules.is_empty() {
            return Err(BuildError::NoPlugin { dir: self.dir.clone() });
        }
        if let Some(out) = self.out.as_ref().filter(|it| is_file_name(it) && modules.len() > 1) {
            return Err(BuildError::OneFile { dir: self.dir.clone(), count: modules.len(), out: out.clone() });
        }
        modules.iter().map(|module| self.wrap(module, tell)).collect()
    }

    /// One call of cargo; what it made, as it says.
    fn compile(&self, toolchain: &toolchain::Toolchain) -> Result<Vec<Module>, BuildError> {
        let failed = || BuildError::Cargo { dir: self.dir.clone() };
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--message-format=json-render-diagnostics"]).current_dir(&self.dir);
        toolchain.apply(&mut cargo);
        if let Some(target) = self.target_folder() {
            cargo.arg("--target-dir").arg(target);
        }
        let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|_| failed())?;
        if !output.status.success() {
            return Err(failed());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
        Ok(messages.filter_map(Artifact::into_module).collect())
    }

    fn target_folder(&self) -> Option<PathBuf> {
        if let Some(given) = &self.target_dir {
            return std::path::absolute(given).ok();
        }
        if let Some(given) = std::env::var_os("CARGO_TARGET_DIR") {
            return std::path::absolute(PathBuf::from(given).join("upkeep")).ok();
        }
        let mut cargo = Command::new("cargo");
        cargo.args(["locate-project", "--workspace", "--message-format=plain"]).current_dir(&self.dir);
        let output = cargo.output().ok()?;
        let manifest = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        Some(manifest.parent()?.join("target/upkeep"))
    }

    fn wrap(&self, module: &Module, tell: &mut dyn Write) -> Result<Built, BuildError> {
        let mut manifest = Manifest::read(&module.manifest)?;
        let file = self.out_file(&manifest.name);
        if let Some(built) = up_to_date(&file, module) {
            writeln!(tell, "{}: up to date", file.display())?;
            return Ok(built);
        }
        let bytes = read(&module.file)?;
        let schema_error = |source| BuildError::Schema { module: module.file.clone(), source };
        manifest.config_schema = schema::of_module(&bytes).map_err(schema_error)?;
        let component =
            encode(&bytes).map_err(|message| BuildError::Encode { module: module.file.clone(), message })?;
        finish(component, manifest, &module.manifest, file, tell)
    }

    fn adopt(&self, component: &Path, tell: &mut dyn Write) -> Result<Built, BuildError> {
        let source = self.dir.join(MANIFEST_FILE);
        let mut manifest = Manifest::read(&source)?;
        let schema_file = self.dir.join(schema::FILE);
        if schema_file.exists() {
            let schema_error = |source| BuildError::Schema { module: schema_file.clone(), source };
            manifest.config_schema = Some(schema::of_text(&read(&schema_file)?).map_err(schema_error)?);
        }
        let encode = |message: String| BuildError::Encode { module: component.to_owned(), message };
        let text_or_binary = read(component)?;
        let bytes = wat::parse_bytes(&text_or_binary).map_err(|error| encode(error.to_string()))?.into_owned();
        wasmparser::validate(&bytes).map_err(|error| encode(error.to_string()))?;
        match section::read(&bytes, component) {
            Err(SectionError::NoManifest { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(BuildError::HasManifest { file: component.to_owned() }),
        }
        let file = self.out_file(&manifest.name);
        finish(bytes, manifest, &source, file, tell)
    }

    fn out_file(&self, name: &str) -> PathBuf {
        match &self.out {
            Some(out) if is_file_name(out) => out.clone(),
            Some(out) => out.join(format!("{name}.wasm")),
            None => self.dir.join(format!("{name}.wasm")),
        }
    }
}

fn is_file_name(out: &Path) -> bool {
    out.extension().is_some_and(|it| it == "wasm")
}

/// A core module that cargo made, and the `plugin.toml` beside its crate's Cargo.toml.
struct Module {
    file: PathBuf,
    manifest: PathBuf,
}

/// The one message of cargo that matters here.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: ArtifactTarget,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    kind: Vec<String>,
}

impl Artifact {
    fn into_module(self) -> Option<Module> {
        let manifest = self.manifest_path.with_file_name(MANIFEST_FILE);
        let file = self.filenames.into_iter().find(|it| is_file_name(it))?;
        (self.target.kind.iter().any(|it| it == "cdylib") && manifest.exists()).then_some(Module { file, manifest })
    }
}

/// Wraps a core module as a component.
///
/// # Errors
/// The encoder's words.
pub fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

fn finish(
    mut component: Vec<u8>,
    manifest: Manifest,
    source: &Path,
    file: PathBuf,
    tell: &mut dyn Write,
) -> Result<Built, BuildError> {
    let imports = section::imports(&component, &file)?;
    let used = capabilities_of(imports.iter().map(String::as_str), &manifest.api)
        .map_err(|import| BuildError::UnknownImport { file: file.clone(), import, api: manifest.api.clone() })?;
    if let Some(capability) = used.iter().find(|it| !manifest.capabilities.contains_key(**it)) {
        let (file, capability) = (source.to_owned(), (*capability).to_owned());
        return Err(BuildError::NotRequested { file, remedy: request_for(&capability), capability });
    }
    for (unused, request) in manifest.capabilities.iter().filter(|(it, _)| !used.contains(&it.as_str())) {
        // A secret that is filled in is a placeholder in a request, and no call.
        if unused == "secrets" && !request.access.contains("sign") && used.contains(&"http") {
            continue;
        }
        let source = source.display();
        writeln!(tell, "warning: {source}: asks for `{unused}`, which the plugin never calls: remove that table")?;
    }
    section::append(&mut component, &manifest);
    replace(&file, &component)?;
    writeln!(tell, "{}: {} {}, {} bytes", file.display(), manifest.name, manifest.version, component.len())?;
    Ok(Built { file, manifest })
}

/// The capabilities among the imports, or the import that this host API does not have. The log is nobody's to ask for,
/// and of WASI only `http` is more than an empty shell.
fn capabilities_of<'a>(imports: impl Iterator<Item = &'a str>, api: &str) -> Result<Vec<&'a str>, String> {
    let mut used = BTreeSet::new();
    for import in imports {
        if import.starts_with("wasi:") {
            used.extend(WASI.iter().filter(|(start, _)| import.starts_with(start)).map(|(_, capability)| *capability));
            continue;
        }
        let interface = import.strip_prefix("upkeep:plugin/").and_then(|it| it.split_once('@'));
        match interface {
            Some((name, version)) if version.strip_prefix(api).is_some_and(|it| it.starts_with('.')) => {
                let right = RIGHTS.iter().find(|(interface, _)| *interface == name);
                match right.map_or(name, |(_, capability)| capability) {
                    "log" | "types" => {}
                    name if CAPABILITIES.iter().any(|(known, _)| *known == name) => {
                        used.insert(name);
                    }
                    _ => return Err(import.to_owned()),
                }
            }
            _ => return Err(import.to_owned()),
        }
    }
    Ok(used.into_iter().collect())
}

/// What to add to `plugin.toml` to ask for a capability.
fn request_for(capability: &str) -> String {
    let rights =
        CAPABILITIES.iter().find(|(known, _)| *known == capability).map_or(&[] as &[&str], |(_, rights)| *rights);
    let access = if rights.is_empty() {
        String::new()
    } else {
        let all: Vec<_> = rights.iter().map(|it| format!("\"{it}\"")).collect();
        format!("\naccess = [{}]    # keep what the plugin needs", all.join(", "))
    };
    format!("[capabilities.{capability}]\nreason = \"...\"    # what for, in words for the operator{access}")
}

/// A file is as new as the newest of what it is made of; this program, which makes it, is one of them.
fn up_to_date(file: &Path, module: &Module) -> Option<Built> {
    let modified = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    let made = modified(file)?;
    let program = std::env::current_exe().ok()?;
    let newest = [&module.file, &module.manifest, &program].into_iter().filter_map(|it| modified(it)).max()?;
    let described = (made >= newest).then(|| section::read(&std::fs::read(file).ok()?, file).ok())??;
    Some(Built { file: file.to_owned(), manifest: described.manifest })
}

fn read(file: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(file).map_err(|source| BuildError::File { file: file.to_owned(), source })
}

/// A daemon may watch the folder: it must see the old file or the new one, never half of one.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let write = || {
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut temporary = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.persist(file).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| BuildError::File { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_become_capabilities() {
        let of = |imports: &[&'static str]| capabilities_of(imports.iter().copied(), "0.1");
        let all =
            ["upkeep:plugin/log@0.1.0", "upkeep:plugin/files@0.1.0", "upkeep:plugin/types@0.1.0", "wasi:io/poll@0.2.0"];
        assert_eq!(of(&all), Ok(vec!["files"]));
        assert_eq!(of(&["wasi:http/types@0.2.12", "wasi:clocks/wall-clock@0.2.12"]), Ok(vec!["http"]));
        assert_eq!(of(&["upkeep:plugin/removal@0.1.0", "upkeep:plugin/files@0.1.0"]), Ok(vec!["files"]));
        assert_eq!(of(&["upkeep:plugin/files@0.2.0"]), Err("upkeep:plugin/files@0.2.0".to_owned()));
        assert_eq!(of(&["upkeep:plugin/files@0.10.0"]), Err("upkeep:plugin/files@0.10.0".to_owned()));
        assert_eq!(of(&["upkeep:plugin/teleport@0.1.0"]), Err("upkeep:plugin/teleport@0.1.0".to_owned()));
        assert_eq!(of(&["env/abort"]), Err("env/abort".to_owned()));
    }

    #[test]
    fn the_remedy_for_a_missing_request_is_a_request() {
        let head =
            "name = \"x\"\nversion = \"1.0.0\"\nsummary = \"s\"\nauthor = \"a\"\nlicense = \"MIT\"\napi = \"0.1\"\n";
        for (capability, _) in CAPABILITIES {
            let manifest = Manifest::from_toml(&format!("{head}{}", request_for(capability)), Path::new("plugin.toml"));
            assert!(manifest.unwrap().capabilities.contains_key(*capability));
        }
    }
}
