//! Joins two filters to one that allows what both allow, and otherwise takes the stricter of both actions.
//!
//! ```text
//!   first'    each return ──▶ its stub         second'   each return ──▶ its stub
//!   stub of k: M[0] = k, go to second'         stub of k: M[0] stricter than k? return it : return k
//! ```
//!
//! This is what the kernel does with two filters on one process, seccomp(2): of all answers the one with the highest
//! precedence counts. Programs keep their length, so that no jump in them changes. An answer of the first filter that
//! nothing of the second can beat is returned at once. The stubs of such answers come first: the kernel's checker
//! (`check_load_and_stores` in net/core/filter.c) reads a program from top to bottom and forgets what it knows of the
//! scratch memory at a jump only. Were a return the last thing before the second program, every load of `M[0]` in that
//! program would count as one of a word that was never stored.

use super::filter_error::FilterError;
use super::guard::{JUMP_EQUAL, RETURN, emit};
use super::program::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_TSYNC, INSTRUCTION, MAX_INSTRUCTIONS};
use holdfast_wire::plan::SeccompFilter;

/// Codes of linux/bpf_common.h: load a constant, load and store a word of the scratch memory, jump.
const LOAD_CONSTANT: u16 = 0x00;
const LOAD_SCRATCH: u16 = 0x60;
const STORE_SCRATCH: u16 = 0x02;
const JUMP: u16 = 0x05;

/// The part of a code that says what kind of instruction it is, and the kinds that use the scratch memory.
const CLASS: u16 = 0x07;
const STORE: u16 = 0x02;
const STORE_INDEX: u16 = 0x03;
/// The part that says where a load is from.
const MODE: u16 = 0xe0;
const SCRATCH: u16 = 0x60;

/// The part of an answer that says what is done; the rest is its number (`SECCOMP_RET_ACTION_FULL`).
const ACTION: u32 = 0xffff_0000;

/// An instruction: one `struct sock_filter`.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    jumps: (u8, u8),
    operand: u32,
}

/// The filter that allows what both allow.
pub(in crate::plan) fn intersect(
    first: &SeccompFilter,
    second: &SeccompFilter,
) -> Result<SeccompFilter, FilterError> {
    let (one, two) = (decode(&first.program)?, decode(&second.program)?);
    let (mut answers, others) = (answers(&one), answers(&two));
    answers.sort_by_key(|answer| can_be_beaten(*answer, &others));
    if !answers.iter().any(|answer| can_be_beaten(*answer, &others)) {
        return encode(&one, first.flags, second.flags);
    }
    let others_of = |answer| stub_of_first(answer, &others).len();
    let stubs: usize = answers.iter().map(|answer| others_of(*answer)).sum();
    let start_of_second = one.len() + stubs;

    let mut out = Vec::new();
    let mut places = Vec::new();
    let mut at = one.len();
    for answer in &answers {
        places.push((*answer, at));
        at += stub_of_first(*answer, &others).len();
    }
    redirect(&mut out, &one, &places, 0);
    for answer in &answers {
        let mut stub = stub_of_first(*answer, &others);
        if let Some(last) = stub.last_mut().filter(|last| last.code == JUMP) {
            last.operand = distance(out.len() + 2, start_of_second);
        }
        out.extend(stub);
    }
    let mut places = Vec::new();
    let mut at = start_of_second + two.len();
    for answer in &others {
        places.push((*answer, at));
        at += stub_of_second(*answer, &answers).len();
    }
    redirect(&mut out, &two, &places, start_of_second);
    for answer in &others {
        out.extend(stub_of_second(*answer, &answers));
    }
    encode(&out, first.flags, second.flags)
}

/// Instructions between the one at `from` and `to`.
fn distance(from: usize, to: usize) -> u32 {
    // Programs are a few thousand instructions.
    u32::try_from(to - from - 1).unwrap_or(u32::MAX)
}

