//! JSON as Go's `encoding/json` reads it, which the readers and writers of image documents have in common.
//!
//! The rules are those of `json.Unmarshal` (Go 1.26): null leaves a value as it is, and empties a list or a map;
//! a key fits a field whatever its case; a key that comes again is read over what the first one gave, so that
//! objects merge; unknown keys are passed over; bytes and escapes that are no Unicode become U+FFFD. What Go refuses
//! is refused: a text for a number, `1.0` or `1e3` for a whole number, an object for a list.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The longest value that an error shows, in characters.
const SHOWN: usize = 60;

/// A JSON value in the order of the text, keys that come again included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// A value of a document that is not of the field's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, such as `config.Env[2]`.
    path: String,
    /// The value that was found, shortened.
    found: String,
    /// The values that are allowed.
    wanted: &'static str,
}

impl FieldError {
    fn new(found: &Tree, wanted: &'static str) -> Self {
        Self {
            path: String::new(),
            found: found.shown(),
            wanted,
        }
    }

    /// The error about `found`, which a field of this document that the reader knows cannot be.
    pub(super) fn of_text(found: &str, wanted: &'static str) -> Self {
        Self::new(&Tree::Text(found.to_owned()), wanted)
    }

    /// The same error, seen from the object or the list that has the value under `name`.
    pub(super) fn below(mut self, name: &str) -> Self {
        let joint = match self.path.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.path = format!("{name}{joint}{}", self.path);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.as_str() {
            "" => "the document",
            path => path,
        };
        write!(f, "{path}: invalid value {}: {}", self.found, self.wanted)
    }
}

impl std::error::Error for FieldError {}

/// A type that can be read from a tree. Fields that the tree lacks keep their values.
pub(super) trait Read: Default {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError>;
}

impl Tree {
    /// Parses the text of a JSON document.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&holdfast_disk::json_text(bytes))
    }

    /// The pairs of an object, none for null.
    pub(super) fn pairs(self) -> Result<Vec<(String, Tree)>, FieldError> {
        match self {
            Self::Null => Ok(Vec::new()),
            Self::Object(pairs) => Ok(pairs),
            other => Err(FieldError::new(&other, "an object is expected")),
        }
    }

    fn shown(&self) -> String {
        let text = match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::List(_) => return "[…]".to_owned(),
            Self::Object(_) => return "{…}".to_owned(),
        };
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// Whether a key of a document is the field `name`.
pub(super) fn is_field(key: &str, name: &str) -> bool {
    // The letters that Unicode folds into ASCII ones are folded by Go too.
    let folded = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key == name || key.chars().map(folded).eq(name.chars().map(folded))
}

impl Read for String {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        match tree {
            Tree::Null => {}
            Tree::Text(text) => *self = text,
            other => return Err(FieldError::new(&other, "a text is expected")),
        }
        Ok(())
    }
}

impl Read for bool {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        match tree {
            Tree::Null => {}
            Tree::Bool(value) => *self = value,
            other => return Err(FieldError::new(&other, "true or false is expected")),
        }
        Ok(())
    }
}

impl Read for i64 {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        let whole = "a whole number is expected";
        match &tree {
            Tree::Null => {}
            Tree::Number(number) => {
                *self = number
                    .as_i64()
                    .ok_or_else(|| FieldError::new(&tree, whole))?;
            }
            other => return Err(FieldError::new(other, whole)),
        }
        Ok(())
    }
}

/// An object of which only the presence counts: the values of `ExposedPorts` and `Volumes`.
impl Read for () {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        tree.pairs().map(|_| ())
    }
}

impl<T: Read> Read for Option<T> {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        match tree {
            Tree::Null => *self = None,
            tree => self.get_or_insert_default().read(tree)?,
        }
        Ok(())
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        self.clear();
        let list = match tree {
            Tree::Null => return Ok(()),
            Tree::List(list) => list,
            other => return Err(FieldError::new(&other, "a list is expected")),
        };
        for (at, tree) in list.into_iter().enumerate() {
            let mut item = T::default();
            item.read(tree).map_err(|e| e.below(&format!("[{at}]")))?;
            self.push(item);
        }
        Ok(())
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        if tree == Tree::Null {
            self.clear();
        }
        for (key, tree) in tree.pairs()? {
            let mut item = T::default();
            item.read(tree)
                .map_err(|e| e.below(&format!("[{key:?}]")))?;
            self.insert(key, item);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(serde_json::Number::from_f64(value).map_or(Tree::Null, Tree::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Tree, E> {
                Ok(Tree::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = object.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Tree::Object(pairs))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Read>(text: &str) -> Result<T, String> {
        let mut value = T::default();
        let tree = Tree::parse(text.as_bytes()).map_err(|e| e.to_string())?;
        value.read(tree).map_err(|e| e.to_string())?;
        Ok(value)
    }

    #[test]
    fn values_are_gos() {
        assert_eq!(read::<String>("null"), Ok(String::new()));
        assert_eq!(read::<bool>("null"), Ok(false));
        assert_eq!(read::<i64>("null"), Ok(0));
        assert_eq!(read::<i64>("-7"), Ok(-7));
        assert_eq!(read::<Vec<String>>("null"), Ok(vec![]));
        assert_eq!(
            read::<Vec<String>>("[null,\"a\"]"),
            Ok(vec![String::new(), "a".to_owned()])
        );
        let map = read::<BTreeMap<String, ()>>(r#"{"80/tcp":null,"81/tcp":{"x":1}}"#).unwrap();
        assert_eq!(map.len(), 2);
        let map = read::<BTreeMap<String, String>>(r#"{"a":"1","A":"2","a":null}"#).unwrap();
        assert_eq!((map["a"].as_str(), map["A"].as_str()), ("", "2"));
        for (wrong, text) in [
            (
                read::<i64>("1.0").err(),
                "the document: invalid value 1.0: a whole number is expected",
            ),
            (
                read::<i64>("1e3").err(),
                "the document: invalid value 1000.0: a whole number is expected",
            ),
            (
                read::<i64>("\"1\"").err(),
                "the document: invalid value \"1\": a whole number is expected",
            ),
            (
                read::<i64>("9223372036854775808").err(),
                "the document: invalid value 9223372036854775808: a whole number is expected",
            ),
        ] {
            assert_eq!(wrong.as_deref(), Some(text));
        }
        assert_eq!(
            read::<Vec<BTreeMap<String, String>>>(r#"[{},{"k":5}]"#)
                .err()
                .as_deref(),
            Some("[1][\"k\"]: invalid value 5: a text is expected")
        );
        assert!(read::<BTreeMap<String, ()>>(r#"{"80/tcp":"x"}"#).is_err());
        assert!(
            read::<String>("\u{feff}\"\"").is_err(),
            "Go reads no byte order mark"
        );
    }

    #[test]
    fn what_is_no_unicode_is_replaced() {
        for (text, value) in [
            (&b"\"a\xffb\""[..], "a\u{fffd}b"),
            (br#""\udc80x""#, "\u{fffd}x"),
        ] {
            assert_eq!(Tree::parse(text).unwrap(), Tree::Text(value.to_owned()));
        }
    }

    #[test]
    fn keys_fit_fields_whatever_their_case() {
        assert!(is_field("mediatype", "mediaType") && is_field("MEDIATYPE", "mediaType"));
        assert!(is_field("diff_idſ", "diff_ids") && is_field("\u{212a}ey", "key"));
        assert!(!is_field("media_type", "mediaType") && !is_field("", "size"));
    }
}
