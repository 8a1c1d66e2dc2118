#!/bin/bash
# The Rust crate nix 0.31.3 loses a child that a real-time signal has killed: waitpid answers EINVAL, and the child is gone.
#
# Valid input: signals 34 to 64 end a process that does not handle them, as any other (signal(7)), and waitpid(2) tells
# their number. Images whose first process is systemd are stopped by SIGRTMIN+3, which is 37.
#
# Behaviour: nix has names for the signals 1 to 31 only. Its waitpid turns the kernel's status into WaitStatus after the
# kernel has reaped the child, fails with EINVAL for a number without a name, and the next call has no child to wait for.
# A program that reaps in a loop until an error never learns that the child ended. The standard library tells it.
# Seen:
#   std: signal: 37
#   nix 0.31.3, signal 15: Ok("Signaled(Pid(PID), SIGTERM, false)")
#   nix 0.31.3, signal 37: Err(EINVAL), then Err(ECHILD)
#
#   nix-waitpid-real-time-signals.sh    needs cargo; ends with 1 when the behaviour is another
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
nix = { version = "=0.31.3", features = ["process", "signal"] }

[workspace]
TOML
cat >src/main.rs <<'RUST'
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

fn killed_by(signal: i32) -> Child {
    let script = format!("kill -{signal} $$");
    Command::new("sh").args(["-c", &script]).spawn().unwrap()
}

fn main() {
    let status = killed_by(37).wait().unwrap();
    println!("std: signal: {}", status.signal().unwrap());
    let child = Pid::from_raw(killed_by(15).id() as i32);
    println!("nix 0.31.3, signal 15: {:?}", waitpid(child, None).map(|status| format!("{status:?}").replace(&child.to_string(), "PID")));
    let child = Pid::from_raw(killed_by(37).id() as i32);
    let first = waitpid(child, None);
    println!("nix 0.31.3, signal 37: {first:?}, then {:?}", waitpid(child, None));
}
RUST
said=$(CARGO_TARGET_DIR=$work/target cargo run -q)
echo "$said"
[ "$(sed -n '3s/.*37: //p' <<<"$said")" = "Err(EINVAL), then Err(ECHILD)" ] || { echo "the behaviour is another" >&2; exit 1; }
