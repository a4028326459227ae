//! What the operator writes.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_accesslog::{EventKeys, Format};
use upkeep_plugin::config::Span;
use upkeep_plugin::{Context, Error, Result};
use upkeep_rollup::{Funnel, FunnelError, Options, Rotation};

pub(crate) use self::table::Table;
use crate::country;
use crate::store::dialect::short;

mod table;

/// The logs and tables, and how they are counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stats {
    /// The logs, each a `[[config.sources]]`.
    #[serde(default)]
    pub(crate) sources: Vec<Source>,
    /// Tables of databases whose rows are events, each a `[[config.tables]]`.
    #[serde(default)]
    pub(crate) tables: Vec<Table>,
    /// A visit ends when nothing was asked for so long, at most 12 hours.
    #[serde(default = "half_an_hour")]
    pub(crate) session_gap: Span,
    /// Lines that are older than the newest by more are only counted as late.
    #[serde(default = "two_days")]
    pub(crate) late: Span,
    /// Names that a ranking of one day keeps; what is beyond is summed up. Totals are not touched by it.
    #[serde(default = "ten_thousand")]
    pub(crate) names: u32,
    /// Of events: how far users get, each a `[[config.funnels]]`.
    #[serde(default)]
    pub(crate) funnels: Vec<FunnelOf>,
    /// How visitors are told apart.
    #[serde(default)]
    pub(crate) visitors: Visitors,
    /// Where countries of addresses are looked up; without it none are counted.
    #[serde(default)]
    pub(crate) countries: Option<Countries>,
    /// How pages are named.
    #[serde(default)]
    pub(crate) pages: Pages,
    /// How long figures are kept.
    #[serde(default)]
    pub(crate) keep: Keep,
    /// Where they are kept.
    #[serde(default)]
    pub(crate) figures: Figures,
}

/// Where figures are kept: by default in a database of the task's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// A database: the name of a `[grant.sql.NAME]` with the right `write`.
    #[serde(default = "private")]
    pub(crate) database: String,
    /// What the names of its tables begin with: small letters, digits and `_`. By default `upkeep_`, and nothing in `private`.
    pub(crate) prefix: Option<String>,
}

impl Default for Figures {
    fn default() -> Self {
        Self { database: private(), prefix: None }
    }
}

impl Figures {
    /// Whether nobody but this task has the database.
    pub(crate) fn is_private(&self) -> bool {
        self.database == private()
    }
}

/// One log, in one file or many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// What it is called in figures.
    pub(crate) name: String,
    /// The folder it is in: the name of a `[grant.files.NAME]`.
    pub(crate) root: String,
    /// Its files, also those that are rotated or compressed: patterns such as `access.log*`, relative to the root.
    #[serde(default = "access_log")]
    pub(crate) files: Vec<String>,
    /// `combined`, `combined-time`, `common`, `main`, `vhost_combined`, `json`, `caddy`, or the text of a `log_format` of nginx or a
    /// `LogFormat` of Apache; `events` for events of an application, lines of JSON.
    #[serde(default = "combined")]
    pub(crate) format: String,
    /// Of events: where in a line what stands.
    #[serde(default)]
    pub(crate) keys: Keys,
    /// The site's own names: who comes from there comes from nowhere else.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Whether the client's address is the one that a proxy in front names (`X-Forwarded-For`). Only for a log that none but the
    /// proxy can write to: others name whom they like.
    #[serde(default)]
    pub(crate) behind_proxy: bool,
}

/// Where in a line of events what stands: names of keys, dots between those of objects within each other. Of several, the first
/// that a line has is taken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// Who: by default `user_id`, `user`, `uid`, `openid`.
    user: Vec<String>,
    /// What: by default `event`, `event_name`, `name`.
    event: Vec<String>,
    /// When: by default `time`, `timestamp`, `ts`, `@timestamp`.
    time: Vec<String>,
}

impl Keys {
    pub(crate) fn known(&self) -> EventKeys {
        let mut keys = EventKeys::default();
        for (mine, theirs) in
            [(&self.user, &mut keys.user), (&self.event, &mut keys.event), (&self.time, &mut keys.time)]
        {
            if !mine.is_empty() {
                theirs.clone_from(mine);
            }
        }
        keys
    }
}

