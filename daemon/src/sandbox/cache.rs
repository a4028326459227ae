//! Compiled components on disk, keyed by what decides over the machine code: the component's bytes, and the engine's
//! version and settings. A file is written whole or not at all, and what cannot be read is compiled anew.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::LoadError;

pub(super) struct Cache {
    dir: PathBuf,
    engine: String,
}

struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finalize().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

impl Cache {
    pub(super) fn new(dir: &Path, engine: &Engine) -> Result<Self, LoadError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| LoadError::Cache { path: dir.display().to_string(), error: error.to_string() })?;
        let mut hasher = Sha(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), engine: format!("{:016x}", hasher.finish()) })
    }

    /// The component of `bytes`, whose digest is `digest`; `path` is named in errors.
    pub(super) fn component(
        &self,
        engine: &Engine,
        digest: &str,
        bytes: &[u8],
        path: &Path,
    ) -> Result<Component, LoadError> {
        let compiled = self.dir.join(format!("{digest}-{}.cwasm", self.engine));
        if let Some(component) = self.cached(engine, &compiled) {
            return Ok(component);
        }
        let compile = |error: wasmtime::Error| LoadError::Compile {
            path: path.display().to_string(),
            error: format!("{error:#}"),
        };
        let code = engine.precompile_component(bytes).map_err(compile)?;
        let failed =
            |error: std::io::Error| LoadError::Cache { path: self.dir.display().to_string(), error: error.to_string() };
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(failed)?;
        file.write_all(&code).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&compiled).map_err(|error| failed(error.error))?;
        self.cached(engine, &compiled).ok_or_else(|| LoadError::Cache {
            path: compiled.display().to_string(),
            error: "what was just written cannot be read".into(),
        })
    }

    #[expect(unsafe_code, reason = "loading compiled code trusts it; the folder is ours alone (mode 0700)")]
    fn cached(&self, engine: &Engine, compiled: &Path) -> Option<Component> {
        if !compiled.exists() {
            return None;
        }
        // SAFETY: only `component` writes to this folder, and only what this engine compiled.
        match unsafe { Component::deserialize_file(engine, compiled) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %compiled.display(), "a compiled plugin cannot be used and is compiled anew: {error:#}");
                None
            }
        }
    }
}
