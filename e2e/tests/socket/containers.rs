//! What a container's process finds: its command, its environment, its root.

use cri_api::runtime::v1::{ContainerState, Device};
use e2e::evidence;
use e2e::request::{self, ContainerParts, container, idle, shell, variable};
use e2e::{Daemon, Pod, fails};
use tonic::Code;

const IMAGES: &str = "registry.holdfast.test/config/";

/// What /bin/probe args says of an image, with command and args of the request.
fn args(pod: &Pod<'_>, image: &str, command: &[&str], arguments: &[&str]) -> Vec<String> {
    let name = format!(
        "{}-{}-{}",
        image.replace(['/', ':'], "-"),
        command.len(),
        arguments.len()
    );
    let mut config = container(&name, &format!("{IMAGES}{image}:1"), command);
    config.args = arguments.iter().map(|&word| word.to_owned()).collect();
    let out = pod.output(config);
    out.lines()
        .filter_map(|line| line.strip_prefix("arg "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn command_and_args_replace_entrypoint_and_cmd_as_kubernetes_says() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("args");
    assert_eq!(
        args(&pod, "entrypoint", &[], &[]),
        ["0 /bin/probe", "1 args", "2 one", "3 two words"]
    );
    assert_eq!(
        args(&pod, "entrypoint", &[], &["x"]),
        ["0 /bin/probe", "1 args", "2 x"]
    );
    assert_eq!(
        args(&pod, "entrypoint", &["probe", "args", "y"], &[]),
        ["0 probe", "1 args", "2 y"]
    );
    assert_eq!(
        args(&pod, "entrypoint", &["probe", "args"], &["z"]),
        ["0 probe", "1 args", "2 z"]
    );
    assert_eq!(
        args(&pod, "entrypoint-only", &[], &[]),
        ["0 /bin/probe", "1 args"]
    );
    assert_eq!(args(&pod, "cmd", &[], &[]), ["0 probe", "1 args"]);
    assert_eq!(
        args(&pod, "cmd", &[], &["probe", "args", ""]),
        ["0 probe", "1 args", "2 "]
    );
}

#[test]
fn without_any_command_there_is_no_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("none");
    let image = format!("{IMAGES}empty:1");
    daemon.provide(&image);
    let refused = daemon.try_create(&pod.id, &pod.config, &container("c", &image, &[]));
    fails(refused, Code::InvalidArgument, &["command"]);
    assert!(daemon.containers().is_empty());
}

#[test]
fn variables_come_from_the_image_and_the_request_wins() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("env");
    let mut config = container("c", &format!("{IMAGES}env:1"), &[]);
    let mut odd = variable("BYTES", "");
    odd.value = vec![b'a', 0xff, b'b'];
    config.envs = vec![
        variable("TWICE", "3"),
        variable("OWN", "a b\"c"),
        odd,
        variable("EMPTY2", ""),
    ];
    let (run, _) = pod.finish(config);
    let log = e2e::log::written(&run.log(), "stdout");
    assert!(
        log.windows(14).any(|part| part == b"env BYTES=a\xffb\n"),
        "not UTF-8 is kept"
    );
    let out = String::from_utf8_lossy(&log).into_owned();
    let of = |name: &str| {
        let prefix = format!("env {name}=");
        let found: Vec<_> = out
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect();
        found.join("|")
    };
    assert_eq!(of("TWICE"), "3", "{out}");
    assert_eq!(of("OWN"), "a b\"c");
    assert_eq!(of("PATH"), "/image/bin:/bin");
    assert_eq!(of("EQUALS"), "a=b");
    assert_eq!(of("HOME"), "/image");
    assert_eq!(of("HOSTNAME"), "env");
    assert!(out.contains("env EMPTY=\n") && out.contains("env EMPTY2=\n"));
}

#[test]
fn home_and_path_have_defaults() {
    let daemon = Daemon::start();
    let container = daemon.run_named("env").start(idle("c"));
    assert_eq!(container.sh("echo $HOME").trim(), "/root");
    let path = container.sh("echo $PATH");
    assert!(
        path.contains("/usr/local/bin") && path.contains("/bin"),
        "{path}"
    );
}

#[test]
fn the_working_directory_is_the_requests_or_the_images_or_the_root() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("cwd");
    let mut config = shell("request", "pwd");
    config.working_dir = "/tmp/made/deep".into();
    assert_eq!(pod.output(config), "/tmp/made/deep\n");
    let out = pod.output(container("image", &format!("{IMAGES}workdir:1"), &[]));
    assert!(out.contains("cwd /made/on/start\n"), "{out}");
    assert_eq!(pod.output(shell("none", "pwd")), "/\n");
}

