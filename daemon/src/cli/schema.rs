//! `upkeep schema`: the JSON Schemas of the configuration files.

use std::io::Write;

use clap::{Args, ValueEnum};

use crate::config::daemon::DaemonSettings;
use crate::config::schema;
use crate::config::task::TaskSettings;

/// Print the JSON Schema of a configuration file, for editors
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which file.
    pub file: ConfigFile,
}

/// A kind of configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigFile {
    /// upkeep.toml
    Daemon,
    /// tasks.d/NAME.toml
    Task,
}

/// Prints the schema.
///
/// # Errors
///
/// When `out` cannot be written to.
pub fn schema(args: &SchemaArgs, out: &mut dyn Write) -> std::io::Result<()> {
    let schema = match args.file {
        ConfigFile::Daemon => schema::of::<DaemonSettings>(),
        ConfigFile::Task => schema::of::<TaskSettings>(),
    };
    writeln!(out, "{:#}", schema.to_value())
}
