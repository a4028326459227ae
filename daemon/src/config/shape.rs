//! Compares values with a JSON Schema and says what does not fit in words for operators.
//!
//! The same code serves the daemon's own files (the schemas that `upkeep schema` prints, made from the settings types,
//! so that an editor and the daemon never disagree) and the `[config]` of a task (the schema in the plugin's
//! manifest). A validator finds all problems at once, where a deserializer would stop at the first.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{ValidationError, Validator};
use schemars::JsonSchema;
use serde_json::Value;
use url::Url;

use crate::config::mask;
use crate::config::schedule::Window;
use crate::config::source::{KeyPath, Segment};
use crate::config::suggest::{list, nearest};
use crate::config::{alerts, duration, findings, http, listen, percent, rate, schema, size, smtp};

/// A schema, ready to compare with.
#[derive(Debug, Clone)]
pub struct Shape {
    schema: Value,
    validator: Validator,
}

/// What a task file grants that the schemas of plugins have [formats](schema::GRANTED) for.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// Names of secrets that may be filled in.
    pub to_fill: BTreeSet<String>,
    /// Names of secrets to sign with.
    pub to_sign: BTreeSet<String>,
    /// Names of mail servers.
    pub mail_servers: BTreeSet<String>,
    /// Where requests may go.
    pub allowed: Vec<http::Origin>,
}

/// So deep may be what a plugin's configuration names addresses in: a schema may refer to itself.
const DEEPEST: usize = 32;

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: KeyPath,
    /// Whether the key is wrong, not its value.
    pub at_key: bool,
    /// Whether the value may be a secret, so that its line is not to be shown.
    pub is_secret: bool,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A schema that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("is not a JSON Schema: {0}")]
pub struct SchemaError(String);

impl Shape {
    /// The shape of one of the daemon's own settings types.
    pub fn of_settings<T: JsonSchema>() -> Result<Self, SchemaError> {
        Self::new(schema::of::<T>().to_value())
    }

