//! Memory that is free goes back to the system. Loading a configuration and saving a backup use much for a short time, and
//! the allocator would keep it for as long as the daemon runs. And memory stays where it is: passwords and keys are in it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Leaves no core file when this process crashes, and lets no other process of the same user look into it (ptrace,
/// `/proc/PID/mem`). Children leave none either, though they may be looked into: they are other programs by then.
pub fn keep_to_itself() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // The unit takes away the right to change limits, and sets this one itself.
    let limited = setrlimit(Resource::Core, none);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable).and(limited) {
        tracing::debug!(%error, "a crash could leave a core file");
    }
}

/// Gives back what the allocator holds and nobody uses. Takes about a millisecond for each 100 MB.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's own call; no library wraps it")]
pub fn give_back() {
    // SAFETY: it takes a number, touches only memory that is free, and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Lets whatever is larger than a mebibyte go back to the system as soon as it is freed. As it comes, the C library learns
/// from the first large thing that is freed to keep all that are as large, and a backup uses many of different sizes.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's own call; no library wraps it")]
pub fn keep_nothing_large() {
    // SAFETY: it takes two numbers and changes a setting of the allocator, which may be done at any time.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) };
}

/// Other C libraries do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn keep_nothing_large() {}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