/// How far users get.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunnelOf {
    /// What it is called in figures.
    pub(crate) name: String,
    /// The source of events.
    pub(crate) source: String,
    /// The names of events that follow each other, 2 to 32.
    pub(crate) steps: Vec<String>,
    /// How long a user may take from the first step to the last.
    #[serde(default = "a_day")]
    pub(crate) within: Span,
}

impl FunnelOf {
    /// With a number of its own for each definition: what was counted under one cannot be counted anew.
    pub(crate) fn funnel(&self) -> std::result::Result<Funnel, FunnelError> {
        let definition = format!("{}\0{}\0{}", self.name, self.steps.join("\0"), self.within.0);
        let id = u32::from_le_bytes(*blake3::hash(definition.as_bytes()).as_bytes().first_chunk().unwrap_or(&[0; 4]));
        Funnel::new(id, self.steps.clone(), u32::try_from(self.within.0 / 1_000).unwrap_or(u32::MAX))
    }
}

/// How visitors are told apart: by a keyed hash of address and program. Neither is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Visitors {
    /// When the key is thrown away: nobody can be recognised beyond that.
    #[serde(default)]
    pub(crate) new_key: NewKey,
    /// Whether the last part of the address is left out first (24 bits of IPv4 stay, 48 of IPv6): less can be told apart.
    #[serde(default)]
    pub(crate) shorten_addresses: bool,
}

/// When the key of visitors is thrown away.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NewKey {
    /// On the first day of each month.
    #[default]
    Monthly,
    /// On Mondays.
    Weekly,
    /// Each day: nobody ever returns.
    Daily,
    /// Never.
    Never,
}

/// A database of addresses and their countries, in MaxMind's DB format: GeoLite2 Country, DB-IP Lite and others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Countries {
    /// The folder it is in: the name of a `[grant.files.NAME]`.
    pub(crate) root: String,
    /// Its file, relative to the root.
    pub(crate) file: String,
}

/// How pages are named.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pages {
    /// Parameters of the query that belong to the name; all others are dropped.
    #[serde(default)]
    pub(crate) parameters: Vec<String>,
    /// Whether parts of a path that look like a number or an identifier are named `:id`.
    #[serde(default)]
    pub(crate) group_ids: bool,
}

/// How long figures are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keep {
    /// Of hours.
    #[serde(default = "a_quarter")]
    pub(crate) hours: Span,
    /// Of days, with their rankings.
    #[serde(default = "two_years")]
    pub(crate) days: Span,
    /// Of weeks and months.
    #[serde(default = "ten_years")]
    pub(crate) months: Span,
}

impl Default for Keep {
    fn default() -> Self {
        Self { hours: a_quarter(), days: two_years(), months: ten_years() }
    }
}

const DAY: i64 = 86_400_000;

/// Bytes of the name of a source.
const LONGEST_NAME: usize = 100;

fn half_an_hour() -> Span {
    Span(1_800_000)
}

fn a_day() -> Span {
    Span(DAY)
}

fn two_days() -> Span {
    Span(2 * DAY)
}

fn a_quarter() -> Span {
    Span(92 * DAY)
}

fn two_years() -> Span {
    Span(731 * DAY)
}

fn ten_years() -> Span {
    Span(3653 * DAY)
}

fn ten_thousand() -> u32 {
    10_000
}

fn access_log() -> Vec<String> {
    vec!["access.log*".to_owned()]
}

fn private() -> String {
    "private".to_owned()
}

fn combined() -> String {
    "combined".to_owned()
}