/// Appends a program with its returns turned into jumps to their stubs.
fn redirect(
    out: &mut Vec<Instruction>,
    program: &[Instruction],
    places: &[(u32, usize)],
    start: usize,
) {
    for (at, instruction) in program.iter().enumerate() {
        let stub = places
            .iter()
            .find(|(answer, _)| instruction.code == RETURN && *answer == instruction.operand);
        out.push(match stub {
            None => *instruction,
            Some((_, place)) => Instruction {
                code: JUMP,
                jumps: (0, 0),
                operand: distance(start + at, *place),
            },
        });
    }
}

/// Code for an answer of the first filter: the second filter runs, unless its answer cannot be stricter.
fn stub_of_first(answer: u32, others: &[u32]) -> Vec<Instruction> {
    let plain = |code, operand| Instruction {
        code,
        jumps: (0, 0),
        operand,
    };
    if !can_be_beaten(answer, others) {
        return vec![plain(RETURN, answer)];
    }
    vec![
        plain(LOAD_CONSTANT, answer),
        plain(STORE_SCRATCH, 0),
        plain(JUMP, 0),
    ]
}

/// Whether one of the second filter's answers is stricter than this answer of the first one.
fn can_be_beaten(answer: u32, others: &[u32]) -> bool {
    others.iter().any(|other| stricter(*other, answer))
}

/// Code for an answer of the second filter: this answer counts, unless that of the first filter was as strict or
/// stricter.
fn stub_of_second(answer: u32, answers: &[u32]) -> Vec<Instruction> {
    let mut stub = vec![Instruction {
        code: LOAD_SCRATCH,
        jumps: (0, 0),
        operand: 0,
    }];
    for first in answers.iter().filter(|first| !stricter(answer, **first)) {
        stub.push(Instruction {
            code: JUMP_EQUAL,
            jumps: (0, 1),
            operand: *first,
        });
        stub.push(Instruction {
            code: RETURN,
            jumps: (0, 0),
            operand: *first,
        });
    }
    stub.push(Instruction {
        code: RETURN,
        jumps: (0, 0),
        operand: answer,
    });
    stub
}

/// Whether an answer has a higher precedence than another one: as signed numbers the lower action, seccomp(2).
fn stricter(one: u32, other: u32) -> bool {
    let rank = |answer: u32| (answer & ACTION).cast_signed();
    rank(one) < rank(other)
}

/// The answers that a program can give.
fn answers(program: &[Instruction]) -> Vec<u32> {
    let returns = program
        .iter()
        .filter(|instruction| instruction.code == RETURN);
    let mut answers: Vec<u32> = returns.map(|instruction| instruction.operand).collect();
    answers.sort_unstable();
    answers.dedup();
    answers
}

fn decode(program: &[u8]) -> Result<Vec<Instruction>, FilterError> {
    let mut out = Vec::with_capacity(program.len() / INSTRUCTION);
    for bytes in program.chunks_exact(INSTRUCTION) {
        let [a, b, hit, miss, operand @ ..] = bytes else {
            continue;
        };
        let code = u16::from_ne_bytes([*a, *b]);
        let class = code & CLASS;
        let scratch =
            matches!(class, STORE | STORE_INDEX) || class < STORE && code & MODE == SCRATCH;
        let computed = class == RETURN & CLASS && code != RETURN;
        if scratch || computed {
            let what = format!("instruction {code:#x} of a compiled filter that is to be combined");
            return Err(FilterError::Unsupported(what));
        }
        let mut word = [0; 4];
        word.copy_from_slice(operand);
        out.push(Instruction {
            code,
            jumps: (*hit, *miss),
            operand: u32::from_ne_bytes(word),
        });
    }
    Ok(out)
}

fn encode(program: &[Instruction], first: u32, second: u32) -> Result<SeccompFilter, FilterError> {
    if program.len() > MAX_INSTRUCTIONS {
        return Err(FilterError::TooLong(program.len()));
    }
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    for one in program {
        emit(&mut bytes, one.code, one.jumps, one.operand);
    }
    // What one of them logs is logged; what leaves a mitigation out has to be wanted by both.
    let either = FLAG_LOG | FLAG_TSYNC;
    let flags = (first | second) & either | first & second & FLAG_SPEC_ALLOW;
    Ok(SeccompFilter {
        program: bytes,
        flags,
    })
}
