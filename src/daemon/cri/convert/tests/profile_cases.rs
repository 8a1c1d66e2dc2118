//! Security profiles of type OCI: the comments of `SecurityProfile` and `SecurityProfileBase`, cri-api v0.38.0-beta.0.

use super::*;
use crate::spec::PulledProfile;

const REFERENCE: &str = "registry.example.com/profile@sha256:abc";

fn base(kind: i32, file: &str) -> Option<cri::SecurityProfileBase> {
    Some(cri::SecurityProfileBase {
        r#type: kind,
        localhost_ref: file.into(),
    })
}

fn profile(
    kind: i32,
    oci_ref: &str,
    base_profile: Option<cri::SecurityProfileBase>,
) -> cri::SecurityProfile {
    cri::SecurityProfile {
        profile_type: kind,
        localhost_ref: String::new(),
        oci_ref: oci_ref.into(),
        base_profile,
    }
}

fn seccomp(profile: cri::SecurityProfile) -> [Result<SeccompChoice, FieldError>; 2] {
    let container = secured(cri::LinuxContainerSecurityContext {
        seccomp: Some(profile.clone()),
        ..Default::default()
    });
    let sandbox = pod(cri::LinuxSandboxSecurityContext {
        seccomp: Some(profile),
        ..Default::default()
    });
    [
        container.map(|container| container.security.seccomp),
        sandbox.map(|sandbox| sandbox.security.seccomp),
    ]
}

#[test]
fn a_pulled_profile_has_a_reference_and_a_base() {
    let cases = [
        (None, None),
        (base(0, ""), None),
        (base(1, "/p/base.json"), Some("/p/base.json")),
        (base(1, "localhost//p/base.json"), Some("/p/base.json")),
    ];
    for (asked, wanted) in cases {
        for found in seccomp(profile(3, REFERENCE, asked.clone())) {
            let SeccompChoice::Oci(found) = found.unwrap() else {
                panic!("another choice")
            };
            let PulledProfile {
                reference,
                base,
                pinned,
            } = *found;
            assert_eq!((reference.as_str(), pinned), (REFERENCE, None));
            assert_eq!(base.as_ref().map(|path| path.as_str()), wanted, "{asked:?}");
        }
    }
}

#[test]
fn fields_of_other_types_are_refused_by_name() {
    let with_file = cri::SecurityProfile {
        localhost_ref: "/p".into(),
        ..profile(3, REFERENCE, None)
    };
    let cases = [
        (profile(3, "", None), "oci_ref"),
        (profile(0, REFERENCE, None), "oci_ref"),
        (profile(1, REFERENCE, None), "oci_ref"),
        (profile(2, REFERENCE, None), "oci_ref"),
        (profile(0, "", base(0, "")), "base_profile"),
        (profile(1, "", base(1, "/p")), "base_profile"),
        (
            profile(3, REFERENCE, base(0, "/p")),
            "base_profile.localhost_ref",
        ),
        (
            profile(3, REFERENCE, base(1, "")),
            "base_profile.localhost_ref",
        ),
        (
            profile(3, REFERENCE, base(1, "p.json")),
            "base_profile.localhost_ref",
        ),
        (profile(3, REFERENCE, base(2, "")), "base_profile.type"),
        (with_file, "localhost_ref"),
        (profile(4, "", None), "profile_type"),
    ];
    for (asked, field) in cases {
        for found in seccomp(asked.clone()) {
            let text = found.unwrap_err().to_string();
            let wanted = format!("config.linux.security_context.seccomp.{field}");
            assert!(text.contains(&wanted), "{asked:?}: {text}");
        }
    }
}

/// Runtimes must reject OCI for AppArmor, and references with the other types.
#[test]
fn apparmor_profiles_are_not_pulled() {
    let asked = |apparmor| {
        let container = secured(cri::LinuxContainerSecurityContext {
            apparmor: Some(apparmor),
            ..Default::default()
        });
        container.map(|container| container.security.apparmor)
    };
    let field = "config.linux.security_context.apparmor";
    refused(
        asked(profile(3, REFERENCE, None)),
        &format!("{field}.profile_type"),
    );
    refused(
        asked(profile(3, "", None)),
        &format!("{field}.profile_type"),
    );
    refused(
        asked(profile(0, REFERENCE, None)),
        &format!("{field}.oci_ref"),
    );
    refused(
        asked(profile(1, "", base(0, ""))),
        &format!("{field}.base_profile"),
    );
    assert_eq!(
        asked(profile(0, "", None)).unwrap(),
        AppArmorChoice::RuntimeDefault
    );
}

#[test]
fn only_seccomp_profiles_are_pulled() {
    assert!(profile_kind(1).is_ok());
    for kind in [0, 2, -1, 100] {
        refused(profile_kind(kind), "profile_kind");
    }
}