impl Stats {
    /// What the schema cannot say.
    pub(crate) fn check(&self, ctx: &Context) -> Result<()> {
        if self.sources.is_empty() && self.tables.is_empty() {
            return Err(Error::config("there is nothing to count: add a [[config.sources]] or a [[config.tables]]"));
        }
        for (number, source) in self.sources.iter().enumerate() {
            let place = format!("`{}` in [[config.sources]]", source.name);
            if source.name.len() > LONGEST_NAME {
                return Err(Error::config(format!("{place}: a name has {LONGEST_NAME} bytes at most")));
            }
            if source.name.is_empty() || self.sources[..number].iter().any(|it| it.name == source.name) {
                return Err(Error::config(format!("{place}: each source has a name of its own")));
            }
            if !source.is_of_events() {
                source.format().map_err(|error| Error::config(format!("{place}: `format`: {error}")))?;
            }
            for pattern in &source.files {
                fast_glob::validate(pattern).map_err(|error| {
                    Error::config(format!("{place}: `{pattern}` in `files` is no pattern: {error}"))
                })?;
            }
        }
        for (number, table) in self.tables.iter().enumerate() {
            let others = self.tables[..number].iter().map(|it| &it.name).chain(self.sources.iter().map(|it| &it.name));
            table.check(others, ctx)?;
        }
        for (number, funnel) in self.funnels.iter().enumerate() {
            let place = format!("`{}` in [[config.funnels]]", funnel.name);
            funnel.funnel().map_err(|error| Error::config(format!("{place}: {error}")))?;
            if self.funnels[..number].iter().any(|it| it.name == funnel.name) {
                return Err(Error::config(format!("{place}: each funnel has a name of its own")));
            }
            if !self.origins().any(|it| it.name() == funnel.source && it.is_of_events()) {
                let message = format!(
                    "{place}: neither a [[config.tables]] nor a [[config.sources]] with `format = \"events\"` is called `{}`",
                    funnel.source
                );
                return Err(Error::config(message));
            }
        }
        let prefix = self.figures.prefix.as_deref().unwrap_or_default();
        if prefix.len() > 40 || !prefix.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return Err(Error::config("`prefix` in [config.figures] is of small letters, digits and `_`, 40 at most"));
        }
        if !(60_000..=43_200_000).contains(&self.session_gap.0) {
            return Err(Error::config("`session_gap` is from \"1m\" to \"12h\""));
        }
        if self.late.0 < 3_600_000 {
            return Err(Error::config("`late` is \"1h\" at least: logs of several processes are never quite in order"));
        }
        if let Some(countries) = &self.countries {
            country::Database::check(countries)?;
        }
        upkeep_rollup::Calendar::new(&ctx.timezone).map(drop).map_err(|error| Error::config(error.to_string()))
    }

    /// All that is counted.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Origin<'_>> {
        self.sources.iter().map(Origin::Log).chain(self.tables.iter().map(Origin::Table))
    }

    /// Who looks at files, where several servers keep figures together.
    pub(crate) fn by(&self, ctx: &Context) -> String {
        short(&format!("{}/{}", ctx.host, ctx.task)).to_owned()
    }

    /// How the pieces of a run are made.
    pub(crate) fn options(&self, ctx: &Context) -> Options {
        Options {
            zone: ctx.timezone.clone(),
            gap: u32::try_from(self.session_gap.0 / 1_000).unwrap_or(1_800),
            limit: self.names.max(100) as usize,
            rotation: self.rotation(),
            seed: seed(&ctx.run),
            ..Options::default()
        }
    }

    /// The funnels of a source.
    pub(crate) fn funnels(&self, source: &str) -> Result<Vec<Funnel>> {
        let mine = self.funnels.iter().filter(|it| it.source == source);
        mine.map(|it| it.funnel().map_err(|error| Error::config(error.to_string()))).collect()
    }

    pub(crate) fn rotation(&self) -> Rotation {
        match self.visitors.new_key {
            NewKey::Monthly => Rotation::Monthly,
            NewKey::Weekly => Rotation::Weekly,
            NewKey::Daily => Rotation::Daily,
            NewKey::Never => Rotation::Never,
        }
    }
}

/// What lines or rows come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// Files.
    Log(&'a Source),
    /// A table.
    Table(&'a Table),
}

impl<'a> Origin<'a> {
    /// What it is called in figures.
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Log(source) => &source.name,
            Self::Table(table) => &table.name,
        }
    }

    pub(crate) fn is_of_events(self) -> bool {
        match self {
            Self::Log(source) => source.is_of_events(),
            Self::Table(_) => true,
        }
    }

    /// Where something is, as a person finds it.
    pub(crate) fn place(self, path: &str) -> String {
        match self {
            Self::Log(source) => format!("{}/{path}", source.root),
            Self::Table(_) => path.to_owned(),
        }
    }
}

impl Source {
    pub(crate) fn is_of_events(&self) -> bool {
        self.format == "events"
    }

    pub(crate) fn format(&self) -> std::result::Result<Format, upkeep_accesslog::FormatError> {
        Format::new(&self.format)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.iter().any(|pattern| fast_glob::glob_match(pattern, path))
    }
}

/// A number that nobody who writes a log knows beforehand: half of a ULID is random.
fn seed(run: &str) -> u64 {
    let digest = blake3::hash(run.as_bytes());
    u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap_or(&[0; 8]))
}
