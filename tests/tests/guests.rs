//! Every guest under `tests/guests` comes to the outcome that it must have, and others go on meanwhile.
//!
//! `every_guest!` calls a function of [`outcome`] for each folder there: a guest without one does not compile, and one
//! without a guest is dead code, which is an error as well.

#[deny(dead_code, reason = "an expected outcome without a guest under tests/guests")]
#[path = "guests/harmless.rs"]
mod harmless;
#[deny(dead_code, reason = "an expected outcome without a guest under tests/guests")]
#[path = "guests/hostile.rs"]
mod hostile;
#[path = "guests/stage.rs"]
mod stage;

/// What each guest must come to, by its name.
mod outcome {
    pub(super) use super::harmless::*;
    pub(super) use super::hostile::*;
}

macro_rules! one_test_each {
    ($($guest:ident)*) => { $( #[test] fn $guest() { outcome::$guest(); } )* };
}
upkeep_tests::every_guest!(one_test_each);
