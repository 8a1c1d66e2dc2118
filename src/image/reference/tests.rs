use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn canonical(text: &str) -> String {
    text.parse::<Reference>().unwrap().to_string()
}

#[test]
fn names_become_canonical() {
    for (text, expected) in [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        (
            "index.docker.io/busybox",
            "docker.io/library/busybox:latest",
        ),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("user/app", "docker.io/user/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        (
            "registry.k8s.io/e2e-test-images/nginx:1.14-2",
            "registry.k8s.io/e2e-test-images/nginx:1.14-2",
        ),
        ("gcr.io/a/b/c__d-e.f", "gcr.io/a/b/c__d-e.f:latest"),
        ("Host/app", "Host/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("[fe80::1]/app", "[fe80::1]/app:latest"),
        ("host.example:80/a---b", "host.example:80/a---b:latest"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn a_digest_wins_over_a_tag() {
    assert_eq!(
        canonical(&format!("a:1@{DIGEST}")),
        format!("docker.io/library/a@{DIGEST}")
    );
    assert_eq!(
        canonical(&format!("q.io/a@{DIGEST}")),
        format!("q.io/a@{DIGEST}")
    );
}

#[test]
fn malformed_references_are_told_apart() {
    let error = |text: &str| text.parse::<Reference>().unwrap_err();
    assert_eq!(error(""), ReferenceError::Empty);
    assert_eq!(error(&DIGEST[7..]), ReferenceError::LooksLikeId);
    assert!(matches!(
        error("docker.io/Busybox"),
        ReferenceError::Capital(_)
    ));
    assert!(matches!(error("a:"), ReferenceError::Tag(_)));
    assert!(matches!(error("a:-x"), ReferenceError::Tag(_)));
    assert!(matches!(error("a@sha256:12"), ReferenceError::Digest(_)));
    assert!(matches!(error("a@md5:12"), ReferenceError::Digest(_)));
    assert!(matches!(error("host.:5000/a"), ReferenceError::Host(_)));
    assert!(matches!(error("../etc"), ReferenceError::Host(_)));
    assert!(matches!(error("host:99999/a"), ReferenceError::Host(_)));
    assert!(matches!(
        error(&format!("a.io/{}", "b".repeat(300))),
        ReferenceError::TooLong(_)
    ));
    for bad in [
        "/", "a/", "a//b", "a/../b", "-a", "a-", "a___b", "a..b", "a b", "a\0", "a.io/", "é",
    ] {
        assert!(matches!(error(bad), ReferenceError::Path(_)), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn parsing_is_idempotent_and_never_panics(text in "\\PC{0,80}|[a-zA-Z0-9./:@_-]{0,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let again: Reference = reference.to_string().parse().unwrap();
            prop_assert_eq!(again, reference);
        }
    }

    #[test]
    fn well_formed_names_parse(
        path in "[a-z0-9]+([._-][a-z0-9]+){0,2}(/[a-z0-9]+){0,3}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
    ) {
        let text = format!("example.com:5000/{path}:{tag}");
        prop_assert_eq!(canonical(&text), text);
    }
}
