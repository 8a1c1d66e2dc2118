//! Where everything in the picture is. Pure: pods in, rectangles and curves out.

use std::collections::BTreeMap;

use super::super::kind::Kind;
use super::super::view::{Member, Part, Pod, Whose, full_name, whose};
use super::svg::{Point, Rect};

/// Width of every picture, in pixels.
pub(super) const WIDTH: f64 = 1240.0;
/// Space around the whole picture, in pixels.
pub(super) const MARGIN: f64 = 24.0;

const COLUMN: f64 = 360.0;
const PAUSE: f64 = 280.0;
/// Space between a pod's frame and its columns.
const INSET: f64 = 24.0;
/// Left edges of the columns.
const LEFT: f64 = MARGIN + INSET;
const RIGHT: f64 = WIDTH - MARGIN - INSET - COLUMN;
const CENTRE: f64 = (WIDTH - PAUSE) / 2.0;
const TITLE: f64 = 56.0;
const HEADER: f64 = 66.0;
const ROW: f64 = 40.0;
const CHIP: f64 = 32.0;
const CHIP_WIDTH: f64 = 196.0;
const FOOTER: f64 = 30.0;
const GAP: f64 = 22.0;
const LEGEND: f64 = 44.0;

#[derive(Debug)]
pub(super) struct Layout {
    pub height: f64,
    pub frames: Vec<Rect>,
    pub panels: Vec<Panel>,
    pub links: Vec<Link>,
}

#[derive(Debug)]
pub(super) struct Panel {
    pub at: Rect,
    pub is_pause: bool,
    pub name: String,
    pub subtitle: String,
    /// The text that a viewer shows under the pointer.
    pub title: String,
    pub chips: Vec<Chip>,
    pub ports: Vec<Port>,
    /// Kinds in which it is in the machine's own namespace.
    pub machine: Vec<Kind>,
}

/// A namespace in a panel: one that its process has, or one of another's.
#[derive(Debug)]
pub(super) struct Chip {
    pub at: Rect,
    pub kind: Kind,
    pub inode: u64,
    /// Whose it is; empty for its own.
    pub owner: String,
}

/// Where a line ends at a panel.
#[derive(Debug)]
pub(super) struct Port {
    pub at: Point,
    pub kind: Kind,
    /// On which side of it its label is.
    pub label: Side,
    pub labelled: bool,
}

/// The side of a port that its label is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

#[derive(Debug)]
pub(super) struct Link {
    pub kind: Kind,
    pub from: Point,
    pub bends: [Point; 2],
    pub to: Point,
    pub dashed: bool,
}

/// What a process has, sorted by how it is drawn.
#[derive(Debug, Default)]
struct Sorted {
    /// Its own: kind and inode.
    own: Vec<(Kind, u64)>,
    /// Kinds of namespaces shared with the pause.
    pause: Vec<Kind>,
    /// Another one's: kind, inode, whose.
    others: Vec<(Kind, u64, (usize, usize))>,
    machine: Vec<Kind>,
}

impl Sorted {
    fn new(pods: &[Pod], at: (usize, usize), machine: &BTreeMap<Kind, u64>) -> Self {
        let mut sorted = Self::default();
        for (kind, inode) in &pods[at.0].members[at.1].namespaces {
            match whose(pods, at, *kind, machine) {
                Some(Whose::Machine) => sorted.machine.push(*kind),
                Some(Whose::Pause) => sorted.pause.push(*kind),
                Some(Whose::Other(pod, member)) => {
                    sorted.others.push((*kind, *inode, (pod, member)));
                }
                Some(Whose::Own) | None => sorted.own.push((*kind, *inode)),
            }
        }
        sorted
    }

    fn rows(&self) -> usize {
        (self.own.len() + self.others.len()).max(self.pause.len())
    }

    fn height(&self) -> f64 {
        let footer = if self.machine.is_empty() { 6.0 } else { FOOTER };
        HEADER + pixels(self.rows()) * ROW + footer
    }
}

