use crate::{Format, Limits, LockFile, LockFileError, NoteKind, parse};

fn read(text: &str) -> LockFile {
    parse(Format::Maven, text.as_bytes(), &Limits::default()).unwrap()
}

fn project(inner: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n{inner}\n</project>")
}

fn dependency(group: &str, version: &str) -> String {
    let version = if version.is_empty() { String::new() } else { format!("<version>{version}</version>") };
    format!("<dependency><groupId>{group}</groupId><artifactId>a</artifactId>{version}</dependency>")
}

/// The only package as `name version`, or the only note.
fn only(text: &str) -> Result<String, NoteKind> {
    let lock = read(text);
    match (lock.packages.as_slice(), lock.notes.as_slice()) {
        ([it], []) => Ok(format!("{} {}", it.name, it.version)),
        ([], [note]) => Err(note.kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_taken_where_they_are_written() {
    let properties = "<properties><v>1.${minor}</v><minor>2</minor><loop>${loop}</loop></properties>";
    for (version, expected) in [
        ("1.0", Ok("g:a 1.0")),
        ("[1.0]", Ok("g:a 1.0")),
        ("${v}", Ok("g:a 1.2")),
        ("${project.version}", Ok("g:a 7")),
        ("${project.parent.version}", Ok("g:a 7")),
        (" 1&#46;0 <!-- why -->", Ok("g:a 1.0")),
        ("<![CDATA[1.0]]>", Ok("g:a 1.0")),
        ("${absent}", Err(NoteKind::Unresolved)),
        ("${loop}", Err(NoteKind::Unresolved)),
        ("${", Err(NoteKind::Unresolved)),
        ("&x;", Err(NoteKind::Unresolved)),
        ("", Err(NoteKind::Unresolved)),
        ("[1.0,2.0)", Err(NoteKind::Unpinned)),
        ("LATEST", Err(NoteKind::Unpinned)),
    ] {
        let parent = "<parent><groupId>p</groupId><version>7</version></parent>";
        let dependencies = format!("<dependencies>{}</dependencies>", dependency("g", version));
        let text = project(&format!("{parent}{dependencies}{properties}"));
        assert_eq!(only(&text), expected.map(str::to_owned), "{version}");
    }
}

#[test]
fn management_gives_versions_and_is_no_dependency() {
    let management = format!(
        "<dependencyManagement><dependencies>{}{}</dependencies></dependencyManagement>",
        dependency("g", "1.5"),
        dependency("unused", "1")
    );
    let text = project(&format!(
        "<groupId>g</groupId><dependencies>{}</dependencies>{management}",
        dependency("${project.groupId}", "")
    ));
    assert_eq!(only(&text), Ok("g:a 1.5".to_owned()));
}

#[test]
fn plugins_are_no_dependencies_and_profiles_are() {
    let lock = read(&project(&format!(
        "<build><plugins><plugin><dependencies>{}</dependencies></plugin></plugins></build>\n\
         <profiles><profile><dependencies>{}</dependencies></profile></profiles>",
        dependency("plugin", "1"),
        dependency("profile", "1")
    )));
    assert_eq!(lock.packages.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["profile:a"]);
    assert_eq!(lock.packages[0].line.unwrap().get(), 4);
}

#[test]
fn scopes_and_exclusions() {
    let lock = read(&project(
        "<dependencies><dependency><groupId>g</groupId><artifactId>a</artifactId><version>1</version><scope>test</scope>\
         <exclusions><exclusion><groupId>other</groupId></exclusion></exclusions></dependency></dependencies>\
         <dependencyManagement><dependencies><dependency><groupId>bom</groupId><artifactId>b</artifactId>\
         <version>1</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>",
    ));
    assert_eq!((&*lock.packages[0].name, lock.packages[0].dev), ("g:a", Some(true)));
    assert_eq!((lock.notes[0].kind, &*lock.notes[0].subject), (NoteKind::Unresolved, "bom:b"));
}

#[test]
fn hostile_documents_end() {
    let error = |text: &str| parse(Format::Maven, text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error(&"<a>".repeat(100)), LockFileError::Depth { line: 1, limit: 64 });
    assert!(matches!(error("<project>\n</other>"), LockFileError::Syntax { line: 2, .. }));
    assert!(matches!(error("<html/>"), LockFileError::Syntax { .. }));
    // Each property is two of the one before.
    let mut properties = String::from("<p0>xx</p0>");
    for it in 1..40 {
        properties += &format!("<p{it}>${{p{0}}}${{p{0}}}</p{it}>", it - 1);
    }
    let bomb =
        format!("<properties>{properties}</properties><dependencies>{}</dependencies>", dependency("g", "${p39}"));
    assert_eq!(only(&project(&bomb)), Err(NoteKind::Unresolved));
    let entities = "<!DOCTYPE x [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]>";
    let text = project(&format!("<dependencies>{}</dependencies>", dependency("g", "&b;")));
    assert_eq!(only(&format!("{entities}{}", text.split_once('\n').unwrap().1)), Err(NoteKind::Unresolved));
}
