//! Decodes nodes to types, as the reference library does.

use std::borrow::Cow;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::YamlError;
use super::scalar::{self, Resolved};
use super::tree::{Node, Pair, Value};

#[derive(Clone, Copy)]
pub(super) struct Decoder<'a>(pub &'a Node);

impl<'a> Decoder<'a> {
    fn wrong(&self, wanted: &str) -> YamlError {
        let found = match &self.0.value {
            Value::Scalar { text, quoted, .. } => {
                let quotes = if *quoted {
                    "the quoted text"
                } else {
                    "the value"
                };
                format!("{quotes} {text:?}")
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        YamlError::at(self.0.line, format!("{found} stands there; write {wanted}"))
    }

    fn text(&self) -> Result<Cow<'a, str>, YamlError> {
        match &self.0.value {
            Value::Scalar { text, tag, .. } if tag == "!!binary" => scalar::binary(text)
                .map(Cow::Owned)
                .map_err(|why| YamlError::at(self.0.line, why)),
            Value::Scalar { text, .. } => {
                // A tag that the text does not fit is an error for every type.
                self.0.resolved()?;
                Ok(Cow::Borrowed(text))
            }
            Value::List(_) | Value::Map(_) => Err(self.wrong("a text")),
        }
    }

    /// The integer that stands there. Of one with a point Go takes the part before it.
    fn integer(&self) -> Result<i128, YamlError> {
        if !matches!(self.0.value, Value::Scalar { .. }) {
            return Err(self.wrong("a number"));
        }
        match self.0.resolved()? {
            Resolved::Int(number) => Ok(number),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "its size was looked at, and the rest is cut off as in Go"
            )]
            Resolved::Float(number) if number.abs() < 1e19 => Ok(number as i128),
            _ => Err(self.wrong("a whole number, as in 416 or 0640, without quotes")),
        }
    }

    fn boolean(&self) -> Result<bool, YamlError> {
        if !matches!(self.0.value, Value::Scalar { .. }) {
            return Err(self.wrong("true or false"));
        }
        match self.0.resolved()? {
            Resolved::Bool(value) => Ok(value),
            Resolved::Text(text) => scalar::word(text).ok_or_else(|| self.wrong("true or false")),
            _ => Err(self.wrong("true or false")),
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.0.value {
            Value::Scalar { .. } => match self.0.resolved()? {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Bool(value) => visitor.visit_bool(value),
                Resolved::Int(number) => visitor.visit_i128(number),
                Resolved::Float(number) => visitor.visit_f64(number),
                Resolved::Text(text) => visitor.visit_str(text),
            },
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(pairs) => visitor.visit_map(Pairs {
                pairs,
                next: 0,
                value: None,
            }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match i64::try_from(self.integer()?) {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => Err(self.wrong("a smaller number")),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match u32::try_from(self.integer()?) {
            Ok(number) => visitor.visit_u32(number),
            Err(_) => Err(self.wrong("a number from 0 to 4294967295")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_str(&self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_str(&self.text()?)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_str(&self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.0.value {
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.0.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum ignored_any
    }
}

struct Items<'a> {
    items: &'a [Rc<Node>],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, YamlError> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        let name = format!("[{}]", self.next);
        self.next += 1;
        seed.deserialize(Decoder(item))
            .map(Some)
            .map_err(|error| error.inside(name, item.line))
    }
}

struct Pairs<'a> {
    pairs: &'a [Pair],
    next: usize,
    value: Option<&'a Pair>,
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, YamlError> {
        // Go's decoder leaves a field alone whose value is null, as if it were not there.
        let mut rest = self.pairs[self.next..].iter();
        let found = rest.position(|(key, value)| !key.is_null() && !value.is_null());
        let Some(pair) = found.map(|at| &self.pairs[self.next + at]) else {
            self.next = self.pairs.len();
            return Ok(None);
        };
        self.next += found.unwrap_or_default() + 1;
        self.value = Some(pair);
        let key = seed.deserialize(Decoder(&pair.0));
        key.map(Some).map_err(|error| YamlError {
            line: pair.0.line,
            ..error
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, YamlError> {
        let Some((key, value)) = self.value.take() else {
            return Err(YamlError::custom("a value without a key"));
        };
        let name = match &key.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(_) | Value::Map(_) => String::new(),
        };
        seed.deserialize(Decoder(value))
            .map_err(|error| error.inside(name, value.line))
    }
}