/// A count as pixels; pictures have few rows.
fn pixels(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl Layout {
    /// Lays pods out, one below the other.
    pub(super) fn new(pods: &[Pod], machine: &BTreeMap<Kind, u64>) -> Self {
        let mut layout = Self {
            height: MARGIN,
            frames: Vec::new(),
            panels: Vec::new(),
            links: Vec::new(),
        };
        // Where the panel of each member is.
        let mut places = BTreeMap::new();
        for number in 0..pods.len() {
            layout.pod(pods, number, machine, &mut places);
        }
        layout.connect(pods, machine, &places);
        layout.height += LEGEND - MARGIN;
        layout
    }

    /// Lays one pod out below what is there.
    fn pod(
        &mut self,
        pods: &[Pod],
        number: usize,
        machine: &BTreeMap<Kind, u64>,
        places: &mut BTreeMap<(usize, usize), usize>,
    ) {
        let top = self.height + TITLE;
        let members = &pods[number].members;
        let sorted: Vec<_> = (0..members.len())
            .map(|at| Sorted::new(pods, (number, at), machine))
            .collect();
        let columns = columns(number, &sorted, members);
        let height = |of: &[usize]| -> f64 {
            of.iter().map(|at| sorted[*at].height() + GAP).sum::<f64>() - GAP
        };
        let tallest = columns.iter().map(|of| height(of)).fold(0.0, f64::max);
        for (column, of) in columns.iter().enumerate() {
            let mut y = top + (tallest - height(of)) / 2.0;
            for at in of {
                let rect = Rect {
                    x: [LEFT, CENTRE, RIGHT][column],
                    y,
                    width: if column == 1 { PAUSE } else { COLUMN },
                    height: sorted[*at].height(),
                };
                places.insert((number, *at), self.panels.len());
                let outer = if column == 2 { Side::Right } else { Side::Left };
                self.panels
                    .push(panel(pods, (number, *at), &sorted[*at], (rect, outer)));
                y += rect.height + GAP;
            }
        }
        let frame = Rect {
            x: MARGIN,
            y: self.height,
            width: WIDTH - 2.0 * MARGIN,
            height: TITLE + tallest + INSET,
        };
        self.frames.push(frame);
        self.height += frame.height + MARGIN;
    }

    /// Draws the lines, and the ports that they end at.
    fn connect(
        &mut self,
        pods: &[Pod],
        machine: &BTreeMap<Kind, u64>,
        places: &BTreeMap<(usize, usize), usize>,
    ) {
        for (at, place) in places {
            let sorted = Sorted::new(pods, *at, machine);
            for (row, kind) in sorted.pause.iter().enumerate() {
                self.link_to_pause(places.get(&(at.0, 0)), *place, row, *kind);
            }
            for (kind, inode, owner) in &sorted.others {
                if let Some(owner) = places.get(owner) {
                    self.link_to_other(*owner, *place, *kind, *inode);
                }
            }
        }
    }

    /// A line from a container to the pause's chip of a kind.
    fn link_to_pause(&mut self, pause: Option<&usize>, from: usize, row: usize, kind: Kind) {
        let Some(pause) = pause.copied() else {
            return;
        };
        let chip = self.panels[pause]
            .chips
            .iter()
            .find(|chip| chip.kind == kind);
        let Some(middle) = chip.map(|chip| chip.at.y + chip.at.height / 2.0) else {
            return;
        };
        let (box_, pause_box) = (self.panels[from].at, self.panels[pause].at);
        let is_left = box_.x < pause_box.x;
        let (x, pause_x, label) = if is_left {
            (box_.x + box_.width, pause_box.x, Side::Left)
        } else {
            (box_.x, pause_box.x + pause_box.width, Side::Right)
        };
        let start = Point {
            x,
            y: box_.y + HEADER + pixels(row) * ROW + CHIP / 2.0,
        };
        let end = Point {
            x: pause_x,
            y: middle,
        };
        let half = (start.x + end.x) / 2.0;
        self.links.push(Link {
            kind,
            from: start,
            bends: [
                Point {
                    x: half,
                    y: start.y,
                },
                Point { x: half, y: end.y },
            ],
            to: end,
            dashed: false,
        });
        self.panels[from].ports.push(Port {
            at: start,
            kind,
            label,
            labelled: true,
        });
        self.panels[pause].ports.push(Port {
            at: end,
            kind,
            label,
            labelled: false,
        });
    }

    /// A dashed line to whoever has a namespace that is not the pause's.
    fn link_to_other(&mut self, owner: usize, from: usize, kind: Kind, inode: u64) {
        /// How far the line swings out beyond the panels.
        const SWING: f64 = 22.0;
        let chip = |panel: &Panel| {
            let has = |chip: &&Chip| chip.kind == kind && chip.inode == inode;
            panel.chips.iter().find(has).map(|chip| chip.at)
        };
        let (Some(start), Some(end)) = (chip(&self.panels[from]), chip(&self.panels[owner])) else {
            return;
        };
        let is_right = self.panels[from].at.x > CENTRE;
        let edge = |at: Rect| Point {
            x: if is_right { at.x + at.width } else { at.x },
            y: at.y + at.height / 2.0,
        };
        let (start, end) = (edge(start), edge(end));
        let x = if is_right {
            start.x.max(end.x) + SWING + 18.0
        } else {
            start.x.min(end.x) - SWING - 18.0
        };
        self.links.push(Link {
            kind,
            from: start,
            bends: [Point { x, y: start.y }, Point { x, y: end.y }],
            to: end,
            dashed: true,
        });
    }
}

/// Members by column: left, pause, right. One that uses another's namespace stands in that one's column.
fn columns(number: usize, sorted: &[Sorted], members: &[Member]) -> [Vec<usize>; 3] {
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for (at, member) in members.iter().enumerate() {
        if member.role == Part::Pause {
            columns[1].push(at);
            continue;
        }
        let mut others = sorted[at].others.iter();
        let beside = others.find(|(_, _, (pod, _))| *pod == number);
        let column = match beside {
            Some((_, _, (_, owner))) if columns[2].contains(owner) => 2,
            Some(_) => 0,
            None if columns[2].len() < columns[0].len() => 2,
            None => 0,
        };
        columns[column].push(at);
    }
    columns
}

fn panel(pods: &[Pod], at: (usize, usize), sorted: &Sorted, place: (Rect, Side)) -> Panel {
    let member = &pods[at.0].members[at.1];
    let (rect, outer) = place;
    let is_pause = member.role == Part::Pause;
    let x = match (is_pause, outer) {
        (true, _) => rect.x + (rect.width - CHIP_WIDTH) / 2.0,
        (false, Side::Left) => rect.x + 18.0,
        (false, Side::Right) => rect.x + rect.width - CHIP_WIDTH - 18.0,
    };
    let own = sorted
        .own
        .iter()
        .map(|(kind, inode)| (*kind, *inode, String::new()));
    let others = sorted.others.iter().map(|(kind, inode, owner)| {
        let name = if owner.0 == at.0 {
            pods[owner.0].members[owner.1].name.clone()
        } else {
            full_name(pods, *owner)
        };
        (*kind, *inode, name)
    });
    let chip = |(row, (kind, inode, of)): (usize, (Kind, u64, String))| Chip {
        at: Rect {
            x,
            y: rect.y + HEADER + pixels(row) * ROW,
            width: CHIP_WIDTH,
            height: CHIP,
        },
        kind,
        inode,
        owner: of,
    };
    let subtitle = if is_pause {
        format!("pid {}, holds the namespaces", member.pid)
    } else {
        format!("pid {}, {}", member.pid, member.image)
    };
    Panel {
        at: rect,
        is_pause,
        name: member.name.clone(),
        subtitle,
        title: member.id.clone(),
        chips: own.chain(others).enumerate().map(chip).collect(),
        ports: Vec::new(),
        machine: sorted.machine.clone(),
    }
}
