use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator};

use super::super::seccomp::{MAX_PROFILE, ProfileError, default_profile, parse_profile};

fn allowed(profile: &LinuxSeccomp, name: &str) -> bool {
    profile.syscalls().iter().flatten().any(|rule| {
        rule.action() == LinuxSeccompAction::ScmpActAllow
            && rule.args().is_none()
            && rule.names().iter().any(|allowed| allowed == name)
    })
}

#[test]
fn capabilities_open_calls() {
    let plain = default_profile(&HashSet::new(), (6, 1));
    assert_eq!(plain.default_action(), LinuxSeccompAction::ScmpActErrno);
    for name in ["read", "execve", "openat2", "ptrace", "fchmodat2"] {
        assert!(allowed(&plain, name), "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "reboot",
        "io_uring_setup",
        "keyctl",
        "kexec_load",
        "clone",
        "clone3",
        "socket",
    ] {
        assert!(!allowed(&plain, name), "{name}");
    }
    let admin = default_profile(&HashSet::from([Capability::SysAdmin]), (6, 1));
    for name in ["mount", "unshare", "setns", "bpf", "clone", "clone3"] {
        assert!(allowed(&admin, name), "{name}");
    }
    assert!(!allowed(&admin, "reboot"));
    assert!(!allowed(
        &default_profile(&HashSet::new(), (4, 7)),
        "ptrace"
    ));
}

/// Whether socket(2) of a family is allowed, as the kernel would find by the rules' comparisons of 64 bits.
fn socket_is_allowed(profile: &LinuxSeccomp, family: u64) -> bool {
    let rules = profile.syscalls().iter().flatten();
    rules
        .filter(|rule| rule.names().iter().any(|name| name == "socket"))
        .flat_map(|rule| rule.args().iter().flatten())
        .any(|arg| match arg.op() {
            LinuxSeccompOperator::ScmpCmpLt => family < arg.value(),
            LinuxSeccompOperator::ScmpCmpEq => family == arg.value(),
            other => panic!("{other}"),
        })
}

/// The families that `DefaultProfile` of containerd 2.4.2 allows, with any capabilities.
#[test]
fn socket_families_are_a_list() {
    for caps in [
        HashSet::new(),
        HashSet::from([Capability::SysAdmin, Capability::NetAdmin]),
    ] {
        let profile = default_profile(&caps, (6, 1));
        for (family, name, wanted) in [
            (1, "UNIX", true),
            (2, "INET", true),
            (10, "INET6", true),
            (16, "NETLINK", true),
            (17, "PACKET", true),
            (21, "RDS", true),
            (37, "CAIF", true),
            (38, "ALG", false),
            (39, "NFC", true),
            (40, "VSOCK", false),
            (41, "KCM", true),
            (44, "XDP", true),
            (45, "MCTP", true),
            (46, "the first that is not known", false),
            (100, "unknown", false),
            (0xffff_ffff, "-1", false),
            // The kernel looks at 32 bits and would see INET; the filter sees no family that it knows.
            (0x1_0000_0002, "INET with other bits", false),
            (0x1_0000_0026, "ALG with other bits", false),
        ] {
            assert_eq!(socket_is_allowed(&profile, family), wanted, "{name}");
        }
        assert!(allowed(&profile, "socketpair") && allowed(&profile, "lsm_get_self_attr"));
    }
}

#[test]
fn profiles_of_the_node_are_parsed() {
    let json =
        br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],
        "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
        "args":[{"index":1,"value":511,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    let profile = parse_profile(json).unwrap();
    assert_eq!(
        profile.syscalls().as_ref().unwrap()[0].errno_ret(),
        Some(13)
    );
    assert!(matches!(parse_profile(b"{"), Err(ProfileError::Json(_))));
    assert!(matches!(
        parse_profile(&vec![b' '; MAX_PROFILE + 1]),
        Err(ProfileError::TooLarge(_))
    ));
}

/// What a profile has wrong is named by its place. Null and a missing list of names are nothing, as they are for
/// encoding/json of Go, with which containerd 2.4.2 and runc 1.5.3 read it.
#[test]
fn a_profile_is_read_as_go_reads_it_and_faults_have_a_place() {
    let parse = |entry: &str| {
        parse_profile(
            format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{entry}]}}"#).as_bytes(),
        )
    };
    for entry in [
        r#"{"names":null,"action":"SCMP_ACT_ERRNO"}"#,
        r#"{"action":"SCMP_ACT_ERRNO","args":null,"errnoRet":null}"#,
        r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"valueTwo":null,"op":"SCMP_CMP_EQ"}]}"#,
        r#"{"names":["a"],"action":"SCMP_ACT_LOG","includes":{"caps":[]}}"#,
    ] {
        parse(entry).unwrap_or_else(|error| panic!("{entry}: {error:?}"));
    }
    for (place, entry) in [
        (
            "$.syscalls[0].action",
            r#"{"names":["a"],"action":"SCMP_ACT_DENY"}"#,
        ),
        (
            "$.syscalls[0].names",
            r#"{"names":"a","action":"SCMP_ACT_LOG"}"#,
        ),
        (
            "$.syscalls[0].names[1]",
            r#"{"names":["a",7],"action":"SCMP_ACT_LOG"}"#,
        ),
        (
            "$.syscalls[0].errnoRet",
            r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":-1}"#,
        ),
        (
            "$.syscalls[0].args[0].op",
            r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":1,"op":"EQ"}]}"#,
        ),
        (
            "$.syscalls[0].args[0].value",
            r#"{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":"1","op":"SCMP_CMP_EQ"}]}"#,
        ),
        ("$.syscalls[0]", "[]"),
    ] {
        let error = parse(entry).unwrap_err();
        assert_eq!(error.to_string(), place, "{entry}: {error:?}");
    }
    let error = parse_profile(br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["riscv"]}"#);
    assert_eq!(error.unwrap_err().to_string(), "$.architectures[0]");
}

