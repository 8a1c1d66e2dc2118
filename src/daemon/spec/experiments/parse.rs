//! Parses annotations into [`Experiments`].

use std::collections::BTreeMap;

use super::experiment::{
    CgroupSharing, ContainerSharing, Experiment, ExperimentError, Experiments, PREFIX,
    PodReference, SECOND, Sharing, TimeOffsets,
};

/// How much of a refused value is shown, in characters.
const SHOWN: usize = 120;

/// Digits of a whole sandbox id.
const ID_DIGITS: usize = 64;

/// Longest name of a pod, a namespace or a container.
const LONGEST_NAME: usize = 253;

/// Largest offset in nanoseconds, about 146 years. The kernel refuses clocks beyond (KTIME_MAX / 2).
const LARGEST_OFFSET: i128 = (i64::MAX / 2) as i128;

/// A parsed value, or what is allowed instead.
type Parsed<T> = Result<T, &'static str>;

impl Experiments {
    /// Reads the experiments among the annotations of a pod. Other annotations are ignored.
    ///
    /// # Errors
    /// [`ExperimentError`] for the first key with [`PREFIX`] that is unknown, or whose value is not allowed.
    pub(crate) fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, ExperimentError> {
        let mut out = Self::default();
        for (key, value) in annotations {
            let Some(name) = key.strip_prefix(PREFIX) else {
                continue;
            };
            out.take(name, value).map_err(|remedy| ExperimentError {
                annotation: key.chars().take(SHOWN).collect(),
                value: value.chars().take(SHOWN).collect(),
                remedy,
            })?;
        }
        Ok(out)
    }

    fn take(&mut self, name: &str, value: &str) -> Parsed<()> {
        match Experiment::of_annotation(&format!("{PREFIX}{name}")) {
            Some(Experiment::JoinNetwork) => self.join_network = Some(reference(value)?),
            Some(Experiment::TimeOffsets) => self.time_offsets = Some(offsets(value)?),
            Some(Experiment::Namespaces) => {
                let container = name.strip_prefix("namespaces.").unwrap_or_default();
                if !is_name(container) {
                    return Err("end the key with the name of a container: namespaces.CONTAINER");
                }
                self.namespaces
                    .insert(container.to_owned(), sharing(value)?);
            }
            None => {
                return Err(
                    "no such experiment; give join-network, time-offsets or namespaces.CONTAINER",
                );
            }
        }
        Ok(())
    }
}

/// Whether a text can be a name of Kubernetes. This finds mistakes; it does not apply all rules of Kubernetes.
fn is_name(text: &str) -> bool {
    let odd = |letter: char| letter == '/' || letter.is_control() || letter.is_whitespace();
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(odd)
}

fn reference(text: &str) -> Parsed<PodReference> {
    const REMEDY: &str = "give the id of a pod sandbox, or NAMESPACE/NAME";
    if let Some((namespace, name)) = text.split_once('/') {
        return if is_name(namespace) && is_name(name) {
            Ok(PodReference::Name {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        } else {
            Err(REMEDY)
        };
    }
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.is_empty() || text.len() > ID_DIGITS || !text.bytes().all(digit) {
        return Err(REMEDY);
    }
    Ok(PodReference::Id(text.to_owned()))
}

/// Words of the form `key=value`, none twice.
fn words<'a>(text: &'a str, remedy: &'static str) -> Parsed<Vec<(&'a str, &'a str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (key, value) = word.split_once('=').ok_or(remedy)?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err("give each key only once");
        }
        found.push((key, value));
    }
    if found.is_empty() {
        return Err(remedy);
    }
    Ok(found)
}

fn offsets(text: &str) -> Parsed<TimeOffsets> {
    const REMEDY: &str =
        "give monotonic=OFFSET, boottime=OFFSET or both, with offsets such as -3600s or 1500ns";
    let mut out = TimeOffsets::default();
    for (clock, value) in words(text, REMEDY)? {
        let value = offset(value).ok_or(REMEDY)?;
        match clock {
            "monotonic" => out.monotonic = value,
            "boottime" => out.boottime = value,
            _ => return Err(REMEDY),
        }
    }
    Ok(out)
}

/// A whole number of seconds or nanoseconds, in nanoseconds.
fn offset(text: &str) -> Option<i64> {
    let (number, unit) = match text.strip_suffix("ns") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, i128::from(SECOND)),
    };
    let number: i64 = number.parse().ok()?;
    let nanos = i128::from(number).checked_mul(unit)?;
    if nanos.abs() > LARGEST_OFFSET {
        return None;
    }
    i64::try_from(nanos).ok()
}

fn sharing(text: &str) -> Parsed<ContainerSharing> {
    const REMEDY: &str = "give uts=own|pod, ipc=own|pod and cgroup=own|pod|host, or some of them";
    let mut out = ContainerSharing::default();
    for (kind, value) in words(text, REMEDY)? {
        match (kind, value) {
            ("uts", "own") => out.uts = Sharing::Own,
            ("ipc", "own") => out.ipc = Sharing::Own,
            ("uts" | "ipc", "pod") => {}
            ("cgroup", "own") => out.cgroup = Some(CgroupSharing::Own),
            ("cgroup", "pod") => out.cgroup = Some(CgroupSharing::Pod),
            ("cgroup", "host") => out.cgroup = Some(CgroupSharing::Host),
            _ => return Err(REMEDY),
        }
    }
    Ok(out)
}
