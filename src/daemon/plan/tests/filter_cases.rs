use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

use super::super::seccomp::{
    FilterCache, FilterError, FilterPart, MAX_FILTERS, compile, intersect, with_allowed,
};
use super::machine::{Answer, run};
use holdfast_kernel::sys::{credential, seccomp};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const NATIVE: u32 = if cfg!(target_arch = "x86_64") {
    Arch::ScmpArchX86_64 as u32
} else {
    Arch::ScmpArchAarch64 as u32
};

fn rule(names: &[&str], action: LinuxSeccompAction) -> LinuxSyscall {
    let mut out = LinuxSyscall::default();
    out.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(action);
    out
}

fn arg(index: usize, op: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value)
        .build()
        .unwrap()
}

fn profile(default: LinuxSeccompAction, rules: Vec<LinuxSyscall>) -> LinuxSeccomp {
    let mut out = LinuxSeccomp::default();
    out.set_default_action(default).set_syscalls(Some(rules));
    out
}

fn number(name: &str) -> u32 {
    u32::try_from(
        libseccomp::ScmpSyscall::from_name(name)
            .unwrap()
            .as_raw_syscall(),
    )
    .unwrap()
}

fn ask(program: &[u8], name: &str, args: &[u64]) -> Answer {
    run(program, NATIVE, number(name), args)
}

#[test]
fn an_allow_list_allows_and_refuses() {
    let list = profile(
        LinuxSeccompAction::ScmpActErrno,
        vec![rule(
            &["read", "no_such_call", "statx"],
            LinuxSeccompAction::ScmpActAllow,
        )],
    );
    let filter = compile(&list).unwrap();
    assert!(!filter.program.is_empty() && filter.program.len().is_multiple_of(8));
    assert_eq!(ask(&filter.program, "read", &[]), Answer::Allow);
    assert_eq!(ask(&filter.program, "write", &[]), Answer::Errno(EPERM));
    // SECCOMP_FILTER_FLAG_SPEC_ALLOW unless flags were given.
    assert_eq!(filter.flags, 4);
}

#[test]
fn calls_newer_than_the_profile_say_so() {
    let list = profile(
        LinuxSeccompAction::ScmpActErrno,
        vec![rule(&["read", "openat2"], LinuxSeccompAction::ScmpActAllow)],
    );
    let program = compile(&list).unwrap().program;
    let newest = number("openat2");
    assert_eq!(run(&program, NATIVE, newest, &[]), Answer::Allow);
    assert_eq!(
        run(&program, NATIVE, newest + 1, &[]),
        Answer::Errno(ENOSYS)
    );
    assert_eq!(run(&program, NATIVE, 9999, &[]), Answer::Errno(ENOSYS));
    assert_eq!(run(&program, NATIVE, newest - 1, &[]), Answer::Errno(EPERM));
    // A filter that allows by default needs no such help.
    let open = profile(
        LinuxSeccompAction::ScmpActAllow,
        vec![rule(&["mkdir"], LinuxSeccompAction::ScmpActErrno)],
    );
    let program = compile(&open).unwrap().program;
    assert_eq!(run(&program, NATIVE, 9999, &[]), Answer::Allow);
    assert_eq!(ask(&program, "mkdir", &[]), Answer::Errno(EPERM));
}

#[test]
fn every_action_compiles() {
    for (action, expected) in [
        (LinuxSeccompAction::ScmpActKill, Answer::Other(0)),
        (LinuxSeccompAction::ScmpActKillThread, Answer::Other(0)),
        (
            LinuxSeccompAction::ScmpActKillProcess,
            Answer::Other(0x8000_0000),
        ),
        (LinuxSeccompAction::ScmpActTrap, Answer::Other(0x0003_0000)),
        (LinuxSeccompAction::ScmpActErrno, Answer::Errno(13)),
        (LinuxSeccompAction::ScmpActTrace, Answer::Other(0x7ff0_000d)),
        (LinuxSeccompAction::ScmpActLog, Answer::Other(0x7ffc_0000)),
    ] {
        let mut one = rule(&["mkdir"], action);
        one.set_errno_ret(Some(13));
        let program = compile(&profile(LinuxSeccompAction::ScmpActAllow, vec![one]))
            .unwrap()
            .program;
        assert_eq!(ask(&program, "mkdir", &[]), expected, "{action}");
        assert_eq!(ask(&program, "read", &[]), Answer::Allow);
    }
}

