//! Three versions, one a line, of any scheme: reading them does not panic, and their order is one.

#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use upkeep_advisory::version::{Scheme, Version};

fuzz_target!(|text: &str| {
    for scheme in Scheme::ALL {
        let versions: Vec<_> = text.lines().take(3).filter_map(|it| Version::parse(scheme, it).ok()).collect();
        let order = |one: &Version, other: &Version| one.partial_cmp(other).unwrap_or(Ordering::Equal);
        for one in &versions {
            assert!(order(one, one).is_eq(), "{one:?}");
            for other in &versions {
                assert_eq!(order(one, other), order(other, one).reverse(), "{one:?} {other:?}");
                for third in &versions {
                    let is_sorted = order(one, other).is_le() && order(other, third).is_le();
                    assert!(!is_sorted || order(one, third).is_le(), "{one:?} {other:?} {third:?}");
                }
            }
        }
    }
});
