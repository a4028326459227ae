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
    "text without quotes": "tasks.d/site.toml" = "plugin = noop\n";
    "a quote is missing": "tasks.d/site.toml" = "plugin = \"noop\ntimeout = \"1h\"\n";
    "a key without a value": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout =\n";
    "the same key twice": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"1h\"\ntimeout = \"2h\"\n";
    "a bracket is missing": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule\nevery = \"1h\"\n";
    "YAML instead of TOML": "tasks.d/site.toml" = "plugin: noop\n";
    "a password without quotes is not shown": "tasks.d/site.toml" = "plugin = \"noop\"\npassword = hunter2\n";
};

/// What has the wrong shape.
pub(crate) const SHAPE: &[Case] = cases! {
    "a mistyped key": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeuot = \"1h\"\n";
    "a mistyped section": "tasks.d/site.toml" = "plugin = \"noop\"\n[shedule]\nevery = \"1h\"\n";
    "a key that nobody knows": "tasks.d/site.toml" = "plugin = \"noop\"\ncolour = \"red\"\n";
    "a key in the wrong section": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\nenabled = false\n";
    "a key that belongs into a section": "tasks.d/site.toml" = "plugin = \"noop\"\ncron = \"0 3 * * *\"\n";
    "no plugin": "tasks.d/site.toml" = "timeout = \"1h\"\n";
    "a number where a text belongs": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = 90\n";
    "a text where a number belongs": "tasks.d/site.toml" = "plugin = \"noop\"\nparallel = \"2\"\n";
    "a text where true or false belongs": "tasks.d/site.toml" = "plugin = \"noop\"\nenabled = \"yes\"\n";
    "a duration without a unit": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"90\"\n";
    "a size with a strange unit": "tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"64 megs\"\n";
    "a negative number": "tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = -1\n";
    "a word that is not possible": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\noverlap = \"kill-running\"\n";
    "a mistyped word": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ndst_gap = \"run_after\"\n";
    "several mistakes at once": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"soon\"\nparallel = \"2\"\n[grant]\nstat = true\n";
};

