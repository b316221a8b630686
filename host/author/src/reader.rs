//! Reading TOML that a person has written: each value is taken out by its name, whatever is wrong is remembered with its place,
//! and a name that nobody asked for is a fault too. So a file's faults are told all at once.

use std::cell::RefCell;
use std::ops::Range;

use serde_json::{Map, Value as Json};
use toml_edit::{ImDocument, Item, TableLike, Value};

use crate::fault::{Fault, Faults, nearest};

/// Something, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A file under reading.
pub(crate) struct Reader {
    file: String,
    text: String,
    faults: RefCell<Vec<Fault>>,
}

impl Reader {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned(), faults: RefCell::default() }
    }

    /// Reads the file with `read`; what it gives counts only if no fault was found.
    pub(crate) fn read<T>(self, read: impl FnOnce(&Section<'_>) -> Option<T>) -> Result<T, Faults> {
        let value = match ImDocument::parse(self.text.as_str()) {
            Ok(document) => {
                let root = Section::new(&self, document.as_table(), String::new(), 0..0);
                let value = read(&root);
                root.refuse_unknown();
                value
            }
            Err(error) => {
                let message = format!("this is no TOML: {}", error.message().trim().replace('\n', ", "));
                self.fault(error.span().unwrap_or_default(), message);
                None
            }
        };
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ if faults.is_empty() => Err(Faults(vec![Fault::new(&self.file, &self.text, 0..0, "it can not be read")])),
            _ => Err(Faults(faults)),
        }
    }

    pub(crate) fn fault(&self, span: Range<usize>, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault::new(&self.file, &self.text, span, message));
    }
}

