//! From the text to nodes: anchors are resolved, merge keys are merged, and keys are there once.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::fault::YamlError;
use super::scalar;

/// Deepest nesting; a description of CDI has six levels.
const DEPTH_LIMIT: usize = 100;

/// Most entries that merge keys may bring in all: more is a text made to be large.
const MERGE_LIMIT: usize = 100_000;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

/// A key and its value.
pub(super) type Pair = (Rc<Node>, Rc<Node>);

#[derive(Debug)]
pub(super) enum Value {
    Scalar {
        text: String,
        /// Short form: `!!int`, `!thing`; empty for a value without a tag.
        tag: String,
        quoted: bool,
    },
    List(Vec<Rc<Node>>),
    /// In the order of the text; what merge keys bring comes last.
    Map(Vec<Pair>),
}

impl Node {
    /// The value of a scalar when the reader wants no particular type.
    pub(super) fn resolved(&self) -> Result<scalar::Resolved<'_>, YamlError> {
        match &self.value {
            Value::Scalar { text, tag, quoted } => {
                scalar::resolve(text, tag, *quoted).map_err(|why| YamlError::at(self.line, why))
            }
            Value::List(_) => Err(YamlError::at(self.line, "a list stands for a scalar")),
            Value::Map(_) => Err(YamlError::at(self.line, "a mapping stands for a scalar")),
        }
    }

    /// Whether it is null, which means that it is not there.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar { .. })
            && matches!(self.resolved(), Ok(scalar::Resolved::Null))
    }

    fn key(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether as a key it means that another mapping is merged in.
    fn is_merge(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, tag, quoted: false }
            if text == "<<" && matches!(tag.as_str(), "" | "!" | "!!merge"))
    }
}

/// A list or mapping whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    parts: Vec<Rc<Node>>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Finished nodes with an anchor.
    anchors: HashMap<usize, Rc<Node>>,
    merged: usize,
    root: Option<Rc<Node>>,
}

/// The first document's value.
pub(super) fn read(text: &str) -> Result<Rc<Node>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| YamlError::at(error.marker().line(), error.info().to_owned()))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span.start.line())?;
    }
    builder
        .root
        .ok_or_else(|| YamlError::at(1, "there is no document"))
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = Value::Scalar {
                    text: text.into_owned(),
                    tag: tag.map(|tag| short(&tag)).unwrap_or_default(),
                    quoted: style != ScalarStyle::Plain,
                };
                self.add(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node =
                    node.ok_or_else(|| YamlError::at(line, "an anchor's value contains itself"))?;
                self.place(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, is_map: bool) -> Result<(), YamlError> {
        if self.open.len() >= DEPTH_LIMIT {
            let reason = format!("more than {DEPTH_LIMIT} levels of nesting");
            return Err(YamlError::at(line, reason));
        }
        self.open.push(Open {
            line,
            anchor,
            is_map,
            parts: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = if open.is_map {
            Value::Map(self.mapping(open.parts)?)
        } else {
            Value::List(open.parts)
        };
        let line = open.line;
        self.add(Node { line, value }, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node);
        Ok(())
    }

    fn place(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.parts.push(node),
            None => self.root = Some(node),
        }
    }

    /// Keys and values in turn become pairs; those of the mapping itself win over merged ones.
    fn mapping(&mut self, parts: Vec<Rc<Node>>) -> Result<Vec<Pair>, YamlError> {
        let mut pairs: Vec<Pair> = Vec::with_capacity(parts.len() / 2);
        let mut merges = Vec::new();
        let mut seen = HashSet::new();
        let mut parts = parts.into_iter();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            let Some(name) = key.key() else {
                let reason = "a key is a list or a mapping; write a name";
                return Err(YamlError::at(key.line, reason));
            };
            if !seen.insert(name.to_owned()) {
                let reason = format!("the key {name:?} stands there twice; remove one");
                return Err(YamlError::at(key.line, reason));
            }
            if key.is_merge() {
                merges.push(value);
            } else {
                pairs.push((key, value));
            }
        }
        for merge in merges {
            match &merge.value {
                Value::Map(more) => self.merge(&mut pairs, &mut seen, more, merge.line)?,
                Value::List(maps) => {
                    for map in maps {
                        let Value::Map(more) = &map.value else {
                            return Err(no_map(map.line));
                        };
                        self.merge(&mut pairs, &mut seen, more, map.line)?;
                    }
                }
                Value::Scalar { .. } => return Err(no_map(merge.line)),
            }
        }
        Ok(pairs)
    }

    fn merge(
        &mut self,
        pairs: &mut Vec<Pair>,
        seen: &mut HashSet<String>,
        more: &[Pair],
        line: usize,
    ) -> Result<(), YamlError> {
        self.merged += more.len();
        if self.merged > MERGE_LIMIT {
            let reason = format!("merge keys bring more than {MERGE_LIMIT} entries");
            return Err(YamlError::at(line, reason));
        }
        for (key, value) in more {
            if seen.insert(key.key().unwrap_or_default().to_owned()) {
                pairs.push((Rc::clone(key), Rc::clone(value)));
            }
        }
        Ok(())
    }
}

fn no_map(line: usize) -> YamlError {
    YamlError::at(line, "`<<` merges a mapping or a list of mappings")
}

/// A tag as the specification's shorthand writes it.
fn short(tag: &Tag) -> String {
    const CORE: &str = "tag:yaml.org,2002:";
    let whole = format!("{}{}", tag.handle, tag.suffix);
    match whole.strip_prefix(CORE) {
        Some(name) => format!("!!{name}"),
        None => whole,
    }
}
