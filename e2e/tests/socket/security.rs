//! What a container may do, by /proc/PID/status and by trying.

use cri_api::runtime::v1::security_profile::ProfileType;
use cri_api::runtime::v1::{Capability, SecurityProfile};
use e2e::evidence::{capabilities, status};
use e2e::request::{ContainerParts, PodParts, container, idle};
use e2e::{Container, Daemon, fails};
use tonic::Code;

/// The fourteen of Docker and containerd, by their numbers in capabilities(7).
const DEFAULT: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
const NET_ADMIN: u32 = 12;
const CHOWN: u32 = 0;
const SYS_ADMIN: u32 = 21;

fn set(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |set, number| set | 1 << number)
}

/// What this machine lets anybody have.
fn all() -> u64 {
    capabilities(i32::try_from(std::process::id()).unwrap(), "CapBnd")
}

fn profile(kind: ProfileType, localhost: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: localhost.into(),
        ..SecurityProfile::default()
    })
}

fn sets(container: &Container<'_>) -> [u64; 5] {
    let pid = container.pid();
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"].map(|name| capabilities(pid, name))
}

#[test]
fn capabilities_are_the_default_ones_and_what_is_added_and_dropped() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("caps");
    let cases: [(&str, &[&str], &[&str], u64); 7] = [
        ("default", &[], &[], set(&DEFAULT)),
        (
            "add",
            &["NET_ADMIN"],
            &[],
            set(&DEFAULT) | set(&[NET_ADMIN]),
        ),
        ("drop", &[], &["CAP_CHOWN"], set(&DEFAULT) & !set(&[CHOWN])),
        ("none", &[], &["ALL"], 0),
        ("only", &["CHOWN"], &["ALL"], set(&[CHOWN])),
        ("all", &["ALL"], &[], all()),
        ("most", &["ALL"], &["SYS_ADMIN"], all() & !set(&[SYS_ADMIN])),
    ];
    for (name, add, drop, wanted) in cases {
        let mut config = idle(name);
        config.security().capabilities = Some(Capability {
            add_capabilities: add.iter().map(|&of| of.to_owned()).collect(),
            drop_capabilities: drop.iter().map(|&of| of.to_owned()).collect(),
            ..Capability::default()
        });
        let [bounding, permitted, effective, inheritable, ambient] = sets(&pod.start(config));
        assert_eq!(
            bounding, wanted,
            "bounding set of {name}: {bounding:x} {wanted:x}"
        );
        assert_eq!((permitted, effective), (wanted, wanted), "{name}");
        assert_eq!(
            (inheritable, ambient),
            (0, 0),
            "inherited by nobody: {name}"
        );
    }
}

#[test]
fn other_users_have_no_capabilities_but_those_of_files() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("caps");
    let image = "registry.holdfast.test/layers/metadata:1";
    let mut config = container("c", image, &["sleep", "1000"]);
    config.security().run_as_user = Some(cri_api::runtime::v1::Int64Value { value: 1000 });
    let run = pod.start(config.clone());
    let [bounding, permitted, effective, ..] = sets(&run);
    assert_eq!(bounding, set(&DEFAULT));
    assert_eq!((permitted, effective), (0, 0));
    // A file capability of the image works, and a setuid binary.
    assert_eq!(
        run.exec(&["/m/capable", "raw"]).stdout,
        "raw socket opened\n"
    );
    assert_ne!(run.exec(&["probe", "raw"]).code, 0);
    assert!(run.sh("/m/setuid ids").starts_with("uid 1000 0 0"));

    config.metadata.as_mut().unwrap().name = "nnp".into();
    config.security().no_new_privs = true;
    let run = pod.start(config);
    assert_eq!(status(run.pid(), "NoNewPrivs"), "1");
    assert!(
        run.sh("/m/setuid ids").starts_with("uid 1000 1000 1000"),
        "no_new_privs was not in force"
    );
    // By way of a shell: a process that had the capability until its execve may keep it, as with runc.
    assert_ne!(run.exec(&["sh", "-c", "/m/capable raw; exit $?"]).code, 0);
}

