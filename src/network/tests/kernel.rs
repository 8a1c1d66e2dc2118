//! Against the kernel, in network namespaces made by the tests: the machine's own is not touched.

#![expect(
    clippy::disallowed_methods,
    reason = "`ip` and `nft` are the independent witnesses"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::super::netns::{self, NetnsName};
use super::super::{Attachment, BridgeNetwork, BridgeSettings, interface_stats, loopback_up};

/// A pod's namespace as the shim hands it over.
struct Pod {
    netns: File,
    control: OwnedFd,
}

/// Runs `work` on a thread that is alone in a new network namespace; None without the right to make one.
fn in_new_netns<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| unshare(CloneFlags::CLONE_NEWNET).ok().map(|()| work()))
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `work` on a thread inside a pod.
fn inside<T: Send>(pod: &Pod, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(&pod.netns, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pod() -> Pod {
    in_new_netns(|| Pod {
        netns: File::open("/proc/thread-self/ns/net").unwrap(),
        control: socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .unwrap(),
    })
    .unwrap()
}

fn network(dir: &tempfile::TempDir) -> BridgeNetwork {
    BridgeNetwork::new(BridgeSettings {
        name: "hftest0".to_owned(),
        subnet4: Some("10.123.0.0/24".parse().unwrap()),
        subnet6: Some("fd12:3::/64".parse().unwrap()),
        mtu: Some(1400),
        state_dir: dir.path().join("leases"),
        netns_dir: dir.path().join("netns"),
    })
    .unwrap()
}

fn attach(network: &BridgeNetwork, owner: &str, pod: &Pod) -> Attachment {
    network
        .attach(owner, pod.netns.as_fd(), pod.control.as_fd())
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

/// The output of a command in the calling thread's namespace.
fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Connects from one pod to another and returns the address that the server saw.
fn talk(from: &Pod, to: &Pod, address: IpAddr) -> IpAddr {
    let listener = inside(to, || {
        TcpListener::bind(SocketAddr::new(address, 0)).unwrap()
    });
    let target = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            peer.ip()
        });
        inside(from, || {
            let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(5)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        });
        server.join().unwrap()
    })
}

#[test]
fn two_pods_talk_over_both_families() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = network(&dir);
        network.ensure().unwrap();
        let (a, b) = (pod(), pod());
        let first = attach(&network, "pod-a", &a);
        let second = attach(&network, "pod-b", &b);
        assert_eq!(first.ips[0].to_string(), "10.123.0.2");
        assert_eq!(first.ips[1].to_string(), "fd12:3::2");
        for ip in &second.ips {
            let seen = talk(&a, &b, *ip);
            assert!(first.ips.contains(&seen), "{seen} is not pod A");
            // To itself, over lo.
            talk(&b, &b, *ip);
        }
        let routes = inside(&a, || run("ip route")) + &inside(&a, || run("ip -6 route"));
        assert!(
            routes.contains("default via 10.123.0.1 dev eth0"),
            "{routes}"
        );
        assert!(
            routes.contains("default via fd12:3::1 dev eth0"),
            "{routes}"
        );
        let link = inside(&a, || run("ip -o link show eth0"));
        assert!(
            link.contains("mtu 1400") && link.contains("state UP"),
            "{link}"
        );
        assert!(inside(&a, || run("ip -o link show lo")).contains("LOWER_UP"));
        let host = run(&format!("ip -d -o link show {}", first.host_interface));
        assert!(
            host.contains("hairpin on") && host.contains("alias pod-a"),
            "{host}"
        );
        let counters = interface_stats(a.control.as_fd()).unwrap();
        let eth0 = counters.iter().find(|link| link.name == "eth0").unwrap();
        assert!(eth0.rx_bytes > 0 && eth0.tx_packets > 0, "{eth0:?}");
    });
}

