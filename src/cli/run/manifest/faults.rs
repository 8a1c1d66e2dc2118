//! All mistakes of a manifest at once: a mistake is noted, its field is taken out, and the rest is read again.

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::inert;
use super::lines::{Lines, child};
use super::manifest_error::{Fault, ManifestError};
use super::schema::Manifest;

/// Most mistakes of a file that are named.
const MOST: usize = 50;

/// A document of which fields are taken out as long as they are mistakes.
struct Reader {
    document: Value,
    lines: Lines,
    faults: Vec<Fault>,
    /// Fields that were missing and have a text now, or that were taken out: what is said of them is no new mistake.
    touched: Vec<String>,
}

/// Reads a document; `plan` says what else is wrong with it.
///
/// # Errors
/// [`ManifestError::Faults`] with all mistakes.
pub(crate) fn read<T>(
    text: &str,
    mut plan: impl FnMut(&Manifest) -> Result<T, ManifestError>,
) -> Result<(Manifest, T), ManifestError> {
    let mut document = Manifest::document(text)?;
    let inert = inert::remove(&mut document);
    let mut reader = Reader {
        document,
        lines: Lines::read(text),
        faults: Vec::new(),
        touched: Vec::new(),
    };
    while reader.faults.len() < MOST {
        let again = match reader.parse() {
            Ok(mut manifest) => match plan(&manifest) {
                Ok(plan) if reader.faults.is_empty() => {
                    manifest.inert = inert;
                    return Ok((manifest, plan));
                }
                Ok(_) => break,
                Err(ManifestError::Field {
                    field,
                    value,
                    remedy,
                }) => {
                    let text = format!("{field}: invalid value {value:?}: {remedy}");
                    reader.note(&field, text)
                }
                Err(other) => return Err(other),
            },
            Err(Mistake { path, field, text }) => {
                let text = if path.is_empty() {
                    text
                } else {
                    format!("{path}: {text}")
                };
                reader.note(&field, text)
            }
        };
        if !again {
            break;
        }
    }
    Err(ManifestError::Faults(reader.faults))
}

/// Why a document is not a manifest.
struct Mistake {
    /// Path of the object or value, as the text has it.
    path: String,
    /// Path of the field to take out.
    field: String,
    text: String,
}

impl Reader {
    fn parse(&self) -> Result<Manifest, Mistake> {
        // From text, because errors of reading a value have no path.
        let text = serde_yaml_ng::to_string(&self.document).unwrap_or_default();
        let document = serde_yaml_ng::Deserializer::from_str(&text);
        Manifest::deserialize(document).map_err(|error| mistake(&error.to_string()))
    }

    /// Notes a mistake, and takes its field out or fills it in. Returns whether the rest can be read for further mistakes.
    fn note(&mut self, field: &str, text: String) -> bool {
        let missing = text.split_once("missing field `");
        let missing = missing.and_then(|(_, rest)| rest.split_once('`'));
        let named = missing.map(|(name, _)| child(field, name));
        let is_new = !self
            .touched
            .iter()
            .any(|path| path == named.as_deref().unwrap_or(field));
        if is_new {
            let line = self.lines.of(field);
            self.faults.push(Fault { text, line });
        }
        match named {
            Some(path) => {
                let filled = is_new && fill_in(&mut self.document, field, &path);
                self.touched.push(path);
                filled
            }
            None => {
                self.touched.push(field.to_owned());
                is_new && take_out(&mut self.document, field)
            }
        }
    }
}

/// Splits the text of the reader's error, `PATH: WHY at line L column C`, and says what an unknown field is.
fn mistake(error: &str) -> Mistake {
    let error = error
        .rsplit_once(" at line ")
        .map_or(error, |(text, _)| text);
    let (path, why) = match error.split_once(": ") {
        Some((path, why)) if !path.contains([' ', '`']) => (path, why),
        _ => ("", error),
    };
    let unknown = why
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'));
    let Some((name, rest)) = unknown else {
        return Mistake {
            path: path.to_owned(),
            field: path.to_owned(),
            text: why.to_owned(),
        };
    };
    let field = child(path, name);
    let served = rest.trim_start_matches(", ").replace('`', "");
    let text = if inert::is_unserved(name) {
        format!("this field of Kubernetes is not served here; {served}")
    } else {
        format!("unknown field; {served}")
    };
    Mistake {
        path: field.clone(),
        field,
        text,
    }
}

/// Takes a field out of its object. An element of a list stays, because the paths of later ones count on it.
fn take_out(document: &mut Value, field: &str) -> bool {
    // Keys may have dots: the longest object that is there has the field.
    let parents = field
        .match_indices('.')
        .map(|(end, _)| end)
        .collect::<Vec<_>>();
    let parents = parents
        .into_iter()
        .rev()
        .map(|end| (&field[..end], &field[end + 1..]));
    for (parent, name) in parents.chain([("", field)]) {
        let object = find(document, parent).and_then(Value::as_mapping_mut);
        if object.is_some_and(|object| object.remove(name).is_some()) {
            return true;
        }
    }
    false
}

/// Gives a field that is missing some text, so that the fields after it can be read.
fn fill_in(document: &mut Value, parent: &str, field: &str) -> bool {
    let name = field.strip_prefix(parent).unwrap_or(field);
    let name = name.trim_start_matches('.');
    let Some(object) = find(document, parent).and_then(Value::as_mapping_mut) else {
        return false;
    };
    object.insert(name.into(), "missing".into());
    true
}

/// The value at a path whose keys have no dots.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut at = document;
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        at = match step.strip_suffix(']') {
            Some(index) => at.get_mut(index.parse::<usize>().ok()?)?,
            None => at.get_mut(step)?,
        };
    }
    Some(at)
}
