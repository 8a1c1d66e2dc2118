//! The table that the benchmark prints.

use std::time::{Duration, Instant};

/// Lines, collected until the end so that the log of the daemon does not mix with them.
pub struct Table {
    lines: Vec<String>,
}

/// Times of one operation.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds the time of one measurement.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Measures so many runs of some work, which gets the number of its run.
    pub fn of(times: usize, work: &dyn Fn(usize)) -> Self {
        let mut samples = Self::default();
        for number in 0..times {
            let begin = Instant::now();
            work(number);
            samples.add(begin.elapsed());
        }
        samples
    }

    /// The median of all times that were added.
    pub fn median(mut self) -> Duration {
        self.0.sort();
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// Median, 99th percentile, count.
    fn figures(&mut self) -> (f64, f64, usize) {
        self.0.sort();
        let millis = |at: usize| self.0.get(at).map_or(0.0, Duration::as_secs_f64) * 1e3;
        (
            millis(self.0.len() / 2),
            millis(self.0.len() * 99 / 100),
            self.0.len(),
        )
    }
}

/// One figure of another runtime and of this build.
pub struct Beside<'t> {
    what: &'t str,
    peer: f64,
    ours: f64,
    unit: &'t str,
    /// How many times better ours is.
    ratio: f64,
    goal: String,
}

impl<'t> Beside<'t> {
    /// A figure that is better when it is less.
    pub fn less(what: &'t str, peer: f64, ours: f64, unit: &'t str) -> Self {
        let goal = String::new();
        let ratio = peer / ours;
        Self {
            what,
            peer,
            ours,
            unit,
            ratio,
            goal,
        }
    }

    /// A figure that is better when it is more.
    pub fn more(what: &'t str, peer: f64, ours: f64, unit: &'t str) -> Self {
        Self {
            ratio: ours / peer,
            ..Self::less(what, peer, ours, unit)
        }
    }

    /// How many times better ours is to be.
    pub fn goal(mut self, times: Option<f64>) -> Self {
        if let Some(times) = times {
            let word = if self.ratio >= times {
                "reached"
            } else {
                "MISSED"
            };
            self.goal = format!("≥ {times} ×: {word}");
        }
        self
    }

    /// The most that ours may be.
    pub fn most(mut self, limit: f64) -> Self {
        let word = if self.ours <= limit {
            "reached"
        } else {
            "MISSED"
        };
        self.goal = format!("≤ {limit} {}: {word}", self.unit);
        self
    }
}

impl Table {
    /// A table without any rows.
    pub fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// Adds a headline over the rows that follow.
    pub fn title(&mut self, text: &str) {
        eprintln!("measuring: {text}");
        self.lines.push(format!("\n{text}"));
    }

    /// Times in milliseconds, with the budget for the median.
    pub fn times(&mut self, what: &str, mut samples: Samples, budget: Option<f64>) {
        let (median, late, count) = samples.figures();
        let budget = budget.map_or(String::new(), |limit| {
            verdict(median <= limit, &format!("≤ {limit} ms"))
        });
        self.lines.push(format!(
            "  {what:<44} {median:>9.3} ms   p99 {late:>9.3} ms   n {count:<5} {budget}"
        ));
    }

    /// Any figure, with the word on its budget.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, budget: &str) {
        self.lines
            .push(format!("  {what:<44} {value:>9.3} {unit:<24} {budget}"));
    }

    /// What takes this build `ours` milliseconds and another one `other`.
    pub fn pair(&mut self, what: &str, ours: f64, other: f64) {
        let ratio = ours / other;
        self.lines.push(format!(
            "  {what:<44} {ours:>9.3} ms   {other:>9.3} ms   {ratio:>6.3}"
        ));
    }

    /// A figure of another runtime, ours, and their ratio.
    pub fn beside(&mut self, row: &Beside<'_>) {
        let Beside {
            what,
            peer,
            ours,
            unit,
            ratio,
            goal,
        } = row;
        self.lines.push(format!(
            "  {what:<44} {peer:>10.2} {ours:>10.2} {unit:<5} {ratio:>8.2} ×  {goal}"
        ));
    }

    /// Prints all rows, with their columns aligned.
    #[expect(
        clippy::print_stdout,
        reason = "the table is what the benchmark is for"
    )]
    pub fn print(&self) {
        println!("{}", self.lines.join("\n"));
    }
}

/// A budget and whether it is kept.
pub fn verdict(kept: bool, budget: &str) -> String {
    let word = if kept { "within" } else { "OVER" };
    format!("budget {budget}: {word}")
}
