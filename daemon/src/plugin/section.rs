//! The custom section that carries the manifest, and the imports of a component. Nothing is executed or compiled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Encoding, Parser, Payload};

use crate::plugin::manifest::{Manifest, ManifestError};

/// Name of the section.
pub const MANIFEST: &str = "upkeep:manifest";

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Its manifest.
    pub manifest: Manifest,
    /// The interfaces that it imports, as `upkeep:plugin/files@0.1.0`, in order of name.
    pub imports: BTreeSet<String>,
}

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// It is not WebAssembly at all, or damaged.
    #[error("{}: this is no intact WebAssembly file: {message}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The parser's words.
        message: String,
    },
    /// It is a core module.
    #[error("{}: this is a core module, not a component; make the plugin with `upkeep plugin build`", file.display())]
    CoreModule {
        /// The file.
        file: PathBuf,
    },
    /// It carries no manifest.
    #[error(
        "{}: this component carries no manifest; add it with `upkeep plugin build DIR --component {}`, where DIR \
         has the plugin.toml",
        file.display(), file.display()
    )]
    NoManifest {
        /// The file.
        file: PathBuf,
    },
    /// The manifest cannot stand.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Reads manifest and imports out of a component; `file` is only for messages.
///
/// # Errors
/// When `component` is none, or carries no valid manifest.
pub fn read(component: &[u8], file: &Path) -> Result<Described, SectionError> {
    let (json, imports) = scan(component, file)?;
    let json = json.ok_or_else(|| SectionError::NoManifest { file: file.to_owned() })?;
    Ok(Described { manifest: Manifest::from_json(json, file)?, imports })
}

/// The interfaces that a component imports, whether or not it carries a manifest.
///
/// # Errors
/// When `component` is none.
pub fn imports(component: &[u8], file: &Path) -> Result<BTreeSet<String>, SectionError> {
    Ok(scan(component, file)?.1)
}

/// Appends the manifest to a component that has none.
pub fn append(component: &mut Vec<u8>, manifest: &Manifest) {
    let json = manifest.to_json();
    CustomSection { name: MANIFEST.into(), data: json.as_slice().into() }.append_to_component(component);
}

/// Only the outermost component speaks for the plugin: sections of what is nested in it are passed over.
fn scan<'a>(component: &'a [u8], file: &Path) -> Result<(Option<&'a [u8]>, BTreeSet<String>), SectionError> {
    if !component.starts_with(b"\0asm") {
        let message = "it does not begin as one".to_owned();
        return Err(SectionError::Damaged { file: file.to_owned(), message });
    }
    let (mut manifest, mut imports, mut depth) = (None, BTreeSet::new(), 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        let damaged = |error: wasmparser::BinaryReaderError| SectionError::Damaged {
            file: file.to_owned(),
            message: error.to_string(),
        };
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(SectionError::CoreModule { file: file.to_owned() });
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == MANIFEST => {
                manifest = Some(section.data());
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.insert(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((manifest, imports))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let text =
            "name = \"x\"\nversion = \"1.0.0\"\nsummary = \"s\"\nauthor = \"a\"\nlicense = \"MIT\"\napi = \"0.1\"";
        Manifest::from_toml(text, Path::new("plugin.toml")).unwrap()
    }

    #[test]
    fn the_manifest_comes_back_and_only_from_the_outermost_component() {
        let mut inner = wasm_encoder::Component::new();
        inner.section(&CustomSection { name: MANIFEST.into(), data: b"not json".into() });
        let mut outer = wasm_encoder::Component::new();
        outer.section(&wasm_encoder::NestedComponentSection(&inner));
        let mut bytes = outer.finish();
        assert!(matches!(read(&bytes, Path::new("x.wasm")), Err(SectionError::NoManifest { .. })));

        append(&mut bytes, &manifest());
        let described = read(&bytes, Path::new("x.wasm")).unwrap();
        assert_eq!(described.manifest, manifest());
        assert!(described.imports.is_empty());
        wasmparser::validate(&bytes).unwrap();
    }

    #[test]
    fn what_is_no_plugin_is_told_apart() {
        let module = wasm_encoder::Module::new().finish();
        let component = wasm_encoder::Component::new().finish();
        let cases: [(&str, &[u8]); 4] =
            [("text", b"hello world"), ("cut", &component[..6]), ("module", &module), ("bare", &component)];
        let messages: Vec<_> =
            cases.iter().map(|(name, bytes)| read(bytes, Path::new(name)).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(messages.join("\n"));
    }
}
