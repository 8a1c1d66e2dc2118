//! What an unpacked archive holds: images with their documents, or a root file system.
//!
//! The documents decide, wherever they stood in the archive and whatever the files beside them are called: tools
//! write them in every order, name layers `layer.tar`, `sha256:…`, `….tar.gz` or `blobs/sha256/…`, and link one to
//! another. A document counts when it is one by its content, since a root file system may have a `manifest.json` too.

use super::ImportError;
use crate::disk::{Dir, Entry, EntryKind};
use crate::image::document::{Descriptor, Document, Saved};
use crate::image::manifest::{self, ManifestError, ManifestKind, Parsed, SaidBy};
use crate::image::platform::Machine;
use crate::image::registry::DOCUMENT_MAX;
use crate::image::{Digest, Reference, Target};
use bytes::Bytes;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

/// The annotation by which an OCI layout names its images (image specification, "Annotations").
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd and Docker name theirs.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The documents of archives: of an OCI layout, and of `docker save`.
const INDEX: &str = "index.json";
const SAVED: &str = "manifest.json";
/// What skopeo's and podman's `dir:` begins its file `version` with (containers-transports(5)); its `manifest.json`
/// is the manifest itself.
const DIRECTORY: &[u8] = b"Directory Transport Version: ";

/// How an archive calls content whose digest is known.
#[derive(Debug, Clone, Copy)]
enum Naming {
    /// An OCI layout.
    Layout,
    /// `dir:`.
    Directory,
}

impl Naming {
    /// The path of a layer or a configuration.
    fn blob(self, digest: Digest) -> String {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        match self {
            Self::Layout => format!("blobs/{algorithm}/{hex}"),
            Self::Directory if algorithm == "sha256" => hex,
            Self::Directory => format!("{algorithm}-{hex}"),
        }
    }

    /// The path of a manifest that an index names.
    fn manifest(self, digest: Digest) -> String {
        match self {
            Self::Layout => self.blob(digest),
            Self::Directory => self.blob(digest) + ".manifest.json",
        }
    }
}

/// An unpacked archive, and the name that its image is to have.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub spread: &'a Dir,
    pub reference: &'a Reference,
}

/// The parts of an image, as files of an unpacked archive.
#[derive(Debug)]
pub(super) struct Parts {
    /// `None` for `docker save`, which has none of its own.
    pub manifest: Option<Bytes>,
    pub config: Bytes,
    /// Paths in the archive, with the digest where the archive promises one.
    pub layers: Vec<(String, Option<Digest>)>,
    pub platform: SaidBy,
}

/// An image that an archive offers: its names there, and what tells it from the others.
#[derive(Debug, Clone)]
struct Offer<T> {
    names: Vec<String>,
    id: String,
    image: T,
}

