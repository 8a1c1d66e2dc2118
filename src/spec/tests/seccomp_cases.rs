use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxSeccompAction};

use super::super::seccomp::{MAX_PROFILE, ProfileError, default_profile, parse_profile};

fn allowed(profile: &oci_spec::runtime::LinuxSeccomp, name: &str) -> bool {
    profile.syscalls().iter().flatten().any(|rule| {
        rule.action() == LinuxSeccompAction::ScmpActAllow
            && rule.args().is_none()
            && rule.names().iter().any(|one| one == name)
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
    assert!(parse_profile(br#"{"defaultAction":"SCMP_ACT_NOPE"}"#).is_err());
    assert!(matches!(
        parse_profile(&vec![b' '; MAX_PROFILE + 1]),
        Err(ProfileError::TooLarge(_))
    ));
}

#[test]
fn the_default_profile_survives_json() {
    let profile = default_profile(&HashSet::new(), (6, 1));
    let json = serde_json::to_vec(&profile).unwrap();
    assert_eq!(parse_profile(&json).unwrap(), profile);
}
