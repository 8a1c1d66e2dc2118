//! The filters of the lists of pods and containers.

use std::collections::HashMap;
use std::str::FromStr;

use clap::Args;
use regex::Regex;

/// A regular expression of `--name`, which may match anywhere in a name, as with crictl.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl FromStr for Pattern {
    type Err = regex::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Regex::new(text).map(Self)
    }
}

impl Pattern {
    /// Whether a text matches; without a pattern every text does.
    pub(crate) fn fits(pattern: Option<&Self>, text: &str) -> bool {
        pattern.is_none_or(|pattern| pattern.0.is_match(text))
    }
}

/// A label that `--label` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    key: String,
    value: String,
}

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("give KEY=VALUE")?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl Label {
    /// Whether an object has all the wanted labels.
    pub(crate) fn fit(wanted: &[Self], labels: &HashMap<String, String>) -> bool {
        wanted
            .iter()
            .all(|label| labels.get(&label.key) == Some(&label.value))
    }
}

/// Flags of both lists that say how many objects are shown, and how.
#[derive(Debug, Args)]
pub struct Extent {
    /// Print only the ids.
    #[arg(short, long)]
    pub quiet: bool,
    /// Show only the newest entry, in any state.
    #[arg(short, long)]
    pub latest: bool,
    /// Show only the COUNT newest entries, in any state; 0 means all.
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "latest")]
    pub last: Option<usize>,
    /// Print ids in full.
    #[arg(long)]
    pub no_trunc: bool,
}

impl Extent {
    /// Whether objects in any state are shown, as `--latest` and `--last` want it.
    pub(super) fn any_state(&self) -> bool {
        self.latest || self.last.is_some()
    }

    /// Keeps the newest of a list that begins with the newest, as many as the flags ask for.
    pub(super) fn cut<T>(&self, items: &mut Vec<T>) {
        match (self.latest, self.last) {
            (true, _) => items.truncate(1),
            (false, Some(count)) if count > 0 => items.truncate(count),
            (false, _) => {}
        }
    }

    /// Shortens an id, unless --no-trunc was given.
    pub(super) fn id<'a>(&self, id: &'a str) -> &'a str {
        if self.no_trunc {
            id
        } else {
            super::super::out::text::short(id)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Extent, Label, Pattern};

    #[test]
    fn a_pattern_is_found_anywhere() {
        let pattern: Pattern = "^we.$".parse().unwrap();
        assert!(Pattern::fits(Some(&pattern), "web") && !Pattern::fits(Some(&pattern), "webs"));
        assert!(Pattern::fits(None, "anything"));
        assert!("(".parse::<Pattern>().is_err());
    }

    #[test]
    fn all_labels_are_needed() {
        let labels = HashMap::from([
            ("a".to_owned(), "1=2".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        let wanted = |texts: &[&str]| -> Vec<Label> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(Label::fit(&wanted(&["a=1=2", "b="]), &labels));
        assert!(!Label::fit(&wanted(&["a=1=2", "c="]), &labels));
        assert!("a".parse::<Label>().is_err());
    }

    #[test]
    fn the_last_so_many_are_kept() {
        let cut = |latest, last| {
            let extent = Extent {
                quiet: false,
                latest,
                last,
                no_trunc: false,
            };
            let mut items = vec![3, 2, 1];
            extent.cut(&mut items);
            items
        };
        assert_eq!(cut(true, None), [3]);
        assert_eq!(cut(false, Some(2)), [3, 2]);
        assert_eq!(cut(false, Some(0)), [3, 2, 1]);
        assert_eq!(cut(false, None), [3, 2, 1]);
    }
}
