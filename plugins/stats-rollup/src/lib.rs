//! Rolls logs up, and tables of events ([`table`]), each line exactly once.
//!
//! The plan looks which files there are and how far each is counted ([`cursor`]), and cuts what is new into parts. Each part is
//! a step: it reads its lines ([`content`], [`lines`]), counts them ([`count`]) and keeps what comes out. The run's end merges
//! all parts into the figures and moves the cursors, in one transaction ([`store`], [`merge`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::files::{Kind, Root};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task, log};

use crate::config::{Origin, Source, Stats};
use crate::content::{Compression, Content};
use crate::count::{Counted, Counter};
use crate::cursor::{Candidate, Cursor, Head, Seen, State, assign};
use crate::lines::Part;
use crate::store::Store;

mod config;
mod content;
mod count;
mod country;
mod cursor;
mod gone;
mod lines;
mod merge;
mod report;
mod store;
mod table;

/// Bytes of a file that are worth a step.
const WORTH: u64 = 64 << 20;

/// A part of a file or a table that is to be counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which of the sources of the configuration.
    source: String,
    /// What the file is known by; the digest of its head when it is new.
    file: String,
    path: String,
    seen: Seen,
    head: Head,
    /// Where the cursor of the file stands.
    cursor: u64,
    /// Where the part begins and ends, in bytes after decompression; of a table the key behind which it does.
    from: u64,
    to: Option<u64>,
    /// The newest time that was counted of the source, in Unix seconds.
    newest: i64,
    /// Whether transactions may be under way that belong to it; of a table.
    settle: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Where the first line begins, and the last one ends.
    from: u64,
    to: u64,
    lines: u64,
    late: u64,
    malformed: u64,
    samples: Vec<(String, String)>,
    newest: i64,
    /// Whether nothing can come after it.
    complete: bool,
    /// Why nothing was counted though there was something: the next run will.
    put_off: Option<String>,
    /// What is wrong with the file.
    damage: Option<String>,
}

impl Task for Stats {
    type Input = Share;
    type Output = Done;

    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Share>>> {
        self.check(ctx)?;
        let store = Store::open(&self.figures)?;
        let is_new = store.is_new()?;
        let mut steps = Vec::new();
        for source in &self.sources {
            let (known, cursors) = match is_new {
                true => Default::default(),
                false => (store.known(&source.name)?, store.cursors(&source.name)?),
            };
            let there = There::look(source, &cursors)?;
            for file in assign(&cursors, &there.candidates) {
                let Candidate { path, seen, compressed, begin } = file.candidate;
                let Some(head) = Head::of(begin) else { continue };
                let cursor = file.cursor.map_or(0, |it| it.offset);
                let share = |from, to| Share {
                    source: source.name.clone(),
                    file: file.cursor.map_or_else(|| head.digest.clone(), |it| it.id.clone()),
                    path: path.clone(),
                    seen: *seen,
                    head: head.clone(),
                    cursor,
                    from,
                    to,
                    newest: known.newest,
                    settle: false,
                };
                let title = format!("count the lines of {}/{path}", source.root);
                if *compressed {
                    let id = format!("{}-{}", source.name, steps.len());
                    steps.push(Step::new(id, share(cursor, None)).title(title).weight(1 + (seen.size >> 17)));
                    continue;
                }
                let Some(left) = seen.size.checked_sub(cursor).filter(|it| *it > 0) else { continue };
                let parts = left.div_ceil(WORTH);
                for part in 0..parts {
                    let at = |part: u64| cursor + left / parts * part;
                    let to = (part + 1 < parts).then(|| at(part + 1));
                    let id = format!("{}-{}", source.name, steps.len());
                    let which = if parts > 1 { format!(" ({} of {parts})", part + 1) } else { String::new() };
                    let step = Step::new(id, share(at(part), to)).title(format!("{title}{which}"));
                    steps.push(step.weight(1 + ((left / parts) >> 20)));
                }
            }
        }
        for table in &self.tables {
            let (known, cursors) = match is_new {
                true => Default::default(),
                false => (store.known(&table.name)?, store.cursors(&table.name)?),
            };
            table::plan(table, known, &cursors, &mut steps)?;
        }
        Ok(steps)
    }

