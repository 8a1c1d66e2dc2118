//! The steps of a test build (Cargo feature `fault`): what was hit, and what is to happen at which.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use crate::place::Place;

/// A moment within an operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// `daemon`, `shim`, or `plugin` for a wrapped network plugin.
    pub process: String,
    /// Name of the step.
    pub step: String,
    /// `before` or `after` the step.
    pub when: String,
    /// Which of the step's hits, from 1.
    pub hit: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            step,
            when,
            hit,
        } = self;
        write!(f, "{process} {step} {when} {hit}")
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let [process, step, when, hit] = words[..] else {
            return Err(format!("{text:?} is not PROCESS STEP before|after HIT"));
        };
        Ok(Self {
            process: process.to_owned(),
            step: step.to_owned(),
            when: when.to_owned(),
            hit: hit.parse().map_err(|_| format!("{hit:?} is no number"))?,
        })
    }
}

/// The faults of one daemon and its shims.
#[derive(Debug, Clone)]
pub struct Faults {
    dir: PathBuf,
}

impl Faults {
    /// Makes a place's daemon listen to this; to be called before it starts.
    pub fn enable(place: &Place) -> Self {
        let faults = Self::of(place);
        fs::create_dir_all(&faults.dir).unwrap_or_else(|error| panic!("make fault/: {error}"));
        faults
    }

    /// The faults of a place for which they were enabled.
    pub fn of(place: &Place) -> Self {
        Self {
            dir: place.run().join("fault"),
        }
    }

    /// Directory of both files, for plugins that take part.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Fails unless the daemon that has started is a build with steps.
    #[track_caller]
    pub fn require(&self) {
        assert!(
            !self.trace().is_empty(),
            "holdfastd is no test build: source e2e/tools/fault-build.sh"
        );
    }

    /// Has something done at a point: `kill`, `hang` or `errno N`. Hit 0 is every one.
    #[track_caller]
    pub fn arm(&self, point: &Point, action: &str) {
        let partial = self.dir.join("partial");
        let written = fs::write(&partial, format!("{point} {action}\n"))
            .and_then(|()| fs::rename(&partial, self.dir.join("armed")));
        written.unwrap_or_else(|error| panic!("arm {point}: {error}"));
    }

    /// Nothing more is to happen.
    pub fn disarm(&self) {
        let _ = fs::remove_file(self.dir.join("armed"));
    }

    /// Whether what was armed has not happened yet.
    pub fn is_armed(&self) -> bool {
        self.dir.join("armed").exists()
    }

    /// All hits so far, in their order.
    pub fn trace(&self) -> Vec<Point> {
        let text = fs::read_to_string(self.dir.join("trace")).unwrap_or_default();
        let mut points: Vec<Point> = Vec::new();
        let mut counts = std::collections::BTreeMap::new();
        for line in text.lines() {
            let hit = counts.entry(line.to_owned()).or_insert(0_u64);
            *hit += 1;
            if let Ok(point) = format!("{line} {hit}").parse() {
                points.push(point);
            }
        }
        points
    }

    /// The process that was killed last. It may still be about to end.
    pub fn killed(&self) -> Option<i32> {
        let text = fs::read_to_string(self.dir.join("trace")).unwrap_or_default();
        let mut pids = text.lines().filter_map(|line| line.strip_prefix("killed "));
        pids.next_back()?.parse().ok()
    }

    /// Forgets the hits until now.
    pub fn clear(&self) {
        // The writers append, so they go on at the new end.
        let _ = fs::File::options()
            .write(true)
            .truncate(true)
            .open(self.dir.join("trace"));
    }
}
