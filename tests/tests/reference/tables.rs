//! Tables of keys for docs/configuration.md, made from the schemas.

use std::fmt::Write;

use serde_json::Value;

/// The tables, by the name of their place in the page.
pub(crate) fn all(daemon: &Value, task: &Value) -> Vec<(&'static str, String)> {
    let definition = |name: &str| &task["$defs"][name];
    let own = |name: &str| &daemon["$defs"][name];
    vec![
        ("upkeep.toml", table(daemon, daemon)),
        ("listen", table(daemon, &daemon["$defs"]["ListenSettings"])),
        ("client", table(daemon, &daemon["$defs"]["ClientSettings"])),
        ("wechat", table(daemon, &daemon["$defs"]["WechatSettings"])),
        ("alerts", table(daemon, own("AlertSettings"))),
        ("escalate", table(daemon, own("Escalation"))),
        ("quiet", table(daemon, own("QuietHours"))),
        ("digest", table(daemon, own("DigestSettings"))),
        ("task", table(task, task)),
        ("schedule", table(task, definition("ScheduleSettings"))),
        ("after", table(task, definition("After"))),
        ("retry", table(task, definition("Retry"))),
        ("findings", table(task, definition("FindingsSettings"))),
        ("ignore", table(task, definition("IgnoreSettings"))),
        ("task-alerts", table(task, definition("TaskAlerts"))),
        ("grant", table(task, definition("Grants"))),
        ("files", table(task, definition("FilesGrant"))),
        ("removal", table(task, definition("RemovalGrant"))),
        ("require_backup", table(task, definition("BackupRequirement"))),
        ("http", table(task, definition("HttpGrant"))),
        ("secrets", table(task, definition("SecretGrant"))),
        ("access-token", table(task, definition("AccessToken"))),
        ("smtp", table(task, definition("SmtpGrant"))),
        ("journal", table(task, definition("JournalGrant"))),
        ("outbox", table(task, definition("OutboxGrant"))),
        ("consents", table(task, definition("ConsentsGrant"))),
        ("repository", table(task, definition("RepositoryGrant"))),
        ("dump", table(task, definition("DumpGrant"))),
        ("server", table(task, definition("ServerGrant"))),
        ("redis", table(task, definition("RedisGrant"))),
        ("sql", table(task, definition("SqlGrant"))),
        ("sql-server", table(task, definition("SqlServer"))),
        ("row-removal", table(task, definition("RowRemoval"))),
        ("limits", table(task, definition("Limits"))),
    ]
}

fn table(root: &Value, schema: &Value) -> String {
    let mut text = "| key | value | default | |\n|---|---|---|---|\n".to_owned();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let default = match &property["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::Object(table) if table.is_empty() => String::new(),
            Value::Object(_) => "see below".to_owned(),
            Value::Array(list) if list.is_empty() => String::new(),
            Value::String(empty) if empty.is_empty() => String::new(),
            value => format!("`{value}`"),
        };
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let choices = choices(root, property);
        writeln!(text, "| `{key}` | {} | {default} | {meaning}{choices} |", kind(root, property)).expect("a string");
    }
    // Of which exactly one is written.
    for branch in schema["oneOf"].as_array().into_iter().flatten() {
        let meaning = branch["description"].as_str().unwrap_or_default().replace('\n', " ");
        for (key, property) in branch["properties"].as_object().into_iter().flatten() {
            writeln!(text, "| `{key}` | {} | exactly one | {meaning} |", kind(root, property)).expect("a string");
        }
    }
    text
}

/// Follows references, and takes `T` for what is `T` or nothing.
fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolve(root, root.pointer(reference.trim_start_matches('#')).expect("a definition"));
    }
    match schema["anyOf"].as_array() {
        Some(branches) => {
            resolve(root, branches.iter().find(|branch| branch["type"] != "null").expect("one that is not null"))
        }
        None => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match (schema["format"].as_str(), name) {
        (Some(schema_format), _) if schema_format.starts_with("upkeep-") => schema_format["upkeep-".len()..].to_owned(),
        (_, Some("array")) => format!("list of {}", plural(&kind(root, &schema["items"]))),
        (_, Some("boolean")) => "`true`, `false`".to_owned(),
        (_, Some("integer")) => "number".to_owned(),
        (_, Some("object")) => "table".to_owned(),
        (_, Some("string")) if schema["enum"].is_array() => "word".to_owned(),
        (_, Some("string")) => "text".to_owned(),
        _ if schema["oneOf"][0]["type"] == "object" => "table of one key".to_owned(),
        _ => "word".to_owned(),
    }
}

fn plural(kind: &str) -> String {
    if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") }
}

/// The words that are possible, with what each means.
fn choices(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let schema = if schema["items"].is_object() { resolve(root, &schema["items"]) } else { schema };
    let mut words = Vec::new();
    for word in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        words.push(format!("`{word}`"));
    }
    for branch in schema["oneOf"].as_array().into_iter().flatten() {
        let meaning = branch["description"].as_str().unwrap_or_default().replace('\n', " ");
        let word = match (branch["const"].as_str(), branch["required"][0].as_str()) {
            (Some(word), _) => format!("`{word}`"),
            (None, Some(key)) => format!("`{{ {key} = ... }}`"),
            (None, None) => branch["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|word| format!("`{word}`"))
                .collect(),
        };
        words.push(match meaning.trim_end_matches('.') {
            "" => word,
            meaning => format!("{word}: {}{}", meaning[..1].to_lowercase(), &meaning[1..]),
        });
    }
    let bounds = match (&schema["minimum"], &schema["maximum"]) {
        (Value::Number(least), Value::Number(most))
            if most.as_u64() < Some(u64::from(u32::MAX)) || least.as_u64() > Some(0) =>
        {
            format!(" {least} to {most}.")
        }
        _ => String::new(),
    };
    if words.is_empty() { bounds } else { format!(" {}.", words.join("; ")) }
}
