//! Finds what is vulnerable, exposed, leaked or changed, and can leak nothing itself: it reads, and has neither a network nor
//! the right to write.
//!
//! Each check is a part of its own, switched on by its section of the configuration: [`hardening`] looks at the settings of the
//! machine.

#[cfg_attr(not(test), expect(dead_code, reason = "no step looks at it yet"))]
mod hardening;
