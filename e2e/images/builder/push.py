"""An image's config, manifest and index, and the registry they are pushed to."""

import http.client
import json
import re
from dataclasses import dataclass, field

from .tree import digest_of

OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
MANIFEST_TYPES = ", ".join(f[k] for f in (OCI, DOCKER) for k in ("manifest", "index"))
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREATED = "2023-11-14T22:13:20Z"
# An architecture that no test machine can run; Debian's names are those of the image spec.
FOREIGN = "s390x"


@dataclass
class Image:
    """One image. `layers` are functions, so that what is already in the registry is not built."""

    name: str
    layers: list
    config: dict = field(default_factory=dict)
    format: dict = field(default_factory=lambda: OCI)
    # Architecture to layers, for an index; empty for a single manifest.
    platforms: dict = field(default_factory=dict)
    shows: str = ""
    # Whether the index stands in another one, beside what is no image.
    nested: bool = False
    # Name to content of the files of an artifact, which has neither config nor layers.
    files: dict = field(default_factory=dict)
    # Changes the parts before they are pushed: takes and gives (config bytes, manifest dict).
    spoil: object = None
    # Called with (registry, repository, manifest) once all is pushed.
    after: object = None

    @property
    def repository(self):
        return self.name.rsplit(":", 1)[0]

    @property
    def tag(self):
        return self.name.rsplit(":", 1)[1]


class Registry:
    """As much of the distribution API as pushing takes."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=120)

    def request(self, method, path, body=None, headers=None, ok=(200, 201, 202)):
        self.connection.request(method, path, body=body, headers=headers or {})
        response = self.connection.getresponse()
        data = response.read()
        if response.status not in ok:
            raise SystemExit(f"{method} {path}: {response.status} {data[:300]!r}")
        return response

    def digest(self, image):
        """Digest of what the tag points at, or None."""
        path = f"/v2/{image.repository}/manifests/{image.tag}"
        response = self.request("HEAD", path, headers={"Accept": MANIFEST_TYPES}, ok=(200, 404))
        return response.getheader("Docker-Content-Digest") if response.status == 200 else None

    def blob(self, repository, data, digest=None):
        digest = digest or digest_of(data)
        if self.request("HEAD", f"/v2/{repository}/blobs/{digest}", ok=(200, 404)).status == 200:
            return
        start = self.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
        location = re.sub(r"^https?://[^/]+", "", start.getheader("Location"))
        location += ("&" if "?" in location else "?") + "digest=" + digest
        self.request("PUT", location, data, {"Content-Type": "application/octet-stream"})

    def manifest(self, repository, reference, data, media_type):
        self.request("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type})


def push(registry, image, native):
    """Pushes an image; returns the digest of its manifest or index and the native config's digest."""
    if image.files:
        return _push_artifact(registry, image)
    if not image.platforms:
        data, config = _push_manifest(registry, image, native, image.layers, image.tag)
        return digest_of(data), config
    entries, native_config = [], None
    for arch, layers in image.platforms.items():
        data, config = _push_manifest(registry, image, arch, layers, None)
        native_config = config if arch == native else native_config
        entries.append({"mediaType": image.format["manifest"], "size": len(data), "digest": digest_of(data),
                        "platform": {"architecture": arch, "os": "linux"}})
    index = _push_index(registry, image, entries, None if image.nested else image.tag)
    if image.nested:
        attestation, _ = _push_manifest(registry, image, "unknown", [], None)
        entries = [{"mediaType": image.format["manifest"], "size": len(attestation), "digest": digest_of(attestation),
                    "platform": {"architecture": "unknown", "os": "unknown"},
                    "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
                   {"mediaType": image.format["index"], "size": len(index), "digest": digest_of(index)}]
        index = _push_index(registry, image, entries, image.tag)
    return digest_of(index), native_config


def _push_index(registry, image, entries, reference):
    index = json.dumps({"schemaVersion": 2, "mediaType": image.format["index"], "manifests": entries}).encode()
    registry.manifest(image.repository, reference or digest_of(index), index, image.format["index"])
    return index


def _push_artifact(registry, image):
    """Files as they are, each a layer with its name as title (image specification, "Guidelines for Artifact Usage")."""
    empty = b"{}"
    manifest = {
        "schemaVersion": 2, "mediaType": OCI["manifest"], "artifactType": "application/vnd.holdfast.test",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": len(empty), "digest": digest_of(empty)},
        "layers": [{"mediaType": "application/octet-stream", "size": len(data), "digest": digest_of(data),
                    "annotations": {"org.opencontainers.image.title": name}} for name, data in image.files.items()],
        "annotations": {"org.example.shows": image.shows},
    }
    for blob in [empty, *image.files.values()]:
        registry.blob(image.repository, blob)
    data = json.dumps(manifest).encode()
    registry.manifest(image.repository, image.tag, data, OCI["manifest"])
    return digest_of(data), digest_of(empty)


def _push_manifest(registry, image, arch, layers, reference):
    layers = [layer() for layer in layers]
    config = json.dumps({
        "architecture": arch, "os": "linux", "created": CREATED,
        "config": {"Env": [PATH], **image.config},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": "e2e/images"} for _ in layers],
    }).encode()
    manifest = {
        "schemaVersion": 2, "mediaType": image.format["manifest"],
        "layers": [{"mediaType": image.format[layer.compression], "size": len(layer.blob), "digest": layer.digest}
                   for layer in layers],
    }
    if image.spoil:
        config, manifest = image.spoil(config, manifest)
    manifest["config"] = {"mediaType": image.format["config"], "size": len(config), "digest": digest_of(config)}
    for layer in layers:
        registry.blob(image.repository, layer.blob, layer.digest)
    registry.blob(image.repository, config)
    data = json.dumps(manifest).encode()
    registry.manifest(image.repository, reference or digest_of(data), data, image.format["manifest"])
    if image.after:
        image.after(registry, image.repository, manifest)
    return data, digest_of(config)
