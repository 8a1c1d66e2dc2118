//! Who a container's processes are.

use cri_api::runtime::v1::{Int64Value, SupplementalGroupsPolicy};
use e2e::evidence;
use e2e::request::{self, ContainerParts, container, idle};
use e2e::{Container, Daemon, fails};
use tonic::Code;

const IMAGES: &str = "registry.holdfast.test/user/";

/// uid, gid and sorted supplementary groups by the kernel.
fn ids(container: &Container<'_>) -> (String, String, Vec<u32>) {
    let pid = container.pid();
    let first = |field: &str| {
        evidence::status(pid, field)
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    let groups = evidence::status(pid, "Groups");
    let mut groups: Vec<u32> = groups
        .split_whitespace()
        .map(|group| group.parse().unwrap())
        .collect();
    groups.sort_unstable();
    (first("Uid"), first("Gid"), groups)
}

fn started<'d>(daemon: &'d Daemon, image: &str) -> Container<'d> {
    let pod = daemon.run_named(&image.replace('/', "-"));
    pod.start(container(
        "c",
        &format!("{IMAGES}{image}:1"),
        &["sleep", "1000"],
    ))
}

#[test]
fn user_of_an_image_by_id_and_by_name() {
    let daemon = Daemon::start();
    // USER, uid, gid, and what /etc/group adds for the user.
    let cases = [
        ("uid", "1234", "5678", vec![5678, 6000, 6001]),
        ("uid-gid", "1234", "4321", vec![4321]),
        ("name", "1234", "5678", vec![5678, 6000, 6001]),
        ("name-group", "1234", "6000", vec![6000]),
        ("name-gid", "1234", "77", vec![77]),
        ("uid-group", "1234", "6001", vec![6001]),
        ("unlisted", "99999", "0", vec![0]),
        // All digits are a number, even if a user is called so.
        ("digits", "7", "0", vec![0]),
    ];
    for (image, uid, gid, groups) in cases {
        let container = started(&daemon, image);
        let (u, g, found) = ids(&container);
        assert_eq!((u.as_str(), g.as_str()), (uid, gid), "{image}");
        if !image.contains("name-") && !image.contains("-g") {
            assert_eq!(found, groups, "groups of {image}");
        }
        let user = container.status().user.and_then(|user| user.linux).unwrap();
        assert_eq!(
            (user.uid.to_string(), user.gid.to_string()),
            (u, g),
            "{image}"
        );
        let mut reported: Vec<_> = user
            .supplemental_groups
            .iter()
            .map(|of| u32::try_from(*of).unwrap())
            .collect();
        reported.sort_unstable();
        assert_eq!(reported, found, "reported groups of {image}");
    }
}

#[test]
fn users_that_do_not_exist_or_do_not_fit_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("bad");
    for (image, word) in [
        ("missing", "nobody-here"),
        ("missing-group", "no-such-group"),
        ("huge", "4294967296"),
        ("wraps", "18446744073709551616"),
        ("negative", "-1"),
    ] {
        let image = format!("{IMAGES}{image}:1");
        daemon.provide(&image);
        let refused = daemon.try_create(&pod.id, &pod.config, &container("c", &image, &["true"]));
        fails(refused, Code::InvalidArgument, &[word]);
    }
    assert!(daemon.containers().is_empty());
}

#[test]
fn the_request_wins_over_the_image() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("request");
    let image = format!("{IMAGES}uid-gid:1");
    let mut config = container("by-id", &image, &["sleep", "1000"]);
    config.security().run_as_user = Some(Int64Value { value: 4000 });
    config.security().run_as_group = Some(Int64Value { value: 4001 });
    let (uid, gid, _) = ids(&pod.start(config));
    assert_eq!((uid.as_str(), gid.as_str()), ("4000", "4001"));

    let mut config = container("by-name", &image, &["sleep", "1000"]);
    config.security().run_as_username = "app".into();
    let (uid, gid, groups) = ids(&pod.start(config));
    assert_eq!((uid.as_str(), gid.as_str()), ("1234", "5678"));
    assert_eq!(groups, [5678, 6000, 6001]);

    let mut config = container("root", &image, &["sleep", "1000"]);
    config.security().run_as_user = Some(Int64Value { value: 0 });
    assert_eq!(ids(&pod.start(config)).0, "0");
}

