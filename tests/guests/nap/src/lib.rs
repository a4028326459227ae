//! Waits in the host: WASI's clock and poll, which every plugin has.

wit_bindgen::generate!({
    inline: r#"
        package upkeep:nap;

        world nap {
            import wasi:io/poll@0.2.0;
            import wasi:clocks/monotonic-clock@0.2.0;
        }

        package wasi:io@0.2.0 {
            interface poll {
                resource pollable {
                    block: func();
                }
            }
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                subscribe-duration: func(when: u64) -> pollable;
            }
        }
    "#,
    generate_all,
});

/// Waits so many milliseconds in one call of the host.
pub fn for_ms(ms: u64) {
    wasi::clocks::monotonic_clock::subscribe_duration(ms * 1_000_000).block();
}
