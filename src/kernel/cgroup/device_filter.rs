//! Device rules on v2: an eBPF program that the kernel asks at every open and mknod of a device.
//!
//! The rules are compiled from the last to the first, because later ones win. A request names one or more of
//! read, write and mknod; every one of them is decided by the last rule that speaks of it:
//!
//! ```text
//!   wanted = the requested bits
//!   for rule in reverse, if kind, major and minor fit:
//!     deny:   wanted & rule.access ≠ 0  →  refuse
//!     allow:  wanted &= !rule.access; wanted = 0  →  allow
//!   refuse
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::{DeviceKind, DeviceRule, DeviceVerdict};
use crate::sys::bpf::{self, Instruction};

/// Operations of the instruction set: class, operation and whether the operand is a register.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x57;
const MOVE_REGISTER: u8 = 0xbf;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_IF_DIFFERENT: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;
/// Registers: the answer, the context, and what is kept of it.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const WANTED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// The kinds of access, BPF_DEVCG_ACC_* of linux/bpf.h.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// How often a program is given to the kernel: as often as libcontainer does (opencontainers/cgroups v0.1.0).
const LOAD_ATTEMPTS: usize = 30;

/// Puts a filter of these rules in the place of the group's own, or takes that away when no rule refuses anything.
/// Filters of groups above go on to apply.
pub(super) fn install(group: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<(), Errno> {
    let before = bpf::device_filters(group)?;
    let (replaced, surplus) = match before.split_first() {
        Some((first, rest)) => (Some(first.as_fd()), rest),
        None => (None, &[][..]),
    };
    if allows_everything(rules) {
        for filter in &before {
            bpf::detach_device_filter(group, filter.as_fd())?;
        }
        return Ok(());
    }
    let program = compile(rules);
    let loaded = Loaded::find(&program, load_filter)?;
    match bpf::attach_device_filter(group, loaded.as_fd(), replaced) {
        // The kernel attaches a program once to a group: this one is among the surplus.
        Err(Errno::EINVAL) => {
            let own = load_filter(&program)?;
            bpf::attach_device_filter(group, own.as_fd(), replaced)?;
        }
        attached => attached?,
    }
    for filter in surplus {
        bpf::detach_device_filter(group, filter.as_fd())?;
    }
    Ok(())
}

/// Programs that were loaded, the one used last at the end. The kernel verifies a program when it is loaded, which takes
/// longer than all else that makes a group; containers with equal rules share one.
static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// How many programs are kept: on most nodes the rules of all containers are of a few kinds.
const MAX_CACHED_PROGRAMS: usize = 8;

/// A program that the kernel has verified.
#[derive(Debug, Clone)]
struct Loaded {
    program: Arc<[Instruction]>,
    filter: Arc<OwnedFd>,
}

impl Loaded {
    /// The program among those that are kept, or loaded now.
    fn find(
        program: &[Instruction],
        load: impl FnOnce(&[Instruction]) -> Result<OwnedFd, Errno>,
    ) -> Result<Self, Errno> {
        // Nothing that can panic leaves a half-changed list behind.
        let lock = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        // Of its own, so that the lock is free again: in `if let` it would be held to the end of the block.
        let found = take(&mut lock(), |kept| *kept.program == *program);
        let loaded = match found {
            Some(found) => found,
            None => Self {
                program: program.into(),
                filter: Arc::new(load(program)?),
            },
        };
        let mut kept = lock();
        if kept.len() >= MAX_CACHED_PROGRAMS {
            kept.remove(0);
        }
        kept.push(loaded.clone());
        Ok(loaded)
    }
}

impl AsFd for Loaded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.filter.as_fd()
    }
}

fn take<T>(list: &mut Vec<T>, wanted: impl FnMut(&T) -> bool) -> Option<T> {
    let at = list.iter().position(wanted)?;
    Some(list.remove(at))
}

fn load_filter(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    while_interrupted(LOAD_ATTEMPTS, || bpf::load_device_filter(program))
}

