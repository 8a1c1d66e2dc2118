//! From the head of a manifest to a stop of the tour.
//!
//! ```text
//!   # Title
//!   #
//!   # Prose, some lines.
//!   #
//!   #   command         explanation, after three blanks or more
//! ```
//!
//! Commands before the `holdfast run` are what has to be done once, such as making an image.

/// The beginning of the annotation keys that ask for experiments.
const EXPERIMENTS: &str = concat!("experiments.", holdfast_kernel::domain!(), "/");

/// The manifests, in the order of the tour.
const MANIFESTS: [(&str, &str); 21] = [
    (
        "two-containers",
        include_str!("../../../pods/two-containers.yaml"),
    ),
    (
        "shared-memory",
        include_str!("../../../pods/shared-memory.yaml"),
    ),
    ("shared-pid", include_str!("../../../pods/shared-pid.yaml")),
    (
        "host-network",
        include_str!("../../../pods/host-network.yaml"),
    ),
    (
        "user-namespace",
        include_str!("../../../pods/user-namespace.yaml"),
    ),
    ("users", include_str!("../../../pods/users.yaml")),
    (
        "capabilities",
        include_str!("../../../pods/capabilities.yaml"),
    ),
    ("seccomp", include_str!("../../../pods/seccomp.yaml")),
    (
        "masked-paths",
        include_str!("../../../pods/masked-paths.yaml"),
    ),
    ("volumes", include_str!("../../../pods/volumes.yaml")),
    ("limits", include_str!("../../../pods/limits.yaml")),
    ("oom", include_str!("../../../pods/oom.yaml")),
    (
        "cpu-throttling",
        include_str!("../../../pods/cpu-throttling.yaml"),
    ),
    ("exit-codes", include_str!("../../../pods/exit-codes.yaml")),
    ("init-order", include_str!("../../../pods/init-order.yaml")),
    (
        "debug-target",
        include_str!("../../../pods/debug-target.yaml"),
    ),
    ("sysctls", include_str!("../../../pods/sysctls.yaml")),
    (
        "join-network",
        include_str!("../../../pods/join-network.yaml"),
    ),
    (
        "time-namespace",
        include_str!("../../../pods/time-namespace.yaml"),
    ),
    ("unshare", include_str!("../../../pods/unshare.yaml")),
    (
        "debootstrap",
        include_str!("../../../pods/debootstrap.yaml"),
    ),
];

/// A stop of the tour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub name: &'static str,
    pub title: &'static str,
    pub prose: Vec<&'static str>,
    /// Commands that are run once, before the pod is run.
    pub before: Vec<Line>,
    /// From the run to the removal.
    pub lines: Vec<Line>,
    pub manifest: &'static str,
}

/// A command and what is to be seen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub command: &'static str,
    pub explanation: &'static str,
}

impl Stop {
    /// Images that it uses, but for the one that all use.
    pub(super) fn images(&self) -> Vec<&'static str> {
        let image = |line: &'static str| line.trim().strip_prefix("image: ");
        let mut images: Vec<_> = self.manifest.lines().filter_map(image).collect();
        images.retain(|image| *image != super::image::BUSYBOX);
        images.sort_unstable();
        images.dedup();
        images
    }

    /// The experiments that it needs a node to allow.
    pub(super) fn experiments(&self) -> Vec<&'static str> {
        let experiment = |line: &'static str| {
            let key = line.trim().strip_prefix(EXPERIMENTS)?;
            key.split([':', '.']).next()
        };
        self.manifest.lines().filter_map(experiment).collect()
    }
}

/// All stops, in order.
pub(super) fn stops() -> Vec<Stop> {
    MANIFESTS
        .iter()
        .map(|(name, manifest)| stop(name, manifest))
        .collect()
}

fn stop(name: &'static str, manifest: &'static str) -> Stop {
    let mut head = manifest
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    let title = head.next().unwrap_or(name);
    let mut stop = Stop {
        name,
        title,
        prose: Vec::new(),
        before: Vec::new(),
        lines: Vec::new(),
        manifest,
    };
    for line in head {
        match line.strip_prefix("  ") {
            Some(command) => {
                let command = self::line(command);
                let is_run = command.command.starts_with("holdfast run ");
                if stop.lines.is_empty() && !is_run {
                    stop.before.push(command);
                } else {
                    stop.lines.push(command);
                }
            }
            None if line.is_empty() => {}
            None => stop.prose.push(line),
        }
    }
    stop
}

fn line(text: &'static str) -> Line {
    let (command, explanation) = text.split_once("   ").unwrap_or((text, ""));
    Line {
        command: command.trim(),
        explanation: explanation.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::stops;

    #[test]
    fn every_manifest_of_the_tour_is_a_whole_stop() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pods");
        let files = std::fs::read_dir(directory).unwrap().count();
        let stops = stops();
        assert_eq!(files, stops.len(), "a file of pods/ is no stop of the tour");
        for stop in &stops {
            let (first, last) = (stop.lines.first().unwrap(), stop.lines.last().unwrap());
            let run = format!("holdfast run pods/{}.yaml", stop.name);
            assert!(first.command.starts_with("holdfast run pods/"), "{first:?}");
            assert!(stop.lines.iter().any(|line| line.command == run), "{run}");
            assert!(
                last.command
                    .starts_with(&format!("holdfast rm {}", stop.name)),
                "{last:?}"
            );
            assert!(
                !stop.prose.is_empty() && stop.lines.len() > 3,
                "{}",
                stop.name
            );
            assert!(
                !stop.title.ends_with('.') && stop.title.len() < 60,
                "{}",
                stop.title
            );
            assert!(
                stop.manifest
                    .contains(&format!("\n  name: {}\n", stop.name))
            );
            for line in &stop.lines {
                assert!(!line.command.contains("  "), "{line:?}");
            }
        }
    }

    #[test]
    fn what_a_stop_needs_stands_in_its_manifest() {
        let stops = stops();
        let debootstrap = stops
            .iter()
            .find(|stop| stop.name == "debootstrap")
            .unwrap();
        assert_eq!(debootstrap.images(), ["localhost/debian:stable"]);
        assert!(debootstrap.before[0].command.starts_with("debootstrap "));
        let first = &stops[0];
        assert!(
            first.images().is_empty() && first.experiments().is_empty() && first.before.is_empty()
        );
    }
}
