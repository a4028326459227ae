//! Questions to a database as the plugin leaves it.

use std::path::Path;

use chrono::NaiveDate;
use upkeep_rollup::Hit;

use super::keeper::{Keeper, view};
use super::*;

/// 2026-10-24 12:00 in Berlin; the next day has 25 hours.
const NOON: i64 = 1_792_836_000;
const DAY: i64 = 86_400;

fn file(state: &Path, task: &str) -> std::path::PathBuf {
    state.join("private").join(format!("{task}.sqlite"))
}

fn keeper(state: &Path, task: &str, source: &str) -> Keeper {
    Keeper::new(&file(state, task), source, "Europe/Berlin")
}

fn asked(state: &Path, task: Option<&str>, question: &Question) -> Result<Stats, StatsError> {
    let tasks = ["other", "plain", "web"].map(|it| Keeping::private(it, Tz::Europe__Berlin));
    let now = |_| NaiveDate::from_ymd_opt(2026, 10, 28).unwrap().and_hms_opt(9, 0, 0).unwrap();
    answer(state, &tasks, task, question, now)
}

fn question(from: &str, to: &str, by: Option<Level>) -> Question {
    Question { from: Some(from.into()), to: Some(to.into()), by, ..Question::default() }
}

fn starts(of: &SourceStats) -> Vec<(&str, u64, Option<u64>)> {
    of.spans.iter().map(|it| (it.start.as_str(), it.figures.requests, it.figures.visitors)).collect()
}

/// Ten visitors on three days, the same ones.
fn three_days(state: &Path) -> Keeper {
    let mut keeper = keeper(state, "web", "site");
    let pages = ["/", "/a", "/b"];
    let view = |it: i64| {
        view(NOON + it / 10 * DAY + it % 10, (it % 10).cast_unsigned(), pages[(it % 3).cast_unsigned() as usize])
    };
    keeper.count((0..30).map(view));
    keeper
}

#[test]
fn visitors_of_a_span_are_merged_and_not_added_up() {
    let state = tempfile::tempdir().unwrap();
    let _keeper = three_days(state.path());
    let stats = asked(state.path(), None, &Question::default()).unwrap();
    assert_eq!((stats.task.as_str(), stats.from.as_str(), stats.to.as_str()), ("web", "2026-10-15", "2026-10-28"));
    let [site] = &stats.sources[..] else { panic!("{stats:?}") };
    assert_eq!(
        starts(site),
        [("2026-10-24", 10, Some(10)), ("2026-10-25", 10, Some(10)), ("2026-10-26", 10, Some(10))]
    );
    let Figures { requests, visitors, new_visitors, returning_visitors, .. } = site.total;
    assert_eq!((requests, visitors, new_visitors, returning_visitors), (30, Some(10), Some(10), Some(10)));
    let pages = site.rankings.iter().find(|it| it.top == Top::Pages).unwrap();
    let places: Vec<_> = pages.names.iter().map(|it| (it.name.as_str(), it.hits)).collect();
    assert_eq!((places, pages.hits), (vec![("/", 10), ("/a", 10), ("/b", 10)], 30));
    assert_eq!(site.rankings.len(), Top::OF_REQUESTS.len());

    let part = asked(state.path(), Some("web"), &question("2026-10-25", "2026-10-26", None)).unwrap();
    let Figures { requests, visitors, new_visitors, .. } = part.sources[0].total;
    assert_eq!((requests, visitors, new_visitors), (20, Some(10), Some(0)));
}

#[test]
fn a_day_of_25_hours_has_25_rows() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = keeper(state.path(), "web", "site");
    // Midnight in Berlin is 22:00 UTC.
    keeper.count((0..25).map(|it| view(NOON + DAY / 2 + it * 3_600, 1, "/")));
    let stats = asked(state.path(), None, &question("2026-10-25", "2026-10-25", Some(Level::Hour))).unwrap();
    let site = &stats.sources[0];
    assert_eq!(site.spans.len(), 25);
    assert!(site.spans.iter().all(|it| it.figures.requests == 1 && it.figures.new_visitors.is_none()));
    assert_eq!([2, 3].map(|it| site.spans[it].start.as_str()), ["2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00"]);
    assert_eq!((site.total.requests, site.total.visitors), (25, Some(1)));
    let day = asked(state.path(), None, &question("2026-10-25", "2026-10-25", None)).unwrap();
    assert_eq!(starts(&day.sources[0]), [("2026-10-25", 25, Some(1))]);
    let some = asked(state.path(), None, &question("2026-10-25T02:00", "2026-10-25T02:00+01:00", None)).unwrap();
    assert_eq!(some.sources[0].spans.len(), 1);
    assert!(some.sources[0].rankings.is_empty());
}

