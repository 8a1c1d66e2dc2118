//! The JSON documents of images: manifests, indexes and configurations, and what archives have in their place.
//!
//! The types have the fields of the image specification 1.1.1 (specs-go/v1) that matter to a runtime, and those of
//! which the reference readers check the type. What is missing or null is empty, as in Go.

mod tree;

use std::collections::BTreeMap;
pub use tree::FieldError;
use tree::{Read, Tree, is_field};

/// Lets a type be read from an object, field by field.
macro_rules! fields {
    ($type:ident { $($name:literal => $field:ident),+ $(,)? }) => {
        impl Read for $type {
            fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
                for (key, tree) in tree.pairs()? {
                    $(if is_field(&key, $name) {
                        self.$field.read(tree).map_err(|e| e.below($name))?;
                        continue;
                    })+
                    // A key that nobody knows may have any value.
                    drop(tree);
                }
                Ok(())
            }
        }
    };
}

/// A document in the place of a manifest: a manifest, an index, or neither.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub schema_version: i64,
    pub media_type: String,
    pub artifact_type: String,
    pub config: Option<Descriptor>,
    pub layers: Option<Vec<Descriptor>>,
    pub manifests: Option<Vec<Descriptor>>,
    /// The layers of Docker's schema 1.
    pub fs_layers: Option<Vec<Anything>>,
    pub annotations: BTreeMap<String, String>,
}

/// Content that a manifest or an index names.
#[derive(Debug, Clone, Default)]
pub(super) struct Descriptor {
    pub media_type: String,
    pub artifact_type: String,
    pub digest: String,
    pub size: i64,
    pub platform: Option<PlatformNames>,
    pub annotations: BTreeMap<String, String>,
}

/// A platform as somebody wrote it.
#[derive(Debug, Clone, Default)]
pub(super) struct PlatformNames {
    pub architecture: String,
    pub os: String,
    pub os_version: String,
    pub os_features: Vec<String>,
    pub variant: String,
}

/// The configuration of an image.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// When the image was made, in the form of RFC 3339.
    pub created: Option<Timestamp>,
    pub(super) author: String,
    pub(super) platform: PlatformNames,
    /// How to run it.
    pub execution: Execution,
    pub(super) root_fs: RootFs,
    pub(super) history: Vec<Past>,
}

/// How an image wants to be run.
#[derive(Debug, Clone, Default)]
pub struct Execution {
    /// The user, with or without a group.
    pub user: String,
    pub(super) exposed_ports: BTreeMap<String, ()>,
    /// Variables of the environment, `NAME=VALUE` each.
    pub env: Vec<String>,
    /// The program and its leading arguments.
    pub entrypoint: Vec<String>,
    /// The arguments of the program, unless the container brings its own.
    pub cmd: Vec<String>,
    /// Directories that want to be volumes.
    pub volumes: BTreeMap<String, ()>,
    /// The directory in which the program starts.
    pub working_dir: String,
    pub(super) labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    pub stop_signal: String,
    pub(super) args_escaped: bool,
}

/// The layers of an image, by what they unpack to.
#[derive(Debug, Clone, Default)]
pub(super) struct RootFs {
    pub kind: String,
    pub diff_ids: Vec<String>,
}

/// How a layer was made. Nothing reads it here, but the reference readers refuse an image with a wrong one.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    created: Option<Timestamp>,
    created_by: String,
    author: String,
    comment: String,
    empty_layer: bool,
}

/// An image in the `manifest.json` of `docker save`.
#[derive(Debug, Clone, Default)]
pub(super) struct Saved {
    pub config: String,
    pub repo_tags: Vec<String>,
    pub layers: Vec<String>,
}

/// A value that is passed over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Anything;

/// A time in the form of RFC 3339, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timestamp(pub String);

fields!(Document {
    "schemaVersion" => schema_version,
    "mediaType" => media_type,
    "artifactType" => artifact_type,
    "config" => config,
    "layers" => layers,
    "manifests" => manifests,
    "fsLayers" => fs_layers,
    "annotations" => annotations,
});
fields!(Descriptor {
    "mediaType" => media_type,
    "artifactType" => artifact_type,
    "digest" => digest,
    "size" => size,
    "platform" => platform,
    "annotations" => annotations,
});
fields!(PlatformNames {
    "architecture" => architecture,
    "os" => os,
    "os.version" => os_version,
    "os.features" => os_features,
    "variant" => variant,
});
fields!(Execution {
    "User" => user,
    "ExposedPorts" => exposed_ports,
    "Env" => env,
    "Entrypoint" => entrypoint,
    "Cmd" => cmd,
    "Volumes" => volumes,
    "WorkingDir" => working_dir,
    "Labels" => labels,
    "StopSignal" => stop_signal,
    "ArgsEscaped" => args_escaped,
});
fields!(RootFs {
    "type" => kind,
    "diff_ids" => diff_ids,
});
fields!(Past {
    "created" => created,
    "created_by" => created_by,
    "author" => author,
    "comment" => comment,
    "empty_layer" => empty_layer,
});
fields!(Saved {
    "Config" => config,
    "RepoTags" => repo_tags,
    "Layers" => layers,
});

