//! Seccomp profiles from a registry: pulled, listed, applied within their base, removed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cri_api::runtime::v1::security_profile::ProfileType;
use cri_api::runtime::v1::security_profile_base::BaseType;
use cri_api::runtime::v1::{
    ImageSpec, ListSecurityProfilesRequest, PullSecurityProfileRequest,
    RemoveSecurityProfileRequest, SecurityProfile, SecurityProfileBase, SecurityProfileInfo,
    SecurityProfileKind,
};
use e2e::program::sh;
use e2e::request::{ContainerParts, PodParts, idle};
use e2e::{Daemon, call, fails, must};
use tonic::{Code, Status};

const KIND: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// Allows everything but two calls.
const NO_DIRECTORIES: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;

fn digest(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text");
    std::fs::write(&file, text).unwrap();
    let line = sh(&format!("sha256sum {}", file.display()));
    format!("sha256:{}", line.split(' ').next().unwrap())
}

/// A registry of documents by digest, whatever the repository, and how often it was asked.
struct Documents {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Documents {
    fn serve(documents: &[&str]) -> Self {
        let known: HashMap<String, String> = documents
            .iter()
            .map(|&text| (digest(text), text.to_owned()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let _ = reader.read_line(&mut line);
                let mut rest = String::new();
                while reader.read_line(&mut rest).is_ok_and(|length| length > 2) {
                    rest.clear();
                }
                count.fetch_add(1, Ordering::Relaxed);
                let path = line.split(' ').nth(1).unwrap_or_default();
                let wanted = path.split('?').next().unwrap().rsplit('/').next().unwrap();
                let (status, body) = match known.get(wanted) {
                    Some(text) => ("200 OK", text.as_str()),
                    None => ("404 Not Found", ""),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The manifest of a profile, as security-profiles-operator makes it.
fn manifest(text: &str) -> String {
    let (size, digest) = (text.len(), digest(text));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"{KIND}",
        "config":{{"mediaType":"{KIND}","digest":"{}","size":2}},
        "layers":[{{"mediaType":"{KIND}","digest":"{digest}","size":{size}}}]}}"#,
        self::digest("{}")
    )
}

fn pull(daemon: &Daemon, reference: &str) -> Result<bool, Status> {
    let mut client = daemon.clients().images;
    let image = ImageSpec {
        image: reference.to_owned(),
        user_specified_image: reference.to_owned(),
        ..ImageSpec::default()
    };
    let request = PullSecurityProfileRequest {
        image: Some(image),
        profile_kind: SecurityProfileKind::Seccomp.into(),
        ..PullSecurityProfileRequest::default()
    };
    call(client.pull_security_profile(request)).map(|answer| answer.cached)
}

fn list(daemon: &Daemon) -> Vec<SecurityProfileInfo> {
    let mut client = daemon.clients().images;
    let answer = call(client.list_security_profiles(ListSecurityProfilesRequest {}));
    must("ListSecurityProfiles", answer).profiles
}

fn remove(daemon: &Daemon, digest: &str) {
    let mut client = daemon.clients().images;
    let digest = digest.to_owned();
    let answer = call(client.remove_security_profile(RemoveSecurityProfileRequest { digest }));
    must("RemoveSecurityProfile", answer);
}

fn oci(reference: &str, base_profile: Option<SecurityProfileBase>) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: ProfileType::Oci.into(),
        oci_ref: reference.to_owned(),
        base_profile,
        ..SecurityProfile::default()
    })
}

/// AppArmor has a word on user namespaces too.
fn unconfined() -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: ProfileType::Unconfined.into(),
        ..SecurityProfile::default()
    })
}

