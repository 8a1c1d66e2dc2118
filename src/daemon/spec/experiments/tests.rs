use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn parse(name: &str, value: &str) -> Result<Experiments, ExperimentError> {
    let key = format!("{PREFIX}{name}");
    Experiments::parse(&BTreeMap::from([(key, value.to_owned())]))
}

#[test]
fn another_pod_is_named_by_id_or_by_name() {
    let found = |value| parse("join-network", value).unwrap().join_network.unwrap();
    assert_eq!(found("0a1b2c"), PodReference::Id("0a1b2c".into()));
    let named = found("default/web");
    assert_eq!(named.to_string(), "default/web");
    assert!(matches!(named, PodReference::Name { .. }));
    let long = "a".repeat(65);
    for wrong in [
        "", "web", "0A", "/web", "default/", "a/b/c", "a b/c", "a/b\n", &long,
    ] {
        let error = parse("join-network", wrong).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{PREFIX}join-network: invalid value "))
                && error.contains("NAMESPACE/NAME"),
            "{error}"
        );
    }
}

#[test]
fn offsets_have_units() {
    let found = |value| parse("time-offsets", value).map(|all| all.time_offsets.unwrap());
    let offsets = found("monotonic=-3600s boottime=86400s").unwrap();
    assert_eq!(
        (offsets.monotonic, offsets.boottime),
        (-3_600_000_000_000, 86_400_000_000_000)
    );
    assert_eq!(found(" boottime=-5ns ").unwrap().boottime, -5);
    for wrong in [
        "",
        "boottime",
        "boottime=",
        "boottime=5",
        "boottime=5m",
        "boottime=s",
        "boottime=1.5s",
        "boottime=1s,monotonic=1s",
        "boottime=1s boottime=2s",
        "realtime=1s",
        "boottime=9223372036854775807s",
        "boottime=4611686019s",
        "boottime=99999999999999999999ns",
    ] {
        let error = found(wrong).unwrap_err();
        assert_eq!(error.value, wrong);
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn negative_offsets_are_seconds_below_and_nanoseconds_above() {
    assert_eq!(seconds_and_nanos(-1), (-1, 999_999_999));
    assert_eq!(seconds_and_nanos(-3_600_000_000_000), (-3600, 0));
    assert_eq!(seconds_and_nanos(1_500_000_000), (1, 500_000_000));
}

#[test]
fn containers_share_as_they_are_told() {
    let all = parse("namespaces.web", "uts=own ipc=pod cgroup=host").unwrap();
    let web = all.of_container("web");
    assert_eq!((web.uts, web.ipc), (Sharing::Own, Sharing::Pod));
    assert_eq!(web.cgroup, Some(CgroupSharing::Host));
    assert_eq!(all.of_container("other"), ContainerSharing::default());
    assert!(!all.shares_cgroup());
    assert!(
        parse("namespaces.web", "cgroup=pod")
            .unwrap()
            .shares_cgroup()
    );
    for wrong in [
        "",
        "uts",
        "uts=host",
        "net=own",
        "uts=own uts=pod",
        "uts=own,ipc=own",
    ] {
        assert!(parse("namespaces.web", wrong).is_err(), "{wrong}");
    }
    for name in ["namespaces.", "namespaces.a/b", "namespaces.a b"] {
        let error = parse(name, "uts=own").unwrap_err();
        assert!(error.remedy.contains("namespaces.CONTAINER"), "{error}");
    }
}

#[test]
fn unknown_experiments_are_refused_and_other_annotations_passed_over() {
    for name in ["", "join", "joinnetwork", "namespaces", "time-offsets.web"] {
        let error = parse(name, "x").unwrap_err().to_string();
        assert!(error.contains("no such experiment"), "{error}");
    }
    let others = [
        (PREFIX.trim_end_matches('/').to_owned(), String::new()),
        (format!("x/{PREFIX}join-network"), String::new()),
    ];
    assert!(Experiments::parse(&others.into()).unwrap().is_empty());
}

#[test]
fn a_record_without_experiments_has_no_field_for_them() {
    let config = crate::spec::PodConfig::default();
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("experiments"), "{text}");
    let again: crate::spec::PodConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again, config);
}

proptest! {
    #[test]
    fn any_annotation_is_understood_or_refused(
        name in "(join-network|time-offsets|namespaces\\.[a-z.]{0,4}|.{0,12})",
        value in "(.{0,24}|[a-z]{2,9}=-?[0-9]{1,21}n?s( [a-z]{3,9}=[a-z0-9]{1,5}){0,2})",
    ) {
        match parse(&name, &value) {
            Ok(all) => {
                prop_assert!(!all.is_empty() || name == "time-offsets" || name.starts_with("namespaces."));
                let text = serde_json::to_string(&all).unwrap();
                prop_assert_eq!(serde_json::from_str::<Experiments>(&text).unwrap(), all);
            }
            Err(error) => prop_assert!(error.annotation.starts_with(PREFIX)),
        }
    }
}