impl Contents<'_> {
    /// The image to take from an archive of images; `None` when the archive is none.
    pub fn image(self) -> Result<Option<Parts>, ImportError> {
        let saved = self.saved()?;
        // Docker writes both documents since version 25, containerd's export too.
        match (self.index()?, saved) {
            (Some(index), None) => self.layout_image(&index).map(Some),
            (Some(index), Some(saved)) => match self.layout_image(&index) {
                Ok(parts) if self.is_whole(&parts) => Ok(Some(parts)),
                _ => self.saved_image(&saved).map(Some),
            },
            (None, Some(saved)) => self.saved_image(&saved).map(Some),
            (None, None) => self.directory_image(),
        }
    }

    /// The image of a `dir:`.
    fn directory_image(self) -> Result<Option<Parts>, ImportError> {
        let version = self.document_if_there("version")?;
        if !version.is_some_and(|version| version.starts_with(DIRECTORY)) {
            return Ok(None);
        }
        let manifest = self.document(SAVED)?;
        self.parts(manifest, SaidBy::Caller, Naming::Directory)
            .map(Some)
    }

    /// Whether the tree can be a root file system: there is something at its top that is neither what an archive of
    /// images consists of nor a plain file.
    pub fn is_root_fs(self) -> Result<bool, ImportError> {
        let entries = self.spread.entries();
        let entries = entries.map_err(|e| self.read_error(io::Error::other(e)))?;
        let fits = |entry: &Entry| {
            let name = entry.name.as_os_str().to_string_lossy();
            match entry.kind {
                // Of a layout that was packed with its directory the files stand one step too low.
                EntryKind::Directory => {
                    let layout = self.open(&format!("{name}/oci-layout"), OFlag::O_PATH);
                    name != "blobs" && !is_hashed(&name) && layout.is_err()
                }
                EntryKind::Symlink => true,
                EntryKind::File => self.is_program(&name),
                EntryKind::Other => true,
            }
        };
        Ok(entries.is_empty() || entries.iter().any(fits))
    }

    fn is_program(self, path: &str) -> bool {
        let metadata = self.open(path, OFlag::O_PATH).and_then(|f| f.metadata());
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
    }

    /// The index of an OCI layout.
    fn index(self) -> Result<Option<Vec<Descriptor>>, ImportError> {
        let Some(bytes) = self.document_if_there(INDEX)? else {
            return Ok(None);
        };
        let is_layout = ["oci-layout", "blobs"].map(|name| self.open(name, OFlag::O_PATH).is_ok());
        match Document::parse(&bytes, INDEX) {
            Ok(document) => Ok(document.manifests.filter(|_| is_layout.contains(&true))),
            Err(source) if is_layout[0] => Err(self.manifest_error(source)),
            Err(_) => Ok(None),
        }
    }

    /// The images of `docker save`.
    fn saved(self) -> Result<Option<Vec<Saved>>, ImportError> {
        let Some(bytes) = self.document_if_there(SAVED)? else {
            return Ok(None);
        };
        // A web application's file of that name is an object.
        if bytes.trim_ascii_start().first() != Some(&b'[') {
            return Ok(None);
        }
        match Saved::parse(&bytes) {
            Ok(saved) if saved.iter().any(|image| !image.config.is_empty()) => Ok(Some(saved)),
            Ok(_) => Ok(None),
            Err(source) if self.is_root_fs()? => {
                tracing::debug!(error = %source, "a manifest.json is not that of docker save");
                Ok(None)
            }
            Err(source) => Err(self.manifest_error(source)),
        }
    }

    /// The manifest or index to begin with, of those that the index of a layout names.
    fn entry(self, index: &[Descriptor]) -> Result<(Digest, SaidBy), ImportError> {
        let mut entries: Vec<&Descriptor> = index.iter().collect();
        if entries.iter().any(|entry| !manifest::is_attestation(entry)) {
            entries.retain(|entry| !manifest::is_attestation(entry));
        }
        let offers = entries.into_iter().map(|entry| Offer {
            names: [CONTAINERD_NAME, REF_NAME]
                .iter()
                .filter_map(|key| entry.annotations.get(*key).cloned())
                .collect(),
            id: entry.digest.clone(),
            image: entry,
        });
        let chosen = self.choose(offers.collect())?;
        match chosen.as_slice() {
            [one] => {
                let digest = manifest::digest(&one.digest, || format!("{INDEX}: digest"));
                Ok((digest.map_err(|e| self.manifest_error(e))?, SaidBy::Caller))
            }
            [_, _, ..] if chosen.iter().all(|entry| entry.platform.is_none()) => {
                Err(self.several([].iter()))
            }
            several => {
                let several: Vec<Descriptor> = several.iter().copied().cloned().collect();
                let choice = manifest::choose(&several, &Machine::this());
                let choice = choice.map_err(|e| self.manifest_error(e))?;
                Ok((choice.digest, choice.platform))
            }
        }
    }

    fn layout_image(self, index: &[Descriptor]) -> Result<Parts, ImportError> {
        let (digest, platform) = self.entry(index)?;
        let document = self.blob(digest, &Naming::Layout.manifest(digest))?;
        self.parts(document, platform, Naming::Layout)
    }

    /// Goes from a manifest, or an index, to what it names.
    fn parts(
        self,
        mut document: Bytes,
        mut platform: SaidBy,
        naming: Naming,
    ) -> Result<Parts, ImportError> {
        let machine = Machine::this();
        loop {
            let parsed = manifest::parse(&document, &machine);
            let manifest = match parsed.map_err(|e| self.manifest_error(e))? {
                // Each step verifies a digest, so that an index cannot contain itself.
                Parsed::Index(next) => {
                    document = self.blob(next.digest, &naming.manifest(next.digest))?;
                    platform = next.platform;
                    continue;
                }
                Parsed::Manifest(manifest) => manifest,
            };
            if manifest.kind != ManifestKind::Image {
                return Err(ImportError::NotAnImage {
                    name: self.reference.to_string(),
                    what: "holds an artifact, not a container image: pull it from a registry"
                        .to_owned(),
                });
            }
            let config = manifest.config.digest;
            let layers = manifest.layers.iter();
            return Ok(Parts {
                config: self.blob(config, &naming.blob(config))?,
                manifest: Some(document),
                layers: layers
                    .map(|part| (naming.blob(part.digest), Some(part.digest)))
                    .collect(),
                platform,
            });
        }
    }

    fn saved_image(self, saved: &[Saved]) -> Result<Parts, ImportError> {
        let offers = saved.iter().map(|image| Offer {
            names: image.repo_tags.clone(),
            id: image.config.clone(),
            image,
        });
        let image = match self.choose(offers.collect())?.as_slice() {
            [image] => *image,
            [] => return Err(self.archive("holds no image")),
            _ => return Err(self.several([].iter())),
        };
        Ok(Parts {
            manifest: None,
            config: self.document(&image.config)?,
            layers: image
                .layers
                .iter()
                .map(|path| (path.clone(), None))
                .collect(),
            platform: SaidBy::Caller,
        })
    }

    /// The images among which only the platform decides: those of the name that was asked for, else the only one,
    /// else all of an archive that names none.
    fn choose<T: Clone>(self, offers: Vec<Offer<T>>) -> Result<Vec<T>, ImportError> {
        let tag_only =
            |name: &str| matches!(self.reference.target(), Target::Tag(tag) if tag == name);
        let by = |fits: &dyn Fn(&str) -> bool| -> Vec<&Offer<T>> {
            let named = |offer: &&Offer<T>| offer.names.iter().any(|name| fits(name));
            offers.iter().filter(named).collect()
        };
        let mut chosen = by(&|name| self.is_same(name));
        if chosen.is_empty() {
            chosen = by(&tag_only);
        }
        if chosen.is_empty() {
            chosen = offers.iter().collect();
            let named: BTreeSet<&[String]> = offers.iter().map(|o| o.names.as_slice()).collect();
            let ids: BTreeSet<&str> = offers.iter().map(|offer| offer.id.as_str()).collect();
            if ids.len() > 1 && named.len() > 1 {
                return Err(self.several(offers.iter().flat_map(|offer| &offer.names)));
            }
        }
        let mut seen = BTreeSet::new();
        chosen.retain(|offer| seen.insert(offer.id.clone()));
        Ok(chosen
            .into_iter()
            .map(|offer| offer.image.clone())
            .collect())
    }

    fn is_same(self, name: &str) -> bool {
        name.parse::<Reference>()
            .is_ok_and(|reference| reference == *self.reference)
    }

    fn is_whole(self, parts: &Parts) -> bool {
        let mut layers = parts.layers.iter();
        layers.all(|(path, _)| self.open(path, OFlag::O_PATH).is_ok())
    }

    fn blob(self, digest: Digest, path: &str) -> Result<Bytes, ImportError> {
        let bytes = self.document(path)?;
        if digest.same_of(&bytes) != digest {
            return Err(self.archive(&format!(
                "has other content than {digest} under that digest"
            )));
        }
        Ok(bytes)
    }

    fn document(self, path: &str) -> Result<Bytes, ImportError> {
        let document = self.document_if_there(path)?;
        document.ok_or_else(|| self.archive(&format!("lacks {path}")))
    }

    fn document_if_there(self, path: &str) -> Result<Option<Bytes>, ImportError> {
        let file = match self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.read_error(e)),
        };
        if !file.metadata().map_err(|e| self.read_error(e))?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(DOCUMENT_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.read_error(e))?;
        if bytes.len() > DOCUMENT_MAX {
            return Err(self.archive(&format!("has a {path} of more than {DOCUMENT_MAX} bytes")));
        }
        Ok(Some(bytes.into()))
    }

    /// Opens a layer.
    pub fn layer(self, path: &str) -> Result<File, ImportError> {
        let file = self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK);
        file.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => self.archive(&format!("lacks the layer {path}")),
            _ => self.read_error(e),
        })
    }

    /// Opens a file; links in the archive, which `docker save` used to write, end at its own root.
    pub fn open(self, path: &str, flags: OFlag) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(self.spread, path, how)?.into())
    }

    /// The error where nothing tells which image is meant; `names` are those that could be asked for.
    fn several<'n>(self, names: impl Iterator<Item = &'n String>) -> ImportError {
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let remedy = match names.as_slice() {
            [] => "save each in an archive of its own".to_owned(),
            names => format!(
                "give the new image the name of one of them: {}",
                names.join(", ")
            ),
        };
        ImportError::Ambiguous {
            name: self.reference.to_string(),
            remedy,
        }
    }

    fn archive(self, what: &str) -> ImportError {
        ImportError::Archive {
            name: self.reference.to_string(),
            what: what.to_owned(),
        }
    }

    fn manifest_error(self, source: ManifestError) -> ImportError {
        ImportError::Manifest {
            name: self.reference.to_string(),
            source,
        }
    }

    fn read_error(self, source: io::Error) -> ImportError {
        ImportError::Read {
            name: self.reference.to_string(),
            source,
        }
    }
}

/// Whether `docker save` may have called a file or a directory so.
fn is_hashed(name: &str) -> bool {
    let stem = name.split(['.', ':']).find(|part| part.len() == 64);
    stem.is_some_and(|stem| stem.bytes().all(|b| b.is_ascii_hexdigit()))
}
