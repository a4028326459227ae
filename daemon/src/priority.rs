//! Work that gives way to others: on a thread of its own with less claim to processor and disk.
//!
//! Linux keeps both priorities per thread, and a thread hands them on to those that it starts. So the work gets a new
//! thread: an old one could not be given its claim back without a privilege. The priority of disk access has no safe
//! function in the libraries at hand (`ioprio_set` has no wrapper in libc, rustix or nix), so the tool of the system does it.

use std::process::{Command, Stdio};

use crate::config::limits::{IoClass, Limits};

/// What a thread is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Priority {
    nice: Option<u32>,
    ionice: Option<IoClass>,
}

impl Priority {
    /// What the limits of a task say.
    pub fn of(limits: &Limits) -> Self {
        Self { nice: limits.nice, ionice: limits.ionice }
    }

    /// Does the work, on another thread where it is to give way. What the system does not allow is logged, and the work is
    /// done all the same. A panic of the work goes on here.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        if self == Self::default() {
            return Ok(work());
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("upkeep-low".to_owned());
            let done = thread.spawn_scoped(scope, || {
                self.apply();
                work()
            })?;
            Ok(done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn apply(self) {
        let thread = rustix::thread::gettid();
        if let Some(nice) = self.nice {
            let nice = i32::try_from(nice).unwrap_or(19);
            // One that is lowered already, as by the unit, is not raised.
            let now = rustix::process::getpriority_process(Some(thread)).unwrap_or(0);
            if nice > now
                && let Err(error) = rustix::process::setpriority_process(Some(thread), nice)
            {
                tracing::warn!(reason = %error, "`limits.nice` has no effect; does the unit forbid `setpriority`?");
            }
        }
        let Some(class) = self.ionice else { return };
        let arguments: &[&str] = match class {
            IoClass::Idle => &["-c", "3"],
            IoClass::BestEffort => &["-c", "2", "-n", "7"],
        };
        let mut ionice = Command::new("ionice");
        ionice.args(arguments).args(["-p", &thread.as_raw_nonzero().to_string()]).stdin(Stdio::null());
        let reason = match ionice.output() {
            Ok(output) if output.status.success() => return,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(reason, "`limits.ionice` has no effect; does the unit forbid `ioprio_set`?");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ionice() -> String {
        let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
        let output = Command::new("ionice").args(["-p", &thread]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn nice() -> i32 {
        rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap()
    }

    #[test]
    fn the_work_and_what_it_starts_give_way_and_nothing_else() {
        let (before, here) = ((nice(), ionice()), std::thread::current().id());
        let limits = Limits { nice: Some(15), ionice: Some(IoClass::Idle), ..Limits::default() };
        let look = || (nice(), ionice());
        let (own, started) = Priority::of(&limits).run(|| (look(), std::thread::spawn(look).join().unwrap())).unwrap();
        assert_eq!(own, (15, "idle".to_owned()));
        assert_eq!(started, own);
        assert_eq!((nice(), ionice()), before);

        let limits = Limits { ionice: Some(IoClass::BestEffort), ..Limits::default() };
        assert_eq!(Priority::of(&limits).run(ionice).unwrap(), "best-effort: prio 7");
        assert_eq!(Priority::default().run(|| std::thread::current().id()).unwrap(), here);
    }
}
