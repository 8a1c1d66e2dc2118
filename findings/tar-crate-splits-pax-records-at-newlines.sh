#!/bin/bash
# The Rust crate tar 0.4.46 splits PAX records at newlines instead of by their lengths.
#
# POSIX.1-2017 (pax, "pax Extended Header") has records of the form "LENGTH KEY=VALUE\n", where LENGTH counts the whole
# record: a value may hold newlines, and binary extended attributes do (a POSIX access control list that names user 10
# has the byte 0x0a). Python's tarfile and Go's archive/tar read such records. The crate reports "malformed pax
# extension", so that a reader which uses PaxExtensions cannot have the attribute, and one that goes by its errors not
# the file. For the crate itself a record "size" behind such a record does not count.
#
# Seen with tar 0.4.46 (crates.io), rustc 1.95.0, Python 3.11.7:
#   python: 'a\nb' and 'after'
#   tar 0.4.46: malformed pax extension; malformed pax extension; SCHILY.xattr.user.z = "after"
#
# Exits with 0 when the crate behaves so, with 1 when it reads the value, with 2 when the test itself cannot run.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for tool in cargo python3; do
  command -v "$tool" >/dev/null || { echo "needs $tool" >&2; exit 2; }
done

python3 - <<'EOF'
import tarfile
with tarfile.open('a.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
    info = tarfile.TarInfo('file')
    info.pax_headers = {'SCHILY.xattr.user.a': 'a\nb', 'SCHILY.xattr.user.z': 'after'}
    tar.addfile(info)
with tarfile.open('a.tar') as tar:
    found = tar.getmember('file').pax_headers
print('python:', repr(found['SCHILY.xattr.user.a']), 'and', repr(found['SCHILY.xattr.user.z']))
EOF

mkdir -p src
cat >Cargo.toml <<'EOF'
[package]
name = "newlines"
version = "0.0.0"
edition = "2021"
[dependencies]
tar = { version = "=0.4.46", default-features = false }
EOF
cat >src/main.rs <<'EOF'
fn main() {
    let file = std::fs::File::open("a.tar").unwrap();
    let mut archive = tar::Archive::new(file);
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let records = entry.pax_extensions().unwrap().unwrap();
    let shown: Vec<_> = records
        .map(|record| match record {
            Ok(record) => format!("{} = {:?}", record.key().unwrap(), record.value().unwrap()),
            Err(error) => error.to_string(),
        })
        .collect();
    println!("tar 0.4.46: {}", shown.join("; "));
}
EOF
said=$(CARGO_TARGET_DIR=$work/target cargo run -q) || { echo "cannot build the program" >&2; exit 2; }
echo "$said"
case $said in
  *"malformed pax extension"*) echo "behaves as described" ;;
  *) echo "behaves otherwise: the value was read" >&2; exit 1 ;;
esac