#[test]
fn ambient_capabilities_reach_other_users() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.security().run_as_user = Some(cri_api::runtime::v1::Int64Value { value: 1000 });
    config.security().capabilities = Some(Capability {
        add_ambient_capabilities: vec!["NET_RAW".into()],
        ..Capability::default()
    });
    let run = daemon.run_named("ambient").start(config);
    let [_, _, effective, _, ambient] = sets(&run);
    assert_eq!((effective, ambient), (set(&[13]), set(&[13])));
    assert_eq!(run.sh("probe raw"), "raw socket opened\n");
}

#[test]
fn an_unknown_capability_is_refused_by_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("caps");
    let mut config = idle("c");
    let add_capabilities = vec!["NO_SUCH_THING".into()];
    config.security().capabilities = Some(Capability {
        add_capabilities,
        ..Capability::default()
    });
    fails(
        daemon.try_create(&pod.id, &pod.config, &config),
        Code::InvalidArgument,
        &["NO_SUCH_THING"],
    );
}

#[test]
fn the_default_seccomp_profile_is_in_force() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    let mut config = idle("default");
    config.security().seccomp = profile(ProfileType::RuntimeDefault, "");
    // Even the capability does not open what stands behind the filter... but mount is allowed with it.
    let run = pod.start(config);
    assert_eq!(status(run.pid(), "Seccomp"), "2");
    for blocked in [
        "unshare -U true",
        "mount -t tmpfs none /tmp",
        "chroot /proc true; unshare -m true",
    ] {
        let out = run.exec(&["sh", "-c", blocked]);
        let refused = ["not permitted", "permission denied"]
            .iter()
            .any(|word| out.stderr.contains(word));
        assert!(out.code != 0 && refused, "{blocked}: {out:?}");
    }
    assert!(run.sh("probe status").contains("Seccomp:\t2"));

    let mut config = idle("unconfined");
    config.security().seccomp = profile(ProfileType::Unconfined, "");
    // AppArmor's default profile has no rule for user namespaces either.
    config.security().apparmor = profile(ProfileType::Unconfined, "");
    let run = pod.start(config);
    assert_eq!(status(run.pid(), "Seccomp"), "0");
    run.sh("unshare -U true");
}

/// containerd 2.4.2 is asked for its profile for the same capabilities.
#[test]
fn the_default_seccomp_profile_is_that_of_containerd() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    for (name, added) in [
        ("plain", &[][..]),
        ("net", &["NET_ADMIN", "NET_RAW", "SYS_NICE"]),
        ("admin", &["SYS_ADMIN"]),
        (
            "tracer",
            &["SYS_PTRACE", "SYS_TIME", "BPF", "PERFMON", "SYSLOG"],
        ),
        ("all", &["ALL"]),
    ] {
        let mut config = idle(name);
        config.security().seccomp = profile(ProfileType::RuntimeDefault, "");
        let add_capabilities = added.iter().map(|cap| (*cap).to_owned()).collect();
        config.security().capabilities = Some(Capability {
            add_capabilities,
            ..Capability::default()
        });
        let spec = pod.create(config).info()["runtimeSpec"].clone();
        let caps: Vec<String> =
            serde_json::from_value(spec["process"]["capabilities"]["bounding"].clone()).unwrap();
        let theirs = e2e::reference::ask("oci-reference/seccomp", &caps);
        let theirs = rules(&serde_json::from_str(&theirs).unwrap());
        let ours = rules(&spec["linux"]["seccomp"]);
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let surplus: Vec<_> = ours.difference(&theirs).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{name}: missing {missing:?}, surplus {surplus:?}"
        );
        assert!(ours.len() > 300, "only {} rules compared", ours.len());
    }
}

/// Everything that a profile says, a rule for each system call and comparison.
fn rules(profile: &serde_json::Value) -> std::collections::BTreeSet<String> {
    let mut out = std::collections::BTreeSet::new();
    for key in ["defaultAction", "defaultErrnoRet", "architectures"] {
        out.insert(format!("{key} {}", profile[key]));
    }
    for rule in profile["syscalls"].as_array().unwrap() {
        for name in rule["names"].as_array().unwrap() {
            let mut text = format!("{name} {} {}", rule["action"], rule["errnoRet"]);
            for arg in rule["args"].as_array().into_iter().flatten() {
                let second = arg["valueTwo"].as_u64().unwrap_or(0);
                text += &format!(" {} {} {} {second}", arg["index"], arg["op"], arg["value"]);
            }
            out.insert(text);
        }
    }
    out
}

