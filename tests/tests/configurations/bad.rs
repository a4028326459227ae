//! Everything that an operator can get wrong, by theme: a name, and the files that are written.

/// A name, and files by path.
pub(crate) type Case = (&'static str, &'static [(&'static str, &'static str)]);

macro_rules! cases {
    ($($name:literal: $($path:literal = $text:literal),+;)+) => {
        &[$(($name, &[$(($path, $text)),+])),+]
    };
}

/// What cannot even be read.
pub(crate) const SYNTAX: &[Case] = cases! {
    "text without quotes": "etc/tasks.d/site.toml" = "plugin = noop\n";
    "a quote is missing": "etc/tasks.d/site.toml" = "plugin = \"noop\ntimeout = \"1h\"\n";
    "a key without a value": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout =\n";
    "the same key twice": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"1h\"\ntimeout = \"2h\"\n";
    "a bracket is missing": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule\nevery = \"1h\"\n";
    "YAML instead of TOML": "etc/tasks.d/site.toml" = "plugin: noop\n";
    "a password without quotes is not shown": "etc/tasks.d/site.toml" = "plugin = \"noop\"\npassword = hunter2\n";
};

/// What has the wrong shape.
pub(crate) const SHAPE: &[Case] = cases! {
    "a mistyped key": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeuot = \"1h\"\n";
    "a mistyped section": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[shedule]\nevery = \"1h\"\n";
    "a key that nobody knows": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ncolour = \"red\"\n";
    "a key in the wrong section": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\nenabled = false\n";
    "a key that belongs into a section": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ncron = \"0 3 * * *\"\n";
    "no plugin": "etc/tasks.d/site.toml" = "timeout = \"1h\"\n";
    "a number where a text belongs": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = 90\n";
    "a text where a number belongs": "etc/tasks.d/site.toml" = "plugin = \"noop\"\nparallel = \"2\"\n";
    "a text where true or false belongs": "etc/tasks.d/site.toml" = "plugin = \"noop\"\nenabled = \"yes\"\n";
    "a duration without a unit": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"90\"\n";
    "a size with a strange unit": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"64 megs\"\n";
    "a negative number": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = -1\n";
    "a word that is not possible": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\noverlap = \"kill-running\"\n";
    "a mistyped word": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ndst_gap = \"run_after\"\n";
    "several mistakes at once": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"soon\"\nparallel = \"2\"\n[grant]\nstat = true\n";
};

