//! Describes the events of a pod in words.

use std::time::Duration;

use anstyle::Style;

use super::keeper::{Exit, Index, News, Outcome, ProbeKind, Role};
use super::manifest::PodPlan;
use crate::out::style;

/// Names of a pod's containers, each in its own colour.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<(String, Role)>);

/// A sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    /// The container that it is about.
    pub container: Option<Index>,
    name: String,
    style: Style,
    rest: String,
}

impl Sentence {
    /// Returns the sentence without colours.
    pub(super) fn plain(&self) -> String {
        let space = if self.name.is_empty() { "" } else { " " };
        format!("{}{space}{}", self.name, self.rest)
    }

    /// With the container's name in its own colour and the rest in the colour of how good it is.
    pub(super) fn painted(&self, names: &Names) -> String {
        let rest = style::paint(self.style, &self.rest);
        match self.container {
            Some(index) => format!("{} {rest}", names.painted(index)),
            None => rest,
        }
    }

    /// The text after the name, in its colour.
    pub(super) fn state(&self) -> String {
        style::paint(self.style, &self.rest)
    }
}

impl Names {
    /// Makes the report of all containers of a pod.
    pub(super) fn new(plan: &PodPlan) -> Self {
        let name = |kept: &super::keeper::Kept| (kept.name.clone(), kept.role);
        Self(
            plan.containers
                .iter()
                .map(|container| name(&container.kept))
                .collect(),
        )
    }

    /// Returns the name of a container.
    pub(super) fn get(&self, index: Index) -> &str {
        self.0.get(index).map_or("?", |(name, _)| name)
    }

    /// The role of a container.
    pub(super) fn role(&self, index: Index) -> Option<Role> {
        self.0.get(index).map(|(_, role)| *role)
    }

    /// Returns the colour of a container.
    pub(super) fn style(&self, index: Index) -> Style {
        style::PALETTE[index % style::PALETTE.len()]
    }

    /// Returns a name in its colour.
    pub(super) fn painted(&self, index: Index) -> String {
        style::paint(self.style(index), self.get(index))
    }

    /// Length of the longest, in characters.
    pub(super) fn width(&self) -> usize {
        self.0
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default()
    }
}

/// The news as a sentence; none for what is no news to people.
pub(super) fn sentence(news: &News, names: &Names) -> Option<Sentence> {
    let sentence = |index: Index, style: Style, rest: String| Sentence {
        container: Some(index),
        name: names.get(index).to_owned(),
        style,
        rest,
    };
    Some(match news {
        News::Starting(_, _) | News::Up => return None,
        News::Started(index, 0) => sentence(*index, style::GOOD, "runs".to_owned()),
        News::Started(index, attempt) => sentence(
            *index,
            style::GOOD,
            format!("runs again, attempt {attempt}"),
        ),
        News::StartFailed(index, why, wait) => {
            let again = wait.map(|wait| format!(", trying again in {}", time(wait)));
            let again = again.unwrap_or_default();
            let rest = format!("could not be started{again}: {why}");
            sentence(*index, style::BAD, rest)
        }
        News::Exited(index, exit, after) => {
            let good = exit.code == 0 && after.is_none();
            let style = if good { style::GOOD } else { style::WARN };
            sentence(*index, style, exited(exit, *after))
        }
        News::StartupPassed(index) => sentence(*index, style::GOOD, "has started up".to_owned()),
        News::Ready(index) => sentence(*index, style::GOOD, "is ready".to_owned()),
        News::NotReady(index) => sentence(*index, style::WARN, "is not ready".to_owned()),
        News::Unhealthy(index, kind) => {
            let rest = format!("fails its {} probe and is stopped", probe(*kind));
            sentence(*index, style::WARN, rest)
        }
        News::Stopping(index) => sentence(*index, style::FAINT, "is stopped".to_owned()),
        News::Over(outcome) => over(*outcome),
    })
}

fn over(outcome: Outcome) -> Sentence {
    let (style, rest) = match outcome {
        Outcome::Succeeded => (style::GOOD, "all containers have succeeded"),
        Outcome::Failed => (style::BAD, "the pod has failed"),
        Outcome::Stopped => (style::FAINT, "the pod was stopped"),
        Outcome::Gone => (style::FAINT, "the pod is gone"),
    };
    Sentence {
        container: None,
        name: String::new(),
        style,
        rest: rest.to_owned(),
    }
}

fn exited(exit: &Exit, after: Option<Duration>) -> String {
    let mut text = match (exit.code, after) {
        (0, None) => return "has succeeded".to_owned(),
        (code, _) => format!("exited with {code}"),
    };
    if !matches!(exit.reason.as_str(), "" | "Error" | "Completed") {
        text += &format!(" ({})", exit.reason);
    }
    match after {
        None => {}
        Some(Duration::ZERO) => text += ", restarting",
        Some(wait) => text += &format!(", restarting in {}", time(wait)),
    }
    text
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn probe(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, sentence};
    use crate::run::keeper::{Exit, News, Role};
    use std::time::Duration;

    #[test]
    fn exits_say_what_follows() {
        let names = Names(vec![("web".to_owned(), Role::App)]);
        let text = |code, reason: &str, after: Option<u64>| {
            let exit = Exit {
                code,
                reason: reason.to_owned(),
                ran: Duration::ZERO,
            };
            let news = News::Exited(0, exit, after.map(Duration::from_secs));
            sentence(&news, &names).unwrap().plain()
        };
        assert_eq!(text(0, "Completed", None), "web has succeeded");
        assert_eq!(
            text(1, "Error", Some(10)),
            "web exited with 1, restarting in 10 s"
        );
        assert_eq!(
            text(0, "Completed", Some(0)),
            "web exited with 0, restarting"
        );
        assert_eq!(
            text(137, "OOMKilled", None),
            "web exited with 137 (OOMKilled)"
        );
        assert_eq!(
            text(1, "", Some(160)),
            "web exited with 1, restarting in 2 min 40 s"
        );
    }
}