/// A comment in Latin-1, and a half of a surrogate pair: json.Unmarshal of Go 1.26, with which containerd 2.4.2 reads the
/// profiles of the node, takes U+FFFD for them.
#[test]
fn a_profile_may_have_bytes_that_are_no_unicode() {
    for comment in [
        &b"r\xe9seau"[..],
        br"\ud800",
        br"\udc80 x",
        b"\xff\xfe",
        b"\xc3",
    ] {
        let text = [
            br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"comment":""#,
            comment,
            br#"","action":"SCMP_ACT_ERRNO"}]}"#,
        ]
        .concat();
        let profile = parse_profile(&text).unwrap();
        let names = profile.syscalls().as_ref().unwrap()[0].names();
        assert_eq!(names, &["mkdir"], "{comment:?}");
    }
}

#[test]
fn the_default_profile_survives_json() {
    let profile = default_profile(&HashSet::new(), (6, 1));
    let json = serde_json::to_vec(&profile).unwrap();
    assert_eq!(parse_profile(&json).unwrap(), profile);
}

/// Publishers keep to linux.seccomp of the OCI runtime specification (v1.3.0), without listeners, with at most 128
/// entries (security-profiles-operator 3421). Null is nothing, as for readers in Go.
#[test]
fn published_profiles_are_read_strictly() {
    use super::super::seccomp::parse_artifact;
    let entry = r#"{"names":["read"],"action":"SCMP_ACT_ALLOW"}"#;
    let entries = |count: usize| vec![entry; count].join(",");
    let good = [
        r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_owned(),
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],"flags":[]}"#.to_owned(),
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","comment":"why","args":null}]}"#.to_owned(),
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#.to_owned(),
        format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, entries(128)),
    ];
    for text in &good {
        parse_artifact(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let bad = [
        ("$.listenerPath", r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/s"}"#.to_owned()),
        ("$.archMap", r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[]}"#.to_owned()),
        ("$.defaultAction", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.to_owned()),
        ("$.syscalls[0].action", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_NOTIFY"}]}"#.to_owned()),
        ("$.syscalls[0].includes", r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]}"#.to_owned()),
        ("$.syscalls[0].args[0].arg", r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW","args":[{"arg":0}]}]}"#.to_owned()),
        ("$.syscalls", format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, entries(129))),
        ("$.syscalls", r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":{}}"#.to_owned()),
        ("$", "[]".to_owned()),
        ("the profile is not JSON", "{".to_owned()),
        ("$.defaultAction", r#"{"defaultAction":"SCMP_ACT_NOPE"}"#.to_owned()),
        ("$", r#"{"syscalls":[]}"#.to_owned()),
    ];
    for (place, text) in &bad {
        let error = parse_artifact(text).unwrap_err().to_string();
        assert!(error.starts_with(place), "{text}: {error}");
    }
}