/// What is wrong with `[schedule]`, `retry` and `group`.
pub(crate) const SCHEDULE: &[Case] = cases! {
    "an hour that does not exist": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"30 25 * * *\"\n";
    "too few fields": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"30 3 * *\"\n";
    "Quartz without a question mark": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nquartz = \"0 30 3 * * MON-FRI\"\n";
    "Quartz with a weekday of crontab": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nquartz = \"0 30 3 ? * 0\"\n";
    "a mistyped weekday": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * MON,TEU\"\n";
    "a day that never comes": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 30 2 *\"\n";
    "two clocks": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\nevery = \"1h\"\n";
    "no distance": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"0s\"\n";
    "a time zone of China as people say it": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"Asia/Beijing\"\n";
    "a mistyped time zone": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"Europe/Berlim\"\n";
    "an offset instead of a time zone": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"GMT+08:00\"\n";
    "a window that is none": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\nwindow = \"22-6\"\n";
    "a window that no slot falls into": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 12 * * *\"\nwindow = \"22:00-06:00\"\n";
    "after a task that does not exist": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"databse\" }]\n", "etc/tasks.d/database.toml" = "plugin = \"noop\"\n";
    "after itself": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"site\" }]\n";
    "a circle": "etc/tasks.d/a.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"b\" }]\n", "etc/tasks.d/b.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"c\", on = \"any\" }]\n", "etc/tasks.d/c.toml" = "plugin = \"noop\"\n[[schedule.after]]\ntask = \"a\"\n";
    "a word for after that is not possible": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"b\", on = \"error\" }]\n", "etc/tasks.d/b.toml" = "plugin = \"noop\"\n";
    "a watched path that is relative": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nwatch = [\"uploads\"]\n";
    "catching up with too many": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ncatch_up = { all = 100000 }\n";
    "catching up in a way that is not possible": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ncatch_up = \"first\"\n";
    "retries that are too many and too quick": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = 1000\nbackoff = \"0s\"\n";
    "the longest wait is the shorter one": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = 2\nbackoff = \"1h\"\nmax_backoff = \"1m\"\n";
    "a group with spaces": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ngroup = \"the database\"\n";
    "a run that may not take any time": "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"0s\"\n";
};

/// What is wrong with the plugin or its `[config]`.
pub(crate) const PLUGIN: &[Case] = cases! {
    "a mistyped plugin": "etc/tasks.d/site.toml" = "plugin = \"backpu\"\n";
    "a plugin by a relative path": "etc/tasks.d/site.toml" = "plugin = \"plugins/noop.wasm\"\n";
    "a plugin by an absolute path that is not there": "etc/tasks.d/site.toml" = "plugin = \"/opt/noop.wasm\"\n";
    "a file that is not a component": "etc/tasks.d/site.toml" = "plugin = \"text\"\n";
    "a plugin for another host API": "etc/tasks.d/site.toml" = "plugin = \"future\"\n";
    "a plugin that asks for what there is not": "etc/tasks.d/site.toml" = "plugin = \"courier\"\n";
    "a plugin whose config schema is none": "etc/tasks.d/site.toml" = "plugin = \"muddled\"\n";
    "config for a plugin that takes none": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[config]\nfolders = [\"app\"]\n";
    "no config at all": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n{grants}\n";
    "a mistyped key of the config": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\nkep = 7\n{grants}\n";
    "config of the wrong type": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = \"app\"\nkeep = 7\n{grants}\n";
    "config out of bounds": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = []\nkeep = 0\n{grants}\n";
    "config that is not among the choices": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\ncompression = \"fsat\"\nmark = \"Nightly Run\"\n{grants}\n";
};

/// What is wrong with `[grant]`.
pub(crate) const GRANT: &[Case] = cases! {
    "nothing is granted": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n";
    "a switch and a list are missing": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n";
    "a group is missing": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\"]\n";
    "a group that nobody asks for": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\", \"sockets\"]\n";
    "a group that does not exist": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disk\"]\n";
    "a right that nobody asks for": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a capability that nobody asks for": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[grant.files.app]\npath = \"{root}/srv/app\"\n";
    "a needed right is not granted": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\naccess = [\"list\"]\n";
    "a right that does not exist": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\naccess = [\"raed\"]\n";
    "a capability that does not exist": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[grant.network.all]\nhosts = [\"*\"]\n";
};

/// What is wrong with `removal`.
pub(crate) const REMOVAL: &[Case] = cases! {
    "a share that is none": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.files.all.removal]\nmax_share = \"half\"\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}";
    "a pattern that is none": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.files.all.removal]\nprotect = [\"/keep\", \"a[\"]\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}";
    "a backup that nobody makes": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.files.all.removal]\nrequire_backup = { task = \"sav\", max_age = \"26h\" }\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}", "etc/tasks.d/save.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a backup that nobody verifies": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.files.all.removal]\nrequire_backup = { task = \"save\", max_age = \"26h\" }\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}", "etc/tasks.d/save.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a backup by a task that saves nothing": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.files.all.removal]\nrequire_backup = { task = \"site\", max_age = \"26h\" }\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}";
    "a removal from a folder that is only read": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\nremoval = { undo = \"7d\" }\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
};

/// What is wrong with the databases of `[grant.sql]`.
pub(crate) const ROWS: &[Case] = cases! {
    "rights that are missing": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\n";
    "a plugin that needs them, and no grant": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n";
    "from which tables?": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\n";
    "no table": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [] }\n";
    "tables that are none": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"*\", \"\", \"events\", \"events\"] }\n";
    "ceilings at which nothing goes": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\n[grant.sql.app.removal]\ntables = [\"events\"]\nmax_rows = 0\nmax_share = \"0%\"\n";
    "a share that is none": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\n[grant.sql.app.removal]\ntables = [\"events\"]\nmax_share = \"half\"\n";
    "a mistyped ceiling": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\n[grant.sql.app.removal]\ntables = [\"events\"]\nmax_row = 5\n";
    "a backup that nobody makes": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\n[grant.sql.app.removal]\ntables = [\"events\"]\nrequire_backup = { task = \"save\", max_age = \"26h\" }\n";
    "two kinds at once": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.mariadb]\ndatabase = \"shop\"\n";
    "a server without its database": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.postgresql]\nhost = \"127.0.0.1\"\n";
    "what belongs to the server itself": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.mariadb]\ndatabase = \"mysql\"\n";
    "host and socket, no port": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.postgresql]\ndatabase = \"shop\"\nhost = \"127.0.0.1\"\nsocket = \"/run/postgresql\"\nport = 0\n";
    "the password of a server itself": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.postgresql]\ndatabase = \"shop\"\npassword = \"hunter2\"\n";
    "a secret that is not there": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n[grant.sql.app.postgresql]\ndatabase = \"shop\"\nhost = \"db.internal\"\npassword = { file = \"{root}/secrets/mian\" }\n";
    "a table for what may not be removed": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.app]\nsqlite = \"{root}/srv/shop.db\"\naccess = [\"maintain\"]\nremoval = { tables = [\"events\"] }\n";
    "the private database": "etc/tasks.d/site.toml" = "plugin = \"purger\"\n[grant.sql.private]\naccess = [\"remove\", \"maintain\"]\nremoval = { tables = [\"events\"] }\n";
};

/// Folders, repositories and databases that are not what they should be.
pub(crate) const PLACES: &[Case] = cases! {
    "a mistyped folder": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/ap\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a relative folder": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"~/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the whole machine": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"/\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a file as folder": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/shop.db\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the repository in the folder that it saves": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv\"\n[grant.repository.main]\nurl = \"{root}/srv/backup\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the folder in the repository": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/backup/main/data\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n", "backup/main/config" = "", "backup/main/data/x" = "";
    "a plugin that could change the configuration": "etc/tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/etc/tasks.d\"\naccess = [\"read\", \"remove\"]\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}";
    "a repository whose disk is not mounted": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/mnt/disk/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a repository in a folder of other things": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/empty\"\n[grant.repository.main]\nurl = \"{root}/srv/app\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a repository that this build cannot reach": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sftp://me:hunter2@backup.example/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a database that is none": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.shop]\nsqlite = \"{root}/srv/app/index.html\"\n";
    "a database that is a folder": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.shop]\nsqlite = \"{root}/srv/app\"\n";
    "a connection without a database": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\"]\n[grant.sql.shop]\naccess = [\"read\"]\n";
    "a file for the private database": "etc/tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\"]\n[grant.sql.private]\nsqlite = \"{root}/srv/shop.db\"\n";
};

/// Secrets that are not there, or not secret.
pub(crate) const SECRETS: &[Case] = cases! {
    "the password itself": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = \"hunter2\"\n";
    "the password under another key": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { value = \"hunter2\" }\n";
    "two sources": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\", env = \"UPKEEP_SET\" }\n";
    "no password": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\n";
    "a file that does not exist": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/mian\" }\n";
    "a file that others can read": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/open\" }\n";
    "an empty file": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/empty\" }\n";
    "a file of two lines": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/lines\" }\n";
    "a file with a line and nothing in it": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/blank\" }\n";
    "a variable that is not set": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { env = \"UPKEEP_PASSWORD\" }\n";
    "the password where the variable's name belongs": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { env = \"hunter2!\" }\n";
    "a token in the config": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\ntoken = \"hunter2\"\nfolders_secret = [\"hunter2\"]\n{grants}\n";
    "a user's password in an address": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"me:hunter2@backup.example:/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "an address whose quote is missing": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.repository.main]\nurl = \"sftp://me:hunter2@backup.example/main\n";
    "a credential without systemd": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { credential = \"main\" }\n";
};

/// Limits that protect nobody, or let nothing run.
pub(crate) const LIMITS: &[Case] = cases! {
    "memory beyond the maximum": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"2 GiB\"\n";
    "no memory": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"0 MiB\"\n";
    "no handles, too many steps": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nhandles = 0\nsteps = 5000000\n";
    "a number beyond its type": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nhandles = 99999999999\n";
    "too much at the same time": "etc/tasks.d/site.toml" = "plugin = \"noop\"\nparallel = 5000\n";
};

/// What is wrong with the databases of `[grant.dump]`.
pub(crate) const DATABASES: &[Case] = cases! {
    "two kinds at once": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app]\nsqlite = \"{root}/srv/shop.db\"\n[grant.dump.app.redis]\nport = 6379\n";
    "a kind that nobody knows": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgres]\nhost = \"127.0.0.1\"\n";
    "no kind": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app]\n";
    "a mistyped key of a server": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\ndatabase = [\"app\"]\n";
    "host and socket": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\nhost = \"127.0.0.1\"\nsocket = \"/run/postgresql\"\ntools = \"{root}/tools\"\n";
    "a socket as the host": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\nhost = \"/run/postgresql\"\ntools = \"{root}/tools\"\n";
    "a URL as the host": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.mariadb]\nhost = \"me:hunter2@db.internal\"\npassword = { file = \"{root}/secrets/main\" }\ntools = \"{root}/tools\"\n";
    "a socket by a relative path, no port": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.redis]\nsocket = \"run/redis.sock\"\nport = 0\ntools = \"{root}/tools\"\n";
    "databases that are none": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.mariadb]\ndatabases = [\"app\", \"\", \"app\", \"mysql\"]\ntools = \"{root}/tools\"\n";
    "nothing at all of a server": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\ndatabases = []\nglobals = false\ntools = \"{root}/tools\"\n";
    "tools that are not there": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\ntools = \"{root}/srv/empty\"\n[grant.dump.b.mariadb]\ntools = \"opt/mariadb\"\n";
    "the password of a server itself": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.postgresql]\npassword = \"hunter2\"\n";
    "the password of a server that others can read": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.app.redis]\npassword = { file = \"{root}/secrets/open\" }\ntools = \"{root}/tools\"\n";
};

