//! Which compiler makes WebAssembly here: plugins need the standard library of [`TARGET`], and machines differ.
//!
//! [`probe`] looks, [`choose`] decides (pure), [`Toolchain::apply`] sets up cargo. In this order:
//!
//! 1. The compiler has the target's library. The usual developer machine.
//! 2. A compiler has its library's source, and a linker: it builds the library along with the plugin. So it is with
//!    Debian's packages `rustc-web` and `rust-web-src`, which live beside rustup.
//! 3. rustup is asked to fetch the library. Third, since it needs the network, and may wait long for one that is shut.
//! 4. When allowed, and possible: Debian's packages are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What plugins are compiled for, before they are wrapped as components.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where cargo takes flags of the compiler for the target from.
const FLAGS: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS";

/// Debian's packages for the second way.
pub const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Where Debian puts its compiler: beside rustup's, which shadows it in `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// What the machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The compiler that cargo uses by itself, as `rustc 1.95.0`; none when there is none.
    pub rustc: Option<String>,
    /// Whether that one has the target's library.
    pub has_target: bool,
    /// A compiler that has its library's source and a linker for WebAssembly.
    pub with_source: Option<WithSource>,
    /// Whether there is rustup.
    pub rustup: bool,
    /// Whether packages can be installed: root, and apt-get is there.
    pub can_install: bool,
}

/// A compiler that can build the target's library from source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithSource {
    /// The compiler.
    pub rustc: PathBuf,
    /// Its version, as `rustc 1.96.0`.
    pub version: String,
    /// Its linker for WebAssembly.
    pub linker: Linker,
}

/// Where a compiler has its linker for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linker {
    /// The compiler finds it by itself.
    Own,
    /// There.
    At(PathBuf),
    /// Nowhere; Debian has it in this package.
    Missing(String),
}

/// What is to be done to have a compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It is there.
    Use(Toolchain),
    /// Run `rustup target add`, then look again.
    Fetch,
    /// Install these packages, then look again.
    Install(Vec<String>),
}

/// A compiler that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// It has the target's library.
    Ready {
        /// As `rustc 1.95.0`.
        version: String,
    },
    /// It builds the library along with the plugin.
    BuildLibrary(WithSource),
}

/// Why there is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ToolchainError {
    /// cargo or rustc is missing.
    #[error("there is no Rust compiler: install one from https://rustup.rs, or `apt-get install cargo-web {}`", PACKAGES.join(" "))]
    NoCompiler,
    /// No way leads to the target's library.
    #[error(
        "the compiler has no library for {TARGET}{detail}. One of these helps:\n  \
         rustup target add {TARGET}\n  \
         apt-get install {}        (Debian 12 or newer; needs root)",
        packages.join(" ")
    )]
    NoLibrary {
        /// What was tried in vain, or nothing.
        detail: String,
        /// What Debian has to offer.
        packages: Vec<String>,
    },
}

/// What to do, given what is there, what was `tried` in vain, and whether packages `may_install`.
///
/// # Errors
/// When nothing is left to try.
pub fn choose(found: &Found, tried: &[Choice], may_install: bool) -> Result<Choice, ToolchainError> {
    if let (true, Some(version)) = (found.has_target, &found.rustc) {
        return Ok(Choice::Use(Toolchain::Ready { version: version.clone() }));
    }
    let packages = match &found.with_source {
        Some(WithSource { linker: Linker::Missing(package), .. }) => vec![package.clone()],
        Some(ready) => return Ok(Choice::Use(Toolchain::BuildLibrary(ready.clone()))),
        None => found.rustc.is_none().then_some("cargo-web").into_iter().chain(PACKAGES).map(str::to_owned).collect(),
    };
    if found.rustup && found.rustc.is_some() && !tried.contains(&Choice::Fetch) {
        return Ok(Choice::Fetch);
    }
    let install = Choice::Install(packages.clone());
    if may_install && found.can_install && !tried.contains(&install) {
        return Ok(install);
    }
    if found.rustc.is_none() {
        return Err(ToolchainError::NoCompiler);
    }
    let names = tried.iter().map(|it| if *it == Choice::Fetch { "rustup" } else { "apt-get" });
    let names: Vec<_> = names.collect();
    let detail = if names.is_empty() { String::new() } else { format!(" ({} could not get it)", names.join(", ")) };
    Err(ToolchainError::NoLibrary { detail, packages })
}

/// Finds or gets a compiler for a plugin in `dir`. Packages are installed only if `may_install`.
///
/// # Errors
/// When there is none and none can be had.
pub fn obtain(dir: &Path, may_install: bool) -> Result<Toolchain, ToolchainError> {
    let mut tried = Vec::new();
    loop {
        let choice = choose(&probe(dir), &tried, may_install)?;
        match &choice {
            Choice::Use(toolchain) => return Ok(toolchain.clone()),
            Choice::Fetch => succeeds(Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir)),
            Choice::Install(packages) => {
                let apt = || {
                    let mut apt = Command::new("apt-get");
                    apt.env("DEBIAN_FRONTEND", "noninteractive");
                    apt
                };
                // A fresh machine has no lists of packages. If they cannot be fetched, those that are there may do.
                succeeds(apt().args(["update", "-qq"]));
                succeeds(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
            }
        };
        tried.push(choice);
    }
}

