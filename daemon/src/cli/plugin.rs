//! `upkeep plugin ...`: for those who write plugins.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::plugin::build::Build;
use crate::plugin::{inspect, new};

/// Make and look at plugins
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    New(NewArgs),
    Build(BuildArgs),
    Inspect(InspectArgs),
}

/// Start a plugin: a folder that builds and runs at once
#[derive(Debug, Args)]
struct NewArgs {
    /// Small letters, digits and hyphens
    name: String,
    /// The folder to make [default: NAME]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Depend on this copy of upkeep's plugin-sdk folder instead of the published crate
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// Compile a plugin, or all plugins of a workspace, each to one .wasm file
#[derive(Debug, Args)]
struct BuildArgs {
    /// Folder of a crate or of a workspace
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file, or the folder for NAME.wasm [default: DIR]
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// cargo's target folder [default: target/upkeep of the workspace]
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// A component made by another toolchain: only add the manifest from DIR/plugin.toml
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// If the compiler lacks the library for WebAssembly: install Debian's packages (needs root)
    #[arg(long)]
    install: bool,
}

/// Show what a plugin says about itself, without running it
#[derive(Debug, Args)]
struct InspectArgs {
    /// The plugin
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl PluginArgs {
    /// Does it; what a person or a script reads goes to `out`.
    ///
    /// # Errors
    /// When it cannot be done; the message says what to do.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.command {
            PluginCommand::New(NewArgs { name, dir, sdk }) => {
                let dir = dir.unwrap_or_else(|| PathBuf::from(&name));
                new::create(&name, &dir, sdk.as_deref(), out)?;
            }
            PluginCommand::Build(BuildArgs { dir, out: to, target_dir, component, install }) => {
                Build { dir, out: to, target_dir, component, may_install: install }.run(out)?;
            }
            PluginCommand::Inspect(InspectArgs { file, json }) => inspect::show(&file, json, out)?,
        }
        Ok(())
    }
}
