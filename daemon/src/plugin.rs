//! What a plugin file says of itself.

pub mod manifest;