#[test]
fn a_day_without_lines_is_a_row_between_others() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = keeper(state.path(), "web", "site");
    keeper.count([view(NOON - 4 * DAY, 1, "/"), view(NOON - 2 * DAY, 1, "/")]);
    let stats = asked(state.path(), None, &Question::default()).unwrap();
    let rows = [("2026-10-20", 1, Some(1)), ("2026-10-21", 0, Some(0)), ("2026-10-22", 1, Some(1))];
    assert_eq!(starts(&stats.sources[0]), rows);
    let none = asked(state.path(), None, &question("2026-10-01", "2026-10-02", None)).unwrap();
    assert!(none.sources[0].spans.is_empty());
    let (first, last) = (none.sources[0].first.as_deref(), none.sources[0].last.as_deref());
    assert_eq!((first, last), (Some("2026-10-20"), Some("2026-10-22")));
}

#[test]
fn weeks_and_months_are_merged_as_long_as_there_are_days() {
    let state = tempfile::tempdir().unwrap();
    // Saturday, Sunday, Monday.
    let keeper = three_days(state.path());
    let by = |level| asked(state.path(), None, &Question { by: Some(level), ..Question::default() }).unwrap();
    let weeks = by(Level::Week);
    assert_eq!(starts(&weeks.sources[0]), [("2026-10-19", 20, Some(10)), ("2026-10-26", 10, Some(10))]);
    assert_eq!(starts(&by(Level::Month).sources[0]), [("2026-10-01", 30, Some(10))]);
    // A week that is asked for in part is told in part.
    let part = asked(state.path(), None, &question("2026-10-25", "2026-10-26", Some(Level::Week))).unwrap();
    assert_eq!(starts(&part.sources[0]), [("2026-10-19", 10, Some(10)), ("2026-10-26", 10, Some(10))]);

    keeper.forget_before("2026-10-25");
    let weeks = by(Level::Week);
    assert_eq!(starts(&weeks.sources[0]), [("2026-10-19", 20, Some(10)), ("2026-10-26", 10, Some(10))]);
    let total = weeks.sources[0].total;
    assert_eq!((total.requests, total.visitors, total.p95_us, total.max_us), (30, None, None, Some(2_000)));
    let days = by(Level::Day);
    assert_eq!(days.sources[0].total.requests, 20);
}

#[test]
fn slow_pages_are_those_that_were_slow_often() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = keeper(state.path(), "web", "site");
    let timed =
        |page, count: usize, micros| (0..count).map(move |it| Hit { micros, ..view(NOON + it as i64, 1, page) });
    let hits = timed("/quick", 100, Some(1_000)).chain(timed("/slow", 20, Some(900_000)));
    keeper.count(hits.chain(timed("/once", 1, Some(5_000_000))).chain(timed("/unknown", 50, None)));
    let question = Question { top: Some(Top::Slow), ..Question::default() };
    let stats = asked(state.path(), None, &question).unwrap();
    let [slow] = &stats.sources[0].rankings[..] else { panic!("{stats:?}") };
    let names: Vec<_> = slow.names.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((slow.top, names), (Top::Slow, vec!["/slow", "/quick", "/once"]));
}

#[test]
fn countries_are_those_of_views_whose_country_is_known() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = keeper(state.path(), "web", "site");
    let countries = [Some("DE"), Some("CN"), None, Some("CN")];
    keeper.count((0..8_i64).map(|it| {
        let country = countries[(it % 4).cast_unsigned() as usize];
        Hit { country, ..view(NOON + it / 4 * DAY + it, it.cast_unsigned(), "/") }
    }));
    let question = Question { top: Some(Top::Countries), ..Question::default() };
    let stats = asked(state.path(), None, &question).unwrap();
    let [countries] = &stats.sources[0].rankings[..] else { panic!("{stats:?}") };
    let names: Vec<_> = countries.names.iter().map(|it| (it.name.as_str(), it.hits)).collect();
    assert_eq!((countries.top, countries.hits, names), (Top::Countries, 6, vec![("CN", 4), ("DE", 2)]));
}

