use holdfast_kernel::sys::pid::Pid;
use std::collections::BTreeMap;

use super::super::kind::Kind;
use super::super::view::{Member, Part, Pod};
use super::layout::{Layout, WIDTH};

fn member(role: Part, name: &str, inodes: &[(Kind, u64)]) -> Member {
    Member {
        role,
        id: format!("id-{name}"),
        name: name.to_owned(),
        image: "image".to_owned(),
        pid: Pid::from_raw(7),
        namespaces: inodes.iter().copied().collect(),
    }
}

/// A pause and four containers; the last one debugs the second: it is in its pid namespace.
fn pod() -> Pod {
    let mut members = vec![member(
        Part::Pause,
        "pause",
        &[
            (Kind::Net, 1),
            (Kind::Ipc, 2),
            (Kind::Mnt, 3),
            (Kind::User, 99),
        ],
    )];
    for (name, pid) in [("a", 10), ("b", 20), ("c", 30), ("<debug>", 20)] {
        let inodes = [
            (Kind::Net, 1),
            (Kind::Ipc, 2),
            (Kind::Pid, pid),
            (Kind::User, 99),
        ];
        members.push(member(Part::Container, name, &inodes));
    }
    Pod {
        id: "pod".to_owned(),
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        ip: "10.0.0.2".to_owned(),
        members,
    }
}

#[test]
fn what_is_shared_is_a_line_and_the_rest_is_in_its_panel() {
    let machine = BTreeMap::from([(Kind::User, 99)]);
    let layout = Layout::new(&[pod()], &machine);
    // net and ipc of four containers lead to the pause, one pid namespace to its owner.
    let dashed = layout.links.iter().filter(|link| link.dashed).count();
    assert_eq!((layout.links.len(), dashed), (9, 1));
    assert!(
        layout
            .panels
            .iter()
            .all(|panel| panel.machine == [Kind::User])
    );
    let debug = layout.panels.iter().find(|panel| panel.name == "<debug>");
    assert_eq!(debug.unwrap().chips[0].owner, "b");
}

#[test]
fn nothing_overlaps_and_everything_is_inside() {
    let layout = Layout::new(&[pod(), pod()], &BTreeMap::new());
    let boxes: Vec<_> = layout.panels.iter().map(|panel| panel.at).collect();
    for (number, one) in boxes.iter().enumerate() {
        assert!(one.x > 0.0 && one.x + one.width < WIDTH && one.y + one.height < layout.height);
        for other in &boxes[number + 1..] {
            let apart = one.x + one.width <= other.x
                || other.x + other.width <= one.x
                || one.y + one.height <= other.y
                || other.y + other.height <= one.y;
            assert!(apart, "{one:?} {other:?}");
        }
    }
    for panel in &layout.panels {
        for chip in &panel.chips {
            assert!(
                chip.at.x >= panel.at.x
                    && chip.at.y + chip.at.height <= panel.at.y + panel.at.height
            );
        }
    }
}

#[test]
fn the_picture_is_well_formed() {
    let picture = super::draw(&[pod()], &BTreeMap::from([(Kind::User, 99)]));
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("&lt;debug&gt;") && !picture.contains("<debug>"));
    assert!(picture.contains("machine: user"), "{picture}");
    for element in ["rect", "text", "title"] {
        let opened = picture.matches(&format!("<{element}")).count();
        let closed = picture.matches(&format!("</{element}>")).count();
        // The ground is a rectangle that closes itself.
        let alone = usize::from(element == "rect");
        assert_eq!(opened, closed + alone, "{element}");
    }
}