#[test]
fn arguments_are_compared() {
    use LinuxSeccompOperator::*;
    for (op, value, yes, no) in [
        (ScmpCmpEq, 5, 5, 6),
        (ScmpCmpNe, 5, 6, 5),
        (ScmpCmpLt, 5, 4, 5),
        (ScmpCmpLe, 5, 5, 6),
        (ScmpCmpGt, 5, 6, 5),
        (ScmpCmpGe, 5, 5, 4),
        (ScmpCmpMaskedEq, 0x7000_0000_0000, 0x0fff, 0x1000_0000_0000),
    ] {
        let mut one = rule(&["dup3"], LinuxSeccompAction::ScmpActAllow);
        one.set_args(Some(vec![arg(1, op, value)]));
        let program = compile(&profile(LinuxSeccompAction::ScmpActErrno, vec![one]))
            .unwrap()
            .program;
        assert_eq!(ask(&program, "dup3", &[9, yes]), Answer::Allow, "{op}");
        assert_eq!(
            ask(&program, "dup3", &[9, no]),
            Answer::Errno(EPERM),
            "{op}"
        );
    }
}

#[test]
fn two_conditions_on_one_argument_mean_either() {
    let equal = LinuxSeccompOperator::ScmpCmpEq;
    let with = |args| {
        let mut one = rule(&["dup3"], LinuxSeccompAction::ScmpActAllow);
        one.set_args(Some(args));
        compile(&profile(LinuxSeccompAction::ScmpActErrno, vec![one]))
            .unwrap()
            .program
    };
    let either = with(vec![arg(0, equal, 1), arg(0, equal, 2)]);
    assert_eq!(ask(&either, "dup3", &[1]), Answer::Allow);
    assert_eq!(ask(&either, "dup3", &[2]), Answer::Allow);
    assert_eq!(ask(&either, "dup3", &[3]), Answer::Errno(EPERM));
    let both = with(vec![arg(0, equal, 1), arg(1, equal, 2)]);
    assert_eq!(ask(&both, "dup3", &[1, 2]), Answer::Allow);
    assert_eq!(ask(&both, "dup3", &[1, 3]), Answer::Errno(EPERM));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn further_architectures_have_their_own_numbers() {
    let mut list = profile(
        LinuxSeccompAction::ScmpActErrno,
        vec![rule(
            &["read", "getuid32"],
            LinuxSeccompAction::ScmpActAllow,
        )],
    );
    list.set_architectures(Some(vec![
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
    ]));
    let program = compile(&list).unwrap().program;
    let x86 = Arch::ScmpArchX86 as u32;
    assert_eq!(run(&program, x86, 3, &[]), Answer::Allow);
    assert_eq!(run(&program, x86, 4, &[]), Answer::Errno(EPERM));
    assert_eq!(run(&program, x86, 500, &[]), Answer::Errno(ENOSYS));
    assert_eq!(run(&program, NATIVE, 0x4000_0000, &[]), Answer::Allow);
    assert_eq!(
        run(&program, NATIVE, 0x4000_0001, &[]),
        Answer::Errno(EPERM)
    );
    // Without x32 in the list its calls end the thread: they would walk past rules on x86-64 numbers.
    list.set_architectures(Some(vec![Arch::ScmpArchX86_64]));
    let program = compile(&list).unwrap().program;
    assert_eq!(run(&program, NATIVE, 0x4000_0000, &[]), Answer::Other(0));
}

/// System calls have six arguments, and libseccomp 2.5.4 takes numbers below 4095 as what a refused call returns.
#[test]
fn numbers_that_mean_nothing_are_named() {
    let errno = |number: u32| {
        let mut refuse = rule(&["mkdir"], LinuxSeccompAction::ScmpActErrno);
        refuse.set_errno_ret(Some(number));
        profile(LinuxSeccompAction::ScmpActAllow, vec![refuse])
    };
    for good in [0, 1, 4094] {
        compile(&errno(good)).unwrap_or_else(|error| panic!("{good}: {error:?}"));
    }
    let argument = |index: usize| {
        let mut refuse = rule(&["mkdir"], LinuxSeccompAction::ScmpActErrno);
        refuse.set_args(Some(vec![arg(index, LinuxSeccompOperator::ScmpCmpEq, 1)]));
        profile(LinuxSeccompAction::ScmpActAllow, vec![refuse])
    };
    for good in [0, 5] {
        compile(&argument(good)).unwrap_or_else(|error| panic!("{good}: {error:?}"));
    }
    for (bad, told) in [
        (errno(4095), "errnoRet 4095 is too high; give 4094 at most"),
        (errno(5000), "errnoRet 5000 is too high; give 4094 at most"),
        (
            errno(70_000),
            "errnoRet 70000 is too high; give 4094 at most",
        ),
        (
            argument(6),
            "args: index 6 is no argument of a system call; give 0 to 5",
        ),
        (
            argument(9),
            "args: index 9 is no argument of a system call; give 0 to 5",
        ),
    ] {
        let error = compile(&bad).unwrap_err();
        let FilterError::Part { path, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (path.as_str(), source.to_string().as_str()),
            ("$.syscalls[0]", told)
        );
    }
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let notify = LinuxSeccompAction::ScmpActNotify;
    let refuse = || rule(&["mkdir"], LinuxSeccompAction::ScmpActErrno);
    let mut listener = profile(allow, vec![]);
    listener.set_listener_path(Some("/run/agent.sock".into()));
    let mut flags = profile(allow, vec![]);
    flags.set_flags(Some(vec![
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
    ]));
    let mut foreign = profile(allow, vec![]);
    foreign.set_architectures(Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchParisc]));
    for (bad, place, what) in [
        (
            profile(notify, vec![]),
            "$.defaultAction",
            "SCMP_ACT_NOTIFY",
        ),
        (
            profile(allow, vec![refuse(), rule(&["mkdir"], notify)]),
            "$.syscalls[1]",
            "SCMP_ACT_NOTIFY",
        ),
        (listener, "$.listenerPath", "listener"),
        (flags.clone(), "$.flags", "WAIT_KILLABLE_RECV"),
        (foreign, "$.architectures", "PARISC"),
    ] {
        let error = compile(&bad).unwrap_err();
        let FilterError::Part { path, source } = error else {
            panic!("{error:?}");
        };
        assert!(matches!(*source, FilterError::Unsupported(_)), "{source:?}");
        assert_eq!(path, place);
        assert!(source.to_string().contains(what), "{place}: {source}");
        // Also of a base it is said which of the two profiles it is.
        let good = profile(allow, vec![refuse()]);
        let cache = FilterCache::default();
        let part = |profile, base| cache.get_within(profile, Some(base)).unwrap_err().0;
        assert_eq!(part(&bad, &good), FilterPart::Profile);
        assert_eq!(part(&good, &bad), FilterPart::Base);
    }
    flags.set_flags(Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagLog]));
    assert_eq!(compile(&flags).unwrap().flags, 2);
}