#[test]
fn repeats_are_safe_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let links_before = run("ip -o link");
        let network = network(&dir);
        network.ensure().unwrap();
        network.ensure().unwrap();
        let a = pod();
        let first = attach(&network, "pod-a", &a);
        let index = inside(&a, || run("ip -o link show eth0"));
        assert_eq!(attach(&network, "pod-a", &a), first);
        assert_eq!(
            inside(&a, || run("ip -o link show eth0")),
            index,
            "the pair was kept"
        );
        // The same pod in a new namespace: its old pair gives way.
        let again = pod();
        assert_eq!(attach(&network, "pod-a", &again), first);
        assert!(!inside(&a, || run("ip -o link")).contains("eth0"));
        network.detach("pod-a").unwrap();
        network.detach("pod-a").unwrap();
        network.detach("never seen").unwrap();
        network.flush().unwrap();
        network.flush().unwrap();
        assert!(!run("ip -o link").contains(&first.host_interface));
        assert_eq!(
            std::fs::read_dir(dir.path().join("leases"))
                .unwrap()
                .count(),
            0
        );
        network.teardown().unwrap();
        network.teardown().unwrap();
        assert_eq!(run("ip -o link"), links_before);
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn a_detached_pod_is_cut_off_at_once_and_deleted_soon() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = network(&dir);
        network.ensure().unwrap();
        let (a, b) = (pod(), pod());
        let first = attach(&network, "a", &a);
        attach(&network, "b", &b);
        network.detach("a").unwrap();
        let listener = inside(&a, || TcpListener::bind((first.ips[0], 7777)).unwrap());
        let refused = inside(&b, || {
            TcpStream::connect_timeout(
                &SocketAddr::new(first.ips[0], 7777),
                Duration::from_millis(50),
            )
        });
        assert!(refused.is_err());
        drop(listener);
        let deadline = Instant::now() + Duration::from_secs(5);
        while run("ip -o link").contains(&first.host_interface) {
            assert!(Instant::now() < deadline, "the reaper did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Detached and attached again before the reaper comes.
        network.detach("b").unwrap();
        let again = attach(&network, "b", &b);
        std::thread::sleep(Duration::from_millis(100));
        assert!(run("ip -o link").contains(&again.host_interface));
        network.detach("b").unwrap();
        // The end of the network waits for the reaper.
        drop(network);
        assert!(!run("ip -o link").contains(&again.host_interface));
    });
}

#[test]
fn a_new_daemon_finds_what_the_last_one_left() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let (a, b, c) = (pod(), pod(), pod());
        let first = network(&dir);
        first.ensure().unwrap();
        let stays = attach(&first, "stays", &a);
        let goes = attach(&first, "goes", &b);
        drop(first);
        let second = network(&dir);
        second.ensure().unwrap();
        assert_eq!(second.reconcile(&["stays"]).unwrap(), 3);
        let links = run("ip -o link");
        assert!(links.contains(&stays.host_interface) && !links.contains(&goes.host_interface));
        let new = attach(&second, "new", &c);
        assert!(!new.ips.iter().any(|ip| stays.ips.contains(ip)));
        talk(&c, &a, stays.ips[0]);
        // Its namespace is gone before it is detached, and its end of the pair with it.
        drop(c);
        second.detach("new").unwrap();
        second.teardown().unwrap();
    });
}

/// The interfaces of this namespace. Whether they have a carrier changes by itself.
fn link_names() -> Vec<String> {
    let links = run("ip -o link");
    links
        .lines()
        .filter_map(|line| line.split(": ").nth(1).map(str::to_owned))
        .collect()
}

#[test]
fn a_full_subnet_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = BridgeNetwork::new(BridgeSettings {
            name: "hftiny".to_owned(),
            subnet4: Some("10.124.0.0/30".parse().unwrap()),
            subnet6: None,
            mtu: None,
            state_dir: dir.path().join("leases"),
            netns_dir: dir.path().join("netns"),
        })
        .unwrap();
        network.ensure().unwrap();
        let (a, b) = (pod(), pod());
        attach(&network, "a", &a);
        let before = link_names();
        let full = network
            .attach("b", b.netns.as_fd(), b.control.as_fd())
            .unwrap_err();
        let cause = std::error::Error::source(&full).unwrap().to_string();
        assert!(
            cause.contains("10.124.0.0/30") && cause.contains("all 1"),
            "{cause}"
        );
        assert_eq!(link_names(), before);
    });
}

#[test]
fn a_pod_with_an_eth0_of_its_own_is_refused_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = network(&dir);
        network.ensure().unwrap();
        let a = pod();
        inside(&a, || run("ip link add eth0 type veth peer name other"));
        let before = run("ip -o link");
        let refused = network
            .attach("a", a.netns.as_fd(), a.control.as_fd())
            .unwrap_err();
        assert!(refused.to_string().contains("pod a"), "{refused}");
        assert_eq!(run("ip -o link"), before);
        assert_eq!(
            std::fs::read_dir(dir.path().join("leases"))
                .unwrap()
                .count(),
            0
        );
    });
}

