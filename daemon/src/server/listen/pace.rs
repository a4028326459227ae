//! So many messages a minute: a bucket that holds a minute's worth and fills evenly. All that is remembered is when it will be full.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// How far a client is with what it may.
#[derive(Debug, Default)]
pub(super) struct Pace {
    full: Option<Instant>,
}

impl Pace {
    /// Takes one of `rate` a minute, or says after what time there is one.
    pub(super) fn take(&mut self, rate: u32, now: Instant) -> Result<(), Duration> {
        let full = self.full.map_or(now, |full| full.max(now)) + MINUTE / rate.max(1);
        let wait = full.saturating_duration_since(now + MINUTE);
        // A microsecond: the minute is not always a multiple.
        if wait > Duration::from_micros(1) {
            return Err(wait);
        }
        self.full = Some(full);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_evenly() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for rate in [6, 7, 600] {
            pace = Pace::default();
            assert_eq!((0..1_000).filter(|_| pace.take(rate, start).is_ok()).count(), rate as usize);
        }
        assert_eq!(pace.take(600, start), Err(MINUTE / 600));
        assert_eq!(pace.take(600, start + MINUTE / 600), Ok(()));
        assert!(pace.take(600, start + MINUTE / 600).is_err());
        // Another rate counts from where it is.
        assert!(pace.take(1, start + Duration::from_secs(1)).unwrap_err() > Duration::from_secs(50));
        assert_eq!(pace.take(1, start + MINUTE * 3), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_two_minutes_worth_in_a_minute_nor_less_than_one(
            rate in 1_u32..50,
            steps in prop::collection::vec(0_u64..20_000, 1..200),
        ) {
            let start = Instant::now();
            let (mut pace, mut at, mut given) = (Pace::default(), 0, Vec::new());
            for step in steps {
                at += step;
                match pace.take(rate, start + Duration::from_millis(at)) {
                    Ok(()) => given.push(at),
                    Err(wait) => {
                        let until = start + Duration::from_millis(at) + wait;
                        prop_assert_eq!(Pace { full: pace.full }.take(rate, until), Ok(()), "there is one when it says so");
                        let within = given.iter().filter(|it| **it + 60_000 > at).count();
                        prop_assert!(within >= rate as usize, "{} were given within a minute", within);
                    }
                }
            }
            for (index, first) in given.iter().enumerate() {
                let within = given[index..].iter().take_while(|it| **it < first + 60_000).count();
                prop_assert!(within <= rate as usize * 2, "{within} from {first}");
            }
        }
    }
}
