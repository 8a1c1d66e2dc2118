//! What the generated code must keep to, beyond what the compiler checks.

use std::path::Path;
use std::{env, fs};

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

/// The contracts, relative to this package.
const PROTOS: [&str; 2] = ["runtime/v1/api.proto", "holdfast/v1/holdfast.proto"];

/// Messages whose `Debug` is written by hand in `lib.rs`, since a derived one prints secrets.
const SECRET: &str = ".runtime.v1.AuthConfig";

/// Nobody edits the generated code by hand, and nobody forgets to generate it after an edit of a proto.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "source code is no durable file of the runtime"
)]
fn the_generated_code_is_made_of_the_protos() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let new = tempfile::tempdir().expect("temporary directory");
    generate(package, new.path());
    for file in ["runtime.v1.rs", "holdfast.v1.rs"] {
        let generated = fs::read_to_string(new.path().join(file)).expect("generated code");
        let path = package.join("src/generated").join(file);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &generated).expect("write the generated code");
        }
        let committed = fs::read_to_string(&path).expect("committed code");
        assert!(
            committed == generated,
            "{} is not what the protos give: run `UPDATE=1 cargo test -p cri-api`",
            path.display()
        );
    }
}

/// Writes the Rust side of the contracts into a directory. The protos are compiled in this process, without protoc.
fn generate(package: &Path, out: &Path) {
    let mut compiler = protox::Compiler::new([package]).expect("compiler");
    compiler.include_source_info(true).include_imports(true);
    for proto in PROTOS {
        compiler.open_file(proto).expect(proto);
    }
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // An RPC that a service does not override answers UNIMPLEMENTED.
        .generate_default_stubs(true)
        .skip_debug([SECRET])
        .out_dir(out)
        .compile_fds(compiler.file_descriptor_set())
        .expect("code of the protos");
}
