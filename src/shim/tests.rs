use proptest::prelude::*;

use super::cgroup::parse_oom_kills;
use super::cri_log::{Lines, LogStream, MAX_CONTENT, MAX_RECORD, Prefix, Records};
use super::state::{Effect, Event, Exit, State, apply};
use holdfast_wire::{ExitStatus, Failure, Step};

const NANOS: i64 = 1_475_713_029_669_794_202;

const PREFIX: usize = "2016-10-06T00:17:09.669794202Z stdout F ".len();

fn log(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut lines = Lines::default();
    let mut buffer = vec![0; MAX_RECORD];
    for (index, chunk) in chunks.iter().enumerate() {
        let mut write = |records: &[u8]| written.extend_from_slice(records);
        let prefix = Prefix::new(NANOS, LogStream::Output);
        let mut records = Records::new(&mut buffer, &mut write);
        lines.feed(chunk, prefix, &mut records);
        if index + 1 == chunks.len() {
            lines.finish(prefix, &mut records);
        }
        records.flush();
    }
    written
}

/// Joins the contents of a log, with a newline after each full record, as a reader does.
fn joined(log: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for record in log.split_inclusive(|byte| *byte == b'\n') {
        let (prefix, rest) = record.split_at(PREFIX);
        assert!(rest.len() <= MAX_CONTENT + 1);
        content.extend_from_slice(&rest[..rest.len() - 1]);
        match prefix[PREFIX - 2] {
            b'F' => content.push(b'\n'),
            tag => assert_eq!(tag, b'P'),
        }
    }
    content
}

#[test]
fn a_record_is_time_stream_tag_and_content() {
    let log = log(&[b"hello\n\nrest".to_vec()]);
    let expected = "2016-10-06T00:17:09.669794202Z stdout F hello\n\
        2016-10-06T00:17:09.669794202Z stdout F \n\
        2016-10-06T00:17:09.669794202Z stdout P rest\n";
    assert_eq!(String::from_utf8(log).unwrap(), expected);
}

#[test]
fn times_are_right_around_leap_days_and_years() {
    let times = [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
        (1_735_689_599_000_000_000, "2024-12-31T23:59:59.000000000Z"),
        (-1, "1970-01-01T00:00:00.000000000Z"),
    ];
    for (nanos, expected) in times {
        let mut written = Vec::new();
        let mut write = |records: &[u8]| written.extend_from_slice(records);
        let mut buffer = vec![0; MAX_RECORD];
        let prefix = Prefix::new(nanos, LogStream::Error);
        let mut records = Records::new(&mut buffer, &mut write);
        Lines::default().feed(b"x\n", prefix, &mut records);
        records.flush();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            format!("{expected} stderr F x\n")
        );
    }
}

#[test]
fn only_lines_over_the_limit_are_cut() {
    for (length, records) in [(MAX_CONTENT, 1), (MAX_CONTENT + 1, 2), (2 * MAX_CONTENT, 2)] {
        let mut line = vec![b'x'; length];
        line.push(b'\n');
        for chunks in [
            vec![line.clone()],
            line.chunks(1000).map(<[u8]>::to_vec).collect(),
        ] {
            let log = log(&chunks);
            assert_eq!(
                log.iter().filter(|byte| **byte == b'\n').count(),
                records,
                "{length}"
            );
            assert_eq!(joined(&log), line);
        }
    }
}

proptest! {
    #[test]
    fn the_records_joined_are_the_input(
        pieces in prop::collection::vec((0..40_000_usize, any::<bool>()), 0..12),
        cut in 1..30_000_usize,
    ) {
        let mut input = Vec::new();
        for (length, newline) in pieces {
            input.extend((0..length).map(|index| b'a' + u8::try_from(index % 26).unwrap()));
            if newline {
                input.push(b'\n');
            }
        }
        let chunks: Vec<_> = input.chunks(cut).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(joined(&log(&chunks)), input);
    }

    #[test]
    fn no_sequence_of_events_announces_or_answers_twice(choices in prop::collection::vec(0..7_u8, 0..40)) {
        let (mut state, mut answers, mut announcements) = (State::Launching, 0, 0);
        for choice in choices {
            let (next, effect) = apply(state, event(choice));
            state = next;
            match effect {
                Effect::ReplyStarted | Effect::ReplyFailed(_) => answers += 1,
                Effect::Announce(_) => announcements += 1,
                Effect::None | Effect::KillRest => {}
            }
        }
        prop_assert!(answers <= 1 && announcements <= 1);
        prop_assert!(announcements <= answers);
    }
}

fn failure() -> Failure {
    Failure::errno(Step::Mount, 2, "/data")
}

fn exit() -> Exit {
    Exit {
        status: ExitStatus::Code(3),
        at_unix_nanos: NANOS,
    }
}

fn event(choice: u8) -> Event {
    match choice {
        0 => Event::Executed,
        1 => Event::Failed(failure()),
        2 => Event::TimedOut(failure()),
        3 => Event::Ended(exit()),
        4 => Event::Drained,
        5 => Event::Acknowledged,
        _ => Event::Forgotten,
    }
}

#[test]
fn a_container_runs_ends_drains_and_is_settled() {
    let steps = [
        (Event::Executed, State::Running, Effect::ReplyStarted),
        (
            Event::Ended(exit()),
            State::Draining(exit()),
            Effect::KillRest,
        ),
        (
            Event::Drained,
            State::Exited(exit()),
            Effect::Announce(exit()),
        ),
        (Event::Acknowledged, State::Settled, Effect::None),
        (Event::Forgotten, State::Gone, Effect::None),
    ];
    let mut state = State::Launching;
    for (event, expected, effect) in steps {
        let (next, found) = apply(state, event);
        assert_eq!((&next, &found), (&expected, &effect));
        state = next;
    }
}

#[test]
fn a_failed_launch_is_answered_when_its_process_has_ended() {
    let (state, effect) = apply(State::Launching, Event::Failed(failure()));
    assert_eq!(effect, Effect::None);
    let (state, effect) = apply(state, Event::Ended(exit()));
    assert_eq!(
        (state, effect),
        (State::Gone, Effect::ReplyFailed(failure()))
    );
    let (_, effect) = apply(State::Launching, Event::Ended(exit()));
    let Effect::ReplyFailed(failure) = effect else {
        panic!()
    };
    assert_eq!(failure, Failure::ended(ExitStatus::Code(3)));
}

#[test]
fn oom_kills_are_read_from_both_versions() {
    assert_eq!(
        parse_oom_kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n"),
        3
    );
    assert_eq!(
        parse_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        1
    );
    assert_eq!(parse_oom_kills(""), 0);
}
