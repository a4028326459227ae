//! Bodies in JSON and XML, as one kind of value: what an endpoint gets depends on what was chosen in the console.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use serde_json::{Map, Value};

use super::CallbackError;

/// Elements within elements.
const DEEPEST: usize = 16;

/// The document: of JSON the object, of XML what stands within its outermost element.
pub(super) fn read(body: &[u8]) -> Result<Map<String, Value>, CallbackError> {
    let text = std::str::from_utf8(body).map_err(|_| CallbackError::Body("it is not in UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return xml(text);
    }
    serde_json::from_str(text).map_err(|_| CallbackError::Body("it is neither an object of JSON nor XML"))
}

/// An element that is not over yet.
#[derive(Default)]
struct Open {
    name: String,
    text: String,
    inner: Map<String, Value>,
}

/// XML as JSON would have it: an element with elements within is an object, another one a text, and elements of the same name
/// are a list. Attributes mean nothing.
fn xml(text: &str) -> Result<Map<String, Value>, CallbackError> {
    const BROKEN: CallbackError = CallbackError::Body("its XML is broken");
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    loop {
        match reader.read_event().map_err(|_| BROKEN)? {
            Event::Start(it) => {
                if open.len() >= DEEPEST {
                    return Err(CallbackError::Body("its XML is nested too deeply"));
                }
                open.push(Open { name: name(it.name().as_ref()), ..Open::default() });
            }
            Event::Empty(_) if open.is_empty() => return Err(CallbackError::Body("its XML is empty")),
            Event::Empty(it) => close(Open { name: name(it.name().as_ref()), ..Open::default() }, &mut open),
            Event::End(_) => {
                let done = open.pop().ok_or(BROKEN)?;
                if open.is_empty() {
                    return Ok(done.inner);
                }
                close(done, &mut open);
            }
            Event::Text(it) => add(&mut open, &it.xml10_content()),
            Event::CData(it) => add(&mut open, &it.xml10_content()),
            Event::GeneralRef(it) => add(&mut open, &entity(&it).ok_or(BROKEN)?),
            Event::DocType(_) => return Err(CallbackError::Body("its XML declares things of its own")),
            Event::Eof => return Err(BROKEN),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
        }
    }
}

fn name(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn add(open: &mut [Open], text: &str) {
    if let Some(it) = open.last_mut() {
        it.text.push_str(text);
    }
}

/// The five entities that XML has by itself, and characters by their number.
fn entity(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(it)) => Some(it.to_string()),
        _ => quick_xml::escape::resolve_predefined_entity(&reference.xml10_content()).map(str::to_owned),
    }
}

/// Puts an element into the one around it.
fn close(done: Open, open: &mut [Open]) {
    let Some(around) = open.last_mut() else { return };
    let value = if done.inner.is_empty() { Value::from(done.text.trim()) } else { Value::Object(done.inner) };
    match around.inner.get_mut(&done.name) {
        None => _ = around.inner.insert(done.name, value),
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}
