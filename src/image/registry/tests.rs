use super::*;
use crate::testing::{
    Answer, MadeImage, Request, Server, gzip, image, ranged, serve_images, small_image, tar,
};
use crate::{ImageSettings, ImageStore, PullError, PullErrorKind, PullRequest};
use holdfast_kernel::error_chain;
use std::error::Error as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A store that reaches the registry `registry.test` by the given hosts.toml.
pub(super) struct Client {
    _dir: tempfile::TempDir,
    pub store: ImageStore,
}

impl Client {
    pub(super) fn new(hosts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs.d/registry.test");
        fs::create_dir_all(&certs).unwrap();
        std::io::Write::write_all(
            &mut fs::File::create(certs.join("hosts.toml")).unwrap(),
            hosts.as_bytes(),
        )
        .unwrap();
        let settings = ImageSettings {
            hosts_dir: Some(dir.path().join("certs.d")),
            stall_timeout: Duration::from_secs(2),
            ..ImageSettings::default()
        };
        let store = ImageStore::open(&dir.path().join("images"), settings).unwrap();
        Self { _dir: dir, store }
    }

    pub(super) fn of(server: &Server) -> Self {
        Self::new(&format!("server = \"http://{}\"", server.address))
    }

    pub(super) async fn pull(
        &self,
        credentials: Option<Credentials>,
    ) -> Result<std::sync::Arc<crate::Image>, PullError> {
        self.store
            .pull(PullRequest {
                reference: "registry.test/team/app:v1".to_owned(),
                credentials,
            })
            .await
    }
}

pub(super) fn images(image: &MadeImage) -> Vec<(String, MadeImage)> {
    vec![("team/app:v1".to_owned(), image.clone())]
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers.get("authorization").map(String::as_str)
}

#[tokio::test]
async fn mirrors_are_asked_first_and_told_the_registry() {
    let image = small_image("one");
    let empty = Server::start(|_| Answer::status(404)).await;
    let mirror = Server::registry(&[("team/app:v1", &image)]).await;
    let upstream = Server::start(|_| Answer::status(500)).await;
    let client = Client::new(&format!(
        "server = \"http://{}\"\n[host.\"http://127.0.0.1:1\"]\n[host.\"http://{}\"]\n[host.\"http://{}\"]\n[host.\"http://{}\".header]\nx-secret = \"s\"\n",
        upstream.address, empty.address, mirror.address, mirror.address
    ));
    let pulled = client.pull(None).await.unwrap();
    assert_eq!(pulled.repo_tags, ["registry.test/team/app:v1"]);
    assert_eq!(upstream.requests.lock().unwrap().len(), 0);
    for request in mirror.requests.lock().unwrap().iter() {
        assert!(
            request.path.ends_with("?ns=registry.test"),
            "{}",
            request.path
        );
        assert_eq!(request.headers["x-secret"], "s");
    }
    assert!(
        !empty.requests.lock().unwrap()[0]
            .headers
            .contains_key("x-secret")
    );
}

#[tokio::test]
async fn a_mirror_without_resolve_serves_only_by_digest() {
    let image = small_image("one");
    let mirror = Server::registry(&[("team/app:v1", &image)]).await;
    let upstream = Server::registry(&[("team/app:v1", &image)]).await;
    let client = Client::new(&format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n",
        upstream.address, mirror.address
    ));
    client.pull(None).await.unwrap();
    assert_eq!(
        (mirror.count("manifests/v1"), mirror.count("blobs/")),
        (0, 2)
    );
    assert_eq!(
        (upstream.count("manifests/v1"), upstream.count("blobs/")),
        (1, 0)
    );
}

