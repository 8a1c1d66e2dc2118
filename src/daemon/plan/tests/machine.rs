//! The part of the classic BPF machine that seccomp filters use: linux/filter.h, seccomp(2).

/// The answer of a filter to a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    Errno(u32),
    Other(u32),
}

/// Runs a program on a call.
pub(super) fn run(program: &[u8], arch: u32, number: u32, args: &[u64]) -> Answer {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend([0; 8]);
    for index in 0..6 {
        data.extend(args.get(index).copied().unwrap_or(0).to_ne_bytes());
    }
    let (mut at, mut a) = (0_usize, 0_u32);
    let mut scratch = [None; 16];
    loop {
        let code: [u8; 8] = program[at * 8..at * 8 + 8].try_into().unwrap();
        let op = u16::from_ne_bytes([code[0], code[1]]);
        let k = u32::from_ne_bytes(code[4..].try_into().unwrap());
        let mut jump = |hit: bool| at += usize::from(if hit { code[2] } else { code[3] });
        match op {
            0x20 => {
                let from = k as usize;
                a = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x00 => a = k,
            0x02 => scratch[k as usize] = Some(a),
            0x60 => a = scratch[k as usize].expect("a word that was never stored"),
            0x05 => at += k as usize,
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x45 => jump(a & k != 0),
            0x54 => a &= k,
            0x06 => {
                return match k >> 16 {
                    0x7fff => Answer::Allow,
                    0x0005 => Answer::Errno(k & 0xffff),
                    _ => Answer::Other(k),
                };
            }
            other => panic!("instruction {at} has code {other:#x}"),
        }
        at += 1;
    }
}