/// By the kernel's own answers: EPERM is the filter's, anything else means that the call came through.
#[test]
fn socket_families_are_those_of_the_default_profile() {
    const EPERM: &str = "1";
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    let mut config = idle("default");
    config.security().seccomp = profile(ProfileType::RuntimeDefault, "");
    let confined = pod.start(config);
    let families = "1 2 10 16 21 38 39 40 41 45 46 100 4294967295";
    let answers = confined.sh(&format!("probe socket {families}"));
    let refused: Vec<&str> = answers
        .lines()
        .filter_map(|line| line.split_once(' ').filter(|(_, errno)| *errno == EPERM))
        .map(|(family, _)| family)
        .collect();
    assert_eq!(
        refused,
        ["38", "40", "46", "100", "4294967295"],
        "{answers}"
    );
    let mut config = idle("unconfined");
    config.security().seccomp = profile(ProfileType::Unconfined, "");
    let open = pod.start(config).sh(&format!("probe socket {families}"));
    assert!(!open.lines().any(|line| line.ends_with(" 1")), "{open}");
}

#[test]
fn a_seccomp_profile_of_the_nodes_own_is_loaded() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    let path = daemon.place.dir.join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;
    std::fs::write(&path, text).unwrap();
    let mut config = idle("own");
    config.security().seccomp = profile(ProfileType::Localhost, &path.display().to_string());
    let out = pod.start(config.clone()).exec(&["mkdir", "/tmp/x"]);
    assert!(
        out.code != 0 && out.stderr.contains("not supported"),
        "{out:?}"
    );

    let refused = |name: &str, reference: &str, word: &str| {
        let mut config = idle(name);
        config.security().seccomp = profile(ProfileType::Localhost, reference);
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        fails(refused, Code::InvalidArgument, &[word]);
    };
    refused("missing", "/no/such/profile.json", "/no/such/profile.json");
    std::fs::write(&path, "{ not json").unwrap();
    refused("broken", &path.display().to_string(), "profile.json");
    refused("relative", "profile.json", "profile.json");
}

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";
const KILL: &str = "SCMP_ACT_KILL";
const KILL_PROCESS: &str = "SCMP_ACT_KILL_PROCESS";
const TRAP: &str = "SCMP_ACT_TRAP";

/// A default action, calls with another action, whether no_new_privs is set, and what is said of a start that fails.
type Forbidding<'a> = (&'a str, &'a [&'a str], &'a str, bool, Option<&'a str>);

