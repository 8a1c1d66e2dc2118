#!/usr/bin/env python3
"""Builds the images the e2e tests run and pushes them to a registry.

Everything comes from Debian packages and the files beside this one; no image is fetched from
anywhere. What the registry already has with the same content is not built again.

With HOLDFAST_TEST_IMAGES=kept nothing is built or compared: the registry has them from another machine.

An image named HOST/PATH:TAG is pushed as REGISTRY/HOST/PATH:TAG: a hosts.toml for HOST, as
`registry.sh hosts` writes them, maps one to the other.
"""

import argparse
import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path

# Tests run this from a checkout, which stays as it is.
sys.dont_write_bytecode = True

from builder import own, upstream  # noqa: E402
from builder.debian import Debian, architecture  # noqa: E402
from builder.push import Registry, push  # noqa: E402

HERE = Path(__file__).resolve().parent


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HOLDFAST_TEST_CACHE") or Path(base) / "holdfast-e2e")


def inputs():
    """Digest of everything the images are made of that can change under a kept cache."""
    digest = hashlib.sha256(Path("/etc/os-release").read_bytes())
    for path in sorted(p for p in HERE.rglob("*") if p.suffix in (".py", ".c", ".conf", ".sh")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", help="HOST:PORT, plain http; default: the one named `plain` of registry.sh")
    parser.add_argument("--set", default="tests", choices=("tests", "bench", "all"), help="bench: the big one")
    parser.add_argument("--only", default="", help="only names that contain this")
    parser.add_argument("--data", type=Path, help="the registry's data directory; default: that of registry.sh")
    parser.add_argument("--list", action="store_true", help="print the names and what each shows, and build nothing")
    return parser.parse_args()


def catalog(arguments, debian, data):
    ours = own.Own(debian, architecture(), data)
    images = []
    if arguments.set in ("tests", "all"):
        images += [*ours.images(), *upstream.Upstream(debian, architecture()).images()]
    if arguments.set in ("bench", "all"):
        images += ours.bench()
    return [image for image in images if arguments.only in image.name]


def build(images, registry, known):
    """Pushes what is missing; returns name to facts for all."""
    done = {}
    for image in images:
        fact = known.get(image.name)
        if not fact or registry.digest(image) != fact["digest"]:
            digest, config = push(registry, image, architecture())
            fact = {"digest": digest, "config": config, "shows": image.shows}
            print(f"{image.name}  {digest}", flush=True)
        done[image.name] = fact
    return done


def main():
    arguments = parse_arguments()
    work = cache() / "images"
    work.mkdir(parents=True, exist_ok=True)
    data = arguments.data or cache() / "registry" / "data"
    images = catalog(arguments, Debian(work), data)
    if arguments.list:
        for image in images:
            print(f"{image.name}\t{image.shows}")
        return
    if os.environ.get("HOLDFAST_TEST_IMAGES") == "kept":
        return
    address = arguments.registry or (cache() / "registry/plain/address").read_text().strip()
    start = time.monotonic()
    # Two test runs may start at once; the second finds everything done.
    with open(work / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = work / "images.json"
        known = json.loads(record.read_text()) if record.exists() else {}
        stamp = inputs()
        if known.get("inputs") != stamp:
            known = {"inputs": stamp, "images": {}}
        known["images"].update(build(images, Registry(address), known["images"]))
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1))
        partial.rename(record)
    print(f"{len(images)} images in {address}, {time.monotonic() - start:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