/// Looks what the machine has. A rust-toolchain file in `dir` counts.
pub fn probe(dir: &Path) -> Found {
    let default = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let has_target = print(&default, &["--print", "target-libdir", "--target", TARGET], dir)
        .is_some_and(|library| has_files(Path::new(&library)));
    Found {
        rustc: version(&default, dir),
        has_target,
        with_source: [default.as_path(), Path::new(DEBIAN_RUSTC)].into_iter().find_map(|it| with_source(it, dir)),
        rustup: succeeds(Command::new("rustup").arg("--version").stdout(Stdio::null()).stderr(Stdio::null())),
        can_install: rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists(),
    }
}

fn with_source(rustc: &Path, dir: &Path) -> Option<WithSource> {
    let sysroot = PathBuf::from(print(rustc, &["--print", "sysroot"], dir)?);
    if !sysroot.join("lib/rustlib/src/rust/library/std").is_dir() {
        return None;
    }
    let details = print(rustc, &["--version", "--verbose"], dir)?;
    let detail = |name: &str| details.lines().find_map(|line| line.strip_prefix(name));
    let beside = |sysroot: &Path| Some(sysroot.join("lib/rustlib").join(detail("host: ")?).join("bin/rust-lld"));
    // The linker is part of LLVM, and Debian has a package for each version.
    let package = format!("lld-{}", detail("LLVM version: ")?.split('.').next()?);

    let linker = if beside(&sysroot)?.is_file() {
        Linker::Own
    } else {
        // Debian's compiler has none beside it, but is content with rustup's.
        let rustup = print(Path::new("rustc"), &["--print", "sysroot"], dir).and_then(|it| beside(Path::new(&it)));
        let places = [Some(sysroot.join("bin/rust-lld")), Some(sysroot.join("bin").join(&package)), rustup];
        places.into_iter().flatten().find(|it| it.is_file()).map_or(Linker::Missing(package), Linker::At)
    };
    Some(WithSource { rustc: rustc.to_owned(), version: version(rustc, dir)?, linker })
}

/// `rustc 1.95.0`, of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version(rustc: &Path, dir: &Path) -> Option<String> {
    let line = print(rustc, &["--version"], dir)?;
    Some(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn print(program: &Path, arguments: &[&str], dir: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(dir).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

fn has_files(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Toolchain {
    /// Sets up a `cargo build`.
    pub fn apply(&self, cargo: &mut Command) {
        cargo.args(["--target", TARGET]);
        // Part of WebAssembly 2.0: searching in bytes takes half of the time. Whoever sets the flags knows what they want.
        if std::env::var_os(FLAGS).is_none() {
            cargo.env(FLAGS, "-Ctarget-feature=+simd128");
        }
        if let Self::BuildLibrary(WithSource { rustc, linker, .. }) = self {
            // A stable compiler takes -Z only with RUSTC_BOOTSTRAP; the library is built from its own source.
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            if let Linker::At(linker) = linker {
                cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            }
        }
    }
}

impl std::fmt::Display for Toolchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready { version } => write!(f, "{version}, which has {TARGET}"),
            Self::BuildLibrary(it) => {
                write!(f, "{} at {}, which builds the library of {TARGET} from source", it.version, it.rustc.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flags: &str) -> Found {
        let has = |flag| flags.split_whitespace().any(|it| it == flag);
        Found {
            rustc: has("rustc").then(|| "rustc 1.95.0".to_owned()),
            has_target: has("target"),
            with_source: has("source").then(|| WithSource {
                rustc: DEBIAN_RUSTC.into(),
                version: "rustc 1.96.0".to_owned(),
                linker: if has("linker") { Linker::Own } else { Linker::Missing("lld-22".to_owned()) },
            }),
            rustup: has("rustup"),
            can_install: has("root"),
        }
    }

    #[test]
    fn the_choice_follows_from_what_is_there() {
        let installed = || Choice::Install(PACKAGES.map(str::to_owned).into());
        let cases = [
            ("rustc target rustup", vec![], false),
            ("rustc target source linker rustup root", vec![], true),
            ("rustc source linker rustup", vec![], false),
            ("source linker", vec![], false),
            ("rustc source", vec![], false),
            ("rustc source root", vec![installed()], true),
            ("rustc rustup", vec![], false),
            ("rustc rustup root", vec![Choice::Fetch], false),
            ("rustc rustup root", vec![Choice::Fetch], true),
            ("rustc rustup root", vec![Choice::Fetch, installed()], true),
            ("rustc", vec![], true),
            ("rustc root", vec![], true),
            ("root", vec![], true),
            ("", vec![], true),
        ];
        let lines: Vec<_> = cases
            .iter()
            .map(|(has, tried, may)| {
                let choice = match choose(&found(has), tried, *may) {
                    Ok(Choice::Use(toolchain)) => toolchain.to_string(),
                    Ok(other) => format!("{other:?}"),
                    Err(error) => error.to_string(),
                };
                format!("[{has}] tried {tried:?}, may install: {may}\n  {choice}")
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