/// What is wrong with `[findings]`.
pub(crate) const FINDINGS: &[Case] = cases! {
    "a severity that is none": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[findings]\nfail_at = \"severe\"\n";
    "only new ones of none": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[findings]\nonly_new = true\nonly_fixable = true\n";
    "all findings ignored": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[[findings.ignore]]\nreason = \"noise\"\nuntil = \"2027-01-01\"\n";
    "all rules ignored": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[[findings.ignore]]\nrule = \"*\"\nreason = \"\"\nuntil = \"2027-01-01\"\n";
    "no end": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[[findings.ignore]]\nrule = \"CVE-2021-23337\"\nreason = \"not reachable\"\n";
    "an end that is no day": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[[findings.ignore]]\nrule = \"CVE-2021-23337\"\nreason = \"not reachable\"\nuntil = \"next year\"\n";
    "a finding by two digits, a pattern that is none": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[[findings.ignore]]\nfinding = \"a1\"\npath = \"[\"\nreason = \"not reachable\"\nuntil = \"2027-01-01\"\n";
};

/// What is wrong with `[grant.http]`.
pub(crate) const HTTP: &[Case] = cases! {
    "no grant": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n";
    "nothing that may be asked": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = []\n";
    "a name instead of an address": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"api.example.com\"]\n";
    "any server": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"https://*/\"]\n";
    "an account in the address": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"https://me:hunter2@api.example.com/\"]\n";
    "a network that is none": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"https://api.example.com/\"]\nnetworks = [\"10.0.0.0/33\", \"localhost\"]\n";
    "certificates that are not there": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"https://api.example.com/\"]\nca = \"{root}/own.pem\"\nmax_response = \"0 B\"\ntimeout = \"0s\"\n";
};

