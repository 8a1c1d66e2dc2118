use super::*;
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
