# shellcheck shell=bash
# What the scripts of the writers share. Sourced, after `set -euo pipefail`.
#
# A writer puts each of its images into $out and says with `case_of` what there is. Beside the image that leaves
# NAME.config.json (the configuration, byte for byte, as skopeo finds it), NAME.tree (the files as umoci unpacks
# them) and a line in table.tsv: name, kind, file, name to import it as, id, what the image prints.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HOLDFAST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-e2e}
writers=$cache/writers
export PATH=$writers/bin:$PATH

architecture=$(dpkg --print-architecture)
writer=$(basename "$0" .sh)
out=$writers/out/$writer.partial
work=$(mktemp -d "/var/tmp/writers-$writer.XXXXXX")
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"

# Nothing of this machine's or user's configuration may decide what an image looks like.
mkdir "$work/home"
export HOME=$work/home XDG_CONFIG_HOME=$work/home/config
export CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "vfs"\nrunroot = "%s"\ngraphroot = "%s"\n' "$work/run" "$work/graph" >"$work/storage.conf"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$work/policy.json"

skopeo() { command skopeo --policy "$work/policy.json" "$@"; }

# Runs a command whose words matter only when it fails.
quiet() {
  "$@" >"$work/quiet.log" 2>&1 || { cat "$work/quiet.log" >&2; echo "$writer.sh: failed: $*" >&2; return 1; }
}

# The program in all images: Debian's static busybox, which may not be the one that is installed.
busybox() {
  local path
  for path in "$writers/busybox/bin/busybox" /bin/busybox /usr/bin/busybox; do
    if [ -x "$path" ] && ! ldd "$path" >/dev/null 2>&1; then echo "$path"; return; fi
  done
  (
    cd "$work" || exit
    apt-get download -q busybox-static >/dev/null 2>&1
    dpkg -x busybox-static_*.deb "$writers/busybox"
  )
  [ -e "$writers/busybox/bin/busybox" ] || ln -s usr/bin "$writers/busybox/bin"
  echo "$writers/busybox/bin/busybox"
}

# The tree of an image of two layers: $work/tree and, as the second layer leaves it, $work/changed.
trees() {
  mkdir "$work/tree"
  BUSYBOX=$(busybox) python3 "$here/tree.py" make "$work/tree"
  cp -a "$work/tree" "$work/changed"
  python3 "$here/tree.py" change "$work/changed"
}

# case_of NAME KIND FILE REFERENCE PRINTS [AS]: says what there is. KIND is one of skopeo's transports, or rootfs, or
# refused, where PRINTS is what the refusal says;
# REFERENCE is the image's name there, or - where it needs none; AS is the name under which it is imported.
case_of() {
  local name=$1 kind=$2 file=$3 reference=$4 source
  case $kind in
  refused) ;;
  rootfs)
    mkdir "$work/rootfs.$name"
    tar -C "$work/rootfs.$name" -xpf "$out/$file" --xattrs --xattrs-include='*' --numeric-owner
    python3 "$here/tree.py" list "$work/rootfs.$name" >"$out/$name.tree"
    ;;
  *)
    source=$kind:$out/$file
    [ "$reference" = - ] || [ "$kind" = dir ] || source=$source:$reference
    skopeo inspect --config --raw "$source" >"$out/$name.config.json"
    unpacked "$name" "$source"
    ;;
  esac
  row "$@"
}