#[test]
fn supplementary_groups_are_merged_or_strict() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("groups");
    let image = format!("{IMAGES}name:1");
    let mut config = container("merge", &image, &["sleep", "1000"]);
    config.security().supplemental_groups = vec![1111, 2222];
    assert_eq!(
        ids(&pod.start(config.clone())).2,
        [1111, 2222, 5678, 6000, 6001]
    );
    config.metadata.as_mut().unwrap().name = "strict".into();
    config.security().supplemental_groups_policy = SupplementalGroupsPolicy::Strict.into();
    assert_eq!(
        ids(&pod.start(config)).2,
        [1111, 2222, 5678],
        "the primary group stays in the set"
    );
}

#[test]
fn impossible_users_of_a_request_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("bad");
    let refused = |change: &dyn Fn(&mut cri_api::runtime::v1::LinuxContainerSecurityContext),
                   word: &str| {
        let mut config = idle("c");
        change(config.security());
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        fails(refused, Code::InvalidArgument, &[word]);
    };
    refused(
        &|of| of.run_as_group = Some(Int64Value { value: 5 }),
        "run_as_group",
    );
    refused(&|of| of.run_as_user = Some(Int64Value { value: -1 }), "-1");
    refused(
        &|of| of.run_as_user = Some(Int64Value { value: 1 << 32 }),
        "4294967296",
    );
    refused(
        &|of| of.run_as_username = "no-such-user".into(),
        "no-such-user",
    );
    refused(&|of| of.supplemental_groups = vec![-5], "-5");
    let both = |of: &mut cri_api::runtime::v1::LinuxContainerSecurityContext| {
        of.run_as_user = Some(Int64Value { value: 1 });
        of.run_as_username = "root".into();
    };
    refused(&both, "run_as_user");
    assert!(daemon.containers().is_empty());
}

#[test]
fn an_image_without_etc_runs_as_root_and_by_number() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("bare");
    let image = "registry.holdfast.test/probe:1";
    let mut config = container("c", image, &["/bin/probe", "ids"]);
    assert!(
        pod.output(config.clone())
            .starts_with("uid 0 0 0\ngid 0 0 0\n")
    );
    config.metadata.as_mut().unwrap().name = "d".into();
    config.log_path = "d.log".into();
    config.security().run_as_user = Some(Int64Value { value: 12 });
    let out = pod.output(config.clone());
    assert!(out.starts_with("uid 12 12 12\n"), "{out}");
    config.metadata.as_mut().unwrap().name = "e".into();
    config.security().run_as_user = None;
    config.security().run_as_username = "somebody".into();
    fails(
        daemon.try_create(&pod.id, &pod.config, &config),
        Code::InvalidArgument,
        &["somebody"],
    );
}

#[test]
fn what_is_executed_runs_as_the_containers_user() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.security().run_as_user = Some(Int64Value { value: 1000 });
    config.security().supplemental_groups = vec![77];
    let container = daemon.run_named("exec").start(config);
    let out = container.sh("probe ids");
    assert!(
        out.contains("uid 1000 1000 1000") && out.contains(" 77"),
        "{out}"
    );
    assert_ne!(container.exec(&["touch", "/bin/x"]).code, 0);
}

#[test]
fn images_tell_their_user() {
    let daemon = Daemon::start();
    for (image, uid, name) in [
        ("uid", Some(1234), ""),
        ("name", None, "app"),
        ("uid-gid", Some(1234), ""),
    ] {
        let image = format!("{IMAGES}{image}:1");
        daemon.pull(&image);
        let found = daemon.image(&image).unwrap();
        assert_eq!(found.uid.map(|uid| uid.value), uid, "{image}");
        assert_eq!(found.username, name, "{image}");
    }
    daemon.pull(request::BUSYBOX);
}