/// Repeats what a signal to this thread has interrupted. The kernel gives a verification up with EAGAIN then.
fn while_interrupted<T>(
    attempts: usize,
    mut load: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    for _ in 1..attempts {
        match load() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    load()
}

/// Whether the last rule for all devices allows them and nothing after it refuses any.
fn allows_everything(rules: &[DeviceRule]) -> bool {
    rules
        .iter()
        .rev()
        .take_while(|rule| rule.verdict == DeviceVerdict::Allow)
        .any(|rule| rule.kind == DeviceKind::All)
}

/// The program of a list of rules. Nothing is allowed that no rule allows.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor.
    let mut program = vec![
        load(WANTED, 0),
        instruction(MOVE_REGISTER, (KIND, WANTED), 0, 0),
        constant(AND, KIND, 0xffff),
        constant(SHIFT_RIGHT, WANTED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(compile_rule(rule));
        if rule.kind == DeviceKind::All {
            // It decides everything; the verifier refuses unreachable instructions behind it.
            return program;
        }
    }
    program.extend(answer(0));
    program
}

fn compile_rule(rule: &DeviceRule) -> Vec<Instruction> {
    let verdict = i32::from(rule.verdict == DeviceVerdict::Allow);
    let kind = match rule.kind {
        DeviceKind::All => return answer(verdict).to_vec(),
        // BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR.
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    };
    let access = access_bits(&rule.access);
    let body = match rule.verdict {
        DeviceVerdict::Deny => vec![
            instruction(JUMP_IF_ANY_BIT, (WANTED, 0), 1, access),
            instruction(JUMP, (0, 0), 2, 0),
        ],
        DeviceVerdict::Allow => vec![
            constant(AND, WANTED, !access),
            instruction(JUMP_IF_DIFFERENT, (WANTED, 0), 2, 0),
        ],
    };
    let conditions: Vec<(u8, i32)> = [
        (KIND, Some(kind)),
        (MAJOR, rule.major.map(u32::cast_signed)),
        (MINOR, rule.minor.map(u32::cast_signed)),
    ]
    .into_iter()
    .filter_map(|(register, value)| Some((register, value?)))
    .collect();
    let behind = body.len() + 2;
    let count = conditions.len();
    conditions
        .into_iter()
        .enumerate()
        .map(|(at, (register, value))| {
            // From the next instruction to the first one behind the rule; at most six.
            let distance = i16::try_from(count - 1 - at + behind).unwrap_or(0);
            instruction(JUMP_IF_DIFFERENT, (register, 0), distance, value)
        })
        .chain(body)
        .chain(answer(verdict))
        .collect()
}

/// Converts an access as [`DeviceRule::line`] does: without a known letter, it means all kinds of access.
fn access_bits(access: &str) -> i32 {
    let bits = access.chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => 0,
        }
    });
    if bits == 0 {
        READ | WRITE | MKNOD
    } else {
        bits
    }
}

fn answer(value: i32) -> [Instruction; 2] {
    [
        constant(MOVE, ANSWER, value),
        instruction(EXIT, (0, 0), 0, 0),
    ]
}

fn load(register: u8, offset: i16) -> Instruction {
    instruction(LOAD_WORD, (register, CONTEXT), offset, 0)
}

fn constant(code: u8, register: u8, value: i32) -> Instruction {
    instruction(code, (register, 0), 0, value)
}

fn instruction(
    code: u8,
    (destination, source): (u8, u8),
    offset: i16,
    immediate: i32,
) -> Instruction {
    // The nibbles are a C bit-field, whose order follows the byte order.
    let registers = if cfg!(target_endian = "little") {
        source << 4 | destination
    } else {
        destination << 4 | source
    };
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_programs_are_loaded_once() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let program = |number| [constant(MOVE, ANSWER, number), constant(EXIT, 0, 0)];
        let mut loads = 0;
        for number in [70, 71, 70, 70, 71] {
            let found = Loaded::find(&program(number), |_| {
                loads += 1;
                Ok(null())
            });
            assert_eq!(*found.unwrap().program, program(number));
        }
        assert_eq!(loads, 2);
        let refused = Loaded::find(&program(72), |_| Err(Errno::EPERM));
        assert_eq!(refused.unwrap_err(), Errno::EPERM);
        // As many others push the first ones out.
        let others = i32::try_from(MAX_CACHED_PROGRAMS).unwrap();
        for number in 100..100 + others {
            Loaded::find(&program(number), |_| Ok(null())).unwrap();
        }
        let again = Loaded::find(&program(70), |_| Err(Errno::EPERM));
        assert_eq!(again.unwrap_err(), Errno::EPERM);
    }

    type Answer = Result<(), Errno>;

    /// The answers that come one after the other, what the last of them makes, and how many were asked for.
    #[test]
    fn an_interrupted_load_is_repeated_and_a_refused_one_is_not() {
        const OK: Answer = Ok(());
        let again = Err(Errno::EAGAIN);
        let cases: [(&[Answer], Answer, usize); 7] = [
            (&[OK], OK, 1),
            (&[again, OK], OK, 2),
            (&[again, Err(Errno::EINTR), again, OK], OK, 4),
            // The last attempt's answer counts, whatever it is.
            (&[again; 5], again, 5),
            // None of these gets better by asking again.
            (&[Err(Errno::EPERM), OK], Err(Errno::EPERM), 1),
            (&[Err(Errno::EINVAL), OK], Err(Errno::EINVAL), 1),
            (&[again, Err(Errno::ENOMEM), OK], Err(Errno::ENOMEM), 2),
        ];
        for (answers, wanted, asked) in cases {
            let mut calls = 0;
            let outcome = while_interrupted(5, || {
                calls += 1;
                answers[calls - 1]
            });
            assert_eq!((outcome, calls), (wanted, asked), "{answers:?}");
        }
    }
}
