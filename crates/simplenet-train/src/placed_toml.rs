//! A TOML text as a tree that knows on which line each key stands, so that a message can say it.
//!
//! In: the text. Out: tables, lists and plain values. [`config`](crate::config) reads settings from such a tree, and the
//! command line its flags.

use std::{fmt, ops::Range};

use toml::de::{DeTable, DeValue};

/// A value and the line of its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The line, from 1; `None` for what stands in no text.
    pub line: Option<usize>,
    /// The value.
    pub value: PlacedValue,
}

/// What a key may have.
#[derive(Debug, Clone, PartialEq)]
pub enum PlacedValue {
    /// `"…"`.
    Text(String),
    /// `3`.
    Integer(i64),
    /// `0.5`.
    Number(f64),
    /// `true` or `false`.
    Switch(bool),
    /// A date or a time, which no setting has.
    Time(String),
    /// `[…]`.
    List(Vec<Placed>),
    /// `{…}` or `[name]`.
    Table(PlacedTable),
}

/// A table, its keys in the order of the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlacedTable(Vec<(String, Placed)>);

/// A text that is not TOML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NotToml {
    /// The line, from 1.
    pub line: usize,
    /// The parser's words.
    pub problem: String,
}

impl PlacedTable {
    /// Reads a TOML text.
    ///
    /// # Errors
    /// What is not TOML, or a whole number beyond 64 bits; says the line.
    pub fn parse(text: &str) -> Result<Self, NotToml> {
        let line =
            |span: Range<usize>| 1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| NotToml {
            line: error.span().map_or(1, line),
            problem: error.message().trim().replace('\n', " "),
        })?;
        of_table(table.get_ref(), &line)
    }

    /// The keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Placed)> {
        self.0.iter().map(|(key, placed)| (key.as_str(), placed))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Placed> {
        self.iter().find(|(name, _)| *name == key).map(|(_, placed)| placed)
    }

    /// The value at the end of a path of keys, or the last one on it that is there.
    pub fn nearest_on<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Placed> {
        let mut found = None;
        let mut table = Some(self);
        for key in path {
            let Some(placed) = table.and_then(|table| table.get(key)) else { break };
            table = placed.value.table();
            found = Some(placed);
        }
        found
    }

    /// Puts a value in the place of the key's, or at the end.
    pub fn insert(&mut self, key: &str, placed: Placed) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = placed,
            None => self.0.push((key.to_string(), placed)),
        }
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Placed> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, placed)| placed)
    }

    /// The keys for which `keep` holds.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PlacedValue {
    /// The table, if it is one.
    pub fn table(&self) -> Option<&PlacedTable> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::Time(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) | Self::Time(text) => text.clone().into(),
            Self::Integer(integer) => (*integer).into(),
            Self::Number(number) => (*number).into(),
            Self::Switch(switch) => (*switch).into(),
            Self::List(list) => list.iter().map(|placed| placed.value.to_toml()).collect::<Vec<_>>().into(),
            Self::Table(table) => {
                let entries = table.iter().map(|(key, placed)| (key.to_string(), placed.value.to_toml()));
                entries.collect::<toml::Table>().into()
            }
        }
    }
}

/// As it would stand in a text, in one line.
impl fmt::Display for PlacedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(text) => f.write_str(text),
            other => write!(f, "{}", other.to_toml()),
        }
    }
}

/// As a text.
impl fmt::Display for PlacedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.iter().map(|(key, placed)| (key.to_string(), placed.value.to_toml()));
        write!(f, "{}", entries.collect::<toml::Table>())
    }
}

/// Without lines.
impl From<toml::Table> for PlacedTable {
    fn from(table: toml::Table) -> Self {
        Self(table.into_iter().map(|(key, value)| (key, value.into())).collect())
    }
}

impl From<toml::Value> for Placed {
    fn from(value: toml::Value) -> Self {
        let value = match value {
            toml::Value::String(text) => PlacedValue::Text(text),
            toml::Value::Integer(integer) => PlacedValue::Integer(integer),
            toml::Value::Float(number) => PlacedValue::Number(number),
            toml::Value::Boolean(switch) => PlacedValue::Switch(switch),
            toml::Value::Datetime(time) => PlacedValue::Time(time.to_string()),
            toml::Value::Array(list) => PlacedValue::List(list.into_iter().map(Self::from).collect()),
            toml::Value::Table(table) => PlacedValue::Table(table.into()),
        };
        Self { line: None, value }
    }
}

fn of_table(table: &DeTable<'_>, line: &dyn Fn(Range<usize>) -> usize) -> Result<PlacedTable, NotToml> {
    let mut entries = vec![];
    for (key, value) in table {
        let at = line(key.span());
        let value = of_value(value.get_ref(), at, line)?;
        entries.push((key.span().start, (key.get_ref().to_string(), Placed { line: Some(at), value })));
    }
    // The parser sorts by name.
    entries.sort_by_key(|(start, _)| *start);
    Ok(PlacedTable(entries.into_iter().map(|(_, entry)| entry).collect()))
}

fn of_value(
    value: &DeValue<'_>,
    at: usize,
    line: &dyn Fn(Range<usize>) -> usize,
) -> Result<PlacedValue, NotToml> {
    let beyond = |what: &str| NotToml { line: at, problem: format!("{what} is too large a number") };
    Ok(match value {
        DeValue::String(text) => PlacedValue::Text(text.to_string()),
        DeValue::Integer(integer) => {
            let read = i64::from_str_radix(integer.as_str(), integer.radix());
            PlacedValue::Integer(read.map_err(|_| beyond(integer.as_str()))?)
        }
        DeValue::Float(number) => {
            PlacedValue::Number(number.as_str().parse().map_err(|_| beyond(number.as_str()))?)
        }
        DeValue::Boolean(switch) => PlacedValue::Switch(*switch),
        DeValue::Datetime(time) => PlacedValue::Time(time.to_string()),
        DeValue::Array(list) => {
            let mut placed = vec![];
            for value in list.iter() {
                let at = line(value.span());
                placed.push(Placed { line: Some(at), value: of_value(value.get_ref(), at, line)? });
            }
            PlacedValue::List(placed)
        }
        DeValue::Table(table) => PlacedValue::Table(of_table(table, line)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_line() {
        let text = "b = 1\n\na = [\n 'x',\n 2.5,\n]\n[t.u]\nd = { e = true }\n# end\nh = 0x1f\n";
        let table = PlacedTable::parse(text).unwrap();
        let line = |path: &str| table.nearest_on(path.split('.')).unwrap().line;
        assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["b", "a", "t"]);
        for (path, expected) in [("b", 1), ("a", 3), ("t.u", 7), ("t.u.d", 8), ("t.u.d.e", 8), ("t.u.h", 10)]
        {
            assert_eq!(line(path), Some(expected), "{path}");
        }
        assert_eq!(line("t.u.absent.more"), Some(7), "the last one that is there");
        let PlacedValue::List(list) = &table.get("a").unwrap().value else { panic!("a list") };
        assert_eq!(list[1], Placed { line: Some(5), value: PlacedValue::Number(2.5) });
        assert_eq!(table.get("t").unwrap().value.to_string(), "{ u = { d = { e = true }, h = 31 } }");
    }

    #[test]
    fn what_is_not_toml_has_a_line_too() {
        for (text, line) in [("a = 1\nb = \n", 2), ("a = 1\n\na = 2\n", 3), ("a = 99999999999999999999", 1)] {
            assert_eq!(PlacedTable::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
