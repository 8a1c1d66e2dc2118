//! Fields of JSON as the reference library reads them: Go's encoding/json takes null for a zero value, and finds a
//! key in another case where no key has its own.

use serde_json::{Map, Value};

/// An object, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    /// The path to it, with a dot at its end; empty for the whole document.
    path: String,
    /// The fields; `None` stands for null.
    fields: Option<&'a Map<String, Value>>,
}

/// What is wrong with a field, in words that begin with its path.
type Wrong = String;

fn wrong<T>(path: &str, value: &Value, allowed: &str) -> Result<T, Wrong> {
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(100) {
        shown.truncate(end);
        shown.push('…');
    }
    Err(format!(
        "{path}: invalid value {shown}: {allowed} is expected"
    ))
}

impl<'a> Object<'a> {
    /// Takes a whole document for an object.
    pub(super) fn document(value: &'a Value) -> Result<Object<'a>, Wrong> {
        if !value.is_null() && !value.is_object() {
            return Err("no JSON object".to_owned());
        }
        let (path, fields) = (String::new(), value.as_object());
        Ok(Object { path, fields })
    }

    /// The object at a place in a document.
    pub(super) fn at(place: &str, value: &'a Value) -> Result<Object<'a>, Wrong> {
        if !value.is_null() && !value.is_object() {
            return wrong(place, value, "an object");
        }
        let (path, fields) = (format!("{place}."), value.as_object());
        Ok(Object { path, fields })
    }

    /// Where a field of it stands.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// A field; None where it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let fields = self.fields?;
        let folded = |(name, _): &(&String, &Value)| name.eq_ignore_ascii_case(key);
        let other_case = || fields.iter().find(folded).map(|(_, value)| value);
        let found = fields.get(key).or_else(other_case);
        found.filter(|value| !value.is_null())
    }

    /// A text, empty where it is missing.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, Wrong> {
        match self.get(key) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => wrong(&self.path(key), other, "a text"),
        }
    }

    /// Reads a field that is a whole number.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, Wrong> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_i64() {
            None => wrong(&self.path(key), value, "a whole number"),
            number => Ok(number),
        }
    }

    /// Reads a field that is an object itself.
    pub(super) fn object_field(&self, key: &str) -> Result<Option<Object<'a>>, Wrong> {
        let object = |value| Object::at(&self.path(key), value);
        self.get(key).map(object).transpose()
    }

    /// A list, empty where it is missing.
    fn list(&self, key: &str) -> Result<&'a [Value], Wrong> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(entries)) => Ok(entries),
            Some(other) => wrong(&self.path(key), other, "a list"),
        }
    }

    /// A list of objects; null is one without fields.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Object<'a>>, Wrong> {
        let entry = |(index, entry)| Object::at(&format!("{}[{index}]", self.path(key)), entry);
        self.list(key)?.iter().enumerate().map(entry).collect()
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Wrong> {
        let entry = |(index, entry): (usize, &Value)| match entry {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            other => wrong(&format!("{}[{index}]", self.path(key)), other, "a text"),
        };
        self.list(key)?.iter().enumerate().map(entry).collect()
    }

    /// The keys of an object whose values are switches, and what they are set to.
    pub(super) fn switches(&self, key: &str) -> Result<Vec<(&'a str, bool)>, Wrong> {
        let Some(object) = self.object_field(key)? else {
            return Ok(Vec::new());
        };
        let switch = |(name, value): (&'a String, &Value)| match value {
            Value::Null => Ok((name.as_str(), false)),
            Value::Bool(set) => Ok((name.as_str(), *set)),
            other => wrong(&object.path(name), other, "true or false"),
        };
        object.fields.into_iter().flatten().map(switch).collect()
    }
}
