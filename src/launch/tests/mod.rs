mod children;
mod descriptions;
mod roots;
mod world;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use proptest::prelude::*;

use super::Message;
use super::report::{Position, Reporter, receive};
use super::target::{Kind, ensure, split};
use super::tree::has_propagation;
use holdfast_kernel::sys::descriptor;
use holdfast_kernel::sys::memory::Shared;
use holdfast_wire::Step;
use holdfast_wire::plan::Propagation;
use std::os::fd::AsFd;

#[test]
fn every_step_survives_the_shared_page() {
    for step in [
        Step::Admit,
        Step::HostPath,
        Step::Exec,
        Step::Vanished,
        Step::Control,
    ] {
        let position = Position {
            step,
            index: 65_535,
        };
        assert_eq!(Position::unpack(position.pack()), position);
    }
    assert_eq!(Position::unpack(u32::MAX).step, Step::Vanished);
}

#[test]
fn a_report_arrives_with_its_step_and_errno_and_then_ends() {
    let (shims, childs) = descriptor::packet_pair().unwrap();
    descriptor::set_nonblocking(shims.as_fd()).unwrap();
    let progress = Shared::new().unwrap();
    assert!(receive(&shims).unwrap().is_none());
    let reporter = Reporter::new(childs.as_fd(), progress.number());
    reporter.at(Step::Rlimit, 1);
    reporter.degraded(Errno::EPERM);
    reporter.at(Step::Mount, 3);
    reporter.failed(Errno::ENODEV);
    drop(childs);
    let Some(Message::Degraded { position, errno }) = receive(&shims).unwrap() else {
        panic!()
    };
    assert_eq!(
        (position.step, position.index, errno),
        (Step::Rlimit, 1, Errno::EPERM)
    );
    let Some(Message::Failed { position, errno }) = receive(&shims).unwrap() else {
        panic!()
    };
    assert_eq!(
        (position.step, position.index, errno),
        (Step::Mount, 3, Errno::ENODEV)
    );
    // A test beside this one may just have forked with the child's end; it closes when that child execs or ends.
    let mut waiting = [PollFd::new(shims.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut waiting, 60_000_u16).unwrap(), 1);
    assert!(matches!(receive(&shims).unwrap(), Some(Message::End)));
}

#[test]
fn paths_split_into_directory_and_name() {
    type Split<'a> = (&'a [u8], &'a [u8]);
    let cases: [(&[u8], Split<'_>); 6] = [
        (b"/dev/null", (b"/dev", b"null")),
        (b"/dev/pts/", (b"/dev", b"pts")),
        (b"/dev", (b"/", b"dev")),
        (b"dev", (b"/", b"dev")),
        (b"/", (b"/", b"")),
        (b"", (b"/", b"")),
    ];
    for (path, expected) in cases {
        assert_eq!(split(path), expected);
    }
}

#[test]
fn mountinfo_tells_shared_mounts_from_private_ones() {
    let shared = "36 35 98:0 / /mnt rw,noatime shared:1 - ext3 /dev/root rw";
    let slave = "37 35 98:0 / /mnt rw,noatime master:2 - ext3 /dev/root rw";
    let private = "38 35 98:0 / /mnt/shared:1 rw,noatime - ext3 shared:1 rw";
    for (line, id, to_container, both_ways) in [
        (shared, 36, true, true),
        (slave, 37, true, false),
        (private, 38, false, false),
        (shared, 37, false, false),
    ] {
        assert_eq!(
            has_propagation(line, id, Propagation::Slave),
            to_container,
            "{line}"
        );
        assert_eq!(
            has_propagation(line, id, Propagation::Shared),
            both_ways,
            "{line}"
        );
    }
}

/// A tree of links that lead anywhere, and a place to make in it: nothing comes to lie beside the root.
fn links() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".."),
        Just("."),
        Just("x")
    ];
    let text = (any::<bool>(), proptest::collection::vec(part, 1..6));
    let text = text.prop_map(|(absolute, parts)| {
        format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
    });
    let at = proptest::collection::vec(name, 1..3).prop_map(|parts| parts.join("/"));
    proptest::collection::vec((at, text), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_place_is_outside_the_root(links in links(), target in "(/[abcx.]{1,2}){1,5}") {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        for directory in ["a", "b", "c"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (at, text) in links {
            let _ = std::os::unix::fs::symlink(text, root.join(at));
        }
        let opened = std::fs::File::open(&root).unwrap();
        for kind in [Kind::Directory, Kind::File] {
            if let Ok(place) = ensure(opened.as_fd(), target.as_bytes(), kind) {
                let number = std::os::fd::AsRawFd::as_raw_fd(&place);
                let real = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
                prop_assert!(real.starts_with(&root), "{} leads to {}", target, real.display());
            }
        }
        prop_assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
    }
}
