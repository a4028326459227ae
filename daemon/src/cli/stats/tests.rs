//! How figures look.

use super::*;
use crate::cli::screen::tests::{pipe, terminal};
use crate::stats::Place;
use crate::stats::events::{
    AFTER, AfterStats, CohortStats, EventFigures, EventSpan, EventStats, FunnelStats, StepStats,
};

fn figures(number: u64) -> Figures {
    let requests = 80_000 + number * number * 1_900;
    Figures {
        requests,
        pages: requests / 9,
        bytes: requests * 23_456,
        s2xx: requests - 250,
        s4xx: 200 + number,
        s5xx: 50 * (number % 2),
        visitors: Some(requests / 40),
        new_visitors: Some(requests / 70),
        returning_visitors: Some(requests / 90),
        sessions: requests / 30,
        bounces: requests / 75,
        session_seconds: requests * 9,
        session_pages: requests / 9,
        timed: requests,
        time_us: requests * 20_000,
        p50_us: Some(830),
        p90_us: Some(4_290),
        p95_us: Some(42_000),
        p99_us: Some(1_250_000),
        max_us: Some(61_000_000),
        ..Figures::default()
    }
}

fn places(names: &[&str], is_page: bool) -> Vec<Place> {
    let place = |(number, name): (usize, &&str)| {
        let hits = 54_321 / (number as u64 + 1);
        Place {
            name: (*name).to_owned(),
            hits,
            users: None,
            bytes: is_page.then_some(hits * 4_000),
            time_us: is_page.then_some(hits * 900),
            p95_us: is_page.then_some(hits * 7),
        }
    };
    names.iter().enumerate().map(place).collect()
}

/// Two logs, 14 days.
pub(super) fn stats() -> Stats {
    let spans: Vec<_> =
        (0..14).map(|it| SpanFigures { start: format!("2026-11-{}", 12 + it), figures: figures(it) }).collect();
    let all = |of: fn(&Figures) -> u64| spans.iter().map(|it| of(&it.figures)).sum::<u64>();
    let total = Figures {
        requests: all(|it| it.requests),
        pages: all(|it| it.pages),
        bytes: all(|it| it.bytes),
        s4xx: all(|it| it.s4xx),
        s5xx: all(|it| it.s5xx),
        visitors: Some(48_213),
        new_visitors: all(|it| it.new_visitors.unwrap_or(0)).into(),
        sessions: all(|it| it.sessions),
        bounces: all(|it| it.bounces),
        ..figures(13)
    };
    let pages = [
        "/",
        "/products/:id",
        "/a/very/long/path/that/somebody/made/up/and/that/does/not/fit/into/a/line/of/eighty",
        "/cart",
        "/say,\"hi\"",
        "/sixth",
    ];
    let ranking = |top, names: &[&str], is_page| RankingStats { top, names: places(names, is_page), hits: 200_000 };
    let rankings = vec![
        ranking(Top::Pages, &pages, true),
        ranking(Top::Entries, &["/"], false),
        ranking(Top::Referrers, &["www.baidu.com", "m.weixin.qq.com"], false),
        ranking(Top::Countries, &["CN", "DE"], false),
        ranking(Top::Agents, &["person MicroMessenger 8.0 Android phone", "bot Baiduspider 2.0"], false),
        ranking(Top::Errors, &["404 /wp-login.php", "502 /\u{1b}[2J"], false),
        ranking(Top::Slow, &["/export", "/search"], true),
    ];
    let shop = SourceStats {
        source: "shop".into(),
        first: Some("2026-09-01".into()),
        last: Some("2026-11-25".into()),
        lines: 123_456_789,
        late: 12,
        malformed: 0,
        spans,
        total,
        rankings,
        events: None,
    };
    let mut admin = SourceStats { source: "admin".into(), malformed: 3, lines: 997, rankings: vec![], ..shop.clone() };
    for span in admin.spans.iter_mut().map(|it| &mut it.figures).chain([&mut admin.total]) {
        *span =
            Figures { requests: 3, s2xx: 3, visitors: Some(1), new_visitors: Some(0), late: 7, ..Figures::default() };
    }
    admin.total = Figures { requests: 42, s2xx: 42, late: 98, ..admin.total };
    Stats {
        task: "web".into(),
        timezone: "Asia/Shanghai".into(),
        by: Level::Day,
        from: "2026-11-12".into(),
        to: "2026-11-25".into(),
        sources: vec![shop, admin],
    }
}

