//! Sleeping until a moment of the wall clock, without a wake-up before it.
//!
//! A sleep of so many seconds is wrong for a scheduler: it goes on counting old seconds when somebody sets the clock, and
//! stands still while the machine is suspended. A timerfd on `CLOCK_REALTIME` with an absolute time is right on both counts,
//! and with `TFD_TIMER_CANCEL_ON_SET` the kernel reports when the clock was set or the machine resumed, so that nothing has
//! to be polled. What happened is then read from the other clocks, see [`Clocks`].

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Timestamp;

/// 2200-01-01: with no deadline the timer is armed all the same, because only an armed timer reports changes of the clock.
const NEVER: i64 = 7_258_118_400;

/// Differences between clocks below this, in milliseconds, are reading noise.
const NOISE: i64 = 1000;

/// A timer on the wall clock.
#[derive(Debug)]
pub struct WallTimer {
    fd: AsyncFd<OwnedFd>,
}

/// Why a [`WallTimer`] woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The deadline is reached.
    Due,
    /// The clock was set or the machine was suspended; the deadline may be near, far or long past now.
    ClockChanged,
}

impl WallTimer {
    /// A timer; needs a tokio runtime with I/O.
    #[expect(deprecated, reason = "its successor is unsafe for descriptors that may be closed; an OwnedFd stays open")]
    pub fn new() -> io::Result<Self> {
        let fd =
            rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { fd: AsyncFd::with_interest(fd, Interest::READABLE)? })
    }

    /// Sleeps until `deadline` or, with none, until the clock changes. May be dropped and called again with another deadline.
    pub async fn sleep_until(&mut self, deadline: Option<Timestamp>) -> io::Result<Wake> {
        let at = match deadline {
            // Zero would disarm the timer.
            Some(Timestamp(at)) => {
                let at = at.max(1);
                Timespec { tv_sec: at / 1000, tv_nsec: at % 1000 * 1_000_000 }
            }
            None => Timespec { tv_sec: NEVER, tv_nsec: 0 },
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match rustix::time::timerfd_settime(self.fd.get_ref(), flags, &once) {
            Ok(_) => {}
            // The clock changed since the timer was armed before; nobody has read that yet.
            Err(Errno::CANCELED) => return Ok(Wake::ClockChanged),
            Err(error) => return Err(error.into()),
        }
        let read = |fd: &OwnedFd| rustix::io::read(fd, &mut [0; 8]).map_err(io::Error::from);
        match self.fd.async_io(Interest::READABLE, read).await {
            Ok(_) => Ok(Wake::Due),
            Err(error) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => Ok(Wake::ClockChanged),
            Err(error) => Err(error),
        }
    }
}

/// The three clocks of the kernel, read together, in milliseconds. Two readings tell a suspend from a clock that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_REALTIME`: the wall. Anybody may set it.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`: nobody can set it, and it counts on while the machine is suspended.
    pub since_boot: i64,
    /// `CLOCK_MONOTONIC`: nobody can set it, and it stands still while the machine is suspended.
    pub awake: i64,
}

/// What happened to the clock between two readings, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockChange {
    /// How long the machine was suspended.
    pub suspended: i64,
    /// How far the wall clock was set, forward or, negative, back. Slewing by NTP does not show here: the kernel slews all
    /// clocks alike.
    pub set: i64,
}

impl Clocks {
    /// Reads the clocks.
    pub fn read() -> Self {
        let read = |clock| {
            let at = rustix::time::clock_gettime(clock);
            at.tv_sec * 1000 + at.tv_nsec / 1_000_000
        };
        Self { wall: super::now(), since_boot: read(ClockId::Boottime), awake: read(ClockId::Monotonic) }
    }

    /// What happened since an earlier reading; `None` if nothing did.
    pub fn since(self, earlier: Self) -> Option<ClockChange> {
        let significant = |difference: i64| if difference.abs() < NOISE { 0 } else { difference };
        let elapsed = self.since_boot - earlier.since_boot;
        let change = ClockChange {
            suspended: significant(elapsed - (self.awake - earlier.awake)),
            set: significant(self.wall.0 - earlier.wall.0 - elapsed),
        };
        (change != ClockChange::default()).then_some(change)
    }
}

