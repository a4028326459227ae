//! The queue of runs that wait for a permit. Pure: it knows who may not run beside whom, and nothing of time.
//!
//! First come, first served. A run that has to wait for another of its task or group is parked under what it waits for and
//! does not hold up those behind it; when that becomes free it goes to the front.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::record::{Run, RunId, Step};

/// A run that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) run: Run,
    /// Its task's name.
    pub(super) task: Arc<str>,
    /// Whether it may run beside others of its task.
    pub(super) beside: bool,
    /// Runs of one group do not run beside each other.
    pub(super) group: Option<Arc<str>>,
    /// Steps in the journal of a run that is resumed.
    pub(super) resumed: Option<Vec<Step>>,
}

/// What only one run can have at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Exclusive {
    Task(Arc<str>),
    Group(Arc<str>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Waiting>,
    parked: HashMap<Exclusive, VecDeque<Waiting>>,
    held: HashSet<Exclusive>,
    /// Runs that wait and runs under way, by task.
    waiting: HashMap<Arc<str>, usize>,
    running: HashMap<Arc<str>, usize>,
    permits: usize,
    length: usize,
}

impl Queue {
    /// An empty queue that lets so many runs be under way.
    pub(super) fn new(permits: usize) -> Self {
        Self { permits, ..Self::default() }
    }

    /// Lets more or fewer runs be under way from now on.
    pub(super) fn set_permits(&mut self, permits: usize) {
        self.permits = permits;
    }

    /// Counts a run that is being written to the journal and will be pushed when it is durable.
    pub(super) fn announce(&mut self, task: &Arc<str>) {
        *self.waiting.entry(Arc::clone(task)).or_default() += 1;
        self.length += 1;
    }

    /// A run that was announced does not come.
    pub(super) fn retract(&mut self, task: &Arc<str>) {
        self.length -= 1;
        decrement(&mut self.waiting, task);
    }

    /// Takes a run that was announced.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.ready.push_back(waiting);
    }

    /// The next run that may start; it counts as under way until [`Queue::ended`].
    pub(super) fn next(&mut self) -> Option<Waiting> {
        let under_way: usize = self.running.values().sum();
        if under_way >= self.permits {
            return None;
        }
        while let Some(waiting) = self.ready.pop_front() {
            if let Some(blocked) = exclusives(&waiting).find(|exclusive| self.held.contains(exclusive)) {
                self.parked.entry(blocked).or_default().push_back(waiting);
                continue;
            }
            self.held.extend(exclusives(&waiting));
            self.length -= 1;
            decrement(&mut self.waiting, &waiting.task);
            *self.running.entry(Arc::clone(&waiting.task)).or_default() += 1;
            return Some(waiting);
        }
        None
    }

    /// A run that was given out is over.
    pub(super) fn ended(&mut self, waiting: &Waiting) {
        decrement(&mut self.running, &waiting.task);
        for exclusive in exclusives(waiting) {
            self.held.remove(&exclusive);
            if let Some(parked) = self.parked.get_mut(&exclusive) {
                if let Some(next) = parked.pop_front() {
                    self.ready.push_front(next);
                }
                if parked.is_empty() {
                    self.parked.remove(&exclusive);
                }
            }
        }
    }

    /// Takes a run out that has not started.
    pub(super) fn remove(&mut self, run: &RunId) -> Option<Waiting> {
        let lists = std::iter::once(&mut self.ready).chain(self.parked.values_mut());
        let found = lists.into_iter().find_map(|list| {
            let at = list.iter().position(|waiting| waiting.run.id == *run)?;
            list.remove(at)
        })?;
        self.parked.retain(|_, parked| !parked.is_empty());
        self.length -= 1;
        decrement(&mut self.waiting, &found.task);
        Some(found)
    }

    /// Number of runs of a task that wait or are announced.
    pub(super) fn waiting(&self, task: &str) -> usize {
        self.waiting.get(task).copied().unwrap_or(0)
    }

    /// Number of runs of a task that are under way.
    pub(super) fn running(&self, task: &str) -> usize {
        self.running.get(task).copied().unwrap_or(0)
    }

    /// Number of runs that wait or are announced.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Runs that wait, ready ones first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.ready.iter().chain(self.parked.values().flatten())
    }
}

