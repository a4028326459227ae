//! How often an address may come with a token that nobody has: ten times within a minute, then it is not listened to until the minute
//! is over. Of IPv6, a network of 64 bits counts as one address, since each of its machines has as many as it likes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Tokens that may be wrong within a minute.
const MOST: u32 = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// Addresses that are remembered.
const ADDRESSES: usize = 4_096;

/// The addresses that came with a wrong token lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    of: HashMap<IpAddr, Minute>,
}

#[derive(Debug, Clone, Copy)]
struct Minute {
    since: Instant,
    wrong: u32,
}

impl Minute {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MINUTE
    }
}

impl Attempts {
    /// For how long nothing more is taken from an address.
    pub(super) fn closed_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let minute = self.of.get(&counted(address)).filter(|minute| minute.wrong >= MOST && !minute.is_over(now))?;
        Some((minute.since + MINUTE).saturating_duration_since(now))
    }

    /// It came with a wrong token. Whether this is worth a line in the log: the first, and the one that closes.
    pub(super) fn wrong(&mut self, address: IpAddr, now: Instant) -> bool {
        let address = counted(address);
        if self.of.len() >= ADDRESSES && !self.of.contains_key(&address) {
            self.of.retain(|_, minute| !minute.is_over(now));
            let oldest = self.of.iter().min_by_key(|(_, minute)| minute.since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.of.len() >= ADDRESSES) {
                self.of.remove(&oldest);
            }
        }
        let minute = self.of.entry(address).or_insert(Minute { since: now, wrong: 0 });
        if minute.is_over(now) {
            *minute = Minute { since: now, wrong: 0 };
        }
        minute.wrong = minute.wrong.saturating_add(1);
        minute.wrong == 1 || minute.wrong == MOST
    }
}

/// The address as it is counted.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_within_a_minute_close_it_until_the_minute_is_over() {
        let (start, a) = (Instant::now(), address("192.0.2.7"));
        let mut attempts = Attempts::default();
        let worth: Vec<u32> = (1..=12).filter(|_| attempts.wrong(a, start)).collect();
        assert_eq!(worth, [1, 10]);
        assert_eq!(attempts.closed_for(a, start + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(attempts.closed_for(address("::ffff:192.0.2.7"), start), Some(MINUTE), "the same address");
        assert_eq!(attempts.closed_for(address("192.0.2.8"), start), None);
        assert_eq!(attempts.closed_for(a, start + MINUTE), None);
        assert!(attempts.wrong(a, start + MINUTE), "a minute of its own");
        assert_eq!(attempts.closed_for(a, start + MINUTE), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        for host in 0..10 {
            attempts.wrong(address(&format!("2001:db8:0:7::{host:x}")), start);
        }
        assert!(attempts.closed_for(address("2001:db8:0:7:ffff::1"), start).is_some());
        assert!(attempts.closed_for(address("2001:db8:0:8::1"), start).is_none());
    }

    #[test]
    fn is_bounded_and_forgets_the_oldest() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        let other = |number: u32| IpAddr::from(number.to_be_bytes());
        for _ in 0..10 {
            attempts.wrong(address("192.0.2.7"), start + Duration::from_secs(1));
        }
        for number in 0..100_000 {
            attempts.wrong(other(number), start + Duration::from_micros(number.into()));
        }
        assert_eq!(attempts.of.len(), ADDRESSES);
        assert!(attempts.closed_for(address("192.0.2.7"), start + Duration::from_secs(2)).is_some(), "it came later");
        attempts.wrong(address("192.0.2.9"), start + MINUTE * 3);
        assert_eq!(attempts.of.len(), 1);
    }
}
