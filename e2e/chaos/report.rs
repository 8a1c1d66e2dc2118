//! What is told about a violation.

use std::sync::{Arc, Mutex, PoisonError};

use e2e::leaks;
use e2e::place::Place;

use crate::model::Model;

/// Lines of the history and of the daemon's log that are shown.
const SHOWN: usize = 120;

/// The round that is under way.
static CURRENT: Mutex<Option<Witness>> = Mutex::new(None);

/// What knows the story of a round.
#[derive(Debug, Clone)]
pub struct Witness {
    pub place: Place,
    pub model: Arc<Mutex<Model>>,
}

/// A round begins, or none is under way.
pub fn set(witness: Option<Witness>) {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = witness;
}

/// A panic of ours is a violation as well: a daemon that does not start, a call without an answer, a leak. This
/// program is built to abort on one, so the story is told and the machine cleaned before.
pub fn on_panic(again: String) {
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let word = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let text = text.or(word).unwrap_or_default();
        // The first one tells; others would only disturb it.
        let current = CURRENT.lock();
        if let Some(witness) = &*current.unwrap_or_else(PoisonError::into_inner) {
            println!("{}", witness.report(&text));
            leaks::clean(&witness.place);
        } else {
            println!("{panic}");
        }
        println!("chaos: VIOLATION; again: {again}");
        std::process::exit(1);
    }));
}

impl Witness {
    /// The story of what a violation is about.
    pub fn report(&self, violation: &str) -> String {
        let hex = |word: &&str| word.len() >= 16 && word.bytes().all(|c| c.is_ascii_hexdigit());
        let words = violation.split(|c: char| !c.is_ascii_alphanumeric());
        let ids: Vec<String> = words.filter(hex).map(str::to_owned).collect();
        let events = ["daemon", "fault", "disk", "plugin", "VIOLATION"];
        let mut told: Vec<String> = events.map(|word| format!(" {word}")).into();
        told.extend(ids.iter().cloned());
        // Whoever panicked may have it.
        let story = match self.model.try_lock() {
            Ok(model) => model.story(&told, SHOWN).join("\n"),
            Err(_) => "not at hand".to_owned(),
        };
        let log = std::fs::read(self.place.daemon_log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let of_them = |line: &&str| ids.iter().any(|id| line.contains(id.as_str()));
        format!(
            "--- history ---\n{story}\n--- the daemon's log about them ---\n{}\n--- its end ---\n{}\n{violation}",
            last(log.lines().filter(of_them).collect()),
            last(log.lines().collect()),
        )
    }
}

fn last(lines: Vec<&str>) -> String {
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
