//! Who a process runs as.

use cri_api::runtime::v1::Int64Value;
use e2e::Daemon;
use e2e::evidence::status;
use e2e::request::{ContainerParts, container, idle};

use super::image;

/// What looks like a number is not read in part, does not wrap around, and is not looked up as a name: whatever such
/// a user is, it is not root.
#[test]
fn a_user_is_one_number_or_one_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("users");
    let reference = image(&daemon, "users", |tree| {
        let passwd = "root:x:0:0::/:/bin/sh\n5000000000:x:0:0::/:/bin/sh\n1000x:x:0:0::/:/bin/sh\n";
        std::fs::write(tree.join("etc/passwd"), passwd).unwrap();
    });
    let odd = [
        "+0",
        "-0",
        "0x0",
        "0b0",
        "1e3",
        " 0",
        "0 ",
        "\u{661}",
        "1000\n",
        "1000\0",
        "1000:0",
        "1000:",
        ":0",
        "1000,0",
        "5000000000",
        "36893488147419103232",
        "-1",
        "../root",
    ];
    for (number, user) in odd.into_iter().enumerate() {
        let mut config = container(&format!("c{number}"), &reference, &["sleep", "1000"]);
        config.security().run_as_username = user.to_owned();
        if let Ok(run) = pod.attempt(config) {
            assert_ne!(
                status(run.pid(), "Uid").split_whitespace().next(),
                Some("0"),
                "{user:?}"
            );
            let exec = run.exec(&["id", "-u"]);
            assert_ne!(exec.stdout.trim(), "0", "{user:?}");
        }
    }
}

/// A process that changes its group keeps the one that may be denied something.
#[test]
fn the_primary_group_is_a_supplementary_one() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("groups");
    let mut config = idle("c");
    let security = config.security();
    security.run_as_user = Some(Int64Value { value: 1000 });
    security.run_as_group = Some(Int64Value { value: 2000 });
    security.supplemental_groups = vec![3000];
    let run = pod.start(config);
    let groups = status(run.pid(), "Groups");
    for group in ["2000", "3000"] {
        assert!(
            groups.split_whitespace().any(|found| found == group),
            "{groups}"
        );
    }
    let exec = run.sh("grep Groups: /proc/self/status");
    assert!(exec.contains("2000") && exec.contains("3000"), "{exec}");
}