#[test]
fn the_cache_answers_alike_and_is_bounded() {
    let cache = FilterCache::default();
    let numbered = |errno: u32| {
        let mut one = rule(&["mkdir"], LinuxSeccompAction::ScmpActErrno);
        one.set_errno_ret(Some(errno));
        profile(LinuxSeccompAction::ScmpActAllow, vec![one])
    };
    let first = cache.get(&numbered(1)).unwrap();
    for errno in 2..100 {
        assert_ne!(cache.get(&numbered(errno)).unwrap(), first);
        assert_eq!(cache.get(&numbered(1)).unwrap(), first);
    }
    assert_eq!(cache.len(), MAX_FILTERS);
}

/// What the kernel does with two filters, seccomp(2): of both answers the one with the higher precedence counts.
fn both(one: Answer, two: Answer) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::Other(0x8000_0000) => 0,
        Answer::Other(0) => 1,
        Answer::Other(number) if number >> 16 == 3 => 2,
        Answer::Errno(_) => 3,
        Answer::Other(number) if number >> 16 == 0x7ff0 => 4,
        Answer::Other(_) => 5,
        Answer::Allow => 6,
    };
    if rank(&two) < rank(&one) { two } else { one }
}

#[test]
fn a_filter_within_another_does_the_stricter_of_both() {
    use LinuxSeccompAction::{
        ScmpActAllow, ScmpActErrno, ScmpActKillProcess, ScmpActKillThread, ScmpActLog,
        ScmpActTrace, ScmpActTrap,
    };
    let eq = LinuxSeccompOperator::ScmpCmpEq;
    let with = |name: &str, args: Vec<LinuxSeccompArg>, action| {
        let mut rule = rule(&[name], action);
        rule.set_args(Some(args));
        rule
    };
    let profiles = [
        profile(ScmpActAllow, vec![]),
        profile(ScmpActAllow, vec![rule(&["mkdir", "ptrace"], ScmpActErrno)]),
        profile(
            ScmpActErrno,
            vec![rule(&["read", "write", "mkdir", "socket"], ScmpActAllow)],
        ),
        profile(
            ScmpActLog,
            vec![
                rule(&["ptrace"], ScmpActKillThread),
                rule(&["mkdir"], ScmpActAllow),
            ],
        ),
        profile(
            ScmpActKillProcess,
            vec![
                rule(&["read", "socket"], ScmpActAllow),
                rule(&["write"], ScmpActLog),
            ],
        ),
        profile(
            ScmpActErrno,
            vec![
                with("socket", vec![arg(0, eq, 1)], ScmpActAllow),
                with("socket", vec![arg(0, eq, 2), arg(1, eq, 1)], ScmpActTrap),
                rule(&["read"], ScmpActTrace),
                rule(&["write"], ScmpActAllow),
            ],
        ),
    ];
    let cache = FilterCache::default();
    let calls: [(&str, &[u64]); 9] = [
        ("read", &[]),
        ("write", &[]),
        ("mkdir", &[]),
        ("ptrace", &[]),
        ("statx", &[]),
        ("socket", &[1, 1]),
        ("socket", &[2, 1]),
        ("socket", &[2, 2]),
        ("socket", &[40, 0]),
    ];
    for one in &profiles {
        for two in &profiles {
            let [first, second] = [one, two].map(|profile| cache.get(profile).unwrap());
            let together = cache.get_within(one, Some(two)).unwrap();
            for (name, args) in calls {
                let found = ask(&together.program, name, args);
                let alone = [&first, &second].map(|filter| ask(&filter.program, name, args));
                let [a, b] = alone;
                let wanted = both(a, b);
                assert_eq!(found, wanted, "{name} {args:?} in {one:?} within {two:?}");
            }
            // Calls of other architectures as well: both filters judge them first.
            let foreign = |program: &[u8]| run(program, 0x4000_0028, 1, &[]);
            let wanted = both(foreign(&first.program), foreign(&second.program));
            assert_eq!(foreign(&together.program), wanted);
        }
    }
}