#[test]
fn the_usual_files_systems_and_devices_are_there() {
    let daemon = Daemon::start();
    let container = daemon.run_named("root").start(idle("c"));
    let devices = container.sh("ls /dev");
    let mut names: Vec<_> = devices.split_whitespace().collect();
    names.sort_unstable();
    let wanted = [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(names, wanted);
    container.sh("echo x > /dev/null; head -c 4 /dev/zero; head -c 4 /dev/urandom > /dev/null; test -w /dev/full");
    for (point, kind) in [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/mqueue", "mqueue"),
        ("/dev/shm", "tmpfs"),
        ("/", "overlay"),
    ] {
        let mounts = evidence::mounts(container.pid());
        let mount = mounts
            .iter()
            .find(|mount| mount.point.to_str() == Some(point));
        assert_eq!(
            mount.map(|mount| mount.kind.as_str()),
            Some(kind),
            "{point}"
        );
    }
    let mounts = evidence::mounts(container.pid());
    let sys = mounts
        .iter()
        .find(|mount| mount.point.to_str() == Some("/sys"))
        .unwrap();
    assert!(sys.options.contains(&"ro".to_owned()), "{}", sys.line);
    // The one on top counts.
    let cgroup = mounts
        .iter()
        .rev()
        .find(|mount| mount.point.starts_with("/sys/fs/cgroup"))
        .unwrap();
    assert!(cgroup.options.contains(&"ro".to_owned()), "{}", cgroup.line);
    // Making a node is harmless, opening it is refused.
    let out = container.exec(&["sh", "-c", "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda"]);
    assert!(
        out.code != 0 && out.stderr.contains("not permitted"),
        "{out:?}"
    );
    container.sh("grep -q localhost /etc/hosts");
}

#[test]
fn the_root_is_writable_and_private_to_a_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("root");
    let [a, b] = ["a", "b"].map(|name| pod.start(idle(name)));
    a.sh("echo mine > /tmp/file; rm /bin/vi; mkdir /new");
    b.sh("test ! -e /tmp/file; test -e /bin/vi; test ! -e /new");
    assert_eq!(a.sh("stat -c '%a %u' /").trim(), "755 0");
}

#[test]
fn a_read_only_root_stays_as_it_is() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ro");
    let mut config = idle("c");
    config.security().readonly_rootfs = true;
    let container = pod.start(config);
    let out = container.exec(&["sh", "-c", "echo x > /file"]);
    assert!(out.code != 0 && out.stderr.contains("Read-only"), "{out:?}");
    container.sh("echo x > /dev/shm/file");
    let mounts = evidence::mounts(container.pid());
    let root = mounts
        .iter()
        .find(|mount| mount.point.to_str() == Some("/"))
        .unwrap();
    assert!(root.options.contains(&"ro".to_owned()), "{}", root.line);
}

#[test]
fn no_overlay_mount_is_ever_seen_on_the_host() {
    let daemon = Daemon::start();
    let container = daemon.run_named("mounts").start(idle("c"));
    let overlay = |mounts: &[e2e::machine::Mount]| {
        let ours = |mount: &&e2e::machine::Mount| {
            mount.kind == "overlay" && mount.line.contains(&daemon.place.tag)
        };
        mounts.iter().filter(ours).count()
    };
    assert_eq!(overlay(&e2e::machine::mounts("self")), 0);
    assert_eq!(overlay(&e2e::machine::mounts(&daemon.pid().to_string())), 0);
    let inside = evidence::mounts(container.pid());
    assert!(inside.iter().any(|mount| mount.kind == "overlay"));
    // One host mount a pod: its network namespace.
    let host = e2e::machine::mounts("self");
    let ours: Vec<_> = host
        .iter()
        .filter(|mount| mount.line.contains(&daemon.place.tag))
        .collect();
    assert!(
        ours.iter()
            .all(|mount| mount.kind == "nsfs" || mount.point == daemon.place.netns()),
        "{ours:?}"
    );
}

#[test]
fn the_mount_table_of_a_container_shows_nothing_of_the_host() {
    let daemon = Daemon::start();
    let container = daemon.run_named("mounts").start(idle("c"));
    let inside = evidence::mounts(container.pid());
    assert!(inside.len() < 40, "{} mounts", inside.len());
    for mount in &inside {
        assert!(
            !mount.point.starts_with(&daemon.place.dir),
            "{}",
            mount.line
        );
    }
}

#[test]
fn a_terminal_is_one_and_merges_the_streams() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("tty");
    let mut config = shell(
        "c",
        "probe tty; tty; echo to-stderr >&2; ls -l /dev/console",
    );
    config.tty = true;
    let (run, status) = pod.finish(config);
    assert_eq!(status.exit_code, 0);
    let log = run.log();
    assert!(log.iter().all(|line| line.stream == "stdout"));
    let out = run.stdout();
    assert!(out.contains("1 1 1"), "{out}");
    assert!(
        out.contains("/dev/pts/0") || out.contains("/dev/console"),
        "{out}"
    );
    assert!(out.contains("to-stderr"));
    let out = pod.output(shell("plain", "probe tty"));
    assert!(out.starts_with("0 0 0"), "{out}");
}

