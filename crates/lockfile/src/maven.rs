//! `pom.xml`, which is no lock: it names what a project asks for itself, and part of the versions may stand in a parent.
//! Versions are taken where they are written in the file, also as `${property}` or under `dependencyManagement`; all
//! others are notes. Entities are not expanded.
//!
//! The format is Maven's: <https://maven.apache.org/pom.html>.

mod model;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use crate::draft::Draft;
use crate::lines::Lines;
use crate::{LockFile, LockFileError};
use model::{Field, Model};

/// The most bytes of a value; what is longer is no name and no version.
const LONGEST: usize = 1024;

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let limit = draft.limits.depth;
    let mut reader = Reader::from_str(text);
    let mut lines = Lines::new(text);
    let mut place =
        Place { model: Model::new(draft.limits.packages), path: Vec::new(), key: String::new(), value: String::new() };
    loop {
        let position = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|error| {
            let position = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
            LockFileError::syntax(lines.at(position), error)
        })?;
        match event {
            Event::Start(tag) => {
                place.open(tag.local_name().into_inner(), || lines.at(position));
                if place.path.len() > limit {
                    return Err(LockFileError::Depth { line: lines.at(position), limit });
                }
            }
            Event::Empty(tag) => {
                place.open(tag.local_name().into_inner(), || lines.at(position));
                place.close();
            }
            Event::End(_) => place.close(),
            Event::Text(text) => place.push(&text.into_inner()),
            Event::CData(text) => place.push(&text.into_inner()),
            Event::GeneralRef(name) => place.reference(&name),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if !place.model.found {
        return Err(LockFileError::syntax(1, "no `project`, so this is no POM"));
    }
    place.model.finish(draft)
}

/// Elements that matter by their place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Project,
    Parent,
    Properties,
    Management,
    Profiles,
    Profile,
    Dependencies,
    Dependency,
    Field(Field),
    Other,
}

/// Where the reader is.
struct Place {
    model: Model,
    path: Vec<Tag>,
    /// The name of the innermost element, where it is a property.
    key: String,
    /// The text since the last tag.
    value: String,
}

impl Place {
    fn open(&mut self, name: &str, line: impl FnOnce() -> usize) {
        let tag = match name {
            "project" => Tag::Project,
            "parent" => Tag::Parent,
            "properties" => Tag::Properties,
            "dependencyManagement" => Tag::Management,
            "profiles" => Tag::Profiles,
            "profile" => Tag::Profile,
            "dependencies" => Tag::Dependencies,
            "dependency" => Tag::Dependency,
            "groupId" => Tag::Field(Field::Group),
            "artifactId" => Tag::Field(Field::Artifact),
            "version" => Tag::Field(Field::Version),
            "scope" => Tag::Field(Field::Scope),
            _ => Tag::Other,
        };
        self.value.clear();
        match (self.path.as_slice(), tag) {
            ([], Tag::Project) => self.model.found = true,
            ([Tag::Project, Tag::Properties], _) => {
                self.key.clear();
                if name.len() <= LONGEST {
                    self.key.push_str(name);
                }
            }
            ([.., Tag::Dependencies], Tag::Dependency) => self.model.begin(line()),
            _ => {}
        }
        self.path.push(tag);
    }

    fn close(&mut self) {
        use Tag::{Dependencies, Dependency, Management, Parent, Profile, Profiles, Project, Properties};
        let value = self.value.trim();
        match *self.path.as_slice() {
            [Project, Tag::Field(field)] => self.model.project(field, value),
            [Project, Parent, Tag::Field(field)] => self.model.parent(field, value),
            [Project, Properties, _] => self.model.property(&self.key, value),
            [Project, Dependencies, Dependency, Tag::Field(field)]
            | [Project, Management, Dependencies, Dependency, Tag::Field(field)]
            | [Project, Profiles, Profile, Dependencies, Dependency, Tag::Field(field)] => {
                self.model.field(field, value)
            }
            [Project, Dependencies, Dependency] | [Project, Profiles, Profile, Dependencies, Dependency] => {
                self.model.depend();
            }
            [Project, Management, Dependencies, Dependency] => self.model.manage(),
            _ => {}
        }
        self.value.clear();
        self.path.pop();
    }

    fn push(&mut self, text: &str) {
        if self.value.len() + text.len() <= LONGEST {
            self.value.push_str(text);
        } else if !text.trim().is_empty() {
            // Cut, so that it is a value of nothing that exists.
            self.value.clear();
        }
    }

    /// `&lt;` and the like; the name of any other entity stays as it is, which no version looks like.
    fn reference(&mut self, name: &BytesRef<'_>) {
        match name.resolve_char_ref() {
            Ok(Some(char)) => self.push(char.encode_utf8(&mut [0; 4])),
            _ => match quick_xml::escape::resolve_predefined_entity(&name.xml10_content()) {
                Some(text) => self.push(text),
                None => self.push("&;"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