impl std::fmt::Display for ClockChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = |millis: i64| {
            humantime::format_duration(std::time::Duration::from_secs(millis.unsigned_abs().div_ceil(1000)))
        };
        if self.suspended != 0 {
            write!(f, "the machine was suspended for {}", span(self.suspended))?;
        }
        if self.suspended != 0 && self.set != 0 {
            f.write_str(" and ")?;
        }
        match self.set {
            0 => Ok(()),
            set if set > 0 => write!(f, "the clock was set forward by {}", span(set)),
            set => write!(f, "the clock was set back by {}", span(set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_millis(millis: i64) -> Timestamp {
        Timestamp(crate::clock::now().0 + millis)
    }

    #[tokio::test]
    async fn it_wakes_at_the_deadline_and_not_before() {
        let mut timer = WallTimer::new().unwrap();
        let deadline = in_millis(120);
        assert_eq!(timer.sleep_until(Some(deadline)).await.unwrap(), Wake::Due);
        let late = crate::clock::now().0 - deadline.0;
        assert!((0..2000).contains(&late), "woke {late} ms after the deadline");
    }

    #[tokio::test]
    async fn a_deadline_that_is_past_is_due_at_once() {
        let mut timer = WallTimer::new().unwrap();
        for past in [Timestamp(i64::MIN), Timestamp(0), in_millis(-1)] {
            assert_eq!(timer.sleep_until(Some(past)).await.unwrap(), Wake::Due);
        }
    }

    #[tokio::test]
    async fn without_a_deadline_it_sleeps_and_a_dropped_sleep_leaves_nothing_behind() {
        let mut timer = WallTimer::new().unwrap();
        let short = Duration::from_millis(60);
        assert!(tokio::time::timeout(short, timer.sleep_until(None)).await.is_err());
        // Expires while nobody waits for it: the next sleep must not take that for its own deadline.
        let dropped = timer.sleep_until(Some(in_millis(500)));
        assert!(tokio::time::timeout(Duration::from_millis(1), dropped).await.is_err());
        std::thread::sleep(Duration::from_millis(600));
        assert!(tokio::time::timeout(short, timer.sleep_until(None)).await.is_err());
        assert_eq!(timer.sleep_until(Some(in_millis(20))).await.unwrap(), Wake::Due);
    }

    #[test]
    fn suspend_and_set_are_told_apart() {
        let start = Clocks { wall: Timestamp(1_000_000), since_boot: 50_000, awake: 40_000 };
        let later = |wall, since_boot, awake| Clocks {
            wall: Timestamp(start.wall.0 + wall),
            since_boot: start.since_boot + since_boot,
            awake: start.awake + awake,
        };
        let said = |clocks: Clocks| clocks.since(start).map(|change| change.to_string());
        assert_eq!(said(later(5000, 5000, 5000)), None);
        assert_eq!(said(later(5400, 5000, 4990)), None);
        assert_eq!(said(later(7_205_000, 7_205_000, 5000)).unwrap(), "the machine was suspended for 2h");
        assert_eq!(said(later(3_605_000, 5000, 5000)).unwrap(), "the clock was set forward by 1h");
        assert_eq!(said(later(-55_000, 5000, 5000)).unwrap(), "the clock was set back by 1m");
        assert_eq!(
            said(later(7_265_000, 7_205_000, 5000)).unwrap(),
            "the machine was suspended for 2h and the clock was set forward by 1m"
        );
    }

    #[test]
    fn the_clocks_run_side_by_side() {
        let earlier = Clocks::read();
        std::thread::sleep(Duration::from_millis(30));
        let later = Clocks::read();
        assert!(later.since_boot - earlier.since_boot >= 29 && later.awake - earlier.awake >= 29);
        assert_eq!(later.since(earlier), None);
    }
}
