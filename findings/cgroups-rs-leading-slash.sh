#!/bin/bash
# cgroups-rs 0.5.1 reads a running group as all zeros, without an error, when its path begins with a slash.
#
# Valid input: the path of a process' group as /proc/PID/cgroup gives it, with the slash in front that every line has
# (cgroups(7)), for Cgroup::load, whose documentation asks for a "name" and says nothing of slashes.
#
# Behaviour: the path replaces the mount point, as Rust's PathBuf::push does with an absolute one, so every file is
# missing. memory_stat() and its like return 0 for a file that is missing, so a limit of 0 and a use of 0 come out of a
# group that lives. Without the slash the figures are right.
# Seen:
#   load("/finding-24019"): exists false, usage_in_bytes 0, limit_in_bytes 0
#   load("finding-24019"): exists true, usage_in_bytes 569344, limit_in_bytes 9223372036854771712
#
#   cgroups-rs-leading-slash.sh     needs cargo and root; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
tree=/sys/fs/cgroup/memory
[ -d $tree ] || tree=/sys/fs/cgroup
group=finding-$$
trap 'rmdir "$tree/$group" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export CARGO_TARGET_DIR=$work/target
mkdir src
cat >Cargo.toml <<'END'
[package]
name = "finding"
version = "0.1.0"
edition = "2021"

[dependencies]
cgroups-rs = "=0.5.1"
END
cat >src/main.rs <<'END'
use cgroups_rs::fs::{hierarchies, memory::MemController, Cgroup};

fn main() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let v2 = hierarchies::is_cgroup2_unified_mode();
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        (v2 || names.split(',').any(|name| name == "memory")).then_some(path)
    });
    let path = path.unwrap();
    for path in [path, path.trim_start_matches('/')] {
        let group = Cgroup::load(hierarchies::auto(), path);
        let memory: &MemController = group.controller_of().unwrap();
        let stat = memory.memory_stat();
        let (used, limit) = (stat.usage_in_bytes, stat.limit_in_bytes);
        println!("load({path:?}): exists {}, usage_in_bytes {used}, limit_in_bytes {limit}", group.exists());
    }
}
END
cargo build -q
mkdir "$tree/$group"
sh -c 'echo $$ >"$1/cgroup.procs"; exec target/debug/finding' sh "$tree/$group" | tee out

grep -q '^load("/.*exists false, usage_in_bytes 0, limit_in_bytes 0$' out
grep -q '^load("[^/].*exists true, usage_in_bytes [1-9]' out
