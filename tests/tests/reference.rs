//! What is committed for operators says the same as the code: the JSON Schemas, the tables of docs/configuration.md, and
//! the files of config/.
//!
//! The schemas and tables are made from the settings types. `UPKEEP_RENEW=1 cargo test -p upkeep-tests --test reference`
//! writes them again.

#[path = "configurations/stage.rs"]
#[expect(dead_code, reason = "the stage of the configurations serves here too, not all of it")]
mod stage;
#[path = "reference/tables.rs"]
mod tables;

use std::path::PathBuf;

use upkeep::cli::schema::{ConfigFile, SchemaArgs, schema};
use upkeep::config::daemon::DaemonSettings;
use upkeep::config::schema;
use upkeep::config::task::TaskSettings;
use upkeep::plugin::section;

use self::stage::Stage;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_default()
}

/// Compares a committed file with what it should be, or writes it.
fn is_current(path: &str, wanted: &str) {
    if std::env::var_os("UPKEEP_RENEW").is_some() {
        std::fs::create_dir_all(repository(path).parent().expect("a folder")).expect("a folder");
        return std::fs::write(repository(path), wanted).expect("the file is writable");
    }
    assert!(
        text(path) == wanted,
        "{path} is stale; renew it: UPKEEP_RENEW=1 cargo test -p upkeep-tests --test reference"
    );
}

#[test]
fn the_schemas_are_current() {
    for (file, path) in
        [(ConfigFile::Daemon, "config/schema/upkeep.schema.json"), (ConfigFile::Task, "config/schema/task.schema.json")]
    {
        let mut printed = Vec::new();
        schema(&SchemaArgs { file }, &mut printed).expect("a vector can be written to");
        is_current(path, &String::from_utf8(printed).expect("JSON is UTF-8"));
    }
}