/// A log of events of the same days; `scale` is how many came on the first one.
pub(super) fn shop_events(scale: u64) -> Stats {
    let percent = |part: u64, whole: u64| Some((part as f64 / whole as f64 * 1_000.0).round() / 10.0);
    let start = |it: u64| format!("2026-11-{}", 12 + it);
    let span = |it: u64| EventSpan {
        start: start(it),
        figures: EventFigures { events: scale * (40 + it * it), users: scale + it, new_users: scale / (it + 1) },
    };
    let spans: Vec<_> = (0..14).map(span).collect();
    let all = |of: fn(&EventFigures) -> u64| spans.iter().map(|it| of(&it.figures)).sum::<u64>();
    let total = EventFigures { events: all(|it| it.events), users: scale * 5, new_users: all(|it| it.new_users) };
    let name = |(number, name): (u64, &str)| Place {
        name: name.to_owned(),
        hits: total.events / (number + 2),
        users: Some(scale * 4 / (number + 1)),
        bytes: None,
        time_us: None,
        p95_us: None,
    };
    let names = ["view_item", "add_to_cart", "pay", "\u{1b}[2Jforged", "share", "sixth"];
    let names = (0..).zip(names).map(name).collect();
    let step = |(number, name): (usize, &str)| StepStats {
        name: name.to_owned(),
        users: (scale * 9) >> number,
        percent_of_first: percent(1, 1 << number),
        percent_of_before: (number > 0).then_some(50.0),
    };
    let funnel = |funnel: &str, first: &str, last: &str, steps: &[&str]| FunnelStats {
        funnel: funnel.into(),
        first: first.into(),
        last: last.into(),
        steps: steps.iter().copied().enumerate().map(step).collect(),
    };
    let cohort = |it: u64| {
        let users = scale / (it + 1);
        let after = |days: u32| {
            let users_then = (it + u64::from(days) <= 13).then_some(users / u64::from(days + 1));
            AfterStats { days, users: users_then, percent: users_then.and_then(|some| percent(some, users)) }
        };
        CohortStats { start: start(it), users, after: AFTER.map(after).to_vec() }
    };
    let source = SourceStats {
        source: "shop-events".into(),
        spans: vec![],
        total: Figures::default(),
        rankings: vec![RankingStats { top: Top::Events, names, hits: total.events }],
        late: 1,
        lines: 2_345,
        malformed: 0,
        first: Some("2026-10-01".into()),
        last: Some("2026-11-25".into()),
        events: Some(EventStats {
            until: "2026-11-25".into(),
            spans,
            total: Some(total),
            has_funnels: true,
            funnels: vec![
                funnel("order", "2026-11-12", "2026-11-23", &["view_item", "add_to_cart", "pay"]),
                funnel("signup", "2026-11-12", "2026-11-24", &["visit", "signup"]),
            ],
            retention: (0..14).map(cohort).collect(),
        }),
    };
    Stats { sources: vec![source], ..stats() }
}

fn fits(text: &str) {
    let widest = text.lines().map(console::measure_text_width).max();
    assert!(widest <= Some(80), "{widest:?}:\n{text}");
}