    /// The shape that a JSON Schema describes. References lead nowhere but into the schema itself.
    pub fn new(schema: Value) -> Result<Self, SchemaError> {
        let validator = options().build(&schema).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { schema, validator })
    }

    /// The same shape for a task that is granted this. Where it names nothing of that kind, nothing is different.
    pub fn with_grants(&self, granted: Granted) -> Result<Cow<'_, Self>, SchemaError> {
        let text = self.schema.to_string();
        if !schema::GRANTED.iter().any(|format| text.contains(&format!("\"{format}\""))) {
            return Ok(Cow::Borrowed(self));
        }
        let Granted { to_fill, to_sign, mail_servers, allowed } = granted;
        let validator = options()
            .with_format(schema::SECRET, move |name: &str| to_fill.contains(name))
            .with_format(schema::SIGNING_SECRET, move |name: &str| to_sign.contains(name))
            .with_format(schema::MAIL_SERVER, move |name: &str| mail_servers.contains(name))
            .with_format(schema::REQUESTED, move |url: &str| {
                Url::parse(url).is_ok_and(|url| allowed.iter().any(|origin| origin.is_at(&url)))
            })
            .build(&self.schema)
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Cow::Owned(Self { schema: self.schema.clone(), validator }))
    }

    /// A value with the addresses that requests go to if it names no other ones.
    pub fn with_addresses(&self, mut value: Value) -> Value {
        self.add_addresses(&self.schema, &mut value, DEEPEST);
        value
    }

    fn add_addresses(&self, schema: &Value, value: &mut Value, depth: usize) {
        let schema = self.resolve(schema);
        let Some(depth) = depth.checked_sub(1) else { return };
        // `Option<T>` is `anyOf [T, null]`.
        let mut branches = schema["anyOf"].as_array().into_iter().flatten().filter(|branch| branch["type"] != "null");
        if let (Some(branch), None) = (branches.next(), branches.next()) {
            self.add_addresses(branch, value, depth);
        }
        let Value::Object(table) = value else { return };
        let properties = schema["properties"].as_object();
        for (key, property) in properties.into_iter().flatten() {
            match (table.get_mut(key), property.get("default")) {
                (Some(value), _) => self.add_addresses(property, value, depth),
                (None, Some(default @ Value::String(_))) if property["format"] == schema::REQUESTED => {
                    table.insert(key.clone(), default.clone());
                }
                (None, _) => {}
            }
        }
        let others = &schema["additionalProperties"];
        for (key, value) in table.iter_mut().filter(|_| others.is_object()) {
            if properties.is_none_or(|properties| !properties.contains_key(key)) {
                self.add_addresses(others, value, depth);
            }
        }
    }

    /// All that does not fit, each once.
    pub fn problems(&self, value: &Value) -> Vec<Problem> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(value) {
            self.reword(&error, &mut problems);
        }
        let mut seen: Vec<Problem> = Vec::new();
        for problem in problems {
            if !seen.contains(&problem) {
                seen.push(problem);
            }
        }
        seen
    }

    fn reword(&self, error: &ValidationError<'_>, problems: &mut Vec<Problem>) {
        let path = path_of(error);
        let found = describe(error.instance(), &path);
        let is_secret = matches!(error.kind(), Kind::Format { format } if may_be_secret(format, error.instance()));
        let mut tell = |message: String, help: String| {
            problems.push(Problem { path: path.clone(), at_key: false, is_secret, message, help })
        };
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                for key in unexpected {
                    let (message, help) = (format!("there is no key `{key}` here"), self.known_keys(error, key));
                    problems.push(Problem { path: path.key(key), at_key: true, is_secret: false, message, help });
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let schema = self.around(error).get("properties").and_then(|properties| properties.get(key));
                let (message, help) = (format!("`{key}` is missing"), format!("add {}", self.line_to_add(key, schema)));
                problems.push(Problem { path: path.key(key), at_key: false, is_secret: false, message, help });
            }
            // No value of TOML has this type: the key is what is wrong, and the description says why.
            Kind::Type { .. } if self.around(error)["type"] == "null" => {
                let why = self.around(error)["description"].as_str().unwrap_or("it means nothing here");
                tell("this does not belong here".to_owned(), format!("take it out: {why}"));
            }
            Kind::Type { .. } => {
                let schema = self.around(error);
                let message = format!("this has to be {}, not {found}", self.wanted(schema));
                let retyped = retyped(schema, error.instance()).filter(|_| !mask::holds_secret(&path));
                let help = retyped.unwrap_or_else(|| self.purpose(schema));
                tell(message, help);
            }
            Kind::Format { format } => {
                let text = error.instance().as_str().unwrap_or_default();
                let message = match format.as_str() {
                    schema::DURATION => duration::parse(text).err(),
                    schema::RATE => text.parse::<rate::Rate>().err(),
                    schema::ORIGIN => text.parse::<http::Origin>().err(),
                    schema::SERVER => text.parse::<http::Server>().err(),
                    schema::NETWORK => text.parse::<http::Network>().err(),
                    schema::SENDER => text.parse::<smtp::Address>().err(),
                    schema::RECIPIENT => text.parse::<smtp::Recipient>().err(),
                    schema::LISTEN => text.parse::<listen::ListenAddress>().err(),
                    schema::DAY => findings::day(text).err(),
                    schema::PERCENT => text.parse::<percent::Percent>().err(),
                    schema::SIZE => text.parse::<size::Size>().err(),
                    schema::TIME => text.parse::<alerts::TimeOfDay>().err(),
                    schema::WINDOW => text.parse::<Window>().err(),
                    schema::SECRET | schema::SIGNING_SECRET => Some(no_secret(format)),
                    schema::MAIL_SERVER => Some(NO_MAIL_SERVER.to_owned()),
                    schema::REQUESTED => Some(not_allowed(text)),
                    _ => None,
                };
                // The parsers say what is wrong and, after a semicolon, how it is written.
                let message = message.unwrap_or_else(|| format!("{found} is not in the format `{format}`"));
                let (message, help) = message.split_once("; ").unwrap_or((&message, ""));
                let help = if help.is_empty() { self.purpose(self.around(error)) } else { help.to_owned() };
                tell(message.to_owned(), help);
            }
            Kind::Enum { options } => {
                let names: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                self.not_among(error, &names, problems);
            }
            Kind::Constant { expected_value } => {
                self.not_among(error, &[expected_value.as_str().unwrap_or_default()], problems);
            }
            Kind::OneOfNotValid { context } | Kind::AnyOf { context } => self.reword_choice(error, context, problems),
            Kind::Minimum { limit } | Kind::ExclusiveMinimum { limit } => {
                tell(format!("{found} is too small"), format!("write {limit} or more"));
            }
            Kind::Maximum { limit } | Kind::ExclusiveMaximum { limit } => {
                tell(format!("{found} is too large"), format!("write {limit} or less"));
            }
            Kind::MinLength { .. } | Kind::MinItems { .. } | Kind::MinProperties { .. } => {
                tell("there has to be something here".to_owned(), self.purpose(self.around(error)));
            }
            Kind::MaxLength { limit } | Kind::MaxItems { limit } => {
                tell(format!("{found} is too long"), format!("at most {limit}"));
            }
            Kind::Pattern { pattern } => {
                let purpose = self.purpose(self.around(error));
                tell(
                    format!("{found} does not have the right form"),
                    format!("{purpose} It has to match `{pattern}`."),
                );
            }
            // The remaining kinds are rare in the schemas of plugins; the validator's own words name the rule, and the
            // value is left out because it may be a secret.
            _ => tell(error.masked_with("this value").to_string(), self.purpose(self.around(error))),
        }
    }

    /// A value that fits none of several schemas: says what the choices are, or what is wrong with the one meant.
    fn reword_choice(
        &self,
        error: &ValidationError<'_>,
        context: &[Vec<ValidationError<'_>>],
        problems: &mut Vec<Problem>,
    ) {
        let path = path_of(error);
        let schemas: Vec<&Value> = match self.at(error).as_array() {
            Some(branches) => branches.iter().map(|branch| self.resolve(branch)).collect(),
            None => Vec::new(),
        };
        // `Option<T>` is `anyOf [T, null]`: a TOML file has no null, so T alone counts.
        let mut branches = schemas.iter().zip(context).filter(|(schema, _)| schema["type"] != "null");
        if let (Some((_, errors)), None) = (branches.next(), branches.next()) {
            return errors.iter().for_each(|error| self.reword(error, problems));
        }
        let tags =
            |schema: &&&Value| schema["required"].as_array().and_then(|keys| keys.first()?.as_str().map(str::to_owned));
        let tags: Vec<String> = schemas.iter().filter_map(|schema| tags(&schema)).collect();
        if is_secret_source(&tags) {
            let (message, help) = secret_words(error.instance());
            return problems.push(Problem { path, at_key: false, is_secret: false, message, help });
        }
        if let Value::Object(table) = error.instance().as_ref()
            && let Some(tag) = tags.iter().find(|tag| table.contains_key(*tag))
            && let Some((_, errors)) = schemas.iter().zip(context).find(|(schema, _)| tags_of(schema) == Some(tag))
        {
            return errors.iter().for_each(|error| self.reword(error, problems));
        }
        let mut names: Vec<&str> = Vec::new();
        for schema in &schemas {
            names.extend(schema["const"].as_str());
            names.extend(schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str));
        }
        if tags.is_empty() && !names.is_empty() {
            return self.not_among(error, &names, problems);
        }
        let mut choices: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        choices.extend(tags.iter().map(|tag| format!("{{ {tag} = ... }}")));
        if choices.is_empty() {
            choices.extend(schemas.iter().map(|schema| self.wanted(schema)));
        }
        let message = format!("{} does not fit here", describe(error.instance(), &path));
        problems.push(Problem {
            path,
            at_key: false,
            is_secret: false,
            message,
            help: format!("write {}", choices.join(" or ")),
        });
    }

    fn not_among(&self, error: &ValidationError<'_>, names: &[&str], problems: &mut Vec<Problem>) {
        let path = path_of(error);
        let found = describe(error.instance(), &path);
        let near = error.instance().as_str().and_then(|text| nearest(text, names.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`? Possible here: {}", list(names.iter().copied())),
            None => format!("possible here: {}", list(names.iter().copied())),
        };
        problems.push(Problem {
            path,
            at_key: false,
            is_secret: false,
            message: format!("{found} is not possible here"),
            help,
        });
    }

    fn known_keys(&self, error: &ValidationError<'_>, key: &str) -> String {
        let properties = self.around(error).get("properties").and_then(Value::as_object);
        let names: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        match (nearest(key, names.iter().copied()), self.section_of(key, &names)) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(elsewhere)) => elsewhere,
            (None, None) if names.is_empty() => "remove it".to_owned(),
            (None, None) => format!("possible here: {}", list(names)),
        }
    }

    /// Whether `key` is one of the first level.
    pub fn knows(&self, key: &str) -> bool {
        self.schema["properties"].get(key).is_some()
    }

    /// A key that stands in the wrong section is the most common slip: a line that was added below another `[header]`.
    fn section_of(&self, key: &str, here: &[&str]) -> Option<String> {
        let sections = self.schema["properties"].as_object()?;
        if sections.contains_key(key) && !here.contains(&key) {
            return Some(format!("`{key}` belongs above the first `[section]` of the file"));
        }
        let holds = |schema: &Value| self.resolve(schema)["properties"].get(key).is_some();
        let (section, _) = sections.iter().find(|(_, schema)| holds(schema))?;
        Some(format!("`{key}` belongs into `[{section}]`"))
    }

    /// What a schema asks for, as the end of "this has to be ...".
    fn wanted(&self, schema: &Value) -> String {
        let names: Vec<&str> = match &self.resolve(schema)["type"] {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
            _ => Vec::new(),
        };
        let words: Vec<&str> = names.into_iter().map(in_words).collect();
        if words.is_empty() { "something else".to_owned() } else { words.join(" or ") }
    }

    /// How a value is written, and what the schema says that it is for.
    fn purpose(&self, schema: &Value) -> String {
        let resolved = self.resolve(schema);
        let meaning = schema["description"].as_str().or_else(|| resolved["description"].as_str());
        let meaning = meaning.map(|text| text.replace('\n', " "));
        match (resolved["examples"].get(0), meaning) {
            (Some(example), Some(meaning)) => format!("write for example {}. {meaning}", in_toml(example)),
            (Some(example), None) => format!("write for example {}", in_toml(example)),
            (None, Some(meaning)) => format!("what belongs here: {meaning}"),
            (None, None) => "docs/configuration.md and `upkeep schema` describe every key".to_owned(),
        }
    }

    /// A line to add, with what it is for.
    fn line_to_add(&self, key: &str, schema: Option<&Value>) -> String {
        let Some(schema) = schema else { return format!("`{key} = ...`") };
        let resolved = self.resolve(schema);
        let value = match (resolved["examples"].get(0), resolved["type"].as_str()) {
            (Some(example), _) => in_toml(example),
            (None, Some("string")) => "\"...\"".to_owned(),
            (None, Some("array")) => "[ ... ]".to_owned(),
            (None, Some("boolean")) => "true".to_owned(),
            _ => "...".to_owned(),
        };
        let meaning =
            schema["description"].as_str().map(|text| format!(" - {}", text.replace('\n', " "))).unwrap_or_default();
        format!("`{key} = {value}`{meaning}")
    }

    /// The schema that holds the keyword which failed.
    fn around(&self, error: &ValidationError<'_>) -> &Value {
        let pointer = error.schema_path().as_str();
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.schema.pointer(parent).unwrap_or(&Value::Null)
    }

    /// The keyword's own value.
    fn at(&self, error: &ValidationError<'_>) -> &Value {
        self.schema.pointer(error.schema_path().as_str()).unwrap_or(&Value::Null)
    }

    /// Follows one `$ref` inside the schema.
    fn resolve<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }
}

/// Whether what is not in a format may be a secret: in the place of a secret's name, or in an address.
fn may_be_secret(format: &str, found: &Value) -> bool {
    match format {
        schema::SECRET | schema::SIGNING_SECRET => true,
        schema::REQUESTED => found.as_str().is_none_or(|text| text.parse::<http::Server>().is_err()),
        _ => false,
    }
}

/// What stands in the place of a secret's name. It is not shown: it may be the secret.
fn no_secret(format: &str) -> String {
    let (what, access) = match format {
        schema::SIGNING_SECRET => ("to sign with", ", with `access = [\"sign\"]`"),
        _ => ("to be filled in", ""),
    };
    format!(
        "this is not the name of a secret {what}; grant one by `[grant.secrets.NAME]`{access}, and write its name here: the secret itself \
         belongs into a file"
    )
}

const NO_MAIL_SERVER: &str =
    "no mail server of this name is granted; grant one by `[grant.smtp.NAME]`, and write its name here";

/// Why no request goes to an address.
fn not_allowed(url: &str) -> String {
    match Url::parse(url).map(|url| url.origin()) {
        Ok(origin @ url::Origin::Tuple(..)) => {
            let server = origin.ascii_serialization();
            format!("no request to {server} is allowed; add \"{server}/\" to `grant.http.allow`")
        }
        Ok(_) | Err(_) => "this is not an address; write for example \"https://api.example.com\"".to_owned(),
    }
}

/// What knows the formats of upkeep.
fn options() -> jsonschema::ValidationOptions<'static> {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_format(schema::DURATION, |text: &str| duration::parse(text).is_ok())
        .with_format(schema::SIZE, |text: &str| text.parse::<size::Size>().is_ok())
        .with_format(schema::RATE, |text: &str| text.parse::<rate::Rate>().is_ok())
        .with_format(schema::ORIGIN, |text: &str| text.parse::<http::Origin>().is_ok())
        .with_format(schema::SERVER, |text: &str| text.parse::<http::Server>().is_ok())
        .with_format(schema::NETWORK, |text: &str| text.parse::<http::Network>().is_ok())
        .with_format(schema::SENDER, |text: &str| text.parse::<smtp::Address>().is_ok())
        .with_format(schema::RECIPIENT, |text: &str| text.parse::<smtp::Recipient>().is_ok())
        .with_format(schema::LISTEN, |text: &str| text.parse::<listen::ListenAddress>().is_ok())
        .with_format(schema::DAY, |text: &str| findings::day(text).is_ok())
        .with_format(schema::PERCENT, |text: &str| text.parse::<percent::Percent>().is_ok())
        .with_format(schema::TIME, |text: &str| text.parse::<alerts::TimeOfDay>().is_ok())
        .with_format(schema::WINDOW, |text: &str| text.parse::<Window>().is_ok())
}