#[test]
fn a_pulled_profile_confines_within_its_base_whatever_becomes_of_it() {
    let daemon = Daemon::start();
    let made = manifest(NO_DIRECTORIES);
    let registry = Documents::serve(&[&made, NO_DIRECTORIES]);
    let reference = format!("{}/profiles/dirs@{}", registry.address, digest(&made));
    let pod = daemon.run_named("pulled");
    let mut config = idle("early");
    config.security().seccomp = oci(&reference, None);
    let early = daemon.try_create(&pod.id, &pod.config, &config);
    fails(
        early,
        Code::FailedPrecondition,
        &["oci_ref", "PullSecurityProfile"],
    );
    assert_eq!(
        registry.asked(),
        0,
        "a profile was pulled by CreateContainer"
    );

    assert!(!pull(&daemon, &reference).unwrap());
    let asked = registry.asked();
    assert!(pull(&daemon, &reference).unwrap());
    assert_eq!(registry.asked(), asked);
    let listed = list(&daemon);
    assert_eq!(
        (listed.len(), listed[0].digest.as_str()),
        (1, digest(&made).as_str())
    );
    assert_eq!(listed[0].refs, [reference.as_str()]);
    assert_eq!(listed[0].size, NO_DIRECTORIES.len() as u64);
    assert!(
        daemon
            .images()
            .iter()
            .all(|image| !image.id.contains(&listed[0].digest))
    );

    let mut config = idle("within-default");
    config.security().seccomp = oci(&reference, None);
    config.security().apparmor = unconfined();
    let within = pod.start(config);
    let mut config = idle("within-file");
    let base = daemon.place.dir.join("base.json");
    std::fs::write(&base, r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap();
    let loose = SecurityProfileBase {
        r#type: BaseType::Localhost.into(),
        localhost_ref: base.display().to_string(),
    };
    config.security().seccomp = oci(&reference, Some(loose));
    config.security().apparmor = unconfined();
    let loose = pod.start(config);
    std::fs::remove_file(&base).unwrap();
    remove(&daemon, &listed[0].digest);
    remove(&daemon, &listed[0].digest);
    assert!(list(&daemon).is_empty());
    daemon.kill9();
    daemon.restart();
    for container in [&within, &loose] {
        let out = container.exec(&["mkdir", "/tmp/x"]);
        assert!(
            out.code != 0 && out.stderr.contains("not supported"),
            "{out:?}"
        );
    }
    // The default profile allows no user namespace; the base of the other one does.
    let own = |container: &e2e::Container<'_>| container.exec(&["unshare", "-U", "true"]).code;
    assert_ne!(own(&within), 0);
    assert_eq!(own(&loose), 0);
}

/// `SCMP_ACT_KILL_PROCESS` is the strictest answer of seccomp(2): nothing of a base can change it.
#[test]
fn a_pulled_profile_may_kill_the_process() {
    const KILL: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    let daemon = Daemon::start();
    let made = manifest(KILL);
    let registry = Documents::serve(&[&made, KILL]);
    let reference = format!("{}/kill@{}", registry.address, digest(&made));
    assert!(!pull(&daemon, &reference).unwrap());
    let mut config = daemon.pod("kill");
    config.security().seccomp = oci(&reference, None);
    let pod = daemon.run(config);
    let base = daemon.place.dir.join("base.json");
    let in_file = |text: &str| {
        std::fs::write(&base, text).unwrap();
        Some(SecurityProfileBase {
            r#type: BaseType::Localhost.into(),
            localhost_ref: base.display().to_string(),
        })
    };
    let bases = [
        ("default", None),
        ("allow", in_file(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)),
    ];
    for (name, base) in bases {
        let mut config = idle(name);
        config.security().seccomp = oci(&reference, base);
        config.security().apparmor = unconfined();
        let out = pod.start(config).exec(&["mkdir", "/tmp/x"]);
        assert_eq!(out.code, 128 + 31, "{name}: {out:?}");
    }
    let mut config = idle("notify");
    let base = in_file(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#);
    config.security().seccomp = oci(&reference, base);
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    let words = ["base_profile.localhost_ref", "base.json", "$.defaultAction"];
    fails(refused, Code::InvalidArgument, &words);
    remove(&daemon, &list(&daemon)[0].digest);
}

#[test]
fn a_pod_may_have_a_pulled_profile() {
    let daemon = Daemon::start();
    let made = manifest(NO_DIRECTORIES);
    let registry = Documents::serve(&[&made, NO_DIRECTORIES]);
    let reference = format!("{}/p@{}", registry.address, digest(&made));
    let mut config = daemon.pod("sandbox");
    config.security().seccomp = oci(&reference, None);
    let refused = daemon.try_run(&config);
    fails(refused, Code::FailedPrecondition, &["oci_ref"]);
    assert!(!pull(&daemon, &reference).unwrap());
    let pod = daemon.run(config);
    let status = std::fs::read_to_string(format!("/proc/{}/status", pod.pause())).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    remove(&daemon, &list(&daemon)[0].digest);
}

/// The kubelet gives up for good only at the prefix SecurityProfileInvalid (pkg/errors, cri-api v0.38.0-beta.0).
#[test]
fn what_cannot_be_a_profile_is_refused_for_good() {
    let daemon = Daemon::start();
    let cases = [
        (
            "$.listenerPath",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x"}"#,
        ),
        ("$.defaultAction", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#),
        (
            "$.defaultAction: unknown variant `SCMP_ACT_WHATEVER`",
            r#"{"defaultAction":"SCMP_ACT_WHATEVER"}"#,
        ),
        ("the profile is not JSON", "defaultAction: SCMP_ACT_ALLOW"),
        (
            "args: index 9 is no argument",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO",
            "args":[{"index":9,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        ),
        (
            "$.syscalls[0].includes",
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{}}]}"#,
        ),
    ];
    let manifests: Vec<String> = cases.iter().map(|(_, text)| manifest(text)).collect();
    let mut documents: Vec<&str> = cases.iter().map(|(_, text)| *text).collect();
    documents.extend(manifests.iter().map(String::as_str));
    let other = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]}"#;
    documents.push(other);
    let registry = Documents::serve(&documents);
    let at = |document: &str| format!("{}/p@{}", registry.address, digest(document));
    for ((word, text), made) in cases.iter().zip(&manifests) {
        let refused = pull(&daemon, &at(made));
        let said = fails(refused, Code::Unknown, &[*word]);
        assert!(
            said.starts_with("SecurityProfileInvalid: "),
            "{text}: {said}"
        );
    }
    for (reference, word) in [
        (at(other), "artifact type"),
        ("busybox:1".to_owned(), "digest"),
    ] {
        let said = fails(pull(&daemon, &reference), Code::Unknown, &[word]);
        assert!(said.starts_with("SecurityProfileInvalid: "), "{said}");
    }
    let missing = pull(&daemon, &at("nothing"));
    let words = ["cannot pull security profile", "does not exist"];
    fails(missing, Code::NotFound, &words);
    let mut client = daemon.clients().images;
    let unspecified = PullSecurityProfileRequest {
        image: Some(ImageSpec {
            image: at(other),
            ..ImageSpec::default()
        }),
        ..PullSecurityProfileRequest::default()
    };
    let said = fails(
        call(client.pull_security_profile(unspecified)),
        Code::InvalidArgument,
        &["profile_kind"],
    );
    assert!(said.starts_with("SecurityProfileInvalid: "), "{said}");
    assert!(list(&daemon).is_empty());
}
