#!/bin/bash
# The Rust crate tar 0.4.46 cannot read an entry that has an extended attribute with a newline in its value.
#
# Valid input: POSIX.1-2017 (pax, "pax Extended Header") gives each record its length, so that a value may hold any
# byte, and GNU tar, libarchive, Python and Go write and read such archives. In the wild: file capabilities are binary,
# and those with DAC_OVERRIDE and FOWNER alone hold the byte 0x0a; so do ACLs that name user 10.
#
# Behaviour: Entry::pax_extensions splits records at newlines instead of by their lengths, and gives an error; with
# Archive::set_unpack_xattrs(true) the attribute is lost without one.
# Seen:
#   python3 reads: user.note = b'two\nlines'
#   tar 0.4.46 reads: malformed pax extension
#
#   tar-crate-newline-in-xattr.sh       needs cargo and python3; ends with 1 when the behaviour is another
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
tar = { version = "=0.4.46", default-features = false }

[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::io::Read;

fn main() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            match extension {
                Ok(extension) => println!("{} = {:?}", extension.key().unwrap(), extension.value()),
                Err(error) => println!("{error}"),
            }
        }
    }
}
RUST
python3 - <<'PYTHON'
import io, tarfile

with tarfile.open("note.tar", "w", format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo("file")
    entry.pax_headers = {"SCHILY.xattr.user.note": "two\nlines"}
    tar.addfile(entry, io.BytesIO(b""))
with tarfile.open("note.tar") as tar:
    value = tar.getmembers()[0].pax_headers["SCHILY.xattr.user.note"]
print("python3 reads: user.note =", value.encode())
PYTHON
said=$(CARGO_TARGET_DIR=$work/target cargo run -q <note.tar | sed -n 1p)
echo "tar 0.4.46 reads: $said"
[ "$said" = "malformed pax extension" ] || { echo "the behaviour is another" >&2; exit 1; }
