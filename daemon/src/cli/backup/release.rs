//! `upkeep backup release`, and the holds that `upkeep backup list` shows.
//!
//! Holds are in the journal. The daemon owns it while it runs and is asked then; without a daemon the journal is opened
//! here.

use std::io::Write;
use std::path::Path;

use super::TaskRepository;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, line};
use crate::client::{Client, ClientError};
use crate::daemon::release;
use crate::store::{Hold, Reader, Store};

/// End the hold that the anomaly gate placed, after a look at what changed
#[derive(Debug, Clone, clap::Args)]
pub struct ReleaseArgs {
    /// The task whose backup looked wrong
    task: String,
    /// Only in the repository of this name
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
}

/// Ends holds, and says which.
///
/// # Errors
///
/// [`Failure`] where nothing is held, or neither the daemon nor the journal can be asked.
pub async fn run(
    args: &ReleaseArgs,
    repositories: &[TaskRepository<'_>],
    client: &Client,
    state_dir: &Path,
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let url = match &args.repository {
        None => None,
        Some(name) => {
            let named = |it: &&TaskRepository<'_>| it.task == args.task && it.name == name;
            let Some(found) = repositories.iter().find(named) else {
                let help = "`upkeep backup list` shows what is held, and where";
                let message = format!("the task `{}` has no repository `{name}`", args.task);
                return Err(Failure::new(Exit::NotFound, message, help).into());
            };
            Some(found.grant.url.as_str())
        }
    };
    let released = match client.release(&args.task, url).await {
        Ok(answer) => answer.holds,
        Err(ClientError::NoDaemon { .. }) => {
            let store = Store::open_dir(state_dir).await.map_err(|error| {
                Failure::split(Exit::Internal, format!("no daemon runs, and the journal cannot be opened: {error}"))
            })?;
            let released = release(&store, &args.task, url).await;
            store.close().await;
            released?
        }
        Err(error) => return Err(Failure::from(error).into()),
    };
    if released.is_empty() {
        let message = format!("nothing is held for the task `{}`", args.task);
        return Err(Failure::new(Exit::NotFound, message, "`upkeep backup list` shows what is held").into());
    }
    for hold in released {
        writeln!(out, "released {}, held since {}: {}", hold.url, screen.minute(hold.since), line(&hold.reason))?;
    }
    writeln!(out, "the next run of retention may forget and prune there again")?;
    Ok(Exit::Done)
}

/// The holds, from the daemon or from the journal. Where neither can be asked, such as on a new server on which something
/// is restored, there are none to show.
pub async fn known(client: &Client, state_dir: &Path) -> Vec<Hold> {
    match client.holds().await {
        Ok(answer) => answer.holds,
        Err(_) => match Reader::open(state_dir).await {
            Ok(journal) => journal.holds(None).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        },
    }
}

/// Tells what is held, of one task or of all.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(holds: &[Hold], task: Option<&str>, screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    for hold in holds.iter().filter(|hold| task.is_none_or(|task| hold.task == task)) {
        let Hold { task, url, .. } = hold;
        writeln!(out, "\nHELD since {}: {task} in {url}", screen.minute(hold.since))?;
        for reason in hold.reason.lines() {
            writeln!(out, "  {}", line(reason))?;
        }
        writeln!(
            out,
            "  Nothing in this repository is forgotten or pruned. Look at what has changed with `upkeep backup diff`;"
        )?;
        writeln!(out, "  if all is well: `upkeep backup release {task}`")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;

    fn hold(task: &str, url: &str) -> Hold {
        Hold {
            repository: url.to_owned(),
            task: task.to_owned(),
            url: url.to_owned(),
            reason: "app: 812 of 1000 files were removed".to_owned(),
            since: Timestamp(1_795_417_445_000),
        }
    }

    #[test]
    fn shows_what_is_held_and_what_to_do() {
        let mut out = Vec::new();
        let holds = [hold("backup", "/srv/a"), hold("web", "/srv/b")];
        write(&holds, Some("backup"), &terminal(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[tokio::test]
    async fn without_a_daemon_the_journal_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(folder.path().join("none.sock"));
        let state = folder.path().join("state");
        assert_eq!(known(&client, &state).await, []);
        let store = Store::open_dir(&state).await.unwrap();
        let (one, other) = (hold("backup", "/srv/a"), hold("web", "/srv/a"));
        assert!(store.hold(&one).await.unwrap() && store.hold(&other).await.unwrap());
        let later = Hold { reason: "another".to_owned(), ..one.clone() };
        assert!(!store.hold(&later).await.unwrap(), "the first reason stays");
        store.close().await;
        assert_eq!(known(&client, &state).await, [one, other.clone()]);

        let release = async |task: &str| {
            let args = ReleaseArgs { task: task.to_owned(), repository: None };
            let mut out = Vec::new();
            let exit = run(&args, &[], &client, &state, &terminal(), &mut out).await;
            exit.map(|_| String::from_utf8(out).unwrap())
        };
        assert!(release("backup").await.unwrap().contains("812 of 1000 files"));
        let error = release("backup").await.unwrap_err().downcast::<Failure>().unwrap();
        assert_eq!(error.exit, Exit::NotFound, "{error}");
        assert_eq!(known(&client, &state).await, [other]);
    }
}
