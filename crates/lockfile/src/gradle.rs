//! `gradle.lockfile` and `buildscript-gradle.lockfile`: lines of `group:artifact:version=configurations`. The older files
//! of `gradle/dependency-locks` are for one configuration each and name none.
//!
//! The format is Gradle's: <https://docs.gradle.org/current/userguide/dependency_locking.html>.

use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::{LockFile, LockFileError, NoteKind};

pub(crate) fn parse(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    for (line, content) in numbered(text) {
        let content = content.trim();
        // `empty` lists the configurations without dependencies.
        if content.is_empty() || content.starts_with('#') || content.starts_with("empty=") {
            continue;
        }
        let (module, configurations) = content.split_once('=').unwrap_or((content, ""));
        let parts = module.rsplit_once(':').filter(|(name, version)| {
            !version.is_empty()
                && name.split_once(':').is_some_and(|(group, artifact)| {
                    !group.is_empty() && !artifact.is_empty() && !artifact.contains(':')
                })
        });
        match parts {
            Some((name, version)) => {
                let dev = (!configurations.is_empty()).then(|| configurations.split(',').all(is_test));
                draft.add(Found { name, version, dev, line, ..Found::default() })?;
            }
            None => draft.note(line, NoteKind::Unclear, content),
        }
    }
    Ok(draft.finish())
}

/// Whether a configuration is one of tests by Gradle's names: `testRuntimeClasspath`, `integrationTestCompileClasspath`.
fn is_test(configuration: &str) -> bool {
    configuration.starts_with("test") || configuration.contains("Test")
}

#[cfg(test)]
mod tests {
    use crate::{Format, Limits, parse};

    #[test]
    fn lines_are_modules() {
        let text = concat!(
            "# This is a Gradle generated file for dependency locking.\norg.x:a:1.0=compileClasspath,testRuntimeClasspath\n",
            "org.x:b:2.0=testCompileClasspath\norg.x:c:3.0\norg.x:d\n::\nempty=annotationProcessor\n",
        );
        let lock = parse(Format::Gradle, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.dev)).collect();
        assert_eq!(read, [("org.x:a", "1.0", Some(false)), ("org.x:b", "2.0", Some(true)), ("org.x:c", "3.0", None)]);
        assert_eq!(lock.notes.iter().map(|it| &*it.subject).collect::<Vec<_>>(), ["org.x:d", "::"]);
    }
}
