//! The lines on which the fields of a manifest stand.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// Lines by the paths of fields, such as `spec.containers[0].image`.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

/// A list or mapping whose end has not come yet.
enum Open {
    /// A mapping, and the path of the key that was read last.
    Map {
        path: String,
        key: Option<String>,
    },
    List {
        path: String,
        next: usize,
    },
}

impl Lines {
    /// Reads where the fields of the first document with content are. A text that is not YAML has fewer lines.
    pub(super) fn read(text: &str) -> Self {
        let mut lines = Self::default();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            match event {
                Event::DocumentEnd if !lines.0.is_empty() => break,
                Event::MappingStart(..) => {
                    let path = lines.place(&mut open, None, span.start.line());
                    open.push(Open::Map { path, key: None });
                }
                Event::SequenceStart(..) => {
                    let path = lines.place(&mut open, None, span.start.line());
                    open.push(Open::List { path, next: 0 });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                }
                Event::Scalar(text, ..) => {
                    lines.place(&mut open, Some(&text), span.start.line());
                }
                Event::Alias(_) => {
                    lines.place(&mut open, None, span.start.line());
                }
                _ => {}
            }
        }
        lines
    }

    /// Notes the line of a key or an element, and returns its path.
    fn place(&mut self, open: &mut [Open], scalar: Option<&str>, line: usize) -> String {
        match open.last_mut() {
            None => String::new(),
            Some(Open::Map { path, key }) => match key.take() {
                Some(path) => path,
                None => {
                    let name = scalar.unwrap_or_default();
                    let path = child(path, name);
                    self.0.entry(path.clone()).or_insert(line);
                    *key = Some(path.clone());
                    path
                }
            },
            Some(Open::List { path, next }) => {
                let path = format!("{path}[{next}]");
                *next += 1;
                self.0.entry(path.clone()).or_insert(line);
                path
            }
        }
    }

    /// The line of a field, or of the nearest one around it.
    pub(super) fn of(&self, field: &str) -> Option<usize> {
        let mut path = field;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// The path of a field of an object.
pub(super) fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn fields_are_found_in_block_and_flow_style() {
        let text = "# head\n---\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: i\n  - {name: b,\n     \
                    image: j}\n  volumes: &v []\n  again: *v\n";
        let lines = Lines::read(text);
        for (field, line) in [
            ("kind", 3),
            ("spec", 4),
            ("spec.containers[0]", 6),
            ("spec.containers[0].image", 7),
            ("spec.containers[1]", 8),
            ("spec.containers[1].image", 9),
            ("spec.containers[1].ports[0].protocol", 8),
            ("spec.volumes", 10),
            ("spec.again", 11),
        ] {
            assert_eq!(lines.of(field), Some(line), "{field}");
        }
        assert_eq!(lines.of("status"), None);
        assert_eq!(Lines::read("a: [").of("a"), Some(1));
    }
}
