//! What may be answered: facts about each object, in the order in which they became known.
//!
//! Calls overlap, are cancelled and lose their daemon, so a call alone proves little. What is kept is when a thing
//! was asked for first, and when it was known to be so. Objects only ever go forward:
//!
//! ```text
//!   pod         ready ──▶ not ready ──▶ gone
//!   container   created ──▶ running ──▶ exited ──▶ gone
//! ```
//!
//! An answer is a violation when a call that began later than something was known says something earlier, and
//! when it says something for which nobody gave a cause until the answer came.

mod container;
mod image;
mod pod;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use container::{Container, Kind, Seen};
pub use image::Image;
pub use pod::{Pod, PodKey};

use crate::script::{IMAGES, PODS};

/// A broken promise: what was to be, and what was.
pub type Checked = Result<(), String>;

/// When a call was made and when its answer came.
#[derive(Debug, Clone, Copy)]
pub struct When {
    pub start: Instant,
    pub end: Instant,
}

/// What is wrong with the machine for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No daemon answers at this time.
    NoDaemon,
    /// A disk is full, a step fails or a plugin is broken.
    Broken,
}

#[derive(Debug)]
struct Span {
    trouble: Trouble,
    start: Instant,
    end: Option<Instant>,
}

/// The earliest of several times at which something happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Since(Option<Instant>);

impl Since {
    /// It happened at this time, if not before.
    pub fn note(&mut self, at: Instant) {
        if self.0.is_none_or(|earlier| at < earlier) {
            self.0 = Some(at);
        }
    }

    /// Whether it had happened at that time.
    pub fn by(self, at: Instant) -> bool {
        self.0.is_some_and(|since| since <= at)
    }
}

/// Everything that is known in a round.
#[derive(Debug)]
pub struct Model {
    pub pods: BTreeMap<String, Pod>,
    pub containers: BTreeMap<String, Container>,
    pub images: Vec<Image>,
    /// The attempt of the next pod in each slot.
    pub attempts: [u32; PODS],
    troubles: Vec<Span>,
    history: Vec<(Duration, String)>,
    start: Instant,
}

impl Model {
    pub fn new() -> Self {
        Self {
            pods: BTreeMap::new(),
            containers: BTreeMap::new(),
            images: IMAGES.map(|_| Image::default()).into(),
            attempts: [0; PODS],
            troubles: Vec::new(),
            history: Vec::new(),
            start: Instant::now(),
        }
    }

    /// Keeps a line of the history.
    pub fn note(&mut self, line: String) {
        self.history.push((self.start.elapsed(), line));
    }

    /// The last lines of the history that have one of the words; all of them without words.
    pub fn story(&self, words: &[String], most: usize) -> Vec<String> {
        let told = |line: &&(Duration, String)| {
            words.is_empty() || words.iter().any(|word| line.1.contains(word))
        };
        let lines: Vec<_> = self.history.iter().filter(told).collect();
        lines[lines.len().saturating_sub(most)..]
            .iter()
            .map(|(at, line)| format!("{:9.4} {line}", at.as_secs_f64()))
            .collect()
    }

    /// Something goes wrong from now on; the number is for [`Model::over`].
    pub fn trouble(&mut self, trouble: Trouble) -> usize {
        self.troubles.push(Span {
            trouble,
            start: Instant::now(),
            end: None,
        });
        self.troubles.len() - 1
    }

    /// Notes that the trouble with this number has ended.
    pub fn over(&mut self, number: usize) {
        if let Some(span) = self.troubles.get_mut(number) {
            span.end = Some(Instant::now());
        }
    }

    /// It is over after some time.
    pub fn over_later(&mut self, number: usize, after: Duration) {
        if let Some(span) = self.troubles.get_mut(number) {
            span.end = Some(Instant::now() + after);
        }
    }

    /// Whether some trouble was there at some time of a call.
    pub fn troubled(&self, trouble: Trouble, when: When) -> bool {
        self.troubles.iter().any(|span| {
            span.trouble == trouble
                && span.start <= when.end
                && span.end.is_none_or(|end| end >= when.start)
        })
    }

    /// The container and the pod that it is in.
    pub fn with_pod(&mut self, container: &str) -> Option<(&mut Container, &mut Pod)> {
        let container = self.containers.get_mut(container)?;
        let pod = self.pods.get_mut(&container.pod)?;
        Some((container, pod))
    }

    /// Those in a pod.
    pub fn containers_of<'a>(
        &'a mut self,
        pod: &'a str,
    ) -> impl Iterator<Item = &'a mut Container> {
        self.containers
            .values_mut()
            .filter(move |container| container.pod == pod)
    }
}
