//! `upkeep egress`: who asked which server for what.

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::history::{abbreviate, abbreviation};
use super::place::Place;
use super::screen::{Ink, Screen, duration, size};
use super::table::{Cell, Table};
use super::{stdout_screen, write_json};
use crate::api::Requests;
use crate::client::EgressQuery;
use crate::record::RunId;
use crate::record::egress::{Egress, EgressResult};

/// List requests to other servers, newest first
#[derive(Debug, Args)]
pub(super) struct EgressArgs {
    /// Only those of this task
    task: Option<String>,
    /// Only those of this run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those before this one
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl EgressArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self { task, run, limit, before, json } = self;
        let requests = place.client()?.egress(&EgressQuery { task, run, limit: Some(limit), before }).await?;
        if json {
            write_json(&requests, out)?;
        } else {
            write(&stdout_screen(), &requests, out)?;
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, Requests { requests, next }: &Requests, out: &mut dyn Write) -> io::Result<()> {
    if requests.is_empty() {
        return writeln!(out, "There are no such requests.");
    }
    let runs: Vec<&RunId> = requests.iter().map(|request| &request.run).collect();
    let length = abbreviation(&runs);
    let at = format!("AT ({})", screen.zone_note());
    // Where there is room for little, where requests went is what people look for.
    let built = |narrow: bool| {
        let is_shown = |name: &&str| !narrow || !["RUN", "TOOK"].contains(name);
        let names = [&*at, "TASK", "RUN", "REQUEST", "SENT", "RECEIVED", "TOOK", "RESULT"];
        let mut table = Table::new(names.into_iter().filter(is_shown), if narrow { 2 } else { 3 });
        for request in requests {
            let url = request.url.strip_prefix("https://").filter(|_| narrow).unwrap_or(&request.url);
            let took = request.took_ms.map(|took| duration(i64::try_from(took).unwrap_or(i64::MAX)));
            let cells = [
                Cell::from(screen.second(request.at)),
                request.task.as_str().into(),
                abbreviate(&request.run, length).into(),
                format!("{} {url}", request.method).into(),
                size(request.sent).into(),
                size(request.received).into(),
                took.unwrap_or_else(|| "-".to_owned()).into(),
                result(request),
            ];
            table.row(names.iter().zip(cells).filter(|(name, _)| is_shown(name)).map(|(_, cell)| cell));
        }
        table
    };
    let table = built(false);
    let narrow = screen.width.is_some_and(|width| table.width() > width);
    if narrow { built(true) } else { table }.write(screen, 0, out)?;
    for request in requests.iter().filter(|request| request.reason.is_some()) {
        let reason = request.reason.as_deref().unwrap_or_default();
        writeln!(out, "{}", screen.ink(Ink::Dim, &format!("{} {reason}", screen.second(request.at))))?;
    }
    match next {
        Some(next) => writeln!(out, "Older ones: --before {next}"),
        None => Ok(()),
    }
}

fn result(request: &Egress) -> Cell {
    match (request.result, request.status) {
        (EgressResult::Answered, Some(status)) => {
            Cell::new(if status < 400 { Ink::Green } else { Ink::Yellow }, status.to_string())
        }
        (EgressResult::Answered, None) => Cell::new(Ink::Green, "answered"),
        (EgressResult::Denied, _) => Cell::new(Ink::Red, "denied"),
        (EgressResult::Failed, _) => Cell::new(Ink::Red, "failed"),
        (EgressResult::Open, _) => Cell::new(Ink::Yellow, "open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;

    fn request(number: u8, result: EgressResult) -> Egress {
        let at = Timestamp(terminal().now.0 - i64::from(number) * 1_000);
        Egress {
            id: format!("{number}"),
            run: id(1),
            task: "advisories".into(),
            step: Some(0),
            at,
            method: "GET".into(),
            url: "https://osv.example/npm/all.zip".into(),
            address: Some("198.51.100.7:443".into()),
            result,
            status: None,
            sent: 0,
            received: 0,
            took_ms: Some(12),
            reason: None,
        }
    }

    #[test]
    fn tells_what_was_asked_and_what_came() {
        let answered = Egress {
            status: Some(200),
            received: 5_300_000,
            took_ms: Some(4_200),
            ..request(1, EgressResult::Answered)
        };
        let reason =
            "https://169.254.169.254/: 169.254.169.254 is no public address (`grant.http.networks` does not hold it)";
        let denied = Egress {
            url: "https://169.254.169.254/".into(),
            address: None,
            reason: Some(reason.into()),
            ..request(2, EgressResult::Denied)
        };
        let open = Egress { took_ms: None, ..request(3, EgressResult::Open) };
        let requests = Requests { requests: vec![answered, denied, open], next: Some("3".into()) };
        let mut out = Vec::new();
        write(&terminal(), &requests, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
