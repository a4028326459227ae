//! The sandbox: one engine, components compiled once and cached, a fresh instance for every call.
//!
//! A guest runs on the threads of a runtime of its own ([`Sandbox::handle`]), so that one that spins takes time from other
//! guests only. The [`ticker`] makes it yield every few milliseconds; the run's timeout and cancellation are looked at
//! at each yield, and also while a host call waits, because they stand outside of the guest.
//!
//! What a call can end with is an [`Outcome`](crate::outcome::Outcome): see [`call`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::abi::v0_1::PluginPre;
use crate::capability::{self, Host};
use crate::config::digest::Digest;
use crate::plugin::manifest::Manifest;
use crate::plugin::section;

mod cache;
pub mod call;
mod ticker;

/// How long a guest computes before it yields to others.
const TICK: Duration = Duration::from_millis(5);

/// Stack that a guest may use, in bytes; one size for all, as stacks are pooled.
pub const GUEST_STACK: usize = 1 << 20;

/// Instances that may exist at the same time, over all runs.
const INSTANCES: u32 = 256;

/// Bytes of a memory or table slot that stay resident between instances.
const KEPT_RESIDENT: usize = 256 << 10;

/// The largest linear memory; `limits.memory` of a task is at most this.
pub const LARGEST_MEMORY: usize = 1 << 30;

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("failed to read the plugin {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The manifest is missing or not valid.
    #[error("failed to read a manifest: {0}")]
    Manifest(String),
    /// It does not compile, or imports what the host does not have.
    #[error("failed to compile the plugin {path}: {error}")]
    Compile {
        /// The file.
        path: String,
        /// Why, with the import that is missing.
        error: String,
    },
    /// The cache of compiled plugins cannot be used.
    #[error("failed to use the cache of compiled plugins at {path}: {error}; it may be removed at any time")]
    Cache {
        /// The file or folder.
        path: String,
        /// Why.
        error: String,
    },
}

/// A plugin that is ready to be instantiated.
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of its file.
    pub digest: Digest,
    pre: PluginPre<Host>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.manifest.name).field("digest", &self.digest).finish()
    }
}

/// The engine, its linker, its cache, and the threads that guests run on.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    linker: Linker<Host>,
    cache: cache::Cache,
    ticker: ticker::Ticker,
    instances: tokio::sync::Semaphore,
    runtime: Option<tokio::runtime::Runtime>,
    handle: tokio::runtime::Handle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A runtime may not be dropped where blocking is forbidden; guests are over or do not matter any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// With `scan`, a slot keeps its first pages, and is reset by writing those that were used, which the kernel names (from
/// Linux 6.7 on). Where it cannot, writing all of them costs more than giving them back.
fn engine(scan: bool) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 8)
        .total_memories(INSTANCES * 2)
        .total_tables(INSTANCES * 8)
        .total_stacks(INSTANCES)
        .max_memories_per_component(64)
        .max_tables_per_component(64)
        .max_core_instances_per_component(64)
        .max_memory_size(LARGEST_MEMORY)
        .max_unused_warm_slots(16);
    if scan {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEPT_RESIDENT).table_keep_resident(KEPT_RESIDENT);
    }
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + (1 << 20))
        .wasm_component_model(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

impl Sandbox {
    /// Makes the engine, its cache in `cache_dir`, and `workers` threads for guests (0: one per core).
    ///
    /// # Errors
    ///
    /// When the cache folder cannot be made or the machine cannot give what the engine needs.
    pub fn new(cache_dir: &Path, workers: u32) -> Result<Self, LoadError> {
        let unusable = |error: String| LoadError::Compile { path: "host".into(), error };
        let engine = engine(true).or_else(|_| engine(false)).map_err(|error| unusable(format!("{error:#}")))?;
        let mut linker = Linker::new(&engine);
        capability::add_to_linker(&mut linker).map_err(|error| unusable(format!("{error:#}")))?;
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("guest")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let handle = runtime.handle().clone();
        Ok(Self {
            shared: Arc::new(Shared {
                cache: cache::Cache::new(cache_dir, &engine)?,
                ticker: ticker::Ticker::new(engine.clone(), TICK),
                engine,
                linker,
                instances: tokio::sync::Semaphore::new(INSTANCES as usize),
                runtime: Some(runtime),
                handle,
            }),
        })
    }

    /// The runtime that guests run on: whoever calls a plugin does so from a task that is spawned here.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        &self.shared.handle
    }

    /// Loads a plugin: from the cache, or compiled anew. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// When the file is missing, is not a component with a manifest, or imports what the host does not have.
    pub fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| LoadError::Read { path: name(), error })?;
        let manifest = section::read(&bytes, path).map_err(|error| LoadError::Manifest(error.to_string()))?.manifest;
        let digest = Digest::of([&*bytes]);
        let component = self.shared.cache.component(&self.shared.engine, &digest.to_string(), &bytes, path)?;
        let pre = self.prepare(&component).map_err(|error| LoadError::Compile { path: name(), error })?;
        Ok(Plugin { manifest, digest, pre })
    }

    fn prepare(&self, component: &Component) -> Result<PluginPre<Host>, String> {
        let instance = self.shared.linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        PluginPre::new(instance).map_err(|error| format!("{error:#}"))
    }
}

/// Guests come after the daemon when both want to compute.
fn lower_priority() {
    // Without the right to change it (it is always there for lowering), guests run as everything else does.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 5);
}