fn path_of(error: &ValidationError<'_>) -> KeyPath {
    let segments = error.instance_path().segments().map(|segment| match segment {
        jsonschema::paths::LocationSegment::Property(key) => Segment::Key(key.to_string()),
        jsonschema::paths::LocationSegment::Index(index) => Segment::Index(index),
    });
    KeyPath(segments.collect())
}

fn tags_of(schema: &Value) -> Option<&str> {
    schema["required"].as_array()?.first()?.as_str()
}

fn is_secret_source(tags: &[String]) -> bool {
    ["file", "env", "credential"].iter().all(|name| tags.iter().any(|tag| tag == name))
}

/// What is wrong with the source of a secret. Never quotes a value.
fn secret_words(value: &Value) -> (String, String) {
    let sources = "write where it is, one of\n{ file = \"/path\" }\n{ env = \"NAME\" }\n{ credential = \"NAME\" }";
    match value {
        Value::String(_) => {
            let message = "the secret itself stands here; it must never be in a configuration file".to_owned();
            let help = format!(
                "put it into a file that only the daemon's user can read (mode 600), and {sources}\n\
                 Then change the secret: whoever read this file or a backup of it knows it."
            );
            (message, help)
        }
        Value::Object(table) if table.len() > 1 => ("a secret has one source, not two".to_owned(), sources.to_owned()),
        Value::Object(table) => {
            let wrong = table.keys().next().map_or_else(|| "nothing".to_owned(), |key| format!("`{key}`"));
            (format!("{wrong} is not a source of a secret"), sources.to_owned())
        }
        _ => ("this is not a source of a secret".to_owned(), sources.to_owned()),
    }
}

