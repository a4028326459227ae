//! Expected outcome: denied. It proposes what it should not: the root itself, what lies outside of it by every way there is, what
//! stands on another filesystem, what is protected; it lies about what it saw, and it knows all that there is to know
//! of a file outside. It waits until the test has changed things, and has its plan carried out. What it was told goes to the
//! log, one line for each attempt; the first denial is how it ends.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::{Entry, Identity, Kind, Root};
use upkeep_plugin::removal::{self, Compression, Outcome, Proposal};
use upkeep_plugin::{Context, HostError, HostResult, Result, Step, Task, info};

#[derive(Deserialize, JsonSchema)]
struct Attack {
    /// The granted root.
    root: String,
    /// The absolute path of a file outside of it.
    outside: String,
    /// All that is known of that file.
    known: Known,
}

#[derive(Deserialize, JsonSchema)]
struct Known {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i64,
}

impl Attack {
    /// Proposes a thing of this path and kind, which is said to be what `id` says.
    fn propose(&self, name: &str, path: &str, kind: Kind, id: Identity) {
        let entry = Entry { path: path.to_owned(), kind, id, mode: 0o644, uid: 0, gid: 0, accessed_ns: 0 };
        let mut proposal = Proposal::new(&self.root);
        let proposed = proposal.add(&entry, name, "no reason").and_then(|()| proposal.finish());
        let told = match proposed {
            Ok(proposed) if proposed.refused.is_empty() => "taken".to_owned(),
            Ok(proposed) => format!("refused, {}", proposed.refused[0].1),
            Err(error) => error.to_string(),
        };
        info!("attempt {name}: {told}");
    }

    fn outside(&self) -> Identity {
        let Known { device, inode, size, modified_ns } = self.known;
        Identity { device, inode, size, modified_ns }
    }

    fn root(&self) -> HostResult<Root> {
        Root::open(&self.root)
    }
}

impl Task for Attack {
    type Input = ();
    type Output = ();

    fn plan(&self, _: &Context) -> Result<Vec<Step<()>>> {
        let (root, outside) = (self.root()?, self.outside());
        let seen = |path: &str| root.stat(path).map(|entry| entry.id);
        let whole = seen("")?;
        for (name, path) in [
            ("slash", "/"),
            ("dotdot", ".."),
            ("dotdot-file", "../canary/secret"),
            ("dotdot-within", "swap/../../canary/secret"),
            ("dotdot-escaped", r"\x2e\x2e/canary/secret"),
            ("slash-escaped", r"\x2fetc/passwd"),
            ("absolute", self.outside.as_str()),
            ("passwd", "/etc/passwd"),
        ] {
            self.propose(name, path, Kind::File, outside);
        }
        for (name, path) in [("root-itself", ""), ("root-by-dot", "./.")] {
            self.propose(name, path, Kind::Directory, whole);
        }
        // All that it says of the file is true, and the path leads there in the end.
        for (name, path) in [("by-link", "link"), ("by-linked-folder", "way/secret"), ("by-swap", "swap/secret")] {
            self.propose(name, path, Kind::File, outside);
        }
        self.propose("folder-as-file", "swap", Kind::File, seen("swap")?);
        self.propose("pipe", "pipe", Kind::Other, seen("pipe")?);
        self.propose("pipe-as-file", "pipe", Kind::File, seen("pipe")?);
        self.propose("protected", "keep/file", Kind::File, seen("keep/file")?);
        self.propose("key", "deep/.ssh/id", Kind::File, seen("deep/.ssh/id")?);
        self.propose("kept", ".upkeep-undo/RUN/0/0-x", Kind::File, whole);
        if let Ok(mounted) = seen("mounted/file") {
            self.propose("device", "mounted/file", Kind::File, mounted);
            let lie = Identity { device: whole.device, ..mounted };
            self.propose("device-hidden", "mounted/file", Kind::File, lie);
            self.propose(
                "mount-point",
                "mounted",
                Kind::Directory,
                Identity { device: whole.device, ..seen("mounted")? },
            );
        }
        let lied = seen("lied")?;
        self.propose("lied-size", "lied", Kind::File, Identity { size: lied.size + 1, ..lied });
        self.propose("lied-time", "lied", Kind::File, Identity { modified_ns: lied.modified_ns + 1, ..lied });
        self.propose("lied-inode", "lied", Kind::File, Identity { inode: seen("fair")?.inode, ..lied });
        self.propose("changed", "changed", Kind::File, seen("changed")?);
        self.propose("exchanged", "exchanged", Kind::File, seen("exchanged")?);
        self.propose("swapped-own", "folder/own", Kind::File, seen("folder/own")?);
        self.propose("fair", "fair", Kind::File, seen("fair")?);

        let mut proposal = Proposal::new(&self.root);
        let entry = root.stat("keep")?;
        let compressed = proposal.compress(&entry, Compression::Gzip, "gzip", "").and_then(|()| proposal.finish());
        info!("attempt compress-folder: {:?}", compressed.map(|it| it.refused));
        for name in ["other", "/", "..", ""] {
            let mut proposal = Proposal::new(name);
            let told = proposal.add(&root.stat("fair")?, "r", "").and_then(|()| proposal.finish());
            info!("attempt root `{name}`: {told:?}");
        }
        Ok(vec![Step::only(())])
    }

    fn execute(&self, _: &Context, _: Step<()>) -> Result<()> {
        let root = self.root()?;
        root.write("planned", b"")?;
        while root.stat("go").is_err() {
            nap::for_ms(10);
        }
        let mut first = None;
        let mut attempt = |name: &str, result: HostResult<String>| match result {
            Ok(done) => info!("attempt {name}: it was done: {done}"),
            Err(error) => {
                info!("attempt {name}: {error}");
                first.get_or_insert(error);
            }
        };
        let mut late = Proposal::new(&self.root);
        let told = late.add(&root.stat("later")?, "late", "").and_then(|()| late.finish());
        attempt("propose-late", told.map(|it| format!("{it:?}")));
        for other in ["other", "/", ".."] {
            attempt(&format!("carry-out `{other}`"), removal::carry_out(other).map(|it| format!("{it:?}")));
            attempt(&format!("expire `{other}`"), removal::expire(other).map(|it| format!("{it:?}")));
        }
        for path in [".upkeep-undo/x", ".upkeep-undo", "into/x"] {
            attempt(&format!("write {path}"), root.write(path, b"x").map(|()| String::new()));
            attempt(&format!("make {path}"), root.make_directory(path).map(|()| String::new()));
        }
        attempt("read what is kept", root.read(".upkeep-undo/RUN/0/0-x").map(|_| String::new()));
        for time in ["first", "second"] {
            match removal::carry_out(&self.root)? {
                Outcome::Done(done) => {
                    done.problems.iter().for_each(|problem| info!("{time} kept {problem}"));
                    let kept = done.changed.items + done.in_use.items + done.failed.items + done.filled;
                    info!("{time}: removed {}, kept {kept}, gone {}", done.removed.items, done.gone);
                }
                Outcome::Blocked(blocks) => info!("{time}: blocked, {}", blocks[0].message),
            }
        }
        first.map_or(Ok(()), |error: HostError| Err(error.into()))
    }
}

upkeep_plugin::export!(Attack);
