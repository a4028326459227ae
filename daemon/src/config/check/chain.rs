//! `schedule.after`: tasks that start when others have ended. They must exist, and must not go in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::config::check::TaskFile;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::{KeyPath, Source};
use crate::config::suggest::{list, nearest};

/// One entry of `after`.
#[derive(Debug)]
pub(crate) struct Link {
    task: Arc<str>,
    other: String,
    key: KeyPath,
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

/// The entries of a task file.
pub(crate) fn links(file: &TaskFile<'_>) -> Vec<Link> {
    let after = file.settings.schedule.after.iter().enumerate();
    let link = |(place, after): (usize, &crate::config::schedule::After)| {
        let key = KeyPath::of(["schedule", "after"]).index(place).key("task");
        let span = file.document.value_span(&key);
        Link { task: file.name.clone(), other: after.task.clone(), key, source: file.document.source().clone(), span }
    };
    after.map(link).collect()
}

/// What is wrong with the entries of all files, with the task that it concerns.
pub(crate) fn problems(links: &[Link], names: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, Diagnostic)> {
    let mut problems = Vec::new();
    let mut tell = |link: &Link, message: String, help: String| {
        let diagnostic = Diagnostic::error(&link.source, link.key.clone(), message).at(link.span.clone()).help(help);
        problems.push((link.task.clone(), diagnostic));
    };
    let mut graph: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
    for link in links {
        if names.contains(link.other.as_str()) {
            graph.entry(&link.task).or_default().push(link);
            continue;
        }
        let known: Vec<&str> = names.iter().map(|name| &**name).filter(|name| **name != *link.task).collect();
        let help = match nearest(&link.other, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is no other task; a task is named by its file's stem".to_owned(),
            None if known.len() > 20 => "a task is named by its file's stem; `ls` the folder tasks.d".to_owned(),
            None => format!("tasks are named by their files: {}", list(known)),
        };
        tell(link, format!("there is no task \"{}\"", link.other), help);
    }
    // A circle is told once, at the link of the task that comes first in the alphabet.
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in graph.keys() {
        if let Some(circle) = circle_from(start, &graph)
            && !circle.iter().any(|link| told.contains(&*link.task))
        {
            told.extend(circle.iter().map(|link| &*link.task));
            let way: Vec<&str> = circle.iter().map(|link| &*link.task).chain([*start]).collect();
            let message = match way.as_slice() {
                [_, _] => "the task waits for its own end".to_owned(),
                _ => format!("the tasks start each other in a circle: {}", way.join(" after ")),
            };
            if let Some(first) = circle.first() {
                let help =
                    if circle.len() == 1 { "remove this entry" } else { "remove one of these entries of `after`" };
                tell(first, message, help.to_owned());
            }
        }
    }
    problems
}

/// The links that lead from `start` back to it, if any do.
fn circle_from<'l>(start: &str, graph: &BTreeMap<&str, Vec<&'l Link>>) -> Option<Vec<&'l Link>> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut ways: Vec<Vec<&Link>> = graph.get(start)?.iter().map(|link| vec![*link]).collect();
    while let Some(way) = ways.pop() {
        let Some(last) = way.last() else { continue };
        if last.other == start {
            return Some(way);
        }
        if seen.insert(&last.other) {
            for next in graph.get(last.other.as_str()).into_iter().flatten() {
                ways.push(way.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}
