//! The metrics in the text format of Prometheus (version 0.0.4). Label values are words of ours.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::pod::{ContainerPhase, Debt, DebtKind, PodPhase, Pods};
use holdfast_image::ImageStore;

/// Sources of the metrics.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Subject {
    pub pods: Pods,
    pub images: ImageStore,
}

/// The metrics, a family after the other.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            None => writeln!(self.0, "{name} {value}"),
            Some((key, word)) => writeln!(self.0, "{name}{{{key}=\"{word}\"}} {value}"),
        };
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.value(name, None, value);
    }

    fn by_word<'w>(
        &mut self,
        name: &str,
        help: &str,
        key: &str,
        counts: impl IntoIterator<Item = (&'w str, usize)>,
    ) {
        self.family(name, "gauge", help);
        for (word, count) in counts {
            self.value(name, Some((key, word)), count);
        }
    }
}

/// All metrics as they are now.
pub(super) fn render(subject: &Subject) -> String {
    let mut text = Text::default();
    text.family("holdfast_build_info", "gauge", "The daemon's version.");
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.value("holdfast_build_info", Some(version), 1);
    let ready = u8::from(subject.pods.unreleased().is_none());
    text.single(
        "holdfast_boot_released",
        "gauge",
        "1 when all that an earlier boot left is released or owed.",
        ready,
    );
    pods(&mut text, subject);
    let usage = subject.images.fs_usage();
    text.single(
        "holdfast_images",
        "gauge",
        "Images in the store.",
        subject.images.list().len(),
    );
    text.single(
        "holdfast_image_bytes",
        "gauge",
        "What the layers of images take on disk.",
        usage.used_bytes,
    );
    debts(&mut text, &subject.pods.debts());
    text.single(
        "holdfast_debt_attempts_total",
        "counter",
        "How often it was tried again to release what is owed.",
        subject.pods.debt_attempts(),
    );
    text.0
}

fn pods(text: &mut Text, subject: &Subject) {
    let pods = subject.pods.pods();
    let ready = pods
        .iter()
        .filter(|pod| pod.pod.phase == PodPhase::Ready)
        .count();
    let states = [("ready", ready), ("notready", pods.len() - ready)];
    text.by_word("holdfast_pods", "Pod sandboxes by state.", "state", states);
    let mut states = [("created", 0), ("running", 0), ("exited", 0)];
    for container in pods.iter().flat_map(|pod| pod.containers.values()) {
        let at = match container.phase {
            ContainerPhase::Created | ContainerPhase::Starting(_) => 0,
            ContainerPhase::Running(..) => 1,
            ContainerPhase::Exited(_) | ContainerPhase::Removing => 2,
        };
        states[at].1 += 1;
    }
    let help = "Containers by state.";
    text.by_word("holdfast_containers", help, "state", states);
}

fn debts(text: &mut Text, debts: &[Debt]) {
    let count = |kind: &DebtKind| debts.iter().filter(|debt| debt.kind == *kind).count();
    let counts = DebtKind::ALL
        .iter()
        .map(|kind| (kind.as_str(), count(kind)));
    let help = "What could not be released yet, by what is stuck.";
    text.by_word("holdfast_debts", help, "kind", counts);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let age = |debt: &Debt| {
        let since = u64::try_from(debt.since / 1_000_000_000).unwrap_or(0);
        now.as_ref()
            .map_or(0, |now| now.as_secs().saturating_sub(since))
    };
    text.single(
        "holdfast_debt_oldest_seconds",
        "gauge",
        "How long the oldest debt has been owed; 0 without any.",
        debts.iter().map(age).max().unwrap_or(0),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn debts_are_counted_by_kind() {
        let debt = |kind| Debt {
            pod: "0".repeat(64).parse().unwrap(),
            kind,
            reason: "x".to_owned(),
            since: 1_000_000_000,
            attempts: 1,
            next_attempt: 0,
        };
        let mut text = Text::default();
        debts(
            &mut text,
            &[
                debt(DebtKind::Network),
                debt(DebtKind::Network),
                debt(DebtKind::Mount),
            ],
        );
        for line in [
            "# TYPE holdfast_debts gauge",
            "holdfast_debts{kind=\"network\"} 2",
            "holdfast_debts{kind=\"mount\"} 1",
            "holdfast_debts{kind=\"files\"} 0",
        ] {
            assert!(
                text.0.lines().any(|found| found == line),
                "{line}: {}",
                text.0
            );
        }
        let oldest = text.0.lines().last().unwrap();
        assert!(
            oldest.starts_with("holdfast_debt_oldest_seconds 1"),
            "{oldest}"
        );
    }
}
