//! Waits in the host: WASI's clock and poll, which every plugin has.

/// Waits so many milliseconds in one call of the host.
pub fn for_ms(ms: u64) {
    wasip2::clocks::monotonic_clock::subscribe_duration(ms * 1_000_000).block();
}