/// Lets the kernel check programs and calls `check` with what does it. No process gets a filter: with
/// `SECCOMP_FILTER_FLAG_TSYNC` seccomp(2) takes none while another thread has one of its own, and names that thread
/// only after the program has passed.
fn with_the_kernel_as_checker(check: impl FnOnce(&dyn Fn(&[u8]) -> nix::Result<()>) + Send) {
    const TSYNC: u32 = 1;
    let load = |program: &[u8], flags| {
        credential::set_no_new_privileges().unwrap();
        seccomp::load(program, flags)
    };
    let nothing = compile(&profile(LinuxSeccompAction::ScmpActAllow, vec![])).unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            ready.send(load(&nothing.program, 0)).unwrap();
            let _ = is_done.recv();
        });
        is_ready.recv().unwrap().unwrap();
        let checked = scope.spawn(|| {
            check(&|program| load(program, TSYNC));
            drop(done);
        });
        checked.join().unwrap();
    });
}

/// Every pair of profiles that answer one call so and all others so. A profile that only kills the process was
/// refused with EINVAL once: nothing is stricter, so its stub is a bare return.
#[test]
fn the_kernel_takes_every_combination_of_answers() {
    use LinuxSeccompAction::{
        ScmpActAllow, ScmpActErrno, ScmpActKillProcess, ScmpActKillThread, ScmpActLog,
        ScmpActTrace, ScmpActTrap,
    };
    let actions = [
        ScmpActKillProcess,
        ScmpActKillThread,
        ScmpActTrap,
        ScmpActErrno,
        ScmpActTrace,
        ScmpActLog,
        ScmpActAllow,
    ];
    let pairs = || {
        actions
            .iter()
            .flat_map(|one| actions.map(|two| (*one, two)))
    };
    let profiles: Vec<_> = pairs()
        .map(|(default, action)| {
            let mut rule = rule(&["mkdir"], action);
            rule.set_errno_ret(Some(13));
            let profile = profile(default, vec![rule]);
            let filter = compile(&profile).unwrap();
            (format!("{default}, mkdir {action}"), filter)
        })
        .collect();
    with_the_kernel_as_checker(|check| {
        let unstored = [0x60, 0, 0, 0, 0, 0, 0, 0, 0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert_eq!(check(&unstored), Err(nix::errno::Errno::EINVAL));
        for (first, one) in &profiles {
            for (second, two) in &profiles {
                let together = intersect(one, two).unwrap();
                let taken = check(&together.program);
                assert_eq!(taken, Ok(()), "{first} within {second}");
                for name in ["mkdir", "read"] {
                    let alone = [one, two].map(|filter| ask(&filter.program, name, &[]));
                    let [a, b] = alone;
                    let found = ask(&together.program, name, &[]);
                    assert_eq!(found, both(a, b), "{name}: {first} within {second}");
                }
            }
        }
    });
}

/// seccomp(2): what a rule without arguments allows happens. Calls that are not named stay what the profile says.
#[test]
fn named_calls_can_be_allowed_in_any_profile() {
    use LinuxSeccompAction::{
        ScmpActAllow, ScmpActErrno, ScmpActKillProcess, ScmpActLog, ScmpActTrap,
    };
    const CALLS: [&str; 2] = ["wait4", "execveat"];
    let mut with_args = rule(&["wait4", "execveat", "read"], ScmpActAllow);
    with_args.set_args(Some(vec![arg(0, LinuxSeccompOperator::ScmpCmpEq, 1)]));
    let kept = profile(
        ScmpActErrno,
        vec![rule(&["wait4", "execveat"], ScmpActAllow)],
    );
    assert!(matches!(
        with_allowed(&kept, &CALLS),
        std::borrow::Cow::Borrowed(_)
    ));
    for (given, mkdir) in [
        (kept, Answer::Errno(EPERM)),
        (profile(ScmpActAllow, vec![]), Answer::Allow),
        (profile(ScmpActLog, vec![]), Answer::Other(0x7ffc_0000)),
        (
            profile(ScmpActErrno, vec![rule(&["statx"], ScmpActAllow)]),
            Answer::Errno(EPERM),
        ),
        (
            profile(ScmpActKillProcess, vec![]),
            Answer::Other(0x8000_0000),
        ),
        (
            profile(ScmpActAllow, vec![rule(&["mkdir", "wait4"], ScmpActTrap)]),
            Answer::Other(0x0003_0000),
        ),
        (
            profile(
                ScmpActErrno,
                vec![with_args, rule(&["mkdir"], ScmpActAllow)],
            ),
            Answer::Allow,
        ),
    ] {
        let program = compile(&with_allowed(&given, &CALLS)).unwrap().program;
        for call in CALLS {
            assert_eq!(
                ask(&program, call, &[7]),
                Answer::Allow,
                "{call} in {given:?}"
            );
        }
        assert_eq!(ask(&program, "mkdir", &[]), mkdir, "{given:?}");
    }
}

#[test]
fn flags_of_two_filters_are_those_that_loosen_nothing() {
    let with = |flags: Option<Vec<LinuxSeccompFilterFlag>>| {
        let mut one = profile(LinuxSeccompAction::ScmpActAllow, vec![]);
        one.set_flags(flags);
        one
    };
    let log = || Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagLog]);
    let spec_allow = || Some(vec![LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow]);
    let cases = [
        (None, None, 4),
        (None, Some(vec![]), 0),
        (Some(vec![]), None, 0),
        (log(), None, 2),
        (spec_allow(), None, 4),
        (log(), log(), 2),
    ];
    for (one, two, wanted) in cases {
        let cache = FilterCache::default();
        let filter = cache.get_within(&with(one), Some(&with(two))).unwrap();
        assert_eq!(filter.flags, wanted);
    }
}
