//! `holdfast images`: the list of images.

use std::str::FromStr;

use clap::Args;
use cri_api::runtime::v1 as cri;
use regex::Regex;
use serde::Serialize;

use super::status::spec;
use crate::connect::Daemon;
use crate::out::PrintError;
use crate::out::{self, Format, FormatArgs, table, text};
use crate::refusal::Refusal;
use crate::request::RequestError;

/// The command line of `holdfast images`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast images --digests -o json")]
pub struct ListArgs {
    /// Show only this image, given by reference or id.
    pub image: Option<String>,
    /// Print only the ids.
    #[arg(short, long)]
    pub quiet: bool,
    /// Print all that is known about each image.
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Show a column with digests.
    #[arg(long)]
    pub digests: bool,
    /// Print ids and digests in full.
    #[arg(long)]
    pub no_trunc: bool,
    /// Show a column that marks the images that the kubelet never removes.
    #[arg(long)]
    pub pinned: bool,
    /// Show images that match reference=REGEX or dangling=true|false; several filters must all match.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A value of the option `--filter`.
#[derive(Debug, Clone)]
pub enum Filter {
    /// A tag or digest matches this regular expression.
    Reference(Regex),
    /// Whether the image has no tag.
    Dangling(bool),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("reference", pattern)) => Regex::new(pattern)
                .map(Self::Reference)
                .map_err(|error| error.to_string()),
            Some(("dangling", "true")) => Ok(Self::Dangling(true)),
            Some(("dangling", "false")) => Ok(Self::Dangling(false)),
            _ => Err("give reference=REGEX, dangling=true or dangling=false".to_owned()),
        }
    }
}

impl Filter {
    fn fits(&self, image: &Listed) -> bool {
        match self {
            Self::Reference(pattern) => {
                let mut names = image.repo_tags.iter().chain(&image.repo_digests);
                names.any(|name| pattern.is_match(name))
            }
            Self::Dangling(wanted) => image.repo_tags.is_empty() == *wanted,
        }
    }
}

/// An image as the list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    size: u64,
    uid: Option<i64>,
    username: String,
    pinned: bool,
}

impl From<cri::Image> for Listed {
    fn from(image: cri::Image) -> Self {
        Self {
            id: image.id,
            repo_tags: image.repo_tags,
            repo_digests: image.repo_digests,
            size: image.size,
            uid: image.uid.map(|uid| uid.value),
            username: image.username,
            pinned: image.pinned,
        }
    }
}

/// Lists the images of the node.
pub(crate) async fn list(mut daemon: Daemon, args: ListArgs) -> Result<(), RequestError> {
    let filter = args
        .image
        .as_deref()
        .map(|image| cri::ImageFilter { image: spec(image) });
    let request = cri::ListImagesRequest { filter };
    let reply = daemon
        .images
        .list_images(request)
        .await
        .map_err(Refusal::to("list images"))?;
    let images = reply.into_inner().images.into_iter().map(Listed::from);
    let wanted = |image: &Listed| args.filter.iter().all(|filter| filter.fits(image));
    let images: Vec<_> = images.filter(wanted).collect();
    if args.format.output == Format::Table {
        if args.quiet {
            return Ok(out::lines(images.iter().map(|image| image.id.as_str()))?);
        }
        if args.verbose {
            return Ok(images.iter().try_for_each(describe)?);
        }
    }
    Ok(out::print(args.format.output, &images, |images| {
        show(images, &args)
    })?)
}

fn describe(image: &Listed) -> Result<(), PrintError> {
    let mut text = format!("ID: {}\n", image.id);
    for tag in &image.repo_tags {
        text.push_str(&format!("RepoTags: {tag}\n"));
    }
    for digest in &image.repo_digests {
        text.push_str(&format!("RepoDigests: {digest}\n"));
    }
    text.push_str(&format!("Size: {}\n", image.size));
    if let Some(uid) = image.uid {
        text.push_str(&format!("Uid: {uid}\n"));
    }
    if !image.username.is_empty() {
        text.push_str(&format!("Username: {}\n", image.username));
    }
    if image.pinned {
        text.push_str("Pinned: true\n");
    }
    out::line(&text)
}

fn show(images: &[Listed], args: &ListArgs) -> Result<(), PrintError> {
    let mut headings = vec!["IMAGE", "TAG"];
    if args.digests {
        headings.push("DIGEST");
    }
    headings.extend(["IMAGE ID", "SIZE"]);
    if args.pinned {
        headings.push("PINNED");
    }
    let mut out = table::new(&headings);
    let cut = |id| if args.no_trunc { id } else { text::short(id) };
    for image in images {
        let digest = image.repo_digests.first().map(String::as_str);
        let (repository, digest) = digest
            .and_then(|digest| digest.split_once('@'))
            .unwrap_or(("<none>", "<none>"));
        for (name, tag) in names(image, repository) {
            let mut row = vec![name, tag];
            if args.digests {
                row.push(cut(digest));
            }
            let size = text::size(image.size);
            row.extend([cut(&image.id), &size]);
            if args.pinned {
                row.push(if image.pinned { "true" } else { "false" });
            }
            out.add_row(row);
        }
    }
    table::print(&out)
}

/// The names of an image with their tags, each for a line of its own.
fn names<'a>(image: &'a Listed, repository: &'a str) -> Vec<(&'a str, &'a str)> {
    if image.repo_tags.is_empty() {
        return vec![(repository, "<none>")];
    }
    let split = |name: &'a String| match name.rsplit_once(':') {
        // A port has a path behind it.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name.as_str(), "<none>"),
    };
    image.repo_tags.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::{Filter, Listed, names};

    fn image(tags: &[&str]) -> Listed {
        Listed {
            id: "sha256:1".to_owned(),
            repo_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            repo_digests: vec!["example.com/a@sha256:2".to_owned()],
            size: 1,
            uid: None,
            username: String::new(),
            pinned: false,
        }
    }

    #[test]
    fn a_line_for_each_tag() {
        let tags = image(&["localhost:5000/a:1", "localhost:5000/a", "b:c"]);
        assert_eq!(
            names(&tags, "x"),
            [
                ("localhost:5000/a", "1"),
                ("localhost:5000/a", "<none>"),
                ("b", "c")
            ]
        );
        assert_eq!(names(&image(&[]), "x"), [("x", "<none>")]);
    }

    #[test]
    fn filters_are_patterns_and_dangling() {
        let fits = |text: &str, tags: &[&str]| {
            let filter: Filter = text.parse().unwrap();
            filter.fits(&image(tags))
        };
        assert!(fits("reference=^b:", &["b:c"]) && !fits("reference=^c", &["b:c"]));
        assert!(fits("dangling=true", &[]) && !fits("dangling=true", &["b:c"]));
        for text in ["before=x", "dangling=maybe", "reference=(", ""] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}