#[test]
fn what_cannot_be_answered_says_who_can() {
    let state = tempfile::tempdir().unwrap();
    let fails = |task, question: &Question| asked(state.path(), task, question).unwrap_err().to_string();
    let all = Question::default();
    let none = "no task keeps figures; docs/stats.md tells how to set one up";
    assert_eq!(fails(None, &all), none);
    assert!(!state.path().join("private").exists(), "nothing is made");
    // A task that keeps something else.
    let plain = file(state.path(), "plain");
    std::fs::create_dir_all(plain.parent().unwrap()).unwrap();
    rusqlite::Connection::open(&plain).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(fails(None, &all), none);
    let _web = keeper(state.path(), "web", "site");
    assert_eq!(asked(state.path(), None, &all).unwrap().sources[0].lines, 0);
    for task in ["plain", "other"] {
        let wanted = format!("the task `{task}` keeps no figures; those that do: web");
        assert_eq!(fails(Some(task), &all), wanted);
    }
    let wrong = Question { source: Some("shop".into()), ..Question::default() };
    assert_eq!(fails(Some("web"), &wrong), "the task `web` has no source `shop`; it has site");
    let _other = keeper(state.path(), "other", "site");
    assert_eq!(fails(None, &all), "several tasks keep figures; name one: other, web");
}

/// Somebody does something on a day after the first one.
fn event(day: i64, user: u64, name: &str) -> (i64, u64, &str) {
    (NOON + day * DAY + user.cast_signed(), user, name)
}

const ORDER: Option<(&str, &[&str])> = Some(("order", &["view", "cart"]));

/// Fifteen users on the first, the second and the fourth day; five of them put something into their cart.
fn shop(state: &Path) -> Keeper {
    let mut keeper = keeper(state, "web", "shop");
    let view = |day: i64, users: std::ops::Range<u64>| users.map(move |it| event(day, it, "view"));
    let cart = (0..5).map(|it| (NOON + 100 + it, it.cast_unsigned(), "cart"));
    let all: Vec<_> = view(0, 0..10).chain(cart).chain(view(1, 5..15)).chain(view(3, 0..2)).collect();
    keeper.count_events(&all, ORDER);
    keeper
}

/// Rows as they are compared: start, events, users and new ones.
fn rows(of: &SourceStats) -> Vec<(&str, u64, u64, u64)> {
    let spans = &of.events.as_ref().unwrap().spans;
    spans.iter().map(|it| (it.start.as_str(), it.figures.events, it.figures.users, it.figures.new_users)).collect()
}

#[test]
fn users_of_events_are_merged_over_names_and_days() {
    let state = tempfile::tempdir().unwrap();
    let _keeper = shop(state.path());
    let stats = asked(state.path(), None, &Question::default()).unwrap();
    let [shop] = &stats.sources[..] else { panic!("{stats:?}") };
    assert!(shop.spans.is_empty() && shop.total.requests == 0);
    assert_eq!((shop.first.as_deref(), shop.last.as_deref()), (Some("2026-10-24"), Some("2026-10-27")));
    let days =
        [("2026-10-24", 15, 10, 10), ("2026-10-25", 10, 10, 5), ("2026-10-26", 0, 0, 0), ("2026-10-27", 2, 2, 0)];
    assert_eq!(rows(shop), days);
    let total = shop.events.as_ref().unwrap().total.unwrap();
    assert_eq!((total.events, total.users, total.new_users), (27, 15, 15));
    let [names] = &shop.rankings[..] else { panic!("{:?}", shop.rankings) };
    let places: Vec<_> = names.names.iter().map(|it| (it.name.as_str(), it.hits, it.users)).collect();
    assert_eq!((names.top, names.hits, places), (Top::Events, 27, vec![("view", 22, Some(15)), ("cart", 5, Some(5))]));

    let by = |level| asked(state.path(), None, &Question { by: Some(level), ..Question::default() }).unwrap();
    assert_eq!(rows(&by(Level::Week).sources[0]), [("2026-10-19", 25, 15, 15), ("2026-10-26", 2, 2, 0)]);
    assert_eq!(rows(&by(Level::Month).sources[0]), [("2026-10-01", 27, 15, 15)]);
    let part = asked(state.path(), None, &question("2026-10-25", "2026-10-27", None)).unwrap();
    let total = part.sources[0].events.as_ref().unwrap().total.unwrap();
    assert_eq!((total.events, total.users, total.new_users), (12, 12, 5));
    let none = asked(state.path(), None, &question("2026-10-01", "2026-10-02", None)).unwrap();
    assert_eq!(none.sources[0].events.as_ref().unwrap().total, Some(events::EventFigures::default()));
}