    fn execute(&self, ctx: &Context, step: Step<Share>) -> Result<Done> {
        let share = &step.input;
        let store = Store::open(&self.figures)?;
        store.prepare()?;
        let source = match self.origin(&share.source)? {
            Origin::Log(source) => source,
            Origin::Table(table) => return table::execute(ctx, self, table, &store, &step),
        };
        let root = Root::open(&source.root)?;
        let put_off = |why: &str| Done {
            from: share.from,
            to: share.from,
            lines: 0,
            late: 0,
            malformed: 0,
            samples: Vec::new(),
            newest: 0,
            complete: false,
            put_off: Some(why.to_owned()),
            damage: None,
        };
        let Some((mut content, compression)) = open(&root, source, share)? else {
            return Ok(put_off("it is not there any more"));
        };
        let is_compressed = compression != Compression::None;
        let late_before = share.newest - self.late.0 / 1_000;
        let mut counter = Counter::new(ctx, self, source, &store, late_before)?;
        let part = Part { from: share.from, is_begin: share.from == share.cursor, to: share.to };
        let (mut failed, mut seen) = (None, 0_u64);
        let span = lines::read(&mut content, part, &mut |line| {
            if failed.is_none() {
                failed = counter.line(line).err();
            }
            seen += 1;
            if seen.is_multiple_of(1 << 18) {
                log::progress(seen, None, "lines");
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        // A file that was cut off while it was read begins with something else now.
        if let Some(reader) = content.plain()
            && !share.head.begins(&reader.read_at(0, cursor::HEAD as u32)?)
        {
            return Ok(put_off("it was cut off meanwhile"));
        }
        if is_compressed && span.rest > 0 {
            // Nothing comes any more: it was cut off, or copied while it was written.
            counter.cut_off(span.rest);
        }
        let Counted { sections, lines, late, malformed, samples, newest } = counter.finish();
        store.keep(&ctx.run, &step.id, sections)?;
        let damage = content.damage().map(str::to_owned);
        Ok(Done {
            from: span.from,
            to: span.to,
            lines,
            late,
            malformed,
            samples,
            newest,
            complete: is_compressed && damage.is_none(),
            put_off: None,
            damage,
        })
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let store = Store::open(&self.figures)?;
        store.prepare()?;
        let mut merged = BTreeMap::new();
        for origin in self.origins() {
            let before = store.cursors(origin.name())?;
            let mine = outcomes.iter().filter(|it| it.step.input.source == origin.name());
            let mut of = merge::source(self, ctx, &store, origin, mine)?;
            if let Origin::Log(source) = origin {
                of.lost = gone::settle(self, ctx, &store, source, &before)?;
            }
            merged.insert(origin.name().to_owned(), of);
        }
        store.forget(self, ctx)?;
        report::of(self, ctx, &store, &merged)
    }
}

impl Stats {
    fn origin(&self, name: &str) -> Result<Origin<'_>> {
        let found = self.origins().find(|it| it.name() == name);
        found.ok_or_else(|| Error::permanent("the plan names a source that the configuration has not"))
    }
}

/// The files of a source as they are now.
#[derive(Default)]
pub(crate) struct There {
    /// Those that lines may be in. What is compressed and was counted to its end is not looked into again.
    candidates: Vec<Candidate>,
    /// All of them, by path.
    files: Vec<(String, Seen)>,
    /// Those of them that are compressed and counted to their end.
    complete: Vec<(String, Seen)>,
    /// Those of them that could not be opened.
    closed: Vec<Seen>,
    /// Whether there may be more, where nobody could look.
    is_partial: bool,
}

impl There {
    fn look(source: &Source, cursors: &[Cursor]) -> Result<Self> {
        let root = Root::open(&source.root)?;
        let mut there = Self::default();
        let mut entries = root.walk().entries()?;
        for entry in entries.by_ref() {
            let entry = entry?;
            let seen = Seen::from(entry.id);
            if entry.kind != Kind::File || !source.has(&entry.path) {
                continue;
            }
            there.files.push((entry.path.clone(), seen));
            if seen.size == 0 {
                continue;
            }
            if cursors.iter().any(|it| it.state == State::Complete && it.seen == seen) {
                there.complete.push((entry.path, seen));
                continue;
            }
            let opened = root.read(&entry.path).map_err(Error::from).and_then(Content::open);
            match opened {
                Ok((mut content, compression)) => {
                    let begin = content.head();
                    let compressed = compression != Compression::None;
                    there.candidates.push(Candidate { path: entry.path, seen, compressed, begin });
                }
                // It went while the walk was under way, or is not for us: both are told when it matters, by what is missing.
                Err(error) => {
                    upkeep_plugin::warn!(path = entry.path, error = error.to_string(), "a log was not opened");
                    there.closed.push(seen);
                }
            }
        }
        there.is_partial = !entries.problems().is_empty();
        Ok(there)
    }
}

/// Opens the file of a share. When it has another name by now, it is looked for: logs are renamed at any time.
fn open(root: &Root, source: &Source, share: &Share) -> Result<Option<(Content, Compression)>> {
    let is_it = |path: &str| -> Option<(Content, Compression)> {
        let reader = root.read(path).ok()?;
        let is_same = Seen::from(reader.identity()).is_same_file(&share.seen);
        let (mut content, compression) = Content::open(reader).ok().filter(|_| is_same)?;
        if !share.head.begins(&content.head()) {
            return None;
        }
        if compression == Compression::None {
            return Some((content, compression));
        }
        // Looking at the head of what is compressed has read it.
        let reader = root.read(path).ok().filter(|it| Seen::from(it.identity()) == share.seen)?;
        Content::open(reader).ok()
    };
    if let Some(found) = is_it(&share.path) {
        return Ok(Some(found));
    }
    for entry in root.walk().entries()? {
        let entry = entry?;
        if entry.kind == Kind::File
            && source.has(&entry.path)
            && Seen::from(entry.id).is_same_file(&share.seen)
            && let Some(found) = is_it(&entry.path)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

upkeep_plugin::export!(Stats);

#[cfg(test)]
mod tests;