impl Read for ImageConfig {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        let mut platform = Vec::new();
        for (key, tree) in tree.pairs()? {
            match key.as_str() {
                key if is_field(key, "created") => self.created.read(tree),
                key if is_field(key, "author") => self.author.read(tree),
                key if is_field(key, "config") => self.execution.read(tree),
                key if is_field(key, "rootfs") => self.root_fs.read(tree),
                key if is_field(key, "history") => self.history.read(tree),
                // The fields of the platform stand between the others.
                _ => {
                    platform.push((key, tree));
                    continue;
                }
            }
            .map_err(|e| e.below(&key))?;
        }
        self.platform.read(Tree::Object(platform))
    }
}

impl Read for Anything {
    fn read(&mut self, _: Tree) -> Result<(), FieldError> {
        Ok(())
    }
}

impl Read for Timestamp {
    fn read(&mut self, tree: Tree) -> Result<(), FieldError> {
        self.0.read(tree)?;
        if is_timestamp(&self.0) {
            return Ok(());
        }
        let wanted = "a time of the form 2006-01-02T15:04:05Z is expected; leave it out where the time is unknown";
        Err(FieldError::of_text(&self.0, wanted))
    }
}

/// Whether a text is a time as Go's `time.Time` reads it from JSON: RFC 3339 with capital letters and no leap second,
/// but with the hour in one digit, a comma before the fraction and a zone of 24:60 where somebody writes so.
fn is_timestamp(text: &str) -> bool {
    /// The number of so many digits that a text begins with, and what follows.
    fn number(text: &str, digits: usize, most: u32) -> Option<(u32, &str)> {
        let (number, rest) = text.split_at_checked(digits)?;
        let is_number = number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|n| is_number && *n <= most)?;
        Some((number, rest))
    }
    fn zone(text: &str) -> Option<()> {
        if text == "Z" {
            return Some(());
        }
        let (_, text) = number(text.strip_prefix(['+', '-'])?, 2, 24)?;
        let (_, text) = number(text.strip_prefix(':')?, 2, 60)?;
        text.is_empty().then_some(())
    }
    let parse = || {
        let (year, text) = number(text, 4, 9999)?;
        let (month, text) = number(text.strip_prefix('-')?, 2, 12)?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(is_leap),
            _ => 31,
        };
        let (day, text) = number(text.strip_prefix('-')?, 2, days)?;
        let text = text.strip_prefix('T')?;
        let (_, text) = number(text, 2, 23).or_else(|| number(text, 1, 9))?;
        let (_, text) = number(text.strip_prefix(':')?, 2, 59)?;
        let (_, text) = number(text.strip_prefix(':')?, 2, 59)?;
        let text = match text.strip_prefix(['.', ',']) {
            Some(rest) => {
                let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                (zone.len() < rest.len()).then_some(zone)?
            }
            None => text,
        };
        (month > 0 && day > 0).then(|| zone(text)).flatten()
    };
    parse().is_some()
}

/// Why a text is not the JSON document that it should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text is not JSON.
    #[error("the {document} is malformed")]
    Json {
        /// The name of the document.
        document: &'static str,
        /// The place of the first fault.
        #[source]
        source: serde_json::Error,
    },
    /// A field has a value of another type.
    #[error("the {document} is malformed")]
    Field {
        /// The name of the document.
        document: &'static str,
        /// The field, and what is wrong with it.
        #[source]
        source: FieldError,
    },
}

fn read<T: Read>(bytes: &[u8], document: &'static str) -> Result<T, DocumentError> {
    let tree = Tree::parse(bytes).map_err(|source| DocumentError::Json { document, source })?;
    let mut value = T::default();
    value
        .read(tree)
        .map_err(|source| DocumentError::Field { document, source })?;
    Ok(value)
}

impl Document {
    /// Reads a manifest or an index; `document` is what to call it.
    pub(crate) fn parse(bytes: &[u8], document: &'static str) -> Result<Self, DocumentError> {
        read(bytes, document)
    }
}

impl ImageConfig {
    /// Reads the configuration of an image.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        read(bytes, "configuration")
    }
}

impl Saved {
    /// Reads the `manifest.json` of `docker save`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Self>, DocumentError> {
        read(bytes, "manifest.json")
    }
}

#[cfg(test)]
mod tests;