#[test]
fn events_have_no_hours() {
    let state = tempfile::tempdir().unwrap();
    let _keeper = shop(state.path());
    let days = asked(state.path(), None, &question("2026-10-24", "2026-10-25", Some(Level::Hour))).unwrap();
    let shop = &days.sources[0];
    let events = shop.events.as_ref().unwrap();
    assert_eq!((rows(shop).len(), events.total.map(|it| it.events), shop.rankings.len()), (0, Some(25), 1));
    assert_eq!(events.retention.iter().map(|it| it.start.as_str()).collect::<Vec<_>>(), ["2026-10-24", "2026-10-25"]);
    let part = asked(state.path(), None, &question("2026-10-24T10:00", "2026-10-24T13:00", None)).unwrap();
    let shop = &part.sources[0];
    let events = shop.events.as_ref().unwrap();
    assert_eq!((events.total, shop.rankings.len(), events.funnels.len(), events.retention.len()), (None, 0, 0, 0));
    assert_eq!(shop.last.as_deref(), Some("2026-10-27"));
}

#[test]
fn all_names_of_events_are_there_when_they_alone_are_asked_for() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = keeper(state.path(), "web", "shop");
    let names: Vec<String> = (0..50).map(|it| format!("event-{it:02}")).collect();
    let all: Vec<_> = names.iter().map(|it| event(0, 1, it)).collect();
    keeper.count_events(&all, ORDER);
    let of = |top: Option<Top>| {
        let stats = asked(state.path(), None, &Question { top, ..Question::default() }).unwrap();
        let SourceStats { rankings, events, .. } = stats.sources.into_iter().next().unwrap();
        (rankings.first().map(|it| (it.names.len(), it.hits)), events.unwrap().retention.len())
    };
    assert_eq!(of(None), (Some((NAMES, 50)), 1));
    assert_eq!(of(Some(Top::Events)), (Some((50, 50)), 0));
    assert_eq!(of(Some(Top::Retention)), (None, 1));
    assert_eq!(of(Some(Top::Pages)), (None, 0));
}

#[test]
fn funnels_are_added_up_and_changed_ones_are_apart() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = shop(state.path());
    let funnels = |from: &str, to: &str| {
        let stats = asked(state.path(), None, &question(from, to, None)).unwrap();
        stats.sources.into_iter().next().unwrap().events.unwrap()
    };
    let steps = |of: &events::FunnelStats| -> Vec<_> {
        let step = |it: &events::StepStats| (it.name.clone(), it.users, it.percent_of_first, it.percent_of_before);
        of.steps.iter().map(step).collect()
    };
    let events = funnels("2026-10-24", "2026-10-28");
    let [order] = &events.funnels[..] else { panic!("{events:?}") };
    // Nothing can follow any more of what began on the first two days.
    assert_eq!(
        (order.funnel.as_str(), order.first.as_str(), order.last.as_str()),
        ("order", "2026-10-24", "2026-10-25")
    );
    let wanted = [("view".to_owned(), 20, Some(100.0), None), ("cart".to_owned(), 5, Some(25.0), Some(25.0))];
    assert_eq!(steps(order), wanted);
    let none = funnels("2026-10-27", "2026-10-28");
    assert!(none.has_funnels && none.funnels.is_empty(), "{none:?}");

    // Another funnel with the same name, on days that are over by the last event.
    let three: [&str; 3] = ["view", "cart", "pay"];
    let (view, cart, pay) = (event(2, 1, "view"), (NOON + 2 * DAY + 9, 1, "cart"), (NOON + 2 * DAY + 10, 1, "pay"));
    keeper.count_events(
        &[view, event(2, 2, "view"), event(2, 3, "view"), cart, pay, event(4, 9, "end")],
        Some(("order", &three)),
    );
    let events = funnels("2026-10-24", "2026-10-28");
    let [old, new] = &events.funnels[..] else { panic!("{events:?}") };
    assert_eq!(steps(old), wanted);
    assert_eq!((new.funnel.as_str(), new.first.as_str(), new.last.as_str()), ("order", "2026-10-26", "2026-10-26"));
    let users: Vec<_> = new.steps.iter().map(|it| (it.users, it.percent_of_first, it.percent_of_before)).collect();
    let third = Some(33.3);
    assert_eq!(users, [(3, Some(100.0), None), (1, third, third), (1, third, Some(100.0))]);
}

