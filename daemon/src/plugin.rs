//! Plugins as files: the manifest that each carries, and the tools that make and show them.
//!
//! A plugin is one file, a WebAssembly component with its [`manifest`] in a custom [`section`], readable without
//! executing it. [`new`] starts a plugin's folder, [`build`] turns the folder into the file with the [`toolchain`] that
//! the machine has, [`inspect`] shows what a file says about itself.

pub mod build;
pub mod inspect;
pub mod manifest;
pub mod new;
pub mod schema;
pub mod section;
pub mod toolchain;
