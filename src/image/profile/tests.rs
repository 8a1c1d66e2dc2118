use super::artifact::{Artifact, SECCOMP};
use super::*;
use crate::testing::{Answer, Request, Server};
use crate::{ImageSettings, ImageStore};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::Path;

const TEXT: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;

/// A change to a manifest.
type Change = fn(&mut Value);

fn open(dir: &Path) -> ImageStore {
    ImageStore::open(&dir.join("images"), ImageSettings::default()).unwrap()
}

/// A manifest as security-profiles-operator's `spoc push` makes it: the type on the artifact and on its
/// configuration, one layer.
fn manifest(text: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": SECCOMP,
        "config": { "mediaType": SECCOMP, "digest": Digest::of(b"{}"), "size": 2 },
        "layers": [{ "mediaType": SECCOMP, "digest": Digest::of(text.as_bytes()), "size": text.len() }],
    })
}

/// A registry that has documents of every repository by their digests, in SHA-256 and SHA-512.
async fn registry(documents: Vec<String>) -> Server {
    Server::start(move |request: &Request| {
        let wanted = request
            .path
            .rsplit('/')
            .next()
            .unwrap()
            .split('?')
            .next()
            .unwrap()
            .to_owned();
        let Ok(wanted) = wanted.parse::<Digest>() else {
            return Answer::status(404);
        };
        let found = documents
            .iter()
            .find(|document| wanted.same_of(document.as_bytes()) == wanted);
        found.map_or(Answer::status(404), |document| {
            Answer::body(Bytes::from(document.clone()))
        })
    })
    .await
}

fn request(reference: &str) -> PullRequest {
    PullRequest {
        reference: reference.to_owned(),
        credentials: None,
    }
}

async fn pull(store: &ImageStore, reference: &str) -> Result<bool, ProfileError> {
    store.pull_profile(request(reference), |_| Ok(())).await
}

