//! What a container can make the runtime spend.

use std::fs;
use std::time::Duration;

use cri_api::runtime::v1::{AttachRequest, PodSandboxState};
use e2e::call::{call, must, until};
use e2e::evidence::{cgroup, is_alive, status};
use e2e::request::{ContainerParts, idle, shell};
use e2e::{BUSYBOX, Daemon};

fn resident_kib(pid: i32) -> u64 {
    let resident = status(pid, "VmRSS");
    resident.split(' ').next().unwrap().parse().unwrap()
}

/// What a command of ExecSync writes is kept in the daemon's memory as far as a client takes it.
#[test]
fn the_output_of_a_command_is_bounded() {
    let daemon = Daemon::start();
    let run = daemon.run_named("output").start(idle("c"));
    let before = resident_kib(daemon.pid());
    let script = "head -c 200000000 /dev/zero; head -c 200000000 /dev/zero >&2";
    let answer = must("exec", daemon.try_exec(&run.id, &["sh", "-c", script], 60));
    assert!(answer.stdout.len() + answer.stderr.len() <= 16 << 20);
    let grown = resident_kib(daemon.pid()).saturating_sub(before);
    assert!(grown < 96 << 10, "the daemon grew by {grown} KiB");
}

/// The process that copies a container's output is not counted in it, so that the kernel does not end it where a
/// container has used up its memory.
#[test]
fn what_keeps_a_pod_is_not_counted_in_its_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("keeper");
    let shim = i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap();
    let mut config = shell(
        "c",
        "head -c 200000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero; exit 3",
    );
    config.resources().memory_limit_in_bytes = 16 << 20;
    let limited = pod.create(config);
    limited.start();
    let own = cgroup(limited.pid(), "memory").processes();
    assert!(
        !own.contains(&shim),
        "the shim is in the container's cgroup"
    );
    assert_eq!(limited.wait().exit_code, 3);
    // One that is killed for its memory takes nobody along.
    let mut config = shell("hog", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    config.resources().memory_limit_in_bytes = 16 << 20;
    let (_, ended) = pod.finish(config);
    assert_ne!(ended.exit_code, 0, "{ended:?}");
    assert!(
        is_alive(shim) && resident_kib(shim) < 16 << 10,
        "{} KiB",
        resident_kib(shim)
    );
    assert_eq!(pod.status().state(), PodSandboxState::SandboxReady);
    let log = fs::metadata(limited.log_path()).unwrap().len();
    assert!(log > 200_000_000, "{log}");
}

/// Neither clients that never connect nor those that leave in the middle of their request cost anything for long.
#[test]
fn attaching_leaves_nothing_behind() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("attach");
    daemon.provide(BUSYBOX);
    let mut config = idle("c");
    config.stdin = true;
    let run = pod.start(config);
    let shim = i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap();
    let descriptors = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let attach = || {
        let request = AttachRequest {
            container_id: run.id.clone(),
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let mut clients = daemon.clients();
        must(
            "Attach",
            call(async move { clients.runtime.attach(request).await }),
        )
        .url
    };
    attach();
    let before = (descriptors(daemon.pid()), descriptors(shim));
    let memory = resident_kib(daemon.pid());
    for number in 0..300 {
        let url = attach();
        if number % 3 == 0 {
            // A client that breaks off in the middle of its request.
            let address = url
                .strip_prefix("http://")
                .unwrap()
                .split('/')
                .next()
                .unwrap();
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let path = &url[7 + address.len()..];
            let request = format!(
                "POST {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
            );
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        }
    }
    until("the descriptors", Duration::from_secs(60), || {
        let now = (descriptors(daemon.pid()), descriptors(shim));
        (now.0 <= before.0 + 4 && now.1 <= before.1).then_some(())
    });
    let grown = resident_kib(daemon.pid()).saturating_sub(memory);
    assert!(grown < 16 << 10, "the daemon grew by {grown} KiB");
}
