//! JSON that is read in a stream: objects hand their fields on as they come, and what nobody asks for is skipped.
//!
//! Names and values are borrowed from the file, so memory is what packages take. serde_json refuses to nest deeper than
//! 128 and skips what is ignored without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::LockFileError;

/// Takes the fields of an object.
pub(crate) trait Fields<'de> {
    /// Takes the value of one field from the object, or skips it.
    fn field<A: MapAccess<'de>>(&mut self, name: Text<'de>, object: &mut A) -> Result<(), A::Error>;
}

/// The place of an object whose fields are taken.
pub(crate) struct Object<'f, F>(pub(crate) &'f mut F);

/// Takes the elements of an array, each of one shape.
pub(crate) struct Array<F, T> {
    take: F,
    shape: std::marker::PhantomData<T>,
}

impl<F, T> Array<F, T> {
    pub(crate) fn new(take: F) -> Self {
        Self { take, shape: std::marker::PhantomData }
    }
}

/// Reads an object and nothing after it.
pub(crate) fn read<'de, F: Fields<'de>>(text: &'de str, fields: &mut F) -> Result<(), LockFileError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let done = Object(fields).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    done.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(before, _)| before);
        LockFileError::syntax(error.line(), reason)
    })
}

/// Skips the value of a field.
pub(crate) fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

impl<'de, F: Fields<'de>> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fields<'de>> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key()? {
            self.0.field(name, &mut object)?;
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), LockFileError>> DeserializeSeed<'de> for Array<F, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), LockFileError>> Visitor<'de> for Array<F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            (self.take)(element).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escapes. What is no string is empty: foreign files hold `false` and `null` where
/// others hold strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'t>(pub(crate) Cow<'t, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The names in an object, or in an array of strings. Their values are skipped.
#[derive(Debug, Default)]
pub(crate) struct Names<'t>(pub(crate) Vec<Text<'t>>);

/// A value that is taken when it is `true`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Flag(pub(crate) bool);

/// The methods of a visitor for shapes of which only the default is made.
macro_rules! default_for {
    ($($shape:ident)*) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        $(default_for!(@ $shape);)*
    };
    (@ null) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ bool) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ number) => {
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ string) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ array) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            while array.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ object) => {
        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    default_for!(null bool number array object);

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

impl<'de: 't, 't> Deserialize<'de> for Text<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names<'de>;

    default_for!(null bool number string);

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Names<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = object.next_entry()? {
            names.push(name);
        }
        Ok(Names(names))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Names<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = array.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

impl<'de: 't, 't> Deserialize<'de> for Names<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct FlagVisitor;

impl<'de> Visitor<'de> for FlagVisitor {
    type Value = Flag;

    default_for!(null number string array object);

    fn visit_bool<E>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}
