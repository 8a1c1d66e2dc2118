//! Pressure stall information (accounting/psi).

/// A line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PressureLine {
    /// Share of time stalled over the last 10 s, in percent.
    pub avg10: f64,
    /// Over the last 60 s.
    pub avg60: f64,
    /// Over the last 300 s.
    pub avg300: f64,
    /// Time stalled since the group was created, in nanoseconds.
    pub total_ns: u64,
}

/// The pressure of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Time in which at least one task waited.
    pub some: PressureLine,
    /// Time in which all non-idle tasks waited.
    pub full: PressureLine,
}

impl Pressure {
    /// Parses a pressure file; a kernel before 5.13 has no `full` line for CPU, which then stays zero.
    pub(super) fn parse(text: &str) -> Option<Pressure> {
        let mut pressure = Pressure::default();
        let mut any = false;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let slot = match words.next() {
                Some("some") => &mut pressure.some,
                Some("full") => &mut pressure.full,
                _ => continue,
            };
            any = true;
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                match key {
                    "avg10" => slot.avg10 = value.parse().unwrap_or(0.0),
                    "avg60" => slot.avg60 = value.parse().unwrap_or(0.0),
                    "avg300" => slot.avg300 = value.parse().unwrap_or(0.0),
                    // The kernel counts microseconds.
                    "total" => {
                        slot.total_ns = value.parse::<u64>().unwrap_or(0).saturating_mul(1000);
                    }
                    _ => {}
                }
            }
        }
        any.then_some(pressure)
    }
}