row() {
  local name=$1 kind=$2 file=$3 prints=$5 as=${6:-$4} id=-
  if [[ $as != */* ]]; then as=localhost/$writer-$name:${as/#-/1}; fi
  # An image's id is the digest of its configuration.
  [ ! -e "$out/$name.config.json" ] || id=sha256:$(sha256sum <"$out/$name.config.json" | cut -d' ' -f1)
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$kind" "$file" "$as" "$id" "$prints" >>"$out/table.tsv"
}

# same_as OTHER NAME KIND FILE REFERENCE PRINTS [AS]: as `case_of`, for another form of what there is.
same_as() {
  local other=$1 name=$2
  shift
  cp "$out/$other.tree" "$out/$name.tree"
  [ ! -e "$out/$other.config.json" ] || cp "$out/$other.config.json" "$out/$name.config.json"
  row "$@"
}

# Lists the files of an image as umoci unpacks them.
unpacked() {
  local name=$1 source=$2
  skopeo copy -q "$source" "oci:$work/oci.$name:it" >/dev/null
  umoci raw unpack --image "$work/oci.$name:it" "$work/umoci.$name" >"$work/umoci.log" 2>&1 ||
    { echo "$writer.sh: this umoci cannot unpack $name ($(tail -n1 "$work/umoci.log")): no list of its files" >&2; return; }
  python3 "$here/tree.py" list "$work/umoci.$name" >"$out/$name.tree"
  rm -rf "$work/oci.$name" "$work/umoci.$name"
}

# An OCI layout at $work/made with the image `it`, of two layers, made by whichever umoci is first in PATH.
made() {
  trees
  quiet umoci init --layout "$work/made"
  quiet umoci new --image "$work/made:it"
  quiet umoci unpack --image "$work/made:it" "$work/bundle"
  cp -a "$work/tree/." "$work/bundle/rootfs/"
  quiet umoci repack --image "$work/made:it" "$work/bundle"
  rm -rf "$work/bundle"
  quiet umoci unpack --image "$work/made:it" "$work/bundle"
  python3 "$here/tree.py" change "$work/bundle/rootfs"
  quiet umoci repack --image "$work/made:it" "$work/bundle"
  rm -rf "$work/bundle"
  quiet umoci config --image "$work/made:it" --config.entrypoint /made --config.cmd "$writer" --config.user maker \
    --config.workingdir /data/private --config.env A=1 --config.env PATH=/bin --config.label one=1 \
    --config.exposedports 80/tcp --config.volume /tmp/kept --config.stopsignal SIGUSR1 --architecture "$architecture" --os linux
  quiet umoci gc --layout "$work/made"
}

# What the image of `made` prints.
prints="$writer as 1234:2345 in /data/private A=1"

# A container of two layers, made by buildah: its name is then in $container.
built() {
  local mount base
  trees
  container=$(buildah from scratch)
  mount=$(buildah mount "$container")
  cp -a "$work/tree/." "$mount/"
  quiet buildah config --entrypoint '["/made"]' --cmd "$writer" --user maker --workingdir /data/private --env A=1 --env PATH=/bin \
    --label one=1 --port 80 --volume /tmp/kept --stop-signal SIGUSR1 --author tests --annotation org.example=1 \
    --history-comment "a comment" --arch "$architecture" --os linux "$container"
  quiet buildah commit "$container" localhost/built:first
  base=$container
  container=$(buildah from localhost/built:first)
  mount=$(buildah mount "$container")
  python3 "$here/tree.py" change "$mount"
  python3 "$here/tree.py" turn "$mount"
  quiet buildah rm "$base"
}

# A registry that is part of crane, for tools that need one to work with; its HOST:PORT is then $registry.
serve() {
  local port=
  : >"$work/registry.log"
  crane registry serve --address 127.0.0.1:0 >"$work/registry.log" 2>&1 &
  # shellcheck disable=SC2064
  trap "kill $! 2>/dev/null || true; rm -rf '$work'" EXIT
  for _ in $(seq 100); do
    port=$(sed -n 's/.*serving on port \([0-9]*\).*/\1/p' "$work/registry.log")
    [ -z "$port" ] || break
    sleep 0.05
  done
  # shellcheck disable=SC2034
  registry=127.0.0.1:$port
}

# The last line of each script: what was made is whole.
finish() {
  rm -rf "$writers/out/$writer"
  mv "$out" "$writers/out/$writer"
  echo "$writer: $(wc -l <"$writers/out/$writer/table.tsv") images"
}
