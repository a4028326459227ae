//! What needs no repository; `tests/tests/damage.rs` breaks real ones.

use super::*;

fn id(first: u8) -> Id {
    let mut bytes = [7; 32];
    bytes[0] = first;
    Id::new(bytes)
}

#[test]
fn all_parts_together_are_everything_and_each_is_read_once() {
    for count in [1, 2, 7, 30, 256] {
        for first in 0..=255 {
            let parts = (1..=count).filter(|number| Reading::part(*number, count).has(&id(first))).count();
            assert_eq!(parts, 1, "{first} of {count}");
        }
    }
    assert!((0..=255).all(|first| Reading::everything().has(&id(first)) && !Reading::nothing().has(&id(first))));
    let some = Reading::beginning_with([0, 0xab]);
    assert_eq!((0..=255).filter(|first| some.has(&id(*first))).collect::<Vec<_>>(), [0, 0xab]);
}
