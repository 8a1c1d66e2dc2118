//! Lines of a trace.

/// The event of one line.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A thread enters a system call.
    Enter(String),
    /// A thread returns from a system call.
    Exit,
    /// A processor turns from a thread, in a state, to another.
    Switch(i32, char, i32),
    /// A thread is woken, or begins.
    Waking(i32),
    /// A process or thread is started.
    Fork(i32),
    /// A line of the benchmark's own.
    Mark(String),
}

/// One line of a trace.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened, in milliseconds.
    pub at: f64,
    /// The thread that ran.
    pub thread: i32,
    /// The process of that thread, 0 where the kernel does not know.
    pub process: i32,
    /// The name of that thread.
    pub name: String,
    /// Whether an interrupt of that thread did it.
    pub interrupt: bool,
    /// The event that the line reports.
    pub what: What,
}

/// The events of a trace, those left out that say nothing here.
pub fn parse(text: &str) -> Vec<Event> {
    text.lines().filter_map(line).collect()
}

/// `NAME-THREAD (PROCESS) [CPU] FLAGS SECONDS: EVENT: …`
fn line(line: &str) -> Option<Event> {
    let (head, rest) = line.split_once(") [")?;
    let (who, process) = head.rsplit_once('(')?;
    let (name, thread) = who.trim().rsplit_once('-')?;
    let (_, rest) = rest.split_once("] ")?;
    let (flags, rest) = rest.trim_start().split_once(' ')?;
    let (at, rest) = rest.trim_start().split_once(": ")?;
    let at: f64 = at.parse().ok()?;
    Some(Event {
        at: at * 1e3,
        thread: thread.parse().ok()?,
        process: process.trim().parse().unwrap_or(0),
        name: name.to_owned(),
        interrupt: flags.contains(['h', 's', 'H']),
        what: what(rest)?,
    })
}

fn what(text: &str) -> Option<What> {
    let number = |key: &str| -> Option<i32> {
        let (_, rest) = text.split_once(key)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    if let Some(call) = text.strip_prefix("sys_") {
        return match call.split_once('(') {
            Some((name, _)) if !name.contains(' ') => Some(What::Enter(name.to_owned())),
            _ => Some(What::Exit),
        };
    }
    let (event, rest) = text.split_once(": ")?;
    match event {
        "sched_switch" => {
            let (_, state) = rest.split_once(" prev_state=")?;
            let state = state.chars().next()?;
            Some(What::Switch(
                number(" prev_pid=")?,
                state,
                number(" next_pid=")?,
            ))
        }
        "sched_waking" | "sched_wakeup_new" => Some(What::Waking(number(" pid=")?)),
        "sched_process_fork" => Some(What::Fork(number(" child_pid=")?)),
        "tracing_mark_write" => Some(What::Mark(rest.to_owned())),
        _ => None,
    }
}
