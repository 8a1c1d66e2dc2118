# Builds the daemon and the shim with the feature `fault` and says in HOLDFAST_BIN_DIR where they are. To be sourced.
#
# They are copied aside: an ordinary build of the same profile would replace them.
target=${CARGO_TARGET_DIR:-target}
cargo build -q --workspace --features holdfastd/fault,holdfast-shim/fault --bin holdfastd --bin holdfast --bin holdfast-shim
mkdir -p "$target/fault"
for program in holdfastd holdfast holdfast-shim; do
  install -m 0755 "$target/debug/$program" "$target/fault/$program"
done
HOLDFAST_BIN_DIR=$(cd "$target/fault" && pwd)
export HOLDFAST_BIN_DIR