/// What is wrong with `[grant.smtp]`.
pub(crate) const SMTP: &[Case] = cases! {
    "no grant": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n";
    "nothing but a name": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\n";
    "nobody may send to anybody": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nfrom = []\nto = []\nmax_message = \"0 B\"\ntimeout = \"0s\"\n";
    "addresses that are none": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nfrom = [\"upkeep\", \"Ops <ops@example.org>\"]\nto = [\"example.org\", \"*@*.example.org\", \"*example.org\"]\n";
    "an address instead of a name": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtps://me:hunter2@smtp.example.org:465\"\nport = 0\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a way of encrypting that nobody knows": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\ntls = \"opportunistic\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "no TLS over a network": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\ntls = \"none\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "insecure without need, certificates without TLS": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"localhost\"\ntls = \"none\"\ninsecure = true\nca = \"{root}/own.pem\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "certificates that are not there": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nca = \"{root}/own.pem\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n[grant.smtp.other]\nhost = \"smtp.example.org\"\nca = \"own.pem\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a user without a password, and a password without a user": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nuser = \"me\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n[grant.smtp.other]\nhost = \"smtp.example.org\"\npassword = { file = \"{root}/secrets/token\" }\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "the password itself": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nuser = \"me\"\npassword = \"hunter2\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a password that others can read, and a short one": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nuser = \"me\"\npassword = { file = \"{root}/secrets/open\" }\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a password that is not there": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nuser = \"me\"\npassword = { env = \"UPKEEP_NOT_SET\" }\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a mistyped key": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nusername = \"me\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
    "a network that is none": "etc/tasks.d/site.toml" = "plugin = \"postman\"\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nnetworks = [\"localhost\"]\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
};

/// What is wrong with `[grant.secrets]`.
pub(crate) const SECRET_GRANTS: &[Case] = cases! {
    "nowhere to send it": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\n";
    "no servers in the list, no places, no rights": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = []\nplaces = []\n[grant.secrets.other]\nfile = \"{root}/secrets/token\"\naccess = []\n";
    "a server that may not be asked": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com:8443\", \"https://evil.example.com\"]\n";
    "no requests at all": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant]\nhttp = { allow = [\"https://other.example.com/\"] }\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\n";
    "servers that are none": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com/v1/\", \"https://*.example.com\", \"api.example.com\"]\n";
    "an account in a server": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://me:hunter2@api.example.com\"]\n";
    "a server without TLS": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"http://api.example.com/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"http://api.example.com\"]\n";
    "insecure without need": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\ninsecure = true\n";
    "no source": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nhosts = [\"https://api.example.com\"]\n";
    "two sources": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nenv = \"UPKEEP_SET\"\nhosts = [\"https://api.example.com\"]\n";
    "the secret itself": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.robot]\nvalue = \"hunter2\"\nhosts = [\"https://api.example.com\"]\n";
    "the secret itself, in place of a table": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets]\nrobot = \"hunter2\"\n";
    "the secret itself, as the name of a variable": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.robot]\nenv = \"hunter2!\"\nhosts = [\"https://api.example.com\"]\n";
    "a file that is not there": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.robot]\nfile = \"{root}/secrets/robot\"\nhosts = [\"https://api.example.com\"]\n";
    "a file that others can read, and a short one": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.robot]\nfile = \"{root}/secrets/open\"\nhosts = [\"https://api.example.com\"]\n";
    "a variable and a credential that are not there": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.a]\nenv = \"UPKEEP_NOT_SET\"\nhosts = [\"https://api.example.com\"]\n[grant.secrets.b]\ncredential = \"b\"\nhosts = [\"https://api.example.com\"]\n";
    "hosts of what only signs": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\naccess = [\"sign\"]\nplaces = [\"url\"]\n";
    "a name that no placeholder has": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.\"my token\"]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\n";
    "a secret that the plugin can read itself": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.files.all]\npath = \"{root}/secrets\"\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\n";
    "a place that nobody knows": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/v1/\"]\n[grant.secrets.token]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://api.example.com\"]\nplaces = [\"cookie\"]\n";
    "an access token from two places": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\" }\nenv = \"UPKEEP_SET\"\n";
    "an access token without its application's secret": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\" }\n";
    "an access token whose secret has two places": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\", credential = \"shop\" }\n";
    "an appid that is none": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"my shop\", file = \"{root}/secrets/token\" }\n";
    "the application's secret itself": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", secret = \"hunter2\" }\n";
    "the application's secret open to others": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/open\" }\n";
    "an access token in headers, and for signing": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\" }\nplaces = [\"url\", \"header\"]\naccess = [\"fill\", \"sign\"]\n";
    "an API without TLS, that may not be asked": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\", api = \"http://api.example.com\" }\n";
    "tasks that disagree on an application": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\" }\n", "etc/tasks.d/two.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.weixin.qq.com/cgi-bin/message/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", env = \"UPKEEP_SET\" }\n", "etc/tasks.d/three.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"http://127.0.0.1:8900/\"]\n[grant.secrets.shop]\nwechat = { appid = \"wx0123456789abcdef\", file = \"{root}/secrets/token\", api = \"http://127.0.0.1:8900\" }\n";
};