#[tokio::test]
async fn basic_and_bearer_authentication() {
    let image = small_image("one");
    let served = images(&image);
    let registry = Server::start(move |request| {
        let host = &request.headers["host"];
        if request.path.starts_with("/token") {
            let expected = "/token?service=svc&scope=repository%3Ateam%2Fapp%3Apull";
            // user:secret
            return match (request.path == expected, authorization(request)) {
                (true, Some("Basic dXNlcjpzZWNyZXQ=")) => {
                    Answer::body(r#"{"token":"T","expires_in":300}"#)
                }
                _ => Answer::status(401),
            };
        }
        match authorization(request) {
            Some("Bearer T") => serve_images(&served, request),
            _ => Answer::status(401).header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"http://{host}/token\",service=\"svc\""),
            ),
        }
    })
    .await;
    let client = Client::of(&registry);
    let anonymous = client.pull(None).await.unwrap_err();
    assert_eq!(anonymous.kind(), PullErrorKind::Unauthorized);
    let wrong = client
        .pull(Some(Credentials::password("user", "wrong")))
        .await
        .unwrap_err();
    assert_eq!(wrong.kind(), PullErrorKind::Unauthorized);
    assert!(
        !error_chain(&wrong).contains("wrong"),
        "{}",
        error_chain(&wrong)
    );
    let before = registry.count("/token");
    client
        .pull(Some(Credentials::password("user", "secret")))
        .await
        .unwrap();
    assert_eq!(
        registry.count("/token") - before,
        1,
        "one token serves the whole pull"
    );
}

#[tokio::test]
async fn identity_and_registry_tokens() {
    let image = small_image("one");
    let served = images(&image);
    let registry = Server::start(move |request| {
        let host = &request.headers["host"];
        if request.path == "/token" {
            let form = "grant_type=refresh_token&service=svc&client_id=holdfast&scope=repository%3Ateam%2Fapp%3Apull&refresh_token=R";
            let fits = request.method == "POST" && request.body == form;
            return if fits { Answer::body(r#"{"access_token":"T"}"#) } else { Answer::status(400) };
        }
        match authorization(request) {
            Some("Bearer T") => serve_images(&served, request),
            _ => Answer::status(401)
                .header("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\",service=\"svc\"")),
        }
    })
    .await;
    Client::of(&registry)
        .pull(Some(Credentials::identity_token("R")))
        .await
        .unwrap();
    Client::of(&registry)
        .pull(Some(Credentials::registry_token("T")))
        .await
        .unwrap();
    let error = Client::of(&registry)
        .pull(Some(Credentials::registry_token("X")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Unauthorized);
}

#[tokio::test]
async fn credentials_for_another_server_are_not_shown() {
    let registry =
        Server::start(|_| Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""))
            .await;
    let credentials = Credentials::password("u", "p").for_server("https://elsewhere.test/v1/");
    Client::of(&registry)
        .pull(Some(credentials))
        .await
        .unwrap_err();
    assert!(
        registry
            .requests
            .lock()
            .unwrap()
            .iter()
            .all(|request| authorization(request).is_none())
    );
    Client::of(&registry)
        .pull(Some(
            Credentials::password("u", "p").for_server("registry.test"),
        ))
        .await
        .unwrap_err();
    assert!(
        registry
            .requests
            .lock()
            .unwrap()
            .iter()
            .any(|request| authorization(request).is_some())
    );
}

/// A mirror is another host: it gets the credentials of the registry only when the caller names it.
#[tokio::test]
async fn mirrors_are_not_shown_the_registrys_credentials() {
    let challenge =
        |_: &Request| Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\"");
    let (mirror, registry) = (
        Server::start(challenge).await,
        Server::start(challenge).await,
    );
    let shown = |server: &Server| {
        let requests = server.requests.lock().unwrap();
        requests
            .iter()
            .any(|request| authorization(request).is_some())
    };
    let hosts = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\n",
        registry.address, mirror.address
    );
    let credentials = Credentials::password("u", "p");
    for caller in [
        credentials.clone(),
        credentials.clone().for_server("registry.test"),
    ] {
        Client::new(&hosts).pull(Some(caller)).await.unwrap_err();
        assert!(shown(&registry) && !shown(&mirror));
        registry.requests.lock().unwrap().clear();
    }
    let named = credentials.for_server(&mirror.address.to_string());
    Client::new(&hosts).pull(Some(named)).await.unwrap_err();
    assert!(shown(&mirror) && !shown(&registry));
}

