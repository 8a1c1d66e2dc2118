#!/usr/bin/env python3
"""Writes archives of images as tools do that are in no package registry.

    archives.py FORM WORK FILE      an image of WORK/tree and a second layer

nix-stream: dockerTools.streamLayeredImage. Layers with absolute names come first, as ID/layer.tar; then the
configuration, and manifest.json last.
nix-built: dockerTools.buildImage on a base. Directories have entries of their own, names begin with `./`, there is a
`repositories` file, and the layer that two places have is a link in one of them.
rules-oci: oci_load. manifest.json first, layers are blobs/sha256/ID.tar.gz.
rules-oci-layout: its OCI layout, whose index says nothing of a platform.
rules-docker: container_image's tar: configuration, layers as they were called, `repositories`, manifest.json.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def layer(root, prefix):
    """A tree as a tar, with names that begin with PREFIX."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(files) + directories:
                full = os.path.join(directory, name)
                entry = tar.gettarinfo(full, arcname=os.path.relpath(full, root))
                # gettarinfo takes the leading slash away.
                entry.name = prefix + entry.name
                entry.mtime = 1
                entry.pax_headers = {
                    f"SCHILY.xattr.{name}": os.getxattr(full, name, follow_symlinks=False).decode("utf-8", "surrogateescape")
                    for name in sorted(os.listxattr(full, follow_symlinks=False))
                }
                if entry.islnk():
                    entry.linkname = prefix + entry.linkname
                with open(full, "rb") if entry.isreg() else io.BytesIO() as content:
                    tar.addfile(entry, content)
    return buffer.getvalue()


def small(names):
    """A layer of a few files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(content):
    """Its digest without the algorithm."""
    return hashlib.sha256(content).hexdigest()


def configuration(writer, layers):
    """The image's configuration."""
    execution = {"Entrypoint": ["/made"], "Cmd": [writer], "Env": ["A=1", "PATH=/bin"], "Labels": {"one": "1"}}
    return json.dumps(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "created": "1970-01-01T00:00:01+00:00",
            "config": execution,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(one) for one in layers]},
            "history": [{"created": "1970-01-01T00:00:01+00:00", "comment": "store paths: []"} for _ in layers],
        },
        indent=4,
    ).encode()


def add(tar, name, content=None, link=None):
    """Adds a file, a directory or a link."""
    entry = tarfile.TarInfo(name)
    entry.mtime = 1
    if link is not None:
        entry.type, entry.linkname = tarfile.SYMTYPE, link
    elif content is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    else:
        entry.size, entry.mode = len(content), 0o444
    tar.addfile(entry, io.BytesIO(content or b""))


def saved(config, tag, layers):
    """manifest.json."""
    return json.dumps([{"Config": config, "RepoTags": [tag], "Layers": layers}], indent=4).encode()


def nix_stream(tree, tar):
    """See above."""
    layers = [layer(tree, "/"), small({"./customised": b"the last layer\n"})]
    for one in layers:
        add(tar, f"{digest(one)}/layer.tar", one)
    config = configuration("nix", layers)
    add(tar, digest(config) + ".json", config)
    add(tar, "manifest.json", saved(digest(config) + ".json", "localhost/nix:stream", [f"{digest(one)}/layer.tar" for one in layers]))


def nix_built(tree, tar):
    """See above."""
    extra = small({"./customised": b"a layer\n"})
    layers = [layer(tree, "./"), extra, small({"./again": b"another layer\n"}), extra]
    config = configuration("nix", layers)
    ids = [digest(f"{number}".encode()) for number in range(len(layers))]
    add(tar, "./" + digest(config) + ".json", config)
    for number, (one, name) in enumerate(zip(layers, ids)):
        add(tar, f"./{name}")
        add(tar, f"./{name}/VERSION", b"1.0")
        add(tar, f"./{name}/json", json.dumps({"id": name, "parent": ids[number - 1] if number else ""}).encode())
        if number == 3:
            add(tar, f"./{name}/layer.tar", link=f"../{ids[1]}/layer.tar")
        else:
            add(tar, f"./{name}/layer.tar", one)
    add(tar, "./manifest.json", saved(digest(config) + ".json", "localhost/nix:built", [f"{name}/layer.tar" for name in ids]))
    add(tar, "./repositories", json.dumps({"localhost/nix": {"built": ids[-1]}}).encode())


def rules_oci(tree, tar):
    """See above."""
    layers = [layer(tree, "./"), small({"second": b"second\n"})]
    packed = [gzip.compress(one, mtime=0) for one in layers]
    config = configuration("bazel", layers)
    names = [f"blobs/sha256/{digest(one)}.tar.gz" for one in packed]
    add(tar, "manifest.json", saved(f"blobs/sha256/{digest(config)}", "localhost/bazel:rules-oci", names))
    for directory in ("blobs/", "blobs/sha256/"):
        add(tar, directory)
    add(tar, f"blobs/sha256/{digest(config)}", config)
    for name, one in zip(names, packed):
        add(tar, name, one)


def rules_oci_layout(tree, tar):
    """See above."""
    layers = [layer(tree, "./"), small({"second": b"second\n"})]
    packed = [gzip.compress(one, mtime=0) for one in layers]
    config = configuration("bazel", layers)
    part = lambda kind, blob: {"mediaType": f"application/vnd.oci.image.{kind}", "size": len(blob), "digest": "sha256:" + digest(blob)}
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", config),
            "layers": [part("layer.v1.tar+gzip", one) for one in packed],
        }
    ).encode()
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [part("manifest.v1+json", manifest)]}
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "localhost/bazel:rules-oci-layout"}
    for blob in [*packed, config, manifest]:
        add(tar, f"blobs/sha256/{digest(blob)}", blob)
    add(tar, "index.json", json.dumps(index).encode())
    add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def rules_docker(tree, tar):
    """See above."""
    layers = [layer(tree, "./"), small({"second": b"second\n"})]
    config = configuration("bazel", layers)
    add(tar, digest(config) + ".json", config)
    names = [f"bazel-out/k8-fastbuild/bin/image-{number}/layer.tar" for number in range(len(layers))]
    for name, one in zip(names, layers):
        add(tar, name, one)
    add(tar, "manifest.json", saved(digest(config) + ".json", "localhost/bazel:rules-docker", names))
    add(tar, "repositories", json.dumps({"localhost/bazel": {"rules-docker": digest(layers[-1])}}).encode())


def main():
    """Does what the arguments say."""
    form, work, path = sys.argv[1:]
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        globals()[form.replace("-", "_")](os.path.join(work, "tree"), tar)


if __name__ == "__main__":
    main()
