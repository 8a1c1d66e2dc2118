use super::*;
use crate::registry::challenge::parse;
use proptest::prelude::*;

fn challenges(text: &str) -> Vec<Challenge> {
    parse([&HeaderValue::from_str(text).unwrap()])
}

#[test]
fn challenges_are_parsed() {
    let one = &challenges(
        r#"Bearer realm="https://auth.example/token",service="registry.example", scope="repository:a/b:pull,push""#,
    )[0];
    assert_eq!(one.scheme, "bearer");
    assert_eq!(one.parameters["realm"], "https://auth.example/token");
    assert_eq!(one.parameters["service"], "registry.example");
    assert_eq!(one.parameters["scope"], "repository:a/b:pull,push");

    let two = challenges(r#"BASIC realm="a \"quoted\" one", Bearer Realm=plain,service="""#);
    assert_eq!(two.len(), 2);
    assert_eq!(two[0].parameters["realm"], "a \"quoted\" one");
    assert_eq!(
        (two[1].scheme.as_str(), two[1].parameters["realm"].as_str()),
        ("bearer", "plain")
    );
    assert_eq!(challenges("Negotiate")[0].scheme, "negotiate");
}

/// The forms of the distribution specification ("Token Response Fields"), of OAuth2 services, and what containerd
/// 2.4.2 makes of them (core/remotes/docker/auth/fetch.go).
#[test]
fn tokens_are_found_in_every_form_of_answer() {
    for (body, found) in [
        (r#"{"token":"T","expires_in":300}"#, Some(("T", 300))),
        (r#"{"access_token":"T"}"#, Some(("T", 60))),
        (r#"{"token":"","access_token":"T"}"#, Some(("T", 60))),
        (
            r#"{"token":null,"access_token":"T","expires_in":null}"#,
            Some(("T", 60)),
        ),
        (
            r#"{"token":"T","expires_in":3600.5,"issued_at":5}"#,
            Some(("T", 60)),
        ),
        (r#"{"token":"T","expires_in":"300"}"#, Some(("T", 60))),
        (r#"{"token":"T","expires_in":-1}"#, Some(("T", 60))),
        (r#"{"token":"T","expires_in":5}"#, Some(("T", 60))),
        (r#"{"token":""}"#, None),
        (r#"{"token":5}"#, None),
        ("<html>", None),
    ] {
        let found = found.map(|(token, lifetime)| (token.to_owned(), lifetime));
        assert_eq!(token(body.as_bytes()), found, "{body}");
    }
}

proptest! {
    #[test]
    fn no_header_hangs_or_panics(text in "[ -~]{0,60}|([a-z]{1,3}[ ,=\"\\\\]){0,12}") {
        challenges(&text);
    }
}

#[test]
fn error_texts_are_short_and_clean() {
    let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"}]}"#;
    assert_eq!(error_detail(body), "no[31m way");
    assert_eq!(error_detail(br#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
    assert_eq!(error_detail(b"<html>"), "");
    assert_eq!(error_detail(br#"{"errors":[]}"#), "");
}

#[test]
fn forms_are_encoded() {
    assert_eq!(encode_form(&[("a", "b c"), ("d", "&=")]), "a=b+c&d=%26%3D");
}
