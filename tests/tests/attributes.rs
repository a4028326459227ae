//! Extended attributes and access control lists of folders that are saved: set by the usual tools, kept as restic keeps
//! them, and given back by both. And a single file as a source.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::RepositoryGrant;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::FolderSource;
use upkeep::repository::{Label, Repository, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;

/// Whether the tools are there; says loudly when one is not.
fn have(test: &str) -> bool {
    for (program, package) in [("restic", "restic"), ("setfattr", "attr"), ("setfacl", "acl")] {
        if Command::new(program).arg("--help").output().is_err() {
            // Directly, since the test harness hides what a passing test prints.
            let _ =
                writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `{program}` (apt-get install {package})\n");
            assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must not skip");
            return false;
        }
    }
    true
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        // Where attributes of users are kept; not every /tmp does.
        let place = Self(tempfile::Builder::new().prefix("upkeep-").tempdir_in("/var/tmp").unwrap());
        std::fs::write(place.path("password"), "secret").unwrap();
        std::fs::set_permissions(place.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Repository {
        let grant =
            serde_json::json!({ "url": self.path("repository"), "password": { "file": self.path("password") } });
        let grant: RepositoryGrant = serde_json::from_value(grant).unwrap();
        Repository::open_or_make(&grant).unwrap()
    }

    fn save(&self, folder: &Path, exclude: &[&str]) -> u64 {
        let exclude = Exclude::new(&exclude.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let watch = Watch::new(CancellationToken::new());
        let source = FolderSource::new(Root::open(folder).unwrap(), exclude, None, false, watch);
        let label = Label { host: "server".into(), tags: vec![], time: Timestamp(1_790_000_000_000) };
        self.open().backup(&source, label, Arc::new(|_, _| {})).unwrap().files
    }

    fn restic(&self, arguments: &[&str]) -> String {
        let mut restic = Command::new("restic");
        restic
            .args(["--no-cache", "-r"])
            .arg(self.path("repository"))
            .arg("--password-file")
            .arg(self.path("password"));
        run(restic.args(arguments))
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sh(folder: &Path, script: &str) -> String {
    run(Command::new("sh").arg("-ec").arg(script).current_dir(folder))
}

/// All attributes and lists below a folder, as the tools show them.
fn shown(folder: &Path) -> String {
    sh(
        folder,
        "find . | LC_ALL=C sort | xargs -d '\\n' getfattr -h -d -m - -e hex; find . ! -type l | LC_ALL=C sort | xargs -d '\\n' getfacl -n",
    )
}

#[test]
fn attributes_and_access_control_lists_are_kept() {
    if !have("attributes_and_access_control_lists_are_kept") {
        return;
    }
    let place = Place::new();
    let data = place.path("data");
    std::fs::create_dir_all(data.join("folder/below")).unwrap();
    sh(
        &data,
        "echo one > file; echo two > folder/below/two; ln -s file link
         setfattr -n user.note -v 'kept as it is' file
         setfattr -n user.bytes -v 0x00ff0a0d00 file
         setfattr -n user.empty file
         setfattr -n user.umläut -v 数据 folder
         setfattr -n user.large -v \"$(head -c 2500 /dev/zero | tr '\\0' x)\" folder/below/two
         setfacl -m u:65534:rw,g:65534:r,m::rw file
         setfacl -m u:65534:rwx folder
         setfacl -d -m u:65534:rx,o::- folder",
    );
    if rustix::process::geteuid().is_root() {
        sh(&data, "setfattr -n trusted.upkeep -v seen file; setfattr -h -n trusted.upkeep -v 'of a link' link");
    }
    assert_eq!(place.save(&data, &[]), 3);
    // restic keeps none of a link: given any, it would set them on the file.
    sh(&data, "setfattr -h -x trusted.upkeep link 2>/dev/null || true");
    let original = shown(&data);
    assert!(original.contains("default:user:65534:r-x") && original.contains("user.large"), "{original}");

    // restic gives back what we saved, and so do we.
    let by_restic = place.path("by-restic");
    place.restic(&["restore", "latest", "--target", by_restic.to_str().unwrap()]);
    assert_eq!(shown(&by_restic.join(data.strip_prefix("/").unwrap())), original);
    let (repository, by_us) = (place.open(), place.path("by-us"));
    let snapshot = repository.find("latest", |_| true).unwrap();
    let restored =
        repository.restore(&snapshot, &data, &by_us, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!(restored.differences, [""; 0]);
    assert_eq!(shown(&by_us), original);

    // restic saves the same, and sees no difference to ours.
    place.restic(&["backup", data.to_str().unwrap()]);
    let snapshots: serde_json::Value = serde_json::from_str(&place.restic(&["snapshots", "--json"])).unwrap();
    let id = |index: usize| snapshots[index]["id"].as_str().unwrap().to_owned();
    let kept = |snapshot: &str| {
        let mut kept = Vec::new();
        for path in ["file", "folder", "folder/below/two", "link"] {
            let inside = data.join(path);
            let parent = inside.parent().unwrap().to_str().unwrap();
            // The node is in the tree of its folder.
            let tree: serde_json::Value =
                serde_json::from_str(&place.restic(&["cat", "blob", &tree_of(&place, snapshot, parent)])).unwrap();
            let name = inside.file_name().unwrap().to_str().unwrap();
            let node = tree["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone();
            let mut attributes = node["extended_attributes"].as_array().cloned().unwrap_or_default();
            attributes.sort_by_key(|attribute| attribute["name"].to_string());
            kept.push((path, attributes));
        }
        kept
    };
    assert_eq!(kept(&id(0)), kept(&id(1)));
}

/// The identifier of the tree of a folder.
fn tree_of(place: &Place, snapshot: &str, folder: &str) -> String {
    let snapshot: serde_json::Value = serde_json::from_str(&place.restic(&["cat", "snapshot", snapshot])).unwrap();
    let mut tree = snapshot["tree"].as_str().unwrap().to_owned();
    for name in folder.split('/').filter(|name| !name.is_empty()) {
        let nodes: serde_json::Value = serde_json::from_str(&place.restic(&["cat", "blob", &tree])).unwrap();
        let node = nodes["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone();
        tree = node["subtree"].as_str().unwrap().to_owned();
    }
    tree
}

#[test]
fn a_single_file_is_its_folder_without_all_else() {
    if !have("a_single_file_is_its_folder_without_all_else") {
        return;
    }
    let place = Place::new();
    let etc = place.path("etc");
    std::fs::create_dir_all(etc.join("conf.d")).unwrap();
    for name in ["app.conf", "shadow", "conf.d/app.conf", "other.conf"] {
        std::fs::write(etc.join(name), name).unwrap();
    }
    assert_eq!(place.save(&etc, &["/*", "!/app.conf"]), 1);
    let listed = place.restic(&["ls", "latest"]);
    let inside: Vec<&str> = listed.lines().filter(|line| line.contains("/etc/")).collect();
    assert_eq!(inside, [etc.join("app.conf").to_str().unwrap()]);
}
