//! The `upkeep` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    upkeep::cli::Cli::parse().run().into()
}
