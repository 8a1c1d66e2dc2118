//! Namespaces as a graph for dot(1), Graphviz.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::kind::Kind;
use super::view::Pod;

/// The graph: a cluster for each pod with its processes, a node for each namespace, an edge for "is in".
pub(super) fn graph(pods: &[Pod], machine: &BTreeMap<Kind, u64>) -> String {
    let mut out = String::from(
        "graph namespaces {\n  rankdir=LR;\n  fontname=\"sans-serif\";\n  node [fontname=\"sans-serif\"];\n  edge [penwidth=2];\n",
    );
    let mut seen = BTreeSet::new();
    for (number, pod) in pods.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  subgraph cluster_{number} {{\n    label={};",
            quote(&pod.title())
        );
        for (at, member) in pod.members.iter().enumerate() {
            let label = quote(&format!("{}\npid {}", member.name, member.pid));
            let _ = writeln!(
                out,
                "    p{number}_{at} [shape=box, style=rounded, label={label}];"
            );
        }
        out.push_str("  }\n");
        for (at, member) in pod.members.iter().enumerate() {
            for (kind, inode) in &member.namespaces {
                if machine.get(kind) == Some(inode) {
                    continue;
                }
                let colour = kind.colour();
                if seen.insert((*kind, *inode)) {
                    let label = quote(&format!("{kind}\n{inode}"));
                    let _ = writeln!(
                        out,
                        "  {kind}_{inode} [style=filled, fontcolor=white, fillcolor=\"{colour}\", label={label}];"
                    );
                }
                let _ = writeln!(
                    out,
                    "  p{number}_{at} -- {kind}_{inode} [color=\"{colour}\"];"
                );
            }
        }
    }
    out.push_str("}\n");
    out
}

/// A quoted string of the DOT language: only the quote and the backslash need one.
fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
