//! A pod as a picture: the pause in the middle with what it holds, the containers around it with what is their own.
//!
//! ```text
//!   ┌ pod ────────────────────────────────────────────┐
//!   │ ┌ container ──┐                 ┌ container ──┐ │
//!   │ │[pid]     net●╲  ┌ pause ───┐ ╱●net     [pid]│ │
//!   │ │[mnt]     ipc●──●│[  net  ] │●──●ipc     [mnt]│ │
//!   │ └─────────────┘  ●│[  ipc  ] │●  └────────────┘ │
//!   │                   └──────────┘                  │
//!   └─────────────────────────────────────────────────┘
//! ```
//!
//! A line in a kind's colour means "the same namespace". One that is shared without the pause, such as the pid
//! namespace of a container that another one debugs, is a dashed line to the one that has it.

mod layout;
mod svg;

use std::collections::BTreeMap;

use super::kind::Kind;
use super::view::Pod;
use layout::{Chip, Layout, Panel, Side};
use svg::{Anchor, Font, Point, Rect, ShapeStyle, Svg, cut};

const INK: &str = "#1c2430";
const GREY: &str = "#697586";
const FRAME: &str = "#c6ced9";
const GROUND: &str = "#f4f6f9";

/// Draws pods, one below the other.
pub(super) fn draw(pods: &[Pod], machine: &BTreeMap<Kind, u64>) -> String {
    let layout = Layout::new(pods, machine);
    let mut svg = Svg::default();
    for (number, pod) in pods.iter().enumerate() {
        frame(&mut svg, layout.frames[number], pod);
    }
    links(&mut svg, &layout);
    for panel in &layout.panels {
        self::panel(&mut svg, panel);
    }
    legend(&mut svg, &layout);
    svg.finish(layout::WIDTH, layout.height)
}

fn font(size: f64, colour: &str) -> Font<'_> {
    Font {
        size,
        colour,
        bold: false,
        anchor: Anchor::Start,
    }
}

fn bold(size: f64, colour: &str) -> Font<'_> {
    Font {
        bold: true,
        ..font(size, colour)
    }
}

fn frame(svg: &mut Svg, at: Rect, pod: &Pod) {
    let look = ShapeStyle {
        fill: GROUND,
        stroke: FRAME,
        width: 2.0,
        dashed: false,
    };
    svg.rect(at, 16.0, look, &format!("pod {}", pod.id));
    let place = Point {
        x: at.x + 24.0,
        y: at.y + 36.0,
    };
    svg.text(
        place,
        bold(20.0, INK),
        &format!("pod {}", cut(&pod.title(), 60)),
    );
    let end = Point {
        x: at.x + at.width - 24.0,
        y: at.y + 36.0,
    };
    let font = Font {
        anchor: Anchor::End,
        ..font(15.0, GREY)
    };
    svg.text(end, font, &pod.ip);
}

/// The lines between panels, below everything else.
fn links(svg: &mut Svg, layout: &Layout) {
    for link in &layout.links {
        let look = ShapeStyle {
            fill: "",
            stroke: link.kind.colour(),
            width: 3.0,
            dashed: link.dashed,
        };
        svg.curve(link.from, link.bends, link.to, look);
    }
}

fn panel(svg: &mut Svg, panel: &Panel) {
    let strong = if panel.is_pause { INK } else { FRAME };
    let look = ShapeStyle {
        fill: "#ffffff",
        stroke: strong,
        width: 2.0,
        dashed: false,
    };
    let at = panel.at;
    svg.rect(at, 12.0, look, &panel.title);
    let mut place = Point {
        x: at.x + 18.0,
        y: at.y + 30.0,
    };
    svg.text(place, bold(18.0, INK), &cut(&panel.name, 30));
    place.y += 21.0;
    svg.text(place, font(13.0, GREY), &cut(&panel.subtitle, 42));
    for chip in &panel.chips {
        self::chip(svg, chip);
    }
    for port in &panel.ports {
        svg.circle(port.at, 6.0, port.kind.colour());
        let (x, anchor) = match port.label {
            Side::Left => (port.at.x - 14.0, Anchor::End),
            Side::Right => (port.at.x + 14.0, Anchor::Start),
        };
        if port.labelled {
            let font = Font {
                anchor,
                ..bold(14.0, port.kind.colour())
            };
            svg.text(
                Point {
                    x,
                    y: port.at.y + 5.0,
                },
                font,
                port.kind.name(),
            );
        }
    }
    if !panel.machine.is_empty() {
        let names: Vec<_> = panel.machine.iter().map(|kind| kind.name()).collect();
        let place = Point {
            x: at.x + 18.0,
            y: at.y + at.height - 14.0,
        };
        svg.text(
            place,
            font(13.0, GREY),
            &format!("machine: {}", names.join(", ")),
        );
    }
}

fn chip(svg: &mut Svg, chip: &Chip) {
    let colour = chip.kind.colour();
    let (look, ink) = if chip.owner.is_empty() {
        (
            ShapeStyle {
                fill: colour,
                ..ShapeStyle::default()
            },
            "#ffffff",
        )
    } else {
        let look = ShapeStyle {
            fill: "#ffffff",
            stroke: colour,
            width: 2.0,
            dashed: true,
        };
        (look, colour)
    };
    let title = format!("{}:[{}]", chip.kind, chip.inode);
    svg.rect(chip.at, 8.0, look, &title);
    let base = chip.at.y + chip.at.height / 2.0 + 5.0;
    let place = Point {
        x: chip.at.x + 12.0,
        y: base,
    };
    svg.text(place, bold(14.0, ink), chip.kind.name());
    let end = Point {
        x: chip.at.x + chip.at.width - 12.0,
        y: base,
    };
    let font = Font {
        anchor: Anchor::End,
        ..font(13.0, ink)
    };
    let owner = if chip.owner.is_empty() {
        chip.inode.to_string()
    } else {
        format!("of {}", cut(&chip.owner, 16))
    };
    svg.text(end, font, &owner);
}

fn legend(svg: &mut Svg, layout: &Layout) {
    let place = Point {
        x: layout::MARGIN,
        y: layout.height - 18.0,
    };
    let words = "A line is one and the same namespace; a filled field is a namespace that came with its process, by inode number; the machine's own are listed below.";
    svg.text(place, font(13.0, GREY), words);
}

#[cfg(test)]
mod tests;