/// Puts a profile into a file of the host.
fn write_profile(daemon: &Daemon, name: &str, text: &str) -> String {
    let path = daemon.place.dir.join(format!("{name}.json"));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Behind the filter a start calls execve, and capset where it gives up CAP_SYS_ADMIN. runc 1.5 needs more there
/// (prctl, setgroups, setgid, setuid, getcwd …): what starts with it starts here.
#[test]
fn a_profile_that_forbids_the_start_is_named() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    let before: &[&str] = &["setgroups", "setresgid", "setresuid", "capget", "umask"];
    let cases: [Forbidding<'_>; 11] = [
        (ALLOW, before, KILL_PROCESS, false, None),
        (ALLOW, before, ERRNO, true, None),
        (ALLOW, &["capset", "setgroups"], TRAP, true, None),
        (ALLOW, &["capset"], ERRNO, false, Some("forbids capset;")),
        (
            ALLOW,
            &["capset"],
            KILL_PROCESS,
            false,
            Some("forbids capset;"),
        ),
        (ALLOW, &["execve"], ERRNO, true, Some("forbids execve;")),
        (ALLOW, &["execve"], TRAP, false, Some("forbids execve;")),
        (
            ERRNO,
            &["read", "write"],
            ALLOW,
            true,
            Some("forbids execve;"),
        ),
        (
            ERRNO,
            &["read", "write"],
            ALLOW,
            false,
            Some("forbids execve and capset;"),
        ),
        (KILL, &["capset"], ALLOW, false, Some("forbids execve;")),
        (KILL_PROCESS, &[], ALLOW, true, Some("forbids execve;")),
    ];
    for (index, (default, names, action, no_new_privs, wanted)) in cases.into_iter().enumerate() {
        let text = format!(
            r#"{{"defaultAction":"{default}","syscalls":[{{"names":{names:?},"action":"{action}"}}]}}"#
        );
        let path = write_profile(&daemon, &index.to_string(), &text);
        let mut config = idle(&format!("c{index}"));
        config.security().seccomp = profile(ProfileType::Localhost, &path);
        config.security().no_new_privs = no_new_privs;
        let container = pod.create(config);
        let started = daemon.try_start(&container.id);
        match wanted {
            None => {
                assert!(started.is_ok(), "{text}: {started:?}");
                assert_eq!(container.exec(&["true"]).code, 0, "{text}");
                let [.., effective, inheritable, ambient] = sets(&container);
                assert_eq!(
                    (effective, inheritable, ambient),
                    (set(&DEFAULT), 0, 0),
                    "{text}"
                );
            }
            Some(word) => {
                let words = [
                    "security_context.seccomp.localhost_ref",
                    path.as_str(),
                    word,
                ];
                fails(started, Code::FailedPrecondition, &words);
            }
        }
    }
}

/// The kubelet gives a pod's profile to its pause too, and it was written for the containers.
#[test]
fn a_pause_lives_behind_the_profile_of_its_containers() {
    let daemon = Daemon::start();
    for (name, text) in [
        (
            "few",
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["execve","read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        ),
        ("kill", r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#),
        (
            "wait",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["rt_sigtimedwait","wait4"],"action":"SCMP_ACT_TRAP"}]}"#,
        ),
    ] {
        let path = write_profile(&daemon, name, text);
        let mut config = daemon.pod(name);
        config.security().seccomp = profile(ProfileType::Localhost, &path);
        let pod = daemon.run(config);
        assert_eq!(status(pod.pause(), "Seccomp"), "2");
        // It reaps, and ends when it is told to.
        pod.start(idle("c")).sh("sh -c 'true &'");
        assert_eq!(status(pod.pause(), "State"), "S (sleeping)", "{name}");
        pod.stop();
    }
}

