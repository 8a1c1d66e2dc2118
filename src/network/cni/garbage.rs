//! GC: plugins forget what they keep for pods that are gone (CNI specification, section "GC").
//!
//! A plugin forgets every attachment that it is not told of, also those of other runtimes: two of them may share a
//! network on one node while one replaces the other. So it is told of theirs as well, as far as they keep them where
//! libcni does.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call;
use super::config::{NetworkList, Plugin};
use super::error::CniError;
use super::native::{Asked, Known};
use super::network::CniNetwork;
use super::pod::INTERFACE;
use super::verb::Verb;
use super::version::CniVersion;
use holdfast_disk::json_text;
use holdfast_kernel::sys::regular;

/// The keys under which plugins look for the attachments that live. libcni writes both: the second is what the
/// specification of 1.1.0 said first.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
/// Where libcni keeps what it has attached, for containerd, CRI-O, podman and others.
const LIBCNI_CACHE: &str = "/var/lib/cni/results";
/// Largest file there that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// What libcni keeps of an attachment, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    kind: String,
    container_id: String,
    if_name: String,
    network_name: String,
}

impl CniNetwork {
    /// Lets the plugins of the configured network forget all pods but those of which there are records, and those of
    /// other runtimes.
    ///
    /// # Errors
    /// The first [`CniError`], after all plugins were called.
    pub async fn collect(&self) -> Result<(), CniError> {
        let Some(list) = self.look().await? else {
            return Ok(());
        };
        if list.disable_gc || list.version < CniVersion::V1_1_0 {
            return Ok(());
        }
        let _collecting = self.exclusion.collect().await;
        let mut valid = of_others(Path::new(LIBCNI_CACHE), &list.name);
        for id in self.attached()? {
            let of_this = match self.attachment(&id) {
                // Names are unique on a node, and a pod is in one network.
                Ok(of) => of.is_some_and(|of| of.list.get("name") == list.source.get("name")),
                // It may be in this one.
                Err(_) => true,
            };
            if of_this {
                valid.push(json!({ "containerID": id, "ifname": INTERFACE }));
            }
        }
        let mut first_error = None;
        for plugin in &list.plugins {
            let called = self.collect_by(&list, plugin, &valid).await;
            first_error = first_error.or(called.err());
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn collect_by(
        &self,
        list: &NetworkList,
        plugin: &Plugin,
        valid: &[Value],
    ) -> Result<(), CniError> {
        let mut call = self.call(Verb::Gc, list, plugin, None)?;
        let asked = Asked::of(list, plugin, &call, Known::New);
        if let Some(answer) = self.natives.serve(&asked).await {
            return answer.map(drop);
        }
        // Only the programs know these keys of it.
        if let Value::Object(stdin) = &mut call.stdin {
            for key in KEYS {
                stdin.insert(key.to_owned(), Value::Array(valid.to_vec()));
            }
        }
        call::run(&call).await.map(drop)
    }
}

/// What libcni keeps of a network for other runtimes. What cannot be read is passed over, as libcni does.
fn of_others(cache: &Path, network: &str) -> Vec<Value> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let attachment = |entry: std::fs::DirEntry| {
        let text = regular::read(&entry.path(), FILE_LIMIT).ok()?;
        let of: Cached = serde_json::from_str(&json_text(&text)).ok()?;
        let ours = of.kind == "cniCacheV1" && of.network_name == network && !of.if_name.is_empty();
        ours.then(|| json!({ "containerID": of.container_id, "ifname": of.if_name }))
    };
    entries.filter_map(attachment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node on which containerd and Holdfast share a network: its leases must outlive Holdfast's start.
    #[test]
    fn attachments_of_other_runtimes_are_found_by_their_network() {
        let dir = tempfile::tempdir().unwrap();
        let cached = |kind: &str, id: &str, network: &str| {
            json!({ "kind": kind, "containerId": id, "ifName": "eth0", "networkName": network,
                "config": "e30=", "netns": "/run/netns/x", "result": {} })
            .to_string()
        };
        for (name, text) in [
            ("net-a-eth0", cached("cniCacheV1", "a", "net")),
            ("other-b-eth0", cached("cniCacheV1", "b", "other")),
            ("net-c-eth0", cached("cniCacheV2", "c", "net")),
            ("net-d-eth0", "{".to_owned()),
            ("net-e-eth0", json!({ "cniVersion": "1.0.0" }).to_string()),
        ] {
            let file = dir.path().join(name);
            std::os::unix::fs::symlink("/", file.with_extension("dir")).unwrap();
            let dir = holdfast_disk::Dir::open_root(dir.path()).unwrap();
            let name = holdfast_disk::FileName::new(name).unwrap();
            let written = dir.replace(&name, text.as_bytes(), holdfast_disk::Durability::Volatile);
            written.unwrap();
        }
        let found = of_others(dir.path(), "net");
        assert_eq!(found, [json!({ "containerID": "a", "ifname": "eth0" })]);
        assert!(of_others(Path::new("/no/such/directory"), "net").is_empty());
    }
}