fn exclusives(waiting: &Waiting) -> impl Iterator<Item = Exclusive> + use<> {
    let task = (!waiting.beside).then(|| Exclusive::Task(Arc::clone(&waiting.task)));
    let group = waiting.group.clone().map(Exclusive::Group);
    task.into_iter().chain(group)
}

fn decrement(counts: &mut HashMap<Arc<str>, usize>, task: &Arc<str>) {
    if let Some(count) = counts.get_mut(task) {
        *count -= 1;
        if *count == 0 {
            counts.remove(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::Trigger;

    fn waiting(task: &str, beside: bool, group: Option<&str>) -> Waiting {
        let run = Run::queued(RunId::new(Timestamp(0)), task, Trigger::Schedule, Timestamp(0), Timestamp(0));
        Waiting { run, task: task.into(), beside, group: group.map(Arc::from), resumed: None }
    }

    fn push(queue: &mut Queue, waiting: Waiting) {
        queue.announce(&waiting.task);
        queue.push(waiting);
    }

    fn tasks(queue: &mut Queue) -> Vec<Waiting> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    fn names(waiting: &[Waiting]) -> Vec<&str> {
        waiting.iter().map(|waiting| &*waiting.task).collect()
    }

    #[test]
    fn first_come_first_served_within_the_permits() {
        let mut queue = Queue::new(2);
        for task in ["a", "b", "c"] {
            push(&mut queue, waiting(task, false, None));
        }
        let first = tasks(&mut queue);
        assert_eq!(names(&first), ["a", "b"]);
        assert_eq!((queue.len(), queue.waiting("c"), queue.running("a")), (1, 1, 1));
        queue.ended(&first[0]);
        assert_eq!(names(&tasks(&mut queue)), ["c"]);
    }

    #[test]
    fn a_run_that_waits_for_its_task_holds_nobody_up() {
        let mut queue = Queue::new(10);
        for task in ["a", "a", "b"] {
            push(&mut queue, waiting(task, false, None));
        }
        let first = tasks(&mut queue);
        assert_eq!(names(&first), ["a", "b"]);
        push(&mut queue, waiting("c", false, None));
        queue.ended(&first[0]);
        assert_eq!(names(&tasks(&mut queue)), ["a", "c"], "what was parked comes before what came later");
    }

    #[test]
    fn runs_of_a_task_that_allows_it_run_beside_each_other() {
        let mut queue = Queue::new(10);
        (0..3).for_each(|_| push(&mut queue, waiting("a", true, None)));
        assert_eq!(tasks(&mut queue).len(), 3);
    }

    #[test]
    fn tasks_of_a_group_never_run_beside_each_other() {
        let mut queue = Queue::new(10);
        push(&mut queue, waiting("a", false, Some("disk")));
        push(&mut queue, waiting("b", true, Some("disk")));
        push(&mut queue, waiting("c", false, None));
        let first = tasks(&mut queue);
        assert_eq!(names(&first), ["a", "c"]);
        queue.ended(&first[1]);
        assert!(tasks(&mut queue).is_empty());
        queue.ended(&first[0]);
        assert_eq!(names(&tasks(&mut queue)), ["b"]);
    }

    #[test]
    fn a_parked_run_can_be_taken_out() {
        let mut queue = Queue::new(10);
        let second = waiting("a", false, None);
        push(&mut queue, waiting("a", false, None));
        push(&mut queue, second.clone());
        let first = tasks(&mut queue);
        assert!(queue.remove(&second.run.id).is_some());
        assert!(queue.remove(&second.run.id).is_none());
        queue.ended(&first[0]);
        assert!(tasks(&mut queue).is_empty());
        assert_eq!(queue.len(), 0);
    }
}