/// What is wrong with `[schedule]`, `retry` and `group`.
pub(crate) const SCHEDULE: &[Case] = cases! {
    "an hour that does not exist": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"30 25 * * *\"\n";
    "too few fields": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"30 3 * *\"\n";
    "Quartz without a question mark": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nquartz = \"0 30 3 * * MON-FRI\"\n";
    "Quartz with a weekday of crontab": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nquartz = \"0 30 3 ? * 0\"\n";
    "a day that never comes": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 30 2 *\"\n";
    "two clocks": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\nevery = \"1h\"\n";
    "no distance": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"0s\"\n";
    "a time zone of China as people say it": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"Asia/Beijing\"\n";
    "a mistyped time zone": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"Europe/Berlim\"\n";
    "an offset instead of a time zone": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 3 * * *\"\ntimezone = \"GMT+08:00\"\n";
    "a window that is none": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\nwindow = \"22-6\"\n";
    "a window that no slot falls into": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\ncron = \"0 12 * * *\"\nwindow = \"22:00-06:00\"\n";
    "after a task that does not exist": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"databse\" }]\n", "tasks.d/database.toml" = "plugin = \"noop\"\n";
    "after itself": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"site\" }]\n";
    "a circle": "tasks.d/a.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"b\" }]\n", "tasks.d/b.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"c\", on = \"any\" }]\n", "tasks.d/c.toml" = "plugin = \"noop\"\n[[schedule.after]]\ntask = \"a\"\n";
    "a word for after that is not possible": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"b\", on = \"error\" }]\n", "tasks.d/b.toml" = "plugin = \"noop\"\n";
    "a watched path that is relative": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nwatch = [\"uploads\"]\n";
    "catching up with too many": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ncatch_up = { all = 100000 }\n";
    "catching up in a way that is not possible": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nevery = \"1h\"\ncatch_up = \"first\"\n";
    "retries that are too many and too quick": "tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = 1000\nbackoff = \"0s\"\n";
    "the longest wait is the shorter one": "tasks.d/site.toml" = "plugin = \"noop\"\n[retry]\nattempts = 2\nbackoff = \"1h\"\nmax_backoff = \"1m\"\n";
    "a group with spaces": "tasks.d/site.toml" = "plugin = \"noop\"\ngroup = \"the database\"\n";
    "a run that may not take any time": "tasks.d/site.toml" = "plugin = \"noop\"\ntimeout = \"0s\"\n";
};

/// What is wrong with the plugin or its `[config]`.
pub(crate) const PLUGIN: &[Case] = cases! {
    "a mistyped plugin": "tasks.d/site.toml" = "plugin = \"backpu\"\n";
    "a plugin by a relative path": "tasks.d/site.toml" = "plugin = \"plugins/noop.wasm\"\n";
    "a plugin by an absolute path that is not there": "tasks.d/site.toml" = "plugin = \"/opt/noop.wasm\"\n";
    "a file that is not a component": "tasks.d/site.toml" = "plugin = \"text\"\n";
    "a plugin for another host API": "tasks.d/site.toml" = "plugin = \"future\"\n";
    "a plugin that asks for what there is not": "tasks.d/site.toml" = "plugin = \"courier\"\n";
    "a plugin whose config schema is none": "tasks.d/site.toml" = "plugin = \"muddled\"\n";
    "config for a plugin that takes none": "tasks.d/site.toml" = "plugin = \"noop\"\n[config]\nfolders = [\"app\"]\n";
    "no config at all": "tasks.d/site.toml" = "plugin = \"backup\"\n{grants}\n";
    "a mistyped key of the config": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\nkep = 7\n{grants}\n";
    "config of the wrong type": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = \"app\"\nkeep = 7\n{grants}\n";
    "config out of bounds": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = []\nkeep = 0\n{grants}\n";
    "config that is not among the choices": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\ncompression = \"fsat\"\nmark = \"Nightly Run\"\n{grants}\n";
};

/// What is wrong with `[grant]`.
pub(crate) const GRANT: &[Case] = cases! {
    "nothing is granted": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n";
    "a switch and a list are missing": "tasks.d/site.toml" = "plugin = \"facts\"\n";
    "a group is missing": "tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\"]\n";
    "a group that nobody asks for": "tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\", \"sockets\"]\n";
    "a group that does not exist": "tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disk\"]\n";
    "a right that nobody asks for": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\naccess = [\"read\", \"remove\"]\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a capability that nobody asks for": "tasks.d/site.toml" = "plugin = \"noop\"\n[grant.files.app]\npath = \"{root}/srv/app\"\n";
    "a needed right is not granted": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\naccess = [\"list\"]\n";
    "a right that does not exist": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\naccess = [\"raed\"]\n";
    "a capability that does not exist": "tasks.d/site.toml" = "plugin = \"noop\"\n[grant.network.all]\nhosts = [\"*\"]\n";
};

/// Folders, repositories and databases that are not what they should be.
pub(crate) const PLACES: &[Case] = cases! {
    "a mistyped folder": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/ap\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a relative folder": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"~/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the whole machine": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"/\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a file as folder": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/shop.db\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the repository in the folder that it saves": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv\"\n[grant.repository.main]\nurl = \"{root}/srv/backup\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "the folder in the repository": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/backup/main/data\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\" }\n", "backup/main/config" = "", "backup/main/data/x" = "";
    "a plugin that could change the configuration": "tasks.d/site.toml" = "plugin = \"{root}/plugins/cleaner.wasm\"\n[grant.files.all]\npath = \"{root}/tasks.d\"\naccess = [\"read\", \"remove\"]\n", "plugins/cleaner.wasm" = "{\"format\": 1, \"name\": \"cleaner\", \"version\": \"0.1.0\", \"summary\": \"x\", \"author\": \"x\", \"license\": \"MIT\", \"api\": \"0.1\", \"capabilities\": {\"files\": {\"reason\": \"remove what is old\", \"access\": [\"read\", \"remove\"]}}}";
    "a repository whose disk is not mounted": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/mnt/disk/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a repository in a folder of other things": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/empty\"\n[grant.repository.main]\nurl = \"{root}/srv/app\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a repository that this build cannot reach": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"sftp://me:hunter2@backup.example/main\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a database that is none": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.shop]\nsqlite = \"{root}/srv/app/index.html\"\n";
    "a database that is a folder": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n[grant.dump.shop]\nsqlite = \"{root}/srv/app\"\n";
    "a connection without a database": "tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\"]\n[grant.sql.shop]\naccess = [\"read\"]\n";
    "a file for the private database": "tasks.d/site.toml" = "plugin = \"facts\"\n[grant]\nstate = true\nsystem = [\"os\", \"disks\"]\n[grant.sql.private]\nsqlite = \"{root}/srv/shop.db\"\n";
};

/// Secrets that are not there, or not secret.
pub(crate) const SECRETS: &[Case] = cases! {
    "the password itself": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = \"hunter2\"\n";
    "the password under another key": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { value = \"hunter2\" }\n";
    "two sources": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/main\", env = \"UPKEEP_SET\" }\n";
    "no password": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\n";
    "a file that does not exist": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/mian\" }\n";
    "a file that others can read": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/open\" }\n";
    "an empty file": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { file = \"{root}/secrets/empty\" }\n";
    "a variable that is not set": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { env = \"UPKEEP_PASSWORD\" }\n";
    "the password where the variable's name belongs": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { env = \"hunter2!\" }\n";
    "a credential without systemd": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}/srv/app\"\n[grant.repository.main]\nurl = \"{root}/backup/main\"\npassword = { credential = \"main\" }\n";
};

/// Limits that protect nobody, or let nothing run.
pub(crate) const LIMITS: &[Case] = cases! {
    "memory beyond the maximum": "tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"2 GiB\"\n";
    "no memory": "tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nmemory = \"0 MiB\"\n";
    "no handles, too many steps": "tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nhandles = 0\nsteps = 5000000\n";
    "a number beyond its type": "tasks.d/site.toml" = "plugin = \"noop\"\n[limits]\nhandles = 99999999999\n";
    "too much at the same time": "tasks.d/site.toml" = "plugin = \"noop\"\nparallel = 5000\n";
};

/// What is wrong with `upkeep.toml`.
pub(crate) const DAEMON: &[Case] = cases! {
    "a mistyped key": "upkeep.toml" = "plugin-dir = \"plugins\"\n";
    "a key of a task": "upkeep.toml" = "timeout = \"1h\"\n";
    "a time zone by its abbreviation": "upkeep.toml" = "timezone = \"CST\"\n";
    "a group that does not exist": "upkeep.toml" = "socket_group = \"upkeep-operators\"\n";
    "a socket path that is too long": "upkeep.toml" = "socket = \"/run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/upkeep.sock\"\n";
    "a state folder that is a file": "upkeep.toml" = "state_dir = \"{root}/srv/shop.db\"\n";
    "no run at all": "upkeep.toml" = "max_running = 0\n";
    "a history of minutes": "upkeep.toml" = "keep_history = \"10m\"\nstop_deadline = \"1d\"\n";
};

/// Files that are not what they should be.
pub(crate) const FILES: &[Case] = cases! {
    "a task with a space in its name": "tasks.d/my site.toml" = "plugin = \"noop\"\n";
    "a bad file among good ones": "tasks.d/a.toml" = "plugin = \"noop\"\n", "tasks.d/b.toml" = "plugin = 1\n", "tasks.d/c.toml" = "plugin = \"noop\"\n", "tasks.d/.hidden.toml" = "?", "tasks.d/c.toml~" = "?", "tasks.d/#c.toml#" = "?", "tasks.d/c.toml.example" = "?";
};

/// What is allowed, but likely not meant.
pub(crate) const WARNINGS: &[Case] = cases! {
    "the state and the secret in the folder": "tasks.d/site.toml" = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n[grant.files.app]\npath = \"{root}\"\n[grant.repository.main]\nurl = \"/tmp/elsewhere\"\npassword = { file = \"{root}/secrets/main\" }\n";
    "a watched path that is not there": "tasks.d/site.toml" = "plugin = \"noop\"\n[schedule]\nwatch = [\"{root}/uploads\"]\n";
};
