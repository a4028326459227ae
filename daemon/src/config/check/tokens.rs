//! Access tokens of WeChat: a token is kept once for all tasks, so all tasks have to agree on where it comes from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::config::check::TaskFile;
use crate::config::diagnostic::Diagnostic;
use crate::config::secret::Secret;
use crate::config::secrets::AccessToken;
use crate::config::source::{KeyPath, Source};

/// A token that a task file names.
#[derive(Debug)]
pub(crate) struct Named {
    task: Arc<str>,
    token: AccessToken,
    key: KeyPath,
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

/// The tokens of a task file.
pub(crate) fn named(file: &TaskFile<'_>) -> Vec<Named> {
    let tokens = file.settings.grant.secrets.iter().filter_map(|(name, grant)| Some((name, grant.wechat.as_ref()?)));
    let named = |(name, token): (&String, &AccessToken)| {
        let key = KeyPath::of(["grant", "secrets", name, "wechat"]);
        let span = file.document.value_span(&key);
        let source = file.document.source().clone();
        Named { task: file.name.clone(), token: token.clone(), key, source, span }
    };
    tokens.map(named).collect()
}

/// Tokens that differ from one of the same appid before, with the task that it concerns.
pub(crate) fn problems(named: &[Named]) -> Vec<(Arc<str>, Diagnostic)> {
    let mut first: BTreeMap<&str, &Named> = BTreeMap::new();
    let mut problems = Vec::new();
    for this in named {
        let known = *first.entry(&this.token.appid).or_insert(this);
        let (own, other) = (&this.token, &known.token);
        let what = match () {
            () if own.api != other.api => format!("the API {}", other.api),
            () if own.sources() != other.sources() => format!("the secret {}", shown(other)),
            () => continue,
        };
        let message = format!("the task {} has {what} for the appid {}: a token is kept once", known.task, own.appid);
        let help = "name the same API and the same secret in all tasks";
        let diagnostic = Diagnostic::error(&this.source, this.key.clone(), message).at(this.span.clone()).help(help);
        problems.push((this.task.clone(), diagnostic));
    }
    problems
}

/// Where a secret is.
fn shown(token: &AccessToken) -> String {
    let shown = |source: &Secret| match source {
        Secret::File(path) => format!("in {}", path.display()),
        // What is no name may be the secret itself.
        Secret::Env(_) => "of an environment variable".to_owned(),
        Secret::Credential(_) => "of a credential".to_owned(),
    };
    token.sources().first().map_or_else(|| "from nowhere".to_owned(), shown)
}
