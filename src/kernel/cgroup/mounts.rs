//! Finds the mounted cgroup trees in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use super::Controller;

/// A mounted cgroup tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeMount {
    /// The path at which the tree is mounted, octal escapes decoded.
    pub(super) point: String,
    /// The name of the tree in messages: `unified`, `memory`, `cpu,cpuacct`, `systemd`.
    pub(super) label: String,
    /// The controllers of a v1 tree; None for the v2 tree.
    pub(super) v1: Option<Vec<Controller>>,
}

/// Options of a v1 superblock that are not a controller.
const NOT_CONTROLLERS: [&str; 12] = [
    "rw",
    "ro",
    "all",
    "none",
    "noprefix",
    "clone_children",
    "cpuset_v2_mode",
    "xattr",
    "favordynmods",
    "nofavordynmods",
    "seclabel",
    "nsdelegate",
];

/// All cgroup trees of a mountinfo text, each once. A tree mounted in several places is taken where its root
/// is mounted (field 4 is `/`), and there at the first place, which is the host's usual one.
pub(super) fn parse(mountinfo: &str) -> Vec<TreeMount> {
    let mut trees: Vec<(TreeMount, bool)> = Vec::new();
    for (tree, whole) in mountinfo.lines().filter_map(parse_line) {
        match trees.iter_mut().find(|(seen, _)| seen.label == tree.label) {
            Some((_, true)) => {}
            Some(seen) if whole => *seen = (tree, whole),
            Some(_) => {}
            None => trees.push((tree, whole)),
        }
    }
    trees.into_iter().map(|(tree, _)| tree).collect()
}

fn parse_line(line: &str) -> Option<(TreeMount, bool)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let whole = fields.next()? == "/";
    let point = unescape(fields.next()?);
    let mut fields = after.split(' ');
    let kind = fields.next()?;
    let options = fields.nth(1)?;
    let tree = match kind {
        "cgroup2" => TreeMount {
            point,
            label: "unified".to_owned(),
            v1: None,
        },
        "cgroup" => {
            let names: Vec<&str> = options
                .split(',')
                .filter(|option| {
                    !NOT_CONTROLLERS.contains(option) && !option.starts_with("release_agent=")
                })
                .map(|option| option.strip_prefix("name=").unwrap_or(option))
                .collect();
            let named = options.split(',').any(|option| option.starts_with("name="));
            let controllers = names
                .iter()
                .map(|name| {
                    if named {
                        Controller::Other
                    } else {
                        Controller::from_name(name)
                    }
                })
                .collect();
            TreeMount {
                point,
                label: names.join(","),
                v1: Some(controllers),
            }
        }
        _ => return None,
    };
    Some((tree, whole))
}

/// Decodes the `\040`-style escapes of mountinfo.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