/// A pull whose token expires between two layers gets another one by itself.
#[tokio::test]
async fn an_expired_token_is_replaced() {
    let one = tar(&[("one", "1")]);
    let two = tar(&[("two", "2")]);
    let image = image(
        &[(one.clone(), gzip(&one)), (two.clone(), gzip(&two))],
        "one",
    );
    let served = images(&image);
    // What is left of each token: it is good for two requests.
    let tokens = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
    let registry = Server::start(move |request| {
        let host = &request.headers["host"];
        let mut tokens = tokens.lock().unwrap();
        if request.path.starts_with("/token") {
            let token = format!("T{}", tokens.len());
            tokens.insert(format!("Bearer {token}"), 2);
            return Answer::body(format!("{{\"token\":\"{token}\",\"expires_in\":60}}"));
        }
        let left = authorization(request).and_then(|token| tokens.get_mut(token));
        match left.filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                serve_images(&served, request)
            }
            None => Answer::status(401).header(
                "WWW-Authenticate",
                &format!("Bearer realm=\"http://{host}/token\",service=\"svc\""),
            ),
        }
    })
    .await;
    Client::of(&registry).pull(None).await.unwrap();
    assert!(
        registry.count("/token") >= 2,
        "{}",
        registry.count("/token")
    );
}

/// The file's header is a standing credential; what the host asked for comes before it.
#[tokio::test]
async fn credentials_of_the_hosts_file_are_sent_and_not_shown() {
    let image = small_image("one");
    let served = images(&image);
    let registry = Server::start(move |request| match authorization(request) {
        Some("Bearer from-the-file") => serve_images(&served, request),
        _ => Answer::status(403),
    })
    .await;
    let client = Client::new(&format!(
        "server = \"http://{}\"\n[header]\nauthorization = \"Bearer from-the-file\"\n",
        registry.address
    ));
    client.pull(None).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("registry.test");
    fs::create_dir_all(&certs).unwrap();
    let mut file = fs::File::create(certs.join("hosts.toml")).unwrap();
    std::io::Write::write_all(&mut file, b"[header]\nx-token = \"hunter2\"\n").unwrap();
    let endpoints = hosts::endpoints(Some(dir.path()), "registry.test").unwrap();
    assert_eq!(endpoints[0].headers[0].1, "hunter2");
    assert!(!format!("{endpoints:?}").contains("hunter2"));
}

#[tokio::test]
async fn redirects_elsewhere_take_no_credentials_along() {
    let image = small_image("one");
    let served = images(&image);
    let storage = Server::registry(&[("team/app:v1", &image)]).await;
    let target = storage.address;
    let registry = Server::start(move |request| match authorization(request) {
        Some(_) if request.path.contains("/blobs/") => {
            Answer::status(307).header("Location", &format!("http://{target}{}", request.path))
        }
        Some(_) => serve_images(&served, request),
        None => Answer::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    Client::of(&registry)
        .pull(Some(Credentials::password("u", "p")))
        .await
        .unwrap();
    let requests = storage.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| authorization(request).is_none())
    );
}

#[tokio::test]
async fn busy_registries_are_asked_again() {
    let image = small_image("one");
    let served = images(&image);
    let busy = AtomicUsize::new(0);
    let registry = Server::start(move |request| match busy.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::status(429).header("Retry-After", "0"),
        1 => Answer::status(503),
        _ => serve_images(&served, request),
    })
    .await;
    Client::of(&registry).pull(None).await.unwrap();
}

/// A large layer whose connection breaks twice and stalls once arrives whole, every byte once.
#[tokio::test]
async fn broken_downloads_are_resumed() {
    let noise: String = (0..5_000_u32)
        .map(|i| Digest::of(&i.to_le_bytes()).hex())
        .collect();
    let tar = tar(&[("noise", &noise)]);
    let image = image(&[(tar.clone(), gzip(&tar))], "one");
    let layer = image
        .blobs
        .values()
        .max_by_key(|blob| blob.len())
        .unwrap()
        .clone();
    let path = format!("blobs/{}", Digest::of(&layer));
    let served = images(&image);
    let (asked, whole) = (AtomicUsize::new(0), layer.clone());
    let registry = Server::start(move |request| {
        if !request.path.contains(&path) {
            return serve_images(&served, request);
        }
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Answer {
                cut: Some(50_000),
                ..Answer::body(whole.clone())
            },
            1 => Answer {
                stall: Some(10_000),
                ..ranged(request, &whole)
            },
            // This one ignores the range and begins anew.
            2 => Answer {
                cut: Some(100_000),
                ..Answer::body(whole.clone())
            },
            _ => ranged(request, &whole),
        }
    })
    .await;
    let client = Client::of(&registry);
    let pulled = client.pull(None).await.unwrap();
    let read = client
        .store
        .read_file(&pulled.layers, "noise", 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(read, noise.as_bytes());
    let requests = registry.requests.lock().unwrap();
    let ranges: Vec<_> = requests
        .iter()
        .filter_map(|request| request.headers.get("range"))
        .collect();
    assert_eq!(ranges, ["bytes=50000-", "bytes=60000-", "bytes=100000-"]);
}