/// What is wrong with `upkeep.toml`.
pub(crate) const DAEMON: &[Case] = cases! {
    "a mistyped key": "etc/upkeep.toml" = "plugin-dir = \"plugins\"\n";
    "a key of a task": "etc/upkeep.toml" = "timeout = \"1h\"\n";
    "a time zone by its abbreviation": "etc/upkeep.toml" = "timezone = \"CST\"\n";
    "a group that does not exist": "etc/upkeep.toml" = "socket_group = \"upkeep-operators\"\n";
    "what follows from it is not told": "etc/upkeep.toml" = "plugin_dir = 7\n", "etc/tasks.d/site.toml" = "plugin = \"noop\"\ntimeuot = \"1h\"\n";
    "a socket path that is too long": "etc/upkeep.toml" = "socket = \"/run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/upkeep.sock\"\n";
    "a state folder that is a file": "etc/upkeep.toml" = "state_dir = \"{root}/srv/shop.db\"\n";
    "no run at all": "etc/upkeep.toml" = "max_running = 0\n";
    "alerts that nobody gets": "etc/upkeep.toml" = "[alerts]\nsilence = [\"site\"]\nquiet = { hours = \"22:00-08:00\" }\ndigest = { at = \"08:30\" }\n";
    "alerts for channels that cannot be": "etc/upkeep.toml" = "[alerts]\nchannels = [\"WeCom\", \"mail\", \"mail\"]\nremind = \"5s\"\n";
    "alerts for channels that there are not": "etc/upkeep.toml" = "plugin_dir = \"../plugins\"\nstate_dir = \"{root}/state\"\n[alerts]\nchannels = [\"ops\", \"wecom\"]\n[alerts.digest]\nat = \"08:30\"\nchannels = [\"opps\"]\n[[alerts.escalate]]\nafter = \"30m\"\nchannels = [\"fone\"]\n", "etc/tasks.d/push.toml" = "plugin = \"carrier\"\nschedule.outbox = true\nconfig.channels = { ops = {}, phone = {} }\n[grant.outbox]\naccess = [\"deliver\"]\n", "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[alerts]\nchannels = [\"phone\", \"nobody\"]\n";
    "silence during a task that does not exist": "etc/upkeep.toml" = "[alerts]\nchannels = [\"mail\"]\nsilence = [\"deploy\"]\n";
    "steps out of order": "etc/upkeep.toml" = "[alerts]\nchannels = [\"mail\"]\n[[alerts.escalate]]\nafter = \"1h\"\nchannels = [\"phone\"]\n[[alerts.escalate]]\nafter = \"30m\"\nchannels = []\n";
    "quiet hours of nowhere": "etc/upkeep.toml" = "[alerts]\nchannels = [\"mail\"]\nquiet = { hours = \"22:00\", timezone = \"Beijing\", weekdays = [\"monday\"] }\ndigest = { at = \"25:00\" }\n";
    "quiet hours in an unknown zone": "etc/upkeep.toml" = "[alerts]\nchannels = [\"mail\"]\nquiet = { hours = \"22:00-08:00\", timezone = \"Beijing\" }\n";
    "alerts of a task that are off without a reason": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[alerts]\noff = \" \"\noverdue = \"1s\"\n";
    "a history of minutes": "etc/upkeep.toml" = "keep_history = \"10m\"\nstop_deadline = \"1d\"\n";
};

