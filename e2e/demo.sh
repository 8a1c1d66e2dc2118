#!/bin/bash
# Runs a two-container pod on a throwaway daemon and lets the kernel show what the two share.
# All files are made below one temporary directory, which is deleted at the end.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$top/target}/demo
dir=$(mktemp -d /tmp/holdfast-demo.XXXXXX)
export HOLDFAST_SOCKET=$dir/run/holdfast.sock
bridge=hfdemo0

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
note() { printf '\033[2m%s\033[0m\n' "$*"; }
holdfast() { "$bin/holdfast" "$@"; }
roots=(--log-root "$dir/logs" --volume-root "$dir/volumes" --memory-volume-root "$dir/memory")

cleanup() {
    status=$?
    set +e
    if [ -n "${daemon:-}" ]; then
        holdfast rm two-containers "${roots[@]}" >/dev/null 2>&1
        kill -TERM "$daemon" 2>/dev/null
        wait "$daemon" 2>/dev/null
    fi
    ip link del $bridge 2>/dev/null
    nft list tables 2>/dev/null | grep -w "$bridge" | while read -r _ family table; do
        nft delete table "$family" "$table"
    done
    for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -d "$tree/holdfast-demo" ] && rmdir "$tree/holdfast-demo" 2>/dev/null
    done
    [ $status = 0 ] || { echo "the demo failed; the daemon said:" >&2; tail -20 "$dir/log" >&2; }
    rm -rf "$dir"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

title "Start holdfastd with a throwaway root"
cat >"$dir/config.toml" <<CONFIG
root_dir = "$dir/root"
run_dir = "$dir/run"
socket = "$dir/run/holdfast.sock"

[network]
kind = "bridge"
bridge = "$bridge"
subnet4 = "10.213.77.0/24"
subnet6 = "fd4d:6f6c:64::/64"

[cgroup]
parent = "/holdfast-demo"
CONFIG
"$bin/holdfastd" --config "$dir/config.toml" >"$dir/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
    [ -S "$HOLDFAST_SOCKET" ] && break
    kill -0 $daemon 2>/dev/null || { wait $daemon; }
    sleep 0.05
done
note "holdfastd is process $daemon, its socket is $HOLDFAST_SOCKET"

title "Make an image of Debian's busybox-static"
tree=$dir/busybox
mkdir -p "$tree"/{bin,etc,tmp,proc,sys,dev,root,var}
busybox=$(command -v busybox)
cp "$busybox" "$tree/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
echo 'root:x:0:' >"$tree/etc/group"
holdfast image import "$tree" localhost/busybox:latest

title "Run pods/two-containers.yaml: a web server and a client"
start=$(date +%s%N)
holdfast run "$top/pods/two-containers.yaml" "${roots[@]}"
note "from the manifest to two running containers: $((($(date +%s%N) - start) / 1000000)) ms"

title "Which namespaces they share, by inode number: net, ipc, uts the same; pid, mnt their own"
holdfast ns two-containers

in_a() { holdfast exec two-containers/a -- "$@"; }
in_b() { holdfast exec two-containers/b -- "$@"; }

title "One network: b fetches from a over localhost"
in_b wget -q -O - http://127.0.0.1:8080/

title "One host name"
echo "a: $(in_a hostname)"
echo "b: $(in_b hostname)"

title "One IPC namespace: a writes to POSIX shared memory, b reads it; both see one System V segment"
in_a sh -c 'echo "written by a" > /dev/shm/note'
echo "b reads: $(in_b cat /dev/shm/note)"
if command -v ipcmk >/dev/null && command -v nsenter >/dev/null; then
    pause=$(holdfast ns two-containers | awk '$1 == "pause" { print $2 }')
    [ -n "$pause" ] && nsenter --target "$pause" --ipc ipcmk --shmem 4096
fi
echo "a: $(in_a sh -c 'tail -n +2 /proc/sysvipc/shm | wc -l') segment, b: $(in_b sh -c 'tail -n +2 /proc/sysvipc/shm | wc -l') segment"

title "Two pid namespaces: each sees only its own processes"
echo "a:"; in_a ps
echo "b:"; in_b ps

title "Two mount namespaces: what a writes to /tmp, b does not see"
in_a touch /tmp/from-a
echo "a: $(in_a ls /tmp)"
echo "b: $(in_b ls /tmp)"

title "The host has no mount of either root file system"
echo "overlay mounts of the pod in the host's mount namespace: $(grep -c "$dir" /proc/self/mountinfo || true)"

title "Where to read next"
cat <<'NEXT'
README.md         how to use it with crictl and a kubelet
pods/             more manifests, each headed by what it shows
ARCHITECTURE.md   how it works
NEXT