#[test]
fn the_tables_of_the_documentation_are_current() {
    let path = "docs/configuration.md";
    let mut page = text(path);
    let (daemon, task) = (schema::of::<DaemonSettings>().to_value(), schema::of::<TaskSettings>().to_value());
    for (name, table) in tables::all(&daemon, &task) {
        let (start, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
        let from =
            page.find(&start).unwrap_or_else(|| panic!("{path} has no place for the keys of {name}")) + start.len();
        let to = from + page[from..].find(end).expect("an end");
        page.replace_range(from..to, &table);
    }
    is_current(path, &page);
}

#[test]
fn the_annotated_daemon_file_shows_every_key_with_its_default() {
    let annotated = text("config/upkeep.toml");
    assert_eq!(toml::from_str::<DaemonSettings>(&annotated).expect("it loads"), DaemonSettings::default());

    let is_key = |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let shown: String = annotated.lines().filter(is_key).map(|line| format!("{}\n", &line[1..])).collect();
    let mut settings: DaemonSettings = toml::from_str(&shown).expect("what is shown is right");
    assert_eq!(settings.socket_group.take().as_deref(), Some("upkeep"));
    assert_eq!(settings, DaemonSettings::default(), "what is shown is the default");

    let schema = schema::of::<DaemonSettings>().to_value();
    for key in schema["properties"].as_object().expect("keys").keys() {
        // A section has no default: an example of it is shown.
        let is_shown = shown.contains(&format!("{key} = ")) || annotated.contains(&format!("# [{key}]"));
        assert!(is_shown, "config/upkeep.toml does not show `{key}`");
    }
}

/// What the plugin says of itself, as JSON; none when it is not built.
fn manifest_of(plugin: &str) -> Option<String> {
    let file = repository(&format!("target/plugins/{plugin}.wasm"));
    let component = std::fs::read(&file).ok()?;
    let manifest = section::read(&component, &file).expect("a plugin").manifest;
    Some(String::from_utf8(manifest.to_json()).expect("JSON is UTF-8"))
}

#[test]
fn all_examples_are_right() {
    let mut count = 0;
    for entry in std::fs::read_dir(repository("config/tasks.d")).expect("the folder") {
        let file = entry.expect("an entry").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let Some(task) = name.strip_suffix(".toml.example") else { panic!("{name} is no example") };
        let example = std::fs::read_to_string(&file).expect("readable");
        let plugin = example.split("\nplugin = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a plugin");
        let Some(manifest) = manifest_of(plugin) else {
            assert!(std::env::var_os("CI").is_none(), "{plugin} is not built, and CI must not skip");
            return eprintln!("SKIPPED: {plugin} is not built (make plugins); the examples were not looked at");
        };
        let stage = Stage::new();
        stage.write("srv/app/app.db", "SQLite format 3\0");
        for folder in ["srv/backup", "var/cache/apt", "var/lib/upkeep-advisories", "var/log/nginx", "var/tmp"] {
            std::fs::create_dir_all(stage.path(folder)).expect("a folder");
        }
        stage.write(&format!("plugins/{plugin}.wasm"), &manifest);
        let example = example.replace("\"/srv/", "\"{root}/srv/").replace("\"/var/", "\"{root}/var/");
        let example = with_secrets(&example);
        stage.write(&format!("etc/tasks.d/{task}.toml"), &example);
        assert_eq!(stage.examine().diagnostics.to_string(), "", "{name}");
        count += 1;
    }
    assert!(count > 0, "there are no examples");
}

/// Whole task files among the blocks of a page: those that name their plugin.
#[test]
fn documented_task_files_are_right() {
    let page = text("docs/push.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|it| it.split("```").next());
    let mut count = 0;
    for block in blocks.filter(|it| it.starts_with("plugin = ")) {
        let plugin = block.split('"').nth(1).expect("a plugin");
        let Some(manifest) = manifest_of(plugin) else {
            assert!(std::env::var_os("CI").is_none(), "{plugin} is not built, and CI must not skip");
            return eprintln!("SKIPPED: {plugin} is not built (make plugins); the page was not looked at");
        };
        let stage = Stage::new();
        stage.write(&format!("plugins/{plugin}.wasm"), &manifest);
        stage.write("etc/tasks.d/it.toml", &with_secrets(block));
        assert_eq!(stage.examine().diagnostics.to_string(), "", "{block}");
        count += 1;
    }
    assert!(count >= 8, "there are {count} task files");
}

/// What the plugin would refuse when it runs is refused by `upkeep check` already: one channel stops all others.
#[test]
fn keys_of_channels_that_mean_nothing_are_told_before_a_run() {
    let Some(manifest) = manifest_of("push") else {
        assert!(std::env::var_os("CI").is_none(), "push is not built, and CI must not skip");
        return eprintln!("SKIPPED: push is not built (make plugins); its channels were not looked at");
    };
    let shop = "wechat_subscribe = { token = \"t\", templates = {} }";
    let service = "wechat_service = { token = \"t\" }";
    let (hook, ntfy) = ("webhook = { url = \"https://a.example/\" }", "ntfy = { topic = \"t\" }");
    let nowhere = "`consents` has a meaning for `wechat_subscribe` alone";
    for (channel, told) in [
        (format!("{ntfy}\naccount = \"wx1\""), Some("`account` has a meaning with `consents` alone")),
        (format!("{shop}\naccount = \"wx1\""), Some("`account` has a meaning with `consents` alone")),
        (format!("{shop}\naccount = \"wx1\"\nconsents = \"off\""), Some("`account` has a meaning with")),
        (format!("{hook}\naccount = \"wx1\"\nconsents = \"require\""), Some(nowhere)),
        (format!("{service}\naccount = \"wx1\"\nconsents = \"advise\""), Some(nowhere)),
        (format!("{shop}\nconsents = \"require\""), Some("`account` is missing")),
        (format!("{shop}\ndigest = true"), Some("messages to one user each are not merged")),
        (format!("{service}\ndigest = true"), Some("messages to one user each are not merged")),
        (format!("{shop}\naccount = \"wx1\"\nconsents = \"require\"\ndigest = false"), None),
        (format!("{hook}\nconsents = \"off\"\ndigest = true"), None),
    ] {
        let stage = Stage::new();
        stage.write("plugins/push.wasm", &manifest);
        let task = format!(
            "plugin = \"push\"\nschedule.outbox = true\n[config.channels.it]\n{channel}\n\
             [grant]\nstate = true\nmetrics = true\noutbox = {{ access = [\"deliver\"] }}\n\
             http = {{ allow = [\"https://a.example/\", \"https://ntfy.sh/\", \"https://api.weixin.qq.com/\"] }}\n\
             [grant.secrets.t]\nfile = \"{{root}}/secrets/token\"\nhosts = [\"https://a.example\"]\n"
        );
        stage.write("etc/tasks.d/it.toml", &task);
        let shown = stage.examine().diagnostics.to_string();
        println!("{channel}\n{shown}\n");
        match told {
            Some(told) => assert!(shown.contains(told) && shown.lines().count() < 4, "{channel}: {shown}"),
            None => assert_eq!(shown, "", "{channel}"),
        }
    }
}

/// Files of secrets as the stage has them.
fn with_secrets(text: &str) -> String {
    let mut parts = text.split("\"/etc/upkeep/secrets/");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('"').map_or("", |(_, rest)| rest);
        replaced.push_str("\"{root}/secrets/token\"");
        replaced.push_str(rest);
    }
    replaced
}

#[test]
fn editors_find_the_schemas() {
    for (file, schema) in [
        ("config/upkeep.toml", "config/schema/upkeep.schema.json"),
        ("config/tasks.d/backup-app.toml.example", "config/schema/task.schema.json"),
    ] {
        let first = text(file).lines().next().unwrap_or_default().to_owned();
        let named = first.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{file} names no schema"));
        let found = repository(file).parent().expect("a folder").join(named).canonicalize().expect("the schema exists");
        assert_eq!(found, repository(schema).canonicalize().expect("the schema exists"));
    }
}

/// The figure of docs/hardening.md. Needs systemd's own tool; no service is started.
#[test]
fn the_unit_is_as_hard_as_documented() {
    let unit = repository("config/upkeep.service");
    let analysis = std::process::Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .output();
    let Ok(analysis) = analysis else {
        return eprintln!("SKIPPED: there is no systemd-analyze on this machine; the unit was not looked at");
    };
    let shown = String::from_utf8_lossy(&analysis.stdout);
    let level = shown.lines().find_map(|line| line.split_once("Overall exposure level for upkeep.service: "));
    let level: f64 = level.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).expect("a level");
    let documented = text("docs/hardening.md");
    let documented = documented.split("gives **").nth(1).and_then(|rest| rest.split("**").next()).expect("a figure");
    assert!(
        level <= documented.parse().expect("a number"),
        "the level is {level}, docs/hardening.md says {documented}"
    );
}