#[test]
fn who_comes_back_on_a_day_to_come_is_not_known() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = shop(state.path());
    let retention = |by: Option<Level>| -> Vec<(String, u64, [Option<u64>; 5])> {
        let stats = asked(state.path(), None, &Question { by, ..Question::default() }).unwrap();
        let events = stats.sources.into_iter().next().unwrap().events.unwrap();
        let after = |it: &events::CohortStats| std::array::from_fn(|at| it.after[at].users);
        events.retention.iter().map(|it| (it.start.clone(), it.users, after(it))).collect()
    };
    let first = ("2026-10-24".to_owned(), 10, [Some(5), Some(2), None, None, None]);
    assert_eq!(retention(None), [first.clone(), ("2026-10-25".to_owned(), 5, [Some(0), None, None, None, None])]);
    // Of a week, a day is known when it has come for all.
    assert_eq!(retention(Some(Level::Week)), [("2026-10-19".to_owned(), 15, [Some(5), None, None, None, None])]);

    // A clock that is a day ahead does not make it tomorrow: it is the 28th.
    keeper.count_events(&[event(5, 5, "view")], None);
    assert_eq!(retention(None), [first, ("2026-10-25".to_owned(), 5, [Some(0), Some(0), None, None, None])]);
    let stats = asked(state.path(), None, &Question::default()).unwrap();
    let events = stats.sources[0].events.as_ref().unwrap();
    assert_eq!(events.until, "2026-10-28");
    let percent: Vec<_> = events.retention[0].after.iter().map(|it| (it.days, it.percent)).collect();
    assert_eq!(percent, [(1, Some(50.0)), (3, Some(20.0)), (7, None), (14, None), (30, None)]);
}

#[test]
fn a_damaged_section_is_told() {
    let state = tempfile::tempdir().unwrap();
    drop(three_days(state.path()));
    let file = file(state.path(), "web");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("UPDATE section SET value = substr(value, 1, 9) WHERE key LIKE 'day/%'").unwrap();
    let error = asked(state.path(), None, &Question::default()).unwrap_err().to_string();
    assert!(error.starts_with("the figures of `web` cannot be read: a section is damaged: "), "{error}");
    drop(connection);
    std::fs::write(&file, "no database, but a text").unwrap();
    let error = asked(state.path(), Some("web"), &Question::default()).unwrap_err().to_string();
    assert!(error.starts_with("the figures of `web` cannot be read: "), "{error}");
}

#[test]
fn a_writer_is_not_kept_waiting() {
    let state = tempfile::tempdir().unwrap();
    let mut keeper = three_days(state.path());
    let reader = read::Database::file(&file(state.path(), "web"), "").unwrap().unwrap();
    let before = reader.sources().unwrap();
    keeper.count([view(NOON + 3 * DAY, 99, "/")]);
    // What was begun to be read stays as it was.
    let kept = reader.numbers("site", "day", i64::MIN, i64::MAX).unwrap();
    assert_eq!((before.len(), kept.len()), (1, 3));
    drop(reader);
    assert_eq!(asked(state.path(), None, &Question::default()).unwrap().sources[0].total.requests, 31);
}