/// A table under reading.
pub(crate) struct Section<'a> {
    reader: &'a Reader,
    table: &'a dyn TableLike,
    /// How a message calls the table; empty for the whole file.
    path: String,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader, table: &'a dyn TableLike, path: String, span: Range<usize>) -> Self {
        Self { reader, table, path, span, asked: RefCell::default() }
    }

    pub(crate) fn fault(&self, span: Range<usize>, message: impl Into<String>) {
        self.reader.fault(span, message);
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn named(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn item(&self, key: &'static str) -> Option<At<&'a Item>> {
        self.asked.borrow_mut().push(key);
        let (at, item) = self.table.get_key_value(key)?;
        let span = item.span().or_else(|| at.span()).unwrap_or_else(|| self.span());
        Some(At { value: item, span })
    }

    fn wrong(&self, key: &str, at: &At<&Item>, expected: &str) {
        let found = at.value.type_name();
        self.fault(at.span.clone(), format!("`{}` must be {expected}, not of type {found}", self.named(key)));
    }

    /// A value of one type; a value of another is a fault.
    fn typed<T>(&self, key: &'static str, expected: &str, read: impl FnOnce(&'a Item) -> Option<T>) -> Option<At<T>> {
        let at = self.item(key)?;
        match read(at.value) {
            Some(value) => Some(At { value, span: at.span }),
            None => {
                self.wrong(key, &at, expected);
                None
            }
        }
    }

    /// A fault where a value that has to be there is not. A mistyped name is told as such, and once is enough.
    pub(crate) fn missing(&self, key: &str, what: &str) {
        if self.table.iter().any(|(name, _)| nearest(name, &[key]).is_some()) {
            return;
        }
        let place = if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path) };
        self.fault(self.span(), format!("{place} has no `{key}`: {what}"));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the value of this name stands; of a list of tables, the first one.
    pub(crate) fn place(&self, key: &str) -> Option<Range<usize>> {
        let (name, item) = self.table.get_key_value(key)?;
        let first = item.as_array_of_tables().and_then(|tables| tables.get(0)).and_then(|table| table.span());
        first.or_else(|| item.span()).or_else(|| name.span())
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        self.typed(key, "a text in quotes", |item| item.as_str().map(str::to_owned))
    }

    pub(crate) fn required_text(&self, key: &'static str, what: &str) -> Option<At<String>> {
        if !self.has(key) {
            self.missing(key, what);
        }
        self.text(key)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.typed(key, "true or false", Item::as_bool)
    }

    pub(crate) fn whole(&self, key: &'static str) -> Option<At<u64>> {
        self.typed(key, "a whole number, 0 or more", |item| item.as_integer().and_then(|n| u64::try_from(n).ok()))
    }

    /// A text, or a list of texts.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<At<String>> {
        self.list(key, "texts in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// The elements of a list; a value alone is a list of one.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Vec<At<T>> {
        let Some(at) = self.item(key) else { return Vec::new() };
        let values: Vec<&'a Value> = match at.value.as_value() {
            Some(Value::Array(array)) => array.iter().collect(),
            Some(alone) => vec![alone],
            None => {
                self.wrong(key, &at, &format!("a list of {expected}"));
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for value in values {
            let span = value.span().unwrap_or_else(|| at.span.clone());
            match read(value) {
                Some(value) => found.push(At { value, span }),
                None => self.fault(span, format!("`{}` must be a list of {expected}", self.named(key))),
            }
        }
        found
    }

    /// The table under a key, or the only value of another type.
    pub(crate) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let at = self.item(key)?;
        match at.value.as_table_like() {
            Some(table) => Some(Section::new(self.reader, table, self.named(key), at.span)),
            None => {
                self.wrong(key, &at, "a table");
                None
            }
        }
    }

    /// A table that is an element of a list, such as of `list`.
    pub(crate) fn inside(&self, table: &'a dyn TableLike, name: &str, span: Range<usize>) -> Section<'a> {
        Section::new(self.reader, table, self.named(name), span)
    }

    /// The tables of a list of tables, written as `[[key]]` or in one line each.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(at) = self.item(key) else { return Vec::new() };
        let tables: Vec<(&'a dyn TableLike, Option<Range<usize>>)> = match at.value {
            Item::ArrayOfTables(tables) => tables.iter().map(|table| (table as &dyn TableLike, table.span())).collect(),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => array
                .iter()
                .filter_map(|value| Some((value.as_inline_table()? as &dyn TableLike, value.span())))
                .collect(),
            _ => {
                self.wrong(key, &at, &format!("a list of tables: write [[{key}]]"));
                return Vec::new();
            }
        };
        let named = |index: usize| format!("{}[{index}]", self.named(key));
        let span = |span: Option<Range<usize>>| span.unwrap_or_else(|| at.span.clone());
        let section = |(index, (table, at))| Section::new(self.reader, table, named(index), span(at));
        tables.into_iter().enumerate().map(section).collect()
    }

    /// A table's names and texts, such as headers.
    pub(crate) fn text_map(&self, key: &'static str) -> Vec<(String, At<String>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, item) in section.table.iter() {
            let span = item.span().unwrap_or_else(|| section.span());
            match item.as_str() {
                Some(text) => found.push((name.to_owned(), At { value: text.to_owned(), span })),
                None => self.fault(span, format!("`{}.{name}` must be a text in quotes", section.path)),
            }
        }
        found
    }

    /// Whatever stands there, as JSON.
    pub(crate) fn json(&self, key: &'static str) -> Option<At<Json>> {
        let at = self.item(key)?;
        let value = self.item_to_json(at.value, &at.span)?;
        Some(At { value, span: at.span })
    }

    fn item_to_json(&self, item: &Item, span: &Range<usize>) -> Option<Json> {
        if let Some(value) = item.as_value() {
            return self.value_to_json(value, span);
        }
        if let Some(tables) = item.as_array_of_tables() {
            return tables.iter().map(|table| self.table_to_json(table, span)).collect::<Option<_>>().map(Json::Array);
        }
        self.table_to_json(item.as_table_like()?, span)
    }

    fn table_to_json(&self, table: &dyn TableLike, span: &Range<usize>) -> Option<Json> {
        let entry = |(key, item): (&str, &Item)| {
            let span = item.span().unwrap_or_else(|| span.clone());
            Some((key.to_owned(), self.item_to_json(item, &span)?))
        };
        table.iter().map(entry).collect::<Option<Map<_, _>>>().map(Json::Object)
    }

    fn value_to_json(&self, value: &Value, span: &Range<usize>) -> Option<Json> {
        let span = value.span().unwrap_or_else(|| span.clone());
        let refused = |why: &str| {
            self.fault(span.clone(), why);
            None
        };
        match value {
            Value::String(text) => Some(Json::String(text.value().clone())),
            Value::Integer(number) => Some((*number.value()).into()),
            Value::Boolean(flag) => Some((*flag.value()).into()),
            Value::Float(number) => match serde_json::Number::from_f64(*number.value()) {
                Some(number) => Some(Json::Number(number)),
                None => refused("JSON has no such number"),
            },
            Value::Datetime(_) => refused("JSON has no dates: write it in quotes"),
            Value::Array(array) => {
                array.iter().map(|value| self.value_to_json(value, &span)).collect::<Option<_>>().map(Json::Array)
            }
            Value::InlineTable(table) => self.table_to_json(table, &span),
        }
    }

    /// Names that nobody has asked for are mistyped: call this when all is read.
    pub(crate) fn refuse_unknown(&self) {
        let asked = self.asked.borrow();
        for (name, item) in self.table.iter() {
            if asked.contains(&name) {
                continue;
            }
            let key = self.table.get_key_value(name).and_then(|(key, _)| key.span());
            let span = key.or_else(|| item.span()).unwrap_or_else(|| self.span());
            let place = if self.path.is_empty() { "here".to_owned() } else { format!("in `{}`", self.path) };
            let message = match nearest(name, &asked) {
                Some(near) => format!("there is no `{name}` {place}; did you mean `{near}`?"),
                None => format!("there is no `{name}` {place}; there are {}", listed(&asked)),
            };
            self.fault(span, message);
        }
    }
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let quoted = format!("`{name}`");
        if !seen.contains(&quoted) {
            seen.push(quoted);
        }
    }
    match seen.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}
