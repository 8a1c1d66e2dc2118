//! All pods and containers by id and by name. Reads take a short lock that no slow operation ever holds.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::iter;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::PodEntry;
use super::error::LookupError;
use crate::spec::PodMetadata;
use holdfast_kernel::id::{ContainerId, ID_DIGITS, PodId, candidates};

/// The kubelet's name for a pod; no two pods have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PodKey(PodMetadata);

impl From<&PodMetadata> for PodKey {
    fn from(metadata: &PodMetadata) -> Self {
        Self(metadata.clone())
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PodMetadata {
            name,
            uid,
            namespace,
            attempt,
        } = &self.0;
        write!(out, "pod {namespace}/{name} (uid {uid}, attempt {attempt})")
    }
}

/// All pods and containers.
#[derive(Debug, Default)]
pub(super) struct Index {
    pods: RwLock<BTreeMap<PodId, Arc<PodEntry>>>,
    containers: RwLock<BTreeMap<ContainerId, Arc<PodEntry>>>,
    keys: Mutex<HashMap<PodKey, Arc<PodEntry>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    fn keys(&self) -> MutexGuard<'_, HashMap<PodKey, Arc<PodEntry>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a new pod, or returns the pod that has it.
    pub(super) fn claim(
        &self,
        key: PodKey,
        new: impl FnOnce() -> Arc<PodEntry>,
    ) -> Result<Arc<PodEntry>, Arc<PodEntry>> {
        use std::collections::hash_map::Entry;
        match self.keys().entry(key) {
            Entry::Occupied(taken) => Err(Arc::clone(taken.get())),
            Entry::Vacant(free) => {
                let entry = free.insert(new());
                write(&self.pods).insert(entry.id, Arc::clone(entry));
                Ok(Arc::clone(entry))
            }
        }
    }

    /// Removes a pod and its name.
    pub(super) fn remove_pod(&self, id: PodId, key: &PodKey) {
        self.keys().remove(key);
        write(&self.pods).remove(&id);
    }

    /// Makes a container known.
    pub(super) fn add_container(&self, id: ContainerId, entry: Arc<PodEntry>) {
        write(&self.containers).insert(id, entry);
    }

    /// Removes a container from the index.
    pub(super) fn remove_container(&self, id: ContainerId) {
        write(&self.containers).remove(&id);
    }

    /// Lists the entries of all pods.
    pub(super) fn pods(&self) -> Vec<Arc<PodEntry>> {
        read(&self.pods).values().cloned().collect()
    }

    /// Whether there is such a pod.
    pub(super) fn has_pod(&self, id: PodId) -> bool {
        read(&self.pods).contains_key(&id)
    }

    /// Whether there is such a container.
    pub(super) fn has_container(&self, id: ContainerId) -> bool {
        read(&self.containers).contains_key(&id)
    }

    /// The pod with this id or with this unique prefix.
    pub(super) fn pod(&self, id: &str) -> Result<Arc<PodEntry>, LookupError> {
        find(&read(&self.pods), "pod sandbox", id)?
            .map(|(_, entry)| entry)
            .ok_or_else(|| LookupError::UnknownPod(id.to_owned()))
    }

    /// The container with this id or with this unique prefix, and its pod.
    pub(super) fn container(&self, id: &str) -> Result<(ContainerId, Arc<PodEntry>), LookupError> {
        find(&read(&self.containers), "container", id)?
            .ok_or_else(|| LookupError::UnknownContainer(id.to_owned()))
    }
}

/// The only entry whose key starts with these digits.
fn find<K, V>(
    map: &BTreeMap<K, V>,
    what: &'static str,
    prefix: &str,
) -> Result<Option<(K, V)>, LookupError>
where
    K: Ord + Copy + fmt::Display + FromStr,
    V: Clone,
{
    if prefix.is_empty() {
        return Err(LookupError::EmptyId(what));
    }
    if prefix.len() > ID_DIGITS {
        return Ok(None);
    }
    // The smallest id with this prefix; what is no id at all is not known.
    let Ok(lowest) = format!("{prefix:0<ID_DIGITS$}").parse::<K>() else {
        return Ok(None);
    };
    let mut matching = map
        .range(lowest..)
        .take_while(|(key, _)| key.to_string().starts_with(prefix))
        .peekable();
    let Some((key, value)) = matching.next() else {
        return Ok(None);
    };
    if matching.peek().is_none() {
        return Ok(Some((*key, value.clone())));
    }
    let several = iter::once(key).chain(matching.map(|(key, _)| key));
    Err(LookupError::Ambiguous {
        what,
        prefix: prefix.to_owned(),
        candidates: candidates(several),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> BTreeMap<PodId, ()> {
        texts
            .iter()
            .map(|text| (format!("{text:0<64}").parse().unwrap(), ()))
            .collect()
    }

    #[test]
    fn a_prefix_finds_one_pod_or_names_the_candidates() {
        let map = ids(&["abc1", "abd", "f"]);
        let found = find(&map, "pod sandbox", "abc").unwrap().unwrap();
        assert!(found.0.to_string().starts_with("abc1"));
        let error = find(&map, "pod sandbox", "ab").unwrap_err().to_string();
        assert!(error.contains("abc1") && error.contains("abd"), "{error}");
        assert!(find(&map, "pod sandbox", "e").unwrap().is_none());
        assert!(find(&map, "pod sandbox", "../x").unwrap().is_none());
        assert!(
            find(&map, "pod sandbox", &"a".repeat(65))
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            find(&map, "pod sandbox", ""),
            Err(LookupError::EmptyId(_))
        ));
    }
}