#[tokio::test]
async fn failures_have_their_kind_and_leave_nothing() {
    let good = small_image("one");
    let blob = good
        .blobs
        .keys()
        .find(|digest| **digest != Digest::of(&good.config).to_string())
        .unwrap()
        .clone();
    let replaced = |with: Bytes| {
        let mut image = good.clone();
        image.blobs.insert(blob.clone(), with);
        image
    };
    let tar_of = |name: &str| gzip(&tar(&[(name, "x")]));
    let mut other_diff = image(&[(tar(&[("a", "1")]), tar_of("b"))], "x");
    other_diff.config = Bytes::new();
    let mut flipped = good.blobs[&blob].to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let longer = [good.blobs[&blob].as_ref(), b"more"].concat();
    for (image, kind) in [
        (replaced(flipped.into()), PullErrorKind::Corrupt),
        (
            replaced(good.blobs[&blob].slice(..20)),
            PullErrorKind::Corrupt,
        ),
        (replaced(longer.into()), PullErrorKind::Corrupt),
        (other_diff, PullErrorKind::Corrupt),
        (
            MadeImage {
                manifest: Bytes::from_static(b"{}"),
                ..good.clone()
            },
            PullErrorKind::Unsupported,
        ),
        (
            MadeImage {
                manifest: Bytes::from_static(b"<html>"),
                ..good.clone()
            },
            PullErrorKind::Corrupt,
        ),
        (
            MadeImage {
                manifest: vec![b' '; DOCUMENT_MAX + 1].into(),
                ..good.clone()
            },
            PullErrorKind::TooLarge,
        ),
    ] {
        let registry = Server::registry(&[("team/app:v1", &image)]).await;
        let client = Client::of(&registry);
        let error = client.pull(None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error_chain(&error));
        assert!(client.store.list().is_empty());
        for place in ["staging", "layers", "blobs"] {
            let path = client.store.layers_dir().with_file_name(place);
            assert_eq!(
                fs::read_dir(path).unwrap().count(),
                0,
                "{place} after {}",
                error_chain(&error)
            );
        }
    }
}

#[tokio::test]
async fn unreachable_and_absent_are_told_apart() {
    let error = Client::new("server = \"http://127.0.0.1:1\"")
        .pull(None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Unavailable);
    assert!(
        error_chain(&error).contains("http://127.0.0.1:1/v2/team/app/manifests/v1"),
        "{}",
        error_chain(&error)
    );
    let registry = Server::start(|_| Answer::status(404)).await;
    let client = Client::new(&format!(
        "server = \"http://{}\"\n[host.\"http://127.0.0.1:1\"]",
        registry.address
    ));
    let error = client.pull(None).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    assert!(
        error_chain(&error).ends_with(&format!(
            "not found on any registry: 127.0.0.1:1: unreachable; \
             http://{}/v2/team/app/manifests/v1: 404 Not Found",
            registry.address
        )),
        "{}",
        error_chain(&error)
    );
    let request = PullRequest {
        reference: "Bad Name".to_owned(),
        credentials: None,
    };
    assert_eq!(
        client.store.pull(request).await.unwrap_err().kind(),
        PullErrorKind::InvalidReference
    );
    assert!(error.source().is_some());
}

#[test]
fn debug_output_has_no_secrets() {
    let secret = "hunter2";
    for credentials in [
        Credentials::password("u", secret),
        Credentials::identity_token(secret),
        Credentials::registry_token(secret),
        Credentials::encoded("dTpodW50ZXIy").unwrap(),
    ] {
        assert!(!format!("{credentials:?}").contains(secret));
        let request = PullRequest {
            reference: "a".to_owned(),
            credentials: Some(credentials),
        };
        assert!(!format!("{request:?}").contains(secret));
    }
    assert!(Credentials::encoded("%%%").is_err());
    assert_eq!(
        Credentials::encoded("dTpodW50ZXIy").unwrap(),
        Credentials::password("u", secret)
    );
}