/// A value as it is named in a sentence; what may be secret is not quoted.
fn describe(value: &Value, path: &KeyPath) -> String {
    match value {
        Value::String(_) if mask::holds_secret(path) => "this text".to_owned(),
        Value::String(text) if text.contains('\n') => "a text of several lines".to_owned(),
        Value::String(text) if text.chars().count() > 60 => {
            format!("the text \"{}...\"", text.chars().take(57).collect::<String>())
        }
        Value::String(text) => format!("the text \"{text}\""),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::Null => "nothing".to_owned(),
    }
}

fn in_words(kind: &str) -> &str {
    match kind {
        "string" => "a text in quotes",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list in `[ ]`",
        "object" => "a table",
        other => other,
    }
}

/// A value as it is written in a TOML file.
fn in_toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let pairs: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {}", in_toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// How to write what only has the wrong type.
fn retyped(schema: &Value, found: &Value) -> Option<String> {
    let text = found.as_str()?.trim();
    match schema["type"].as_str()? {
        "boolean" if ["yes", "on", "1", "true"].contains(&text) => Some("write `true`, without quotes".to_owned()),
        "boolean" if ["no", "off", "0", "false"].contains(&text) => Some("write `false`, without quotes".to_owned()),
        "integer" if text.parse::<i64>().is_ok() => Some(format!("write `{text}`, without quotes")),
        "array" => Some(format!("write `[{}]`", in_toml(found))),
        _ => None,
    }
}