#[tokio::test]
async fn a_profile_is_asked_for_once_and_has_all_its_names() {
    let made = manifest(TEXT).to_string();
    let server = registry(vec![made.clone(), TEXT.to_owned()]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = Digest::of(made.as_bytes());
    let [one, two] = ["a/one", "b/two"].map(|name| format!("{}/{name}@{digest}", server.address));
    assert!(!pull(&store, &one).await.unwrap());
    let asked = server.count("/");
    assert!(pull(&store, &one).await.unwrap());
    assert!(pull(&store, &two).await.unwrap());
    assert_eq!(
        server.count("/"),
        asked,
        "a registry was asked for what is here"
    );
    // Another daemon finds it.
    drop(store);
    let store = open(dir.path());
    let [profile] = <[_; 1]>::try_from(store.profiles()).unwrap();
    assert_eq!(profile.refs, BTreeSet::from([one.clone(), two.clone()]));
    assert_eq!((profile.digest, profile.text.as_str()), (digest, TEXT));
    assert_eq!(store.profile(&two).unwrap(), Some(profile));
    assert!(store.list().is_empty(), "a profile is no image");
    for _ in 0..2 {
        store.remove_profile(&digest.to_string()).await.unwrap();
        assert!(store.profiles().is_empty() && store.profile(&one).unwrap().is_none());
    }
    drop(store);
    assert!(open(dir.path()).profiles().is_empty());
}

/// `SecurityProfileInfo.digest` may be of another algorithm than the references.
#[tokio::test]
async fn a_profile_pinned_by_sha512_is_found_by_that_name() {
    let made = manifest(TEXT).to_string();
    let server = registry(vec![made.clone(), TEXT.to_owned()]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let long = long.same_of(made.as_bytes());
    let reference = format!("{}/a@{long}", server.address);
    assert!(!pull(&store, &reference).await.unwrap());
    assert_eq!(store.profiles()[0].digest, Digest::of(made.as_bytes()));
    assert!(store.profile(&reference).unwrap().is_some());
    assert!(pull(&store, &reference).await.unwrap());
}

/// A digest means one profile for all calls: what finds it removes it (RemoveSecurityProfileRequest.digest says
/// neither algorithm). The order of the pulls, and further names, change nothing; what is not here is removed already.
#[tokio::test]
async fn a_profile_is_removed_by_every_digest_that_finds_it() {
    let made = manifest(TEXT).to_string();
    let server = registry(vec![made.clone(), TEXT.to_owned()]).await;
    let zeros = |algorithm: &str, digits: usize| -> Digest {
        format!("{algorithm}:{}", "0".repeat(digits))
            .parse()
            .unwrap()
    };
    let short = Digest::of(made.as_bytes());
    let long = zeros("sha512", 128).same_of(made.as_bytes());
    let cases: [(&[Digest], Digest, bool); 7] = [
        (&[long], long, true),
        (&[long], short, true),
        (&[short], short, true),
        (&[long, short], long, true),
        // By its own digest it is known already, so the registry is not asked for the other one, which stays unknown
        // until somebody asks for it.
        (&[short], long, false),
        (&[long], zeros("sha512", 128), false),
        (&[long, short], zeros("sha256", 64), false),
    ];
    for (pulled, digest, removed) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for by in pulled {
            let reference = format!("{}/a@{by}", server.address);
            pull(&store, &reference).await.unwrap();
        }
        // Twice: what is removed already is no error.
        for _ in 0..2 {
            store.remove_profile(&digest.to_string()).await.unwrap();
            assert_eq!(store.profiles().is_empty(), removed, "{pulled:?} {digest}");
        }
        drop(store);
        let again = open(dir.path()).profiles();
        assert_eq!(again.is_empty(), removed, "{pulled:?} {digest}");
    }
}

/// The form is the one that publishers keep to (security-profiles-operator 3421: one layer, the type on the manifest's
/// configuration and as artifactType, 1 MiB); which of two types counts is the image specification's ("Guidelines
/// for Artifact Usage", v1.1.1).
#[test]
fn artifacts_are_judged_by_their_manifest() {
    let with = |change: fn(&mut Value)| {
        let mut made = manifest(TEXT);
        change(&mut made);
        Artifact::parse("r", made.to_string().as_bytes()).map_err(|error| error.to_string())
    };
    let good: [Change; 5] = [
        |_| {},
        |made| made["artifactType"] = Value::Null,
        |made| made["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"),
        |made| made["mediaType"] = Value::Null,
        |made| made["annotations"] = json!({ "a": "b" }),
    ];
    for change in good {
        assert!(with(change).is_ok());
    }
    let bad: [(&str, Change); 8] = [
        ("artifact type is \"x/y\"", |made| {
            made["artifactType"] = json!("x/y")
        }),
        ("artifact type is \"\"", |made| {
            (made["artifactType"], made["config"]) = (Value::Null, Value::Null)
        }),
        ("0 layers", |made| made["layers"] = Value::Null),
        ("2 layers", |made| {
            let layer = made["layers"][0].clone();
            made["layers"].as_array_mut().unwrap().push(layer);
        }),
        ("layers[0].size is 1048577", |made| {
            made["layers"][0]["size"] = json!(1_048_577)
        }),
        ("layers[0].digest", |made| {
            made["layers"][0]["digest"] = json!("md5:00")
        }),
        ("index", |made| made["manifests"] = json!([])),
        ("mediaType", |made| {
            made["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json")
        }),
    ];
    for (word, change) in bad {
        let error = with(change).unwrap_err();
        assert!(
            error.starts_with("r is not an artifact") && error.contains(word),
            "{word}: {error}"
        );
    }
    assert!(Artifact::parse("r", b"[").is_err());
}

/// Go's encoding/json reads a manifest for everybody else: keys of any case, null as nothing, the last of a key that
/// comes twice, and an empty text as none (containerd 2.4.2 and ORAS 2.6 use its `json.Unmarshal`).
#[test]
fn manifests_of_profiles_are_read_like_all_others() {
    let digest = Digest::of(TEXT.as_bytes());
    let layer = format!(r#"{{"digest":"{digest}","size":{}}}"#, TEXT.len());
    let good = [
        format!(r#"{{"ARTIFACTTYPE":"{SECCOMP}","Layers":[{layer}]}}"#),
        format!(r#"{{"mediaType":"","artifactType":"{SECCOMP}","layers":[{layer}]}}"#),
        format!(r#"{{"artifactType":"","config":{{"mediaType":"{SECCOMP}"}},"layers":[{layer}]}}"#),
        format!(r#"{{"artifactType":"x/y","artifactType":"{SECCOMP}","layers":[{layer}]}}"#),
        format!(
            r#"{{"artifactType":"{SECCOMP}","config":null,"manifests":null,"layers":[{layer}]}}"#
        ),
        format!(r#"{{"artifactType":"{SECCOMP}","layers":[],"layers":[{layer}]}}"#),
        format!(
            r#"{{"artifactType":"{SECCOMP}","layers":[{{"Digest":"{digest}","SIZE":34,"size":null}}]}}"#
        ),
    ];
    for text in good {
        let artifact = Artifact::parse("r", text.as_bytes());
        let artifact = artifact.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(artifact.file, digest, "{text}");
        assert!(artifact.text(TEXT.as_bytes()).is_ok(), "{text}");
    }
    let bad = [
        ("an object is expected", "[]".to_owned()),
        (
            "it has 0 layers",
            format!(r#"{{"artifactType":"{SECCOMP}","layers":null}}"#),
        ),
        (
            "artifactType: invalid value 1",
            r#"{"artifactType":1}"#.to_owned(),
        ),
        (
            "layers[0].size: invalid value 1.0",
            r#"{"layers":[{"size":1.0}]}"#.to_owned(),
        ),
        (
            "layers[0].size is -1",
            format!(r#"{{"artifactType":"{SECCOMP}","layers":[{{"size":-1}}]}}"#),
        ),
        (
            "it is an index",
            format!(r#"{{"artifactType":"{SECCOMP}","Manifests":[]}}"#),
        ),
    ];
    for (words, text) in bad {
        let error = Artifact::parse("r", text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_not_kept() {
    let made = manifest(TEXT).to_string();
    let short = {
        let mut short = manifest(TEXT);
        short["layers"][0]["size"] = json!(3);
        short.to_string()
    };
    let server = registry(vec![made.clone(), short.clone(), TEXT.to_owned()]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let at = |document: &str| format!("{}/a@{}", server.address, Digest::of(document.as_bytes()));
    let refused = store
        .pull_profile(request(&at(&made)), |_| Err("no such action".into()))
        .await;
    assert!(
        matches!(refused, Err(ProfileError::Content { .. })),
        "{refused:?}"
    );
    let wrong = pull(&store, &at(&short)).await;
    assert!(
        matches!(wrong, Err(ProfileError::Artifact { .. })),
        "{wrong:?}"
    );
    let missing = pull(&store, &at("nothing")).await;
    let missing = missing.unwrap_err().to_string();
    let told = format!("cannot pull security profile {}", at("nothing"));
    assert!(missing.starts_with(&told), "{missing}");
    for unpinned in ["busybox", "registry.example/profile:v1"] {
        let refused = pull(&store, unpinned).await;
        assert!(
            matches!(refused, Err(ProfileError::Unpinned(_))),
            "{refused:?}"
        );
    }
    for none in ["", "A/b@sha256:00", "a@sha256:zz"] {
        let refused = pull(&store, none).await;
        assert!(
            matches!(refused, Err(ProfileError::Reference { .. })),
            "{refused:?}"
        );
    }
    assert!(store.profiles().is_empty());
    assert!(store.remove_profile("sha256:x").await.is_err());
}

#[tokio::test]
async fn a_torn_profile_is_forgotten() {
    let made = manifest(TEXT).to_string();
    let server = registry(vec![made.clone(), TEXT.to_owned()]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let reference = format!("{}/a@{}", server.address, Digest::of(made.as_bytes()));
    pull(&store, &reference).await.unwrap();
    drop(store);
    let file = dir
        .path()
        .join("images/profiles")
        .join(format!("{}.json", Digest::of(made.as_bytes()).hex()));
    let whole = std::fs::read_to_string(&file).unwrap();
    for torn in [
        whole.replace("ALLOW", "ERRNO"),
        whole[..40].to_owned(),
        String::new(),
    ] {
        put(&file, &torn);
        let store = open(dir.path());
        assert!(store.profiles().is_empty(), "{torn}");
        assert!(!file.exists());
    }
}

/// Writes a file as a broken disk leaves it.
#[allow(
    clippy::disallowed_methods,
    reason = "a test writes what no program should"
)]
fn put(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}
