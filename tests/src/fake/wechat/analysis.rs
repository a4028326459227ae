//! Figures of visits. They are ready from eight in the morning, Beijing time, for the day before.

use serde_json::{Value, json};

use super::{Asked, Refusal, body};
use crate::fake::Clock;
use crate::fake::sign::mix;

/// What the paths begin with.
pub(super) const PATH: &str = "/datacube/getweanalysisappid";
const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// What a day counts since 1970.
fn day(text: &Value) -> Result<i64, Refusal> {
    let text = text.as_str().filter(|it| it.len() == 8 && it.bytes().all(|it| it.is_ascii_digit())).ok_or(61500)?;
    let part = |range: std::ops::Range<usize>| text[range].parse::<i64>().map_err(|_| Refusal::from(61500));
    let (year, month, date) = (part(0..4)?, part(4..6)?, part(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return Err(61500.into());
    }
    // Days of the civil calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The figures of a report: `dailysummarytrend`.
pub(super) fn report(report: &str, asked: &Asked) -> Result<Value, Refusal> {
    let body = body(asked)?;
    let (begin, end) = (day(&body["begin_date"])?, day(&body["end_date"])?);
    let days = end - begin + 1;
    let (fits, date) = match report {
        "dailysummarytrend" | "dailyvisittrend" | "dailyretaininfo" | "visitpage" => {
            (days == 1, body["begin_date"].clone())
        }
        // 1970 began on a Thursday.
        "weeklyvisittrend" | "weeklyretaininfo" => (days == 7 && (begin + 3) % 7 == 0, range(&body)),
        "monthlyvisittrend" | "monthlyretaininfo" => {
            let text = body["begin_date"].as_str().unwrap_or_default();
            let is_whole = text.ends_with("01") && body["end_date"].as_str().is_some_and(|it| it[..6] == text[..6]);
            (is_whole && (28..=31).contains(&days), text[..6].into())
        }
        _ => return Err(48001.into()),
    };
    let today = Clock::day(asked.at);
    if !fits || end >= today {
        return Err(61501.into());
    }
    let time = (asked.at + Clock::BEIJING).rem_euclid(DAY);
    if end == today - 1 && time < 8 * HOUR {
        return Err(61503.into());
    }
    let mut seed = mix(begin.unsigned_abs());
    let mut figure = |most: u64| {
        seed = mix(seed);
        seed % most
    };
    Ok(match report {
        "dailysummarytrend" => json!({ "list": [{
            "ref_date": date, "visit_total": 10_000 + figure(1_000), "share_pv": figure(100), "share_uv": figure(50),
        }] }),
        "visitpage" => json!({ "ref_date": date, "list": [{
            "page_path": "pages/index/index", "page_visit_pv": figure(5_000), "page_visit_uv": figure(2_000),
            "page_staytime_pv": 8.5, "entrypage_pv": figure(2_000), "exitpage_pv": figure(2_000), "page_share_pv": 1,
            "page_share_uv": 1,
        }] }),
        _ if report.ends_with("retaininfo") => json!({
            "ref_date": date,
            "visit_uv_new": [{ "key": 0, "value": figure(500) }, { "key": 1, "value": figure(50) }],
            "visit_uv": [{ "key": 0, "value": figure(2_000) }, { "key": 1, "value": figure(900) }],
        }),
        _ => json!({ "list": [{
            "ref_date": date, "session_cnt": figure(4_000), "visit_pv": figure(9_000), "visit_uv": figure(2_000),
            "visit_uv_new": figure(500), "stay_time_uv": 47.3, "stay_time_session": 22.1, "visit_depth": 2.4,
        }] }),
    })
}

fn range(body: &Value) -> Value {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    format!("{}-{}", text("begin_date"), text("end_date")).into()
}
