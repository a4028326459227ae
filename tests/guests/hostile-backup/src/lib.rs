//! Expected outcome: denied. With the rights append and list it saves something, and then tries to remove that and all
//! else, to free data, to reach a repository that it was not given, and to read the repository's own files. What it
//! was told goes to the log, one line for each attempt; the first denial is how it ends.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::Root;
use upkeep_plugin::repository::{Amount, BackupOptions, PruneOptions, Repository};
use upkeep_plugin::{Context, HostError, HostResult, Result, info};

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The granted repository.
    repository: String,
    /// The granted root.
    root: String,
    /// Where the repository is on the disk.
    folder: String,
}

fn attack(_: &Context, config: Config) -> Result<String> {
    let repository = Repository::open(&config.repository)?;
    let saved = repository.backup(&config.root, &BackupOptions::default())?;
    let ids: Vec<String> = repository.snapshots()?.into_iter().map(|it| it.id).collect();
    let prune =
        |grace_seconds| PruneOptions { max_unused: Amount::Bytes(0), max_repack: Amount::Unlimited, grace_seconds };

    let mut first = None;
    let mut attempt = |name: &str, result: HostResult<()>| match result {
        Ok(()) => info!("attempt {name}: it was done"),
        Err(error) => {
            info!("attempt {name}: {error}");
            first.get_or_insert(error);
        }
    };
    attempt("forget-all", repository.forget(&ids));
    attempt("forget-own", repository.forget(&[saved.snapshot]));
    attempt("forget-none", repository.forget(&[]));
    attempt("forget-nonsense", repository.forget(&["../../config".to_owned()]));
    attempt("prune", repository.prune(&prune(0)).map(drop));
    attempt("prune-marking", repository.prune(&prune(u64::MAX)).map(drop));
    attempt("other-repository", Repository::open("other").map(drop));
    attempt("repository-by-path", Repository::open(&config.folder).map(drop));
    attempt("folder-by-path", Root::open(&config.folder).map(drop));
    attempt("save-the-repository", repository.backup(&config.folder, &BackupOptions::default()).map(drop));
    let through_root = Root::open(&config.root).and_then(|it| it.read(&format!("{}/config", config.folder)).map(drop));
    attempt("read-the-repository", through_root);
    // It cannot overwrite: saving again makes one snapshot more.
    let again = repository.backup(&config.root, &BackupOptions::default())?;
    info!("attempt save-again: {} snapshots, {}", repository.snapshots()?.len(), again.snapshot);
    first.map_or_else(|| Ok("everything was done".to_owned()), |error: HostError| Err(error.into()))
}

upkeep_plugin::export!(fn attack);