/// A profile that was replaced or deleted after the creation took effect at the start, or kept commands from running.
/// containerd 2.4 has the profile in the Spec that it writes at the creation.
#[test]
fn the_profile_of_the_creation_is_what_every_process_has() {
    let daemon = Daemon::start();
    let no_mkdir = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let path = write_profile(&daemon, "changes", no_mkdir);
    let mut config = daemon.pod("pinned");
    config.security().seccomp = profile(ProfileType::Localhost, &path);
    let pod = daemon.run(config);
    let mut config = idle("c");
    config.security().seccomp = profile(ProfileType::Localhost, &path);
    let container = pod.create(config);
    write_profile(&daemon, "changes", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    container.start();
    let refused = || container.exec(&["mkdir", "/made"]).code != 0;
    assert!(refused(), "the new profile is in force");
    std::fs::remove_file(&path).unwrap();
    assert!(refused() && container.exec(&["true"]).code == 0);
    daemon.kill9();
    daemon.restart();
    assert!(refused() && container.exec(&["true"]).code == 0);
    assert_eq!(
        container.info()["runtimeSpec"]["linux"]["seccomp"]["syscalls"][0]["names"][0],
        "mkdir"
    );
}

/// What no filter can do is refused with the field, the file and the place in it, at once.
#[test]
fn a_profile_that_cannot_be_compiled_is_named() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("seccomp");
    for (index, (place, text)) in [
        ("$.defaultAction", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#),
        ("$.listenerPath", r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x"}"#),
        ("$.flags", r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#),
        (
            "$.syscalls[1]",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_LOG"},
            {"names":["mkdirat"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        ),
        (
            "$.syscalls[0]",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":70000}]}"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = write_profile(&daemon, &index.to_string(), text);
        let words = ["security_context.seccomp.localhost_ref", path.as_str(), place];
        let mut config = idle("c");
        config.security().seccomp = profile(ProfileType::Localhost, &path);
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        fails(refused, Code::InvalidArgument, &words);
        let mut config = daemon.pod("refused");
        config.security().seccomp = profile(ProfileType::Localhost, &path);
        fails(daemon.try_run(&config), Code::InvalidArgument, &words);
    }
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_are_read_only() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("masked");
    let mut config = idle("c");
    config.security().masked_paths = vec![
        "/proc/interrupts".into(),
        "/sys/firmware".into(),
        "/no/such/path".into(),
    ];
    config.security().readonly_paths = vec!["/proc/sys".into(), "/proc/bus".into(), "/none".into()];
    // AppArmor's default profile forbids some of these paths as well.
    config.security().apparmor = profile(ProfileType::Unconfined, "");
    let run = pod.start(config);
    assert_eq!(run.sh("ls /sys/firmware"), "");
    assert_eq!(run.sh("head -c 10 /proc/interrupts | wc -c").trim(), "0");
    assert_eq!(
        run.sh("stat -c '%t:%T' /proc/interrupts").trim(),
        "1:3",
        "the real /dev/null"
    );
    let out = run.exec(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    assert!(out.code != 0 && out.stderr.contains("Read-only"), "{out:?}");
    // Empty lists mask nothing, as procMount: Unmasked wants it.
    let mut config = idle("open");
    let add_capabilities = vec!["NET_ADMIN".to_owned()];
    config.security().capabilities = Some(Capability {
        add_capabilities,
        ..Capability::default()
    });
    let run = pod.start(config);
    run.sh(
        "test $(head -c 10 /proc/interrupts | wc -c) = 10; echo 1 > /proc/sys/net/ipv4/ip_forward",
    );
}

#[test]
fn a_privileged_container_has_everything() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("privileged");
    config.security().privileged = true;
    let pod = daemon.run(config);
    let mut config = idle("c");
    config.security().privileged = true;
    let run = pod.start(config);
    assert_eq!(sets(&run)[2], all());
    assert_eq!(status(run.pid(), "Seccomp"), "0");
    run.sh("mount -t tmpfs none /tmp && umount /tmp");
    assert!(run.sh("ls /dev").lines().count() > 20, "the host's devices");
    run.sh("test -w /sys/class/net && head -c 1 /dev/kmsg >/dev/null || test -e /dev/kmsg || true");
}

#[test]
fn privileges_need_a_privileged_pod() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("plain");
    let mut config = idle("c");
    config.security().privileged = true;
    fails(
        daemon.try_create(&pod.id, &pod.config, &config),
        Code::InvalidArgument,
        &["privileged"],
    );
}

#[test]
fn the_pause_is_confined_as_well() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("pause");
    config.security().seccomp = profile(ProfileType::RuntimeDefault, "");
    let pod = daemon.run(config);
    assert_eq!(status(pod.pause(), "Seccomp"), "2");
    assert_eq!(capabilities(pod.pause(), "CapEff"), 0);
    assert_eq!(status(pod.pause(), "NoNewPrivs"), "1");
    let exe = std::fs::read_link(format!("/proc/{}/exe", pod.pause())).unwrap();
    assert!(
        exe.display().to_string().contains("memfd:"),
        "{}",
        exe.display()
    );
}

#[test]
fn the_kernel_spares_shim_and_pause_when_memory_runs_out() {
    const SYS_RESOURCE: u32 = 24;
    if all() & set(&[SYS_RESOURCE]) == 0 {
        e2e::skip!(
            "this machine lacks CAP_SYS_RESOURCE, without which oom_score_adj cannot be lowered"
        );
    }
    let daemon = Daemon::start();
    let pod = daemon.run_named("spared");
    let shim = i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap();
    for pid in [pod.pause(), shim] {
        assert_eq!(
            e2e::evidence::read(format!("/proc/{pid}/oom_score_adj").as_ref()),
            "-998"
        );
    }
}
