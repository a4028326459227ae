//! Memory that is free goes back to the system. Loading a configuration and saving a backup use much for a short time, and
//! the allocator would keep it for as long as the daemon runs.

/// Gives back what the allocator holds and nobody uses. Takes about a millisecond for each 100 MB.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's own call; no library wraps it")]
pub fn give_back() {
    // SAFETY: it takes a number, touches only memory that is free, and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