#[test]
fn the_outside_sees_the_hosts_address() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = network(&dir);
        network.ensure().unwrap();
        let rules = run("nft list table inet holdfast-hftest0");
        for part in [
            "type nat hook postrouting priority srcnat",
            "ip saddr 10.123.0.0/24 oifname != \"hftest0\" masquerade",
            "ip6 saddr fd12:3::/64 oifname != \"hftest0\" masquerade",
        ] {
            assert!(rules.contains(part), "{part} is not in {rules}");
        }
        let outside = pod();
        let pin = NetnsName::new("outside").unwrap();
        let path = netns::pin(&network.settings().netns_dir, &pin, outside.netns.as_fd()).unwrap();
        let netns = path.to_str().unwrap().to_owned();
        // `ip` takes a namespace by the name of a file under /run/netns or by a path.
        run(&format!(
            "ip link add out0 type veth peer name eth0 netns {netns}"
        ));
        run("ip addr add 192.0.2.1/24 dev out0");
        run("ip addr add 2001:db8::1/64 dev out0 nodad");
        run("ip link set out0 up");
        inside(&outside, || {
            run("ip addr add 192.0.2.2/24 dev eth0");
            run("ip addr add 2001:db8::2/64 dev eth0 nodad");
            run("ip link set eth0 up");
        });
        netns::unpin(&network.settings().netns_dir, &pin).unwrap();
        let a = pod();
        attach(&network, "a", &a);
        for (server, seen) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            assert_eq!(
                talk(&a, &outside, server.parse().unwrap()).to_string(),
                seen
            );
        }
    });
}

#[test]
fn errors_carry_the_kernels_words() {
    let dir = tempfile::tempdir().unwrap();
    in_new_netns(|| {
        let network = network(&dir);
        let a = pod();
        let error = network
            .attach("a", a.netns.as_fd(), a.control.as_fd())
            .unwrap_err();
        assert!(error.to_string().contains("hftest0"), "{error}");
        run("ip link add hftest0 type veth peer name other");
        let error = network.ensure().unwrap_err();
        assert!(error.to_string().contains("veth"), "{error}");
        let not_netlink = File::open("/dev/null").unwrap();
        assert!(loopback_up(not_netlink.as_fd()).is_err());
        // An address family that is not there, told by the kernel itself.
        let mut batch = super::super::netlink::Batch::new();
        super::super::link::push_default_route(&mut batch, 1, "10.9.9.9".parse().unwrap());
        let mut socket =
            super::super::netlink::NetlinkSocket::open(SockProtocol::NetlinkRoute).unwrap();
        let error = socket.run(batch).unwrap_err();
        assert!(error.to_string().contains("via 10.9.9.9: "), "{error}");
    });
}

#[test]
fn pins_are_seen_repeated_and_removed() {
    // A mount namespace of the thread's own: a test that is killed leaves no mount.
    std::thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            return;
        }
        nix::mount::mount(
            None::<&str>,
            "/",
            None::<&str>,
            nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (pod(), pod());
        let name = NetnsName::new("hf-one").unwrap();
        let path = netns::pin(dir.path(), &name, a.netns.as_fd()).unwrap();
        netns::pin(dir.path(), &name, a.netns.as_fd()).unwrap();
        let inode = |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let pinned = netns::open(dir.path(), &name).unwrap().unwrap();
        assert_eq!(inode(&pinned), inode(&a.netns));
        netns::pin(dir.path(), &name, b.netns.as_fd()).unwrap();
        let pinned = netns::open(dir.path(), &name).unwrap().unwrap();
        assert_eq!(inode(&pinned), inode(&b.netns));
        assert_eq!(netns::list(dir.path(), "hf-").unwrap(), vec![name.clone()]);
        netns::unpin(dir.path(), &name).unwrap();
        netns::unpin(dir.path(), &name).unwrap();
        assert!(!path.exists());
        assert!(netns::open(dir.path(), &name).unwrap().is_none());
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!mounts.contains("hf-one"));
    })
    .join()
    .unwrap();
}