/// What is wrong with what is listened to.
pub(crate) const LISTEN: &[Case] = cases! {
    "an address without its port": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "a port that is chosen at random": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:0\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "a name instead of an address": "etc/upkeep.toml" = "[listen]\naddress = \"localhost:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "an address that others reach": "etc/upkeep.toml" = "[listen]\naddress = \"0.0.0.0:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "an address that nobody else reaches, as insecure": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\ninsecure = true\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "no address": "etc/upkeep.toml" = "[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "a proxy by its name": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\nproxies = [\"nginx.internal\"]\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "a client without a token": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\nchannels = [\"mail\"]\n";
    "the token itself": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = \"hunter2\"\nchannels = [\"mail\"]\n";
    "two sources": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"/x\", env = \"X\" }\nchannels = [\"mail\"]\n";
    "a token that is not there": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"/does/not/exist\" }\nchannels = [\"mail\"]\n";
    "a token that is found by trying": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/short\" }\nchannels = [\"mail\"]\n";
    "a token that others can read": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/open\" }\nchannels = [\"mail\"]\n";
    "a variable that is not set": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { env = \"UPKEEP_UNSET\" }\nchannels = [\"mail\"]\n";
    "no channels": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = []\n";
    "channels that are patterns": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail-*\", \"We Com\", \"*\"]\n";
    "no message at all": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\nrate = 0\nmax_message = \"0 B\"\n";
    "messages that are files": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\nmax_message = \"10 MiB\"\n";
    "a priority that nobody knows": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\npriority = \"highest\"\n";
    "a name with a space": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.\"my shop\"]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "a mistyped key": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.client.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\nchannel = \"mail\"\n";
    "clients in the plural": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.clients.shop]\ntoken = { file = \"{root}/secrets/token\" }\nchannels = [\"mail\"]\n";
    "an appid that is none": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"gh_97417a04a28d\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\n";
    "an application without its token": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\nencoding_aes_key = { file = \"{root}/secrets/token\" }\n";
    "the key itself": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = \"hunter2\"\n";
    "plain mode without saying so": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\n";
    "plain mode with a key": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\nplain = true\n";
    "a key that others can read": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/open\" }\n";
    "a path of upkeep's own": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\npath = \"/v1/push\"\n";
    "a path that is none": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\npath = \"wechat?shop\"\n";
    "a template by its title": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\nlong_term = [\"device status\"]\n";
    "two applications at one path": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\n[listen.wechat.other]\nappid = \"wxba5fad812f8e6fc0\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\npath = \"/wechat/shop\"\n";
    "an application twice": "etc/upkeep.toml" = "[listen]\naddress = \"127.0.0.1:8473\"\n[listen.wechat.shop]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\n[listen.wechat.other]\nappid = \"wxba5fad812f8e6fb9\"\ntoken = { file = \"{root}/secrets/token\" }\nencoding_aes_key = { file = \"{root}/secrets/token\" }\n";
    "consents that are forgotten at once": "etc/upkeep.toml" = "keep_consents = \"1h\"\n";
    "consents of nobody": "etc/tasks.d/site.toml" = "plugin = \"teller\"\n[grant.outbox]\n[grant.consents]\naccounts = []\n";
    "consents that the plugin does not ask for": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[grant.consents]\naccounts = [\"wx1\"]\n";
    "a task that would have the keys of api": "etc/tasks.d/api.toml" = "plugin = \"teller\"\n[grant.outbox]\n";
    "a task that would have the keys of upkeep": "etc/tasks.d/upkeep.toml" = "plugin = \"teller\"\n[grant.outbox]\n";
    "a task that would have the keys of cli": "etc/tasks.d/cli.toml" = "plugin = \"teller\"\n[grant.outbox]\n";
    "two tasks that deliver": "etc/tasks.d/a.toml" = "plugin = \"carrier\"\nschedule.outbox = true\n[grant.outbox]\naccess = [\"deliver\"]\n", "etc/tasks.d/b.toml" = "plugin = \"carrier\"\nschedule.outbox = true\n[grant.outbox]\naccess = [\"deliver\"]\n";
    "a secret in the place of its name is not shown": "etc/tasks.d/site.toml" = "plugin = \"carrier\"\n[config]\nkey = \"693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa\"\n[grant.outbox]\naccess = [\"deliver\"]\n[grant.http]\nallow = [\"https://robot.example/\"]\n[grant.secrets.robot]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://robot.example\"]\n";
    "a secret to sign with that may only be filled in": "etc/tasks.d/site.toml" = "plugin = \"carrier\"\n[config]\nkey = \"robot\"\nsigned_with = \"robot\"\n[grant.outbox]\naccess = [\"deliver\"]\n[grant.http]\nallow = [\"https://robot.example/\"]\n[grant.secrets.robot]\nfile = \"{root}/secrets/token\"\nhosts = [\"https://robot.example\"]\n";
    "requests that are not allowed": "etc/tasks.d/site.toml" = "plugin = \"carrier\"\n[config.hooks.one]\nurl = \"https://hook.example/hunter2\"\nbase = \"https://robot.example:8443\"\n[config.hooks.two]\nurl = \"robot.example\"\n[grant.outbox]\naccess = [\"deliver\"]\n[grant.http]\nallow = [\"https://robot.example/\"]\n";
    "no requests, and an address that nobody wrote": "etc/tasks.d/site.toml" = "plugin = \"carrier\"\n[config]\nhooks = { one = {} }\n[grant.outbox]\naccess = [\"deliver\"]\n";
    "a mail server that is not granted": "etc/tasks.d/site.toml" = "plugin = \"carrier\"\n[config]\nmail = \"man\"\n[grant.outbox]\naccess = [\"deliver\"]\n[grant.smtp.main]\nhost = \"smtp.example.org\"\nfrom = [\"upkeep@example.org\"]\nto = [\"*\"]\n";
};

/// Files that are not what they should be.
pub(crate) const FILES: &[Case] = cases! {
    "a task with a space in its name": "etc/tasks.d/my site.toml" = "plugin = \"noop\"\n";
    "a bad file among good ones": "etc/tasks.d/a.toml" = "plugin = \"noop\"\n", "etc/tasks.d/b.toml" = "plugin = 1\n", "etc/tasks.d/c.toml" = "plugin = \"noop\"\n", "etc/tasks.d/.hidden.toml" = "?", "etc/tasks.d/c.toml~" = "?", "etc/tasks.d/#c.toml#" = "?", "etc/tasks.d/c.toml.example" = "?";
};

/// What is allowed, but likely not meant.
pub(crate) const WARNINGS: &[Case] = cases! {
    "consents that nobody tells of": "etc/tasks.d/site.toml" = "plugin = \"teller\"\n[grant.outbox]\n[grant.consents]\naccounts = [\"wx0123456789abcdef\"]\n";
    "an address where nobody may do anything": "etc/upkeep.toml" = "plugin_dir = \"../plugins\"\nstate_dir = \"{root}/state\"\n[listen]\naddress = \"127.0.0.1:8473\"\n";
    "alerts that nobody delivers": "etc/upkeep.toml" = "[alerts]\nchannels = [\"mail\"]\n";
    "a server that is asked without TLS": "etc/tasks.d/site.toml" = "plugin = \"asker\"\n[grant.http]\nallow = [\"http://api.example.com/\"]\n";
    "a secret that signs and is short": "etc/tasks.d/site.toml" = "plugin = \"caller\"\n[grant.http]\nallow = [\"https://api.example.com/\"]\n[grant.secrets.robot]\nfile = \"{root}/secrets/short\"\naccess = [\"sign\"]\n";
    "the state and the secret in the folder": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}\"\n[grant.repository.main]\nurl = \"/tmp/elsewhere\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a watched path that is not there": "etc/tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nwatch = [\"{root}/uploads\"]\n";
};

/// What is wrong with repositories on servers.
pub(crate) const REPOSITORIES: &[Case] = cases! {
    "a kind that nobody knows": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sfpt://me@host/srv/backup\"\npassword = { env = \"UPKEEP_SET\" }\n";
    "an address as restic writes it": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sftp:me@host:/srv/backup\"\npassword = { env = \"UPKEEP_SET\" }\n";
    "a password in the address": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sftp://me:hunter2@host/srv/backup\"\npassword = { env = \"UPKEEP_SET\" }\n";
    "a mistyped option": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sftp://me@host/srv/backup\"\npassword = { env = \"UPKEEP_SET\" }\noptions = { kye = \"/root/.ssh/backup\" }\n";
    "no server": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"s3://bucket/main\"\npassword = { env = \"UPKEEP_SET\" }\n";
    "no credentials": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"s3://bucket/main\"\npassword = { env = \"UPKEEP_SET\" }\noptions = { endpoint = \"https://s3.example.org\" }\nsecrets = { access_key_id = { env = \"THE_ID\" } }\n";
    "credentials that are not there": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"s3://bucket/main\"\npassword = { env = \"UPKEEP_SET\" }\noptions = { endpoint = \"https://s3.example.org\" }\n[grant.repository.main.secrets]\naccess_key_id = { file = \"/does/not/exist\" }\nsecret_access_key = { file = \"/does/not/exist\" }\n";
    "credentials in the task file": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"s3://bucket/main\"\npassword = { env = \"UPKEEP_SET\" }\nsecrets = { access_key_id = \"hunter2\" }\n";
    "a rate without its time": "etc/tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { env = \"UPKEEP_SET\" }\nupload = \"10 MiB\"\n";
};
