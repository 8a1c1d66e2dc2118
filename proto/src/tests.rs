//! What the generated code must keep to, beyond what the compiler checks.

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::runtime::v1::{AuthConfig, PullImageRequest};

#[test]
fn debug_of_a_pull_request_shows_no_secret() {
    let request = PullImageRequest {
        auth: Some(AuthConfig {
            username: "user".into(),
            password: "secret-1".into(),
            auth: "secret-2".into(),
            server_address: "registry.example".into(),
            identity_token: "secret-3".into(),
            registry_token: "secret-4".into(),
        }),
        ..Default::default()
    };
    let shown = format!("{request:?} {request:#?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(
        shown.contains("REDACTED") && shown.contains("registry.example"),
        "{shown}"
    );
}

#[test]
fn debug_tells_an_absent_secret_from_a_present_one() {
    let shown = format!(
        "{:?}",
        AuthConfig {
            password: "x".into(),
            ..Default::default()
        }
    );
    assert!(
        shown.contains(r#"password: "REDACTED", auth: """#),
        "{shown}"
    );
}

#[test]
fn the_descriptor_set_holds_both_contracts() {
    let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).expect("descriptor set");
    let packages: Vec<_> = set.file.iter().map(|file| file.package()).collect();
    assert_eq!(packages, ["runtime.v1", "holdfast.v1"]);
}