#[test]
fn standard_input_is_empty_unless_asked_for() {
    let daemon = Daemon::start();
    let (_, status) = daemon
        .run_named("stdin")
        .finish(shell("c", "cat; readlink /proc/self/fd/0"));
    assert_eq!(status.exit_code, 0);
}

#[test]
fn a_device_of_the_request_is_there_and_allowed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("device");
    let mut config = idle("c");
    config.devices = vec![Device {
        container_path: "/dev/my-null".into(),
        host_path: "/dev/null".into(),
        permissions: "rw".into(),
    }];
    let container = pod.start(config);
    assert_eq!(container.sh("stat -c '%t:%T' /dev/my-null").trim(), "1:3");
    container.sh("echo x > /dev/my-null");
    let mut config = idle("missing");
    config.devices = vec![Device {
        container_path: "/dev/x".into(),
        host_path: "/dev/no-such-device".into(),
        permissions: "rw".into(),
    }];
    let refused = daemon
        .try_create(&pod.id, &pod.config, &config)
        .and_then(|id| daemon.try_start(&id));
    let status = refused.unwrap_err();
    assert!(status.message().contains("/dev/no-such-device"), "{status}");
}

#[test]
fn devices_that_were_not_asked_for_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("device");
    // With CAP_MKNOD a node can be made; opening it is another matter.
    let out =
        pod.start(idle("c"))
            .exec(&["sh", "-c", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem"]);
    assert_ne!(out.code, 0);
    assert!(out.stderr.contains("not permitted"), "{out:?}");
}

#[test]
fn a_start_that_fails_says_which_step_and_leaves_code_128() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("fails");
    let cases = [
        ("missing", vec!["/no/such/program"], "/no/such/program"),
        ("path", vec!["no-such-program"], "no-such-program"),
        ("directory", vec!["/etc"], "/etc"),
        ("not-executable", vec!["/etc/passwd"], "/etc/passwd"),
    ];
    for (name, command, word) in cases {
        let failing = pod.create(container(name, request::BUSYBOX, &command));
        let status = daemon.try_start(&failing.id).unwrap_err();
        assert!(status.message().contains(word), "{name}: {status}");
        let after = failing.status();
        assert_eq!(after.state(), ContainerState::ContainerExited, "{name}");
        assert_eq!(after.exit_code, 128, "{name}");
        assert!(after.message.contains(word), "{name}: {}", after.message);
        assert!(
            after.finished_at > 0 && !after.reason.is_empty(),
            "{name}: {after:?}"
        );
    }
    // The pod keeps running.
    pod.finish(shell("fine", "true"));
}

#[test]
fn a_program_of_an_image_that_is_not_there_fails_at_the_start() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("fails");
    let failing = pod.create(container("c", &format!("{IMAGES}no-such-program:1"), &[]));
    let status = daemon.try_start(&failing.id).unwrap_err();
    assert!(status.message().contains("/no/such/program"), "{status}");
    assert!(
        status.message().to_lowercase().contains("no such file"),
        "{status}"
    );
}

#[test]
fn what_an_image_has_at_its_declared_volumes_is_there() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("volumes");
    let run = pod.start(container(
        "c",
        &format!("{IMAGES}volumes:1"),
        &["sleep", "1000"],
    ));
    assert_eq!(run.sh("cat /data/from-image"), "from the image\n");
    assert_eq!(run.sh("stat -c '%a %u %g' /data").trim(), "750 1000 1000");
    run.sh("touch /data/file");
}

#[test]
fn resolv_conf_is_what_dns_config_says() {
    use cri_api::runtime::v1::DnsConfig;
    let daemon = Daemon::start();
    let mut config = daemon.pod("dns");
    config.dns_config = Some(DnsConfig {
        servers: vec!["10.0.0.10".into(), "fd00::10".into()],
        searches: vec!["a.example".into(), "b.example".into()],
        options: vec!["ndots:5".into(), "edns0".into()],
    });
    let text = daemon
        .run(config)
        .start(idle("c"))
        .sh("cat /etc/resolv.conf");
    let wanted = "search a.example b.example\nnameserver 10.0.0.10\nnameserver fd00::10\noptions ndots:5 edns0\n";
    assert_eq!(text, wanted);
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(
        daemon
            .run_named("host")
            .start(idle("c"))
            .sh("cat /etc/resolv.conf"),
        host
    );
    let mut config = daemon.pod("empty");
    config.dns_config = Some(DnsConfig::default());
    assert_eq!(
        daemon
            .run(config)
            .start(idle("c"))
            .sh("cat /etc/resolv.conf"),
        ""
    );
}
