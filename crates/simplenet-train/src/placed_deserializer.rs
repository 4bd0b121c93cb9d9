//! Settings from a tree with lines, with errors that keep what serde knows: which key was not known and which ones are,
//! what type was expected, and where.
//!
//! In: a [`PlacedTable`]. Out: the struct, or a [`ReadError`]; or the names of all keys that the structs have, those that are
//! absent too.

use std::{cell::RefCell, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use crate::placed_toml::{Placed, PlacedTable, PlacedValue};

/// Keys from the top to a value.
pub(crate) type KeyPath = Vec<String>;
/// The keys that a struct has, and where it stands.
pub(crate) type Fields = Vec<(KeyPath, &'static [&'static str])>;

/// Why a tree is not what was expected, and where.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) path: Option<KeyPath>,
    pub(crate) line: Option<usize>,
    pub(crate) problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A key that the struct does not have.
    UnknownKey { key: String, known: &'static [&'static str] },
    /// A name that is none of the choices.
    UnknownChoice { choice: String, known: &'static [&'static str] },
    /// Another type, or a number out of range.
    WrongType { found: String, expected: String },
    /// A key that must be there.
    Missing(&'static str),
    /// In the type's own words.
    Other(String),
}

/// Reads a struct.
pub(crate) fn read<T: de::DeserializeOwned>(table: &PlacedTable) -> Result<T, ReadError> {
    T::deserialize(Reader { value: Value::Table(table), line: None, path: vec![], fields: None })
}

/// The keys of every struct on the way to `T`, as far as the table goes.
pub(crate) fn fields<T: de::DeserializeOwned>(table: &PlacedTable) -> Result<Fields, ReadError> {
    let fields = RefCell::new(vec![]);
    T::deserialize(Reader { value: Value::Table(table), line: None, path: vec![], fields: Some(&fields) })?;
    Ok(fields.into_inner())
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Table(&'a PlacedTable),
    Other(&'a PlacedValue),
}

#[derive(Clone)]
struct Reader<'a> {
    value: Value<'a>,
    line: Option<usize>,
    path: KeyPath,
    fields: Option<&'a RefCell<Fields>>,
}

impl<'a> Reader<'a> {
    fn below(&self, key: Option<&str>, placed: &'a Placed) -> Self {
        let value = match &placed.value {
            PlacedValue::Table(table) => Value::Table(table),
            other => Value::Other(other),
        };
        let path = self.path.iter().map(String::as_str).chain(key).map(String::from).collect();
        Self { value, line: placed.line.or(self.line), path, fields: self.fields }
    }

    /// Adds the place to an error that does not know it.
    fn here<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| ReadError {
            path: error.path.or_else(|| Some(self.path.clone())),
            line: error.line.or(self.line),
            problem: error.problem,
        })
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match self.value {
            Value::Table(table) => visitor.visit_map(Entries { reader: &self, table, next: 0 }),
            Value::Other(PlacedValue::List(list)) => {
                visitor.visit_seq(Items { reader: &self, items: list.iter() })
            }
            Value::Other(PlacedValue::Text(text) | PlacedValue::Time(text)) => visitor.visit_str(text),
            Value::Other(PlacedValue::Integer(integer)) => visitor.visit_i64(*integer),
            Value::Other(PlacedValue::Number(number)) => visitor.visit_f64(*number),
            Value::Other(PlacedValue::Switch(switch)) => visitor.visit_bool(*switch),
            Value::Other(PlacedValue::Table(table)) => {
                visitor.visit_map(Entries { reader: &self, table, next: 0 })
            }
        };
        self.here(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Some(fields) = self.fields {
            fields.borrow_mut().push((self.path.clone(), names));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let one_of = || format!("one of {}", variants.join(", "));
        let result = match self.value {
            Value::Other(PlacedValue::Text(text)) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) => match table.iter().next() {
                Some((choice, content)) if table.len() == 1 => {
                    visitor.visit_enum(Choice { choice, content: self.below(Some(choice), content) })
                }
                _ => Err(ReadError::new(Problem::WrongType {
                    found: format!("a table with {} keys", table.len()),
                    expected: one_of(),
                })),
            },
            Value::Other(other) => Err(ReadError::new(Problem::WrongType {
                found: format!("{} `{other}`", other.kind()),
                expected: one_of(),
            })),
        };
        self.here(result)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Entries<'a, 'r> {
    reader: &'r Reader<'a>,
    table: &'a PlacedTable,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, placed)) = self.table.iter().nth(self.next) else { return Ok(None) };
        let read = seed.deserialize(key.into_deserializer());
        // The key's own line, not the table's.
        read.map(Some).map_err(|error: ReadError| ReadError {
            path: Some(self.reader.path.clone()),
            line: placed.line.or(self.reader.line),
            problem: error.problem,
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, placed)) = self.table.iter().nth(self.next) else {
            return Err(ReadError::new(Problem::Other("a value without a key".into())));
        };
        self.next += 1;
        let below = self.reader.below(Some(key), placed);
        let here = below.clone();
        here.here(seed.deserialize(below))
    }
}

struct Items<'a, 'r> {
    reader: &'r Reader<'a>,
    items: std::slice::Iter<'a, Placed>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(placed) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.below(None, placed)).map(Some)
    }
}

struct Choice<'a> {
    choice: &'a str,
    content: Reader<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = ReadError;
    type Variant = Reader<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Reader<'a>), ReadError> {
        Ok((seed.deserialize(self.choice.into_deserializer())?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        let expected = "its name alone, as a text".to_string();
        let found = "a table".to_string();
        self.here(Err(ReadError::new(Problem::WrongType { found, expected })))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let here = self.clone();
        here.here(seed.deserialize(self))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", names, visitor)
    }
}

impl ReadError {
    fn new(problem: Problem) -> Self {
        Self { path: None, line: None, problem }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Other(message.to_string()))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        Self::new(Problem::WrongType { found, expected })
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(choice: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownChoice { choice: choice.to_string(), known })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey { key: key.to_string(), known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Problem::Missing(key))
    }
}