fn shown(screen: &Screen, stats: &Stats, top: Option<Top>) -> String {
    let mut out = Vec::new();
    write(screen, stats, top, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn days_have_a_chart_their_figures_and_what_there_is_most_of() {
    let text = shown(&terminal(), &stats(), None);
    insta::assert_snapshot!(text);
    fits(&text);
}

#[test]
fn a_wide_screen_has_all_figures_in_one_table() {
    let one = Stats { sources: stats().sources.split_off(1), ..stats() };
    insta::assert_snapshot!(shown(&pipe(), &one, None));
    assert!(!shown(&pipe(), &stats(), None).contains('\x1b'));
    assert!(shown(&Screen { colour: true, ..terminal() }, &stats(), None).contains("\x1b[1m"));
}

#[test]
fn hours_do_not_know_who_is_new() {
    let mut hours = Stats { by: Level::Hour, ..stats() };
    hours.sources.truncate(1);
    let shop = &mut hours.sources[0];
    shop.spans.truncate(3);
    for (hour, span) in shop.spans.iter_mut().enumerate() {
        span.start = format!("2026-10-25 0{}:00+0{}:00", 2 + hour / 2, 2 - hour.min(1));
        span.figures.new_visitors = None;
    }
    let total = |of: fn(&Figures) -> u64| shop.spans.iter().map(|it| of(&it.figures)).sum::<u64>();
    let (requests, pages, visitors) = (total(|it| it.requests), total(|it| it.pages), Some(4_411));
    shop.total = Figures { requests, pages, visitors, new_visitors: None, ..shop.spans[2].figures };
    shop.rankings.clear();
    insta::assert_snapshot!(shown(&terminal(), &hours, None));
}

#[test]
fn a_ranking_is_shown_alone() {
    let mut one = stats();
    one.sources.truncate(1);
    one.sources[0].rankings.retain(|it| it.top == Top::Errors);
    insta::assert_snapshot!(shown(&terminal(), &one, Some(Top::Errors)));
}

#[test]
fn an_empty_span_says_where_there_is_something() {
    let mut none = stats();
    for source in &mut none.sources {
        source.spans.clear();
        source.rankings.clear();
        source.total = Figures::default();
    }
    none.sources[1].first = None;
    insta::assert_snapshot!(shown(&terminal(), &none, None));
    none.sources.clear();
    assert_eq!(shown(&terminal(), &none, None), "`web` has not counted anything yet.\n");
}

#[test]
fn events_have_a_chart_names_funnels_and_who_came_back() {
    let text = shown(&terminal(), &shop_events(800), None);
    insta::assert_snapshot!(text);
    fits(&text);
}

#[test]
fn large_cohorts_stand_in_two_tables_on_a_narrow_screen() {
    let text = shown(&terminal(), &shop_events(4_000_000), Some(Top::Retention));
    fits(&text);
    let mut many = shop_events(4_000_000);
    let only = |it: &mut EventStats| {
        it.funnels.clear();
        it.retention.truncate(2);
    };
    many.sources[0].events.iter_mut().for_each(only);
    many.sources[0].rankings.clear();
    let both = [shown(&terminal(), &many, Some(Top::Retention)), shown(&pipe(), &many, Some(Top::Retention))];
    insta::assert_snapshot!(both.join("=====\n"));
}

#[test]
fn a_funnel_that_was_changed_is_there_twice_and_says_when() {
    let mut stats = shop_events(800);
    stats.sources[0].rankings.clear();
    let events = stats.sources[0].events.as_mut().unwrap();
    events.retention.clear();
    events.funnels[1].funnel = "order".into();
    insta::assert_snapshot!(shown(&terminal(), &stats, Some(Top::Funnels)));
}

#[test]
fn events_without_hours_or_funnels_say_so() {
    let mut told = Vec::new();
    let mut hours = shop_events(800);
    (hours.by, hours.from, hours.to) = (Level::Hour, "2026-11-25 10:00+08:00".into(), "2026-11-25 12:00+08:00".into());
    hours.sources[0].rankings.clear();
    let events = hours.sources[0].events.as_mut().unwrap();
    (events.total, events.spans, events.funnels, events.retention) = (None, vec![], vec![], vec![]);
    told.push(shown(&terminal(), &hours, None));

    let mut none = shop_events(800);
    none.sources[0].rankings.clear();
    let events = none.sources[0].events.as_mut().unwrap();
    (events.funnels, events.retention) = (vec![], vec![]);
    for top in [Top::Funnels, Top::Retention, Top::Pages] {
        told.push(shown(&terminal(), &none, Some(top)));
    }
    let events = none.sources[0].events.as_mut().unwrap();
    events.has_funnels = false;
    told.push(shown(&terminal(), &none, Some(Top::Funnels)));
    let events = none.sources[0].events.as_mut().unwrap();
    events.total = Some(EventFigures::default());
    told.push(shown(&terminal(), &none, None));
    let one = Stats { sources: stats().sources.split_off(1), ..stats() };
    told.push(shown(&terminal(), &one, Some(Top::Funnels)));
    told.iter().for_each(|it| fits(it));
    insta::assert_snapshot!(told.join("=====\n"));
}

#[test]
fn times_are_short() {
    let shown = [0, 999, 1_000, 9_999, 10_000, 1_250_000, 61_000_000].map(|it| time(Some(it)));
    assert_eq!(shown, ["0µs", "999µs", "1.0ms", "9.9ms", "10ms", "1.2s", "1m 1s"]);
    assert_eq!([percent(1, 3), percent(0, 0), time(None)], ["33.3", "-", "-"]);
}
