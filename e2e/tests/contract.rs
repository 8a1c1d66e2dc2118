//! The wire contract is the one that Kubernetes ships.
//!
//! A wrong field number compiles, serves and even seems to work: the kubelet reads another field,
//! or none. So the descriptor of our proto, which a unit test of `cri-api` holds against
//! its code, is compared, in full, with the one linked into the Go module k8s.io/cri-api, which kubelets are built from: it equals that of the newest
//! beta, and has everything of the newest release. Comments and source positions are the only things
//! left out.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

/// Where our protos are, relative to this package.
const PROTOS: &str = "../proto";

/// The Go program that prints the reference, relative to this package.
const REFERENCE: &str = "tools/cri-descriptor";

/// The module files of that program: the beta that our proto equals, and the release that it contains.
const BETA: &str = "go.mod";
const RELEASE: &str = "release.mod";

#[test]
fn descriptor_equals_the_one_of_kubernetes_1_38_beta() -> Result<()> {
    let reference = facts(&FileDescriptorProto::decode(reference(BETA)?.as_slice())?);
    let ours = facts(&our_file()?);
    let missing: Vec<_> = reference.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&reference).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "proto/runtime/v1/api.proto is not the CRI of Kubernetes\nmissing: {missing:#?}\nsurplus: {surplus:#?}"
    );
    // Far fewer facts would mean that a part of the descriptor was not looked at.
    assert!(ours.len() > 900, "only {} facts compared", ours.len());
    Ok(())
}

/// Kubelets of the release must find all that they know: a beta may take back what it has added, but
/// not what a release has.
#[test]
fn descriptor_contains_the_one_of_kubernetes_1_37() -> Result<()> {
    let reference = facts(&FileDescriptorProto::decode(
        reference(RELEASE)?.as_slice(),
    )?);
    let ours = facts(&our_file()?);
    let missing: Vec<_> = reference.difference(&ours).collect();
    assert!(missing.is_empty(), "missing: {missing:#?}");
    let beta_only = "field .runtime.v1.Metric.double_value = 6";
    assert!(
        reference.len() > 800 && !reference.iter().any(|fact| fact.starts_with(beta_only)),
        "{} facts are not those of the release",
        reference.len()
    );
    Ok(())
}

#[test]
fn services_have_37_and_9_methods() -> Result<()> {
    let file = our_file()?;
    let services: Vec<_> = file
        .service
        .iter()
        .map(|s| (s.name(), s.method.len()))
        .collect();
    assert_eq!(services, [("RuntimeService", 37), ("ImageService", 9)]);
    Ok(())
}

/// `debug_redact` is a field option newer than prost's own types, so it gets a decoder of its own.
#[test]
fn fields_marked_as_secret_are_those_of_kubernetes() -> Result<()> {
    let set = redaction::Set::decode(our_descriptors()?.as_slice())?;
    let ours = set
        .file
        .iter()
        .find(|file| file.package == "runtime.v1")
        .context("runtime.v1")?;
    let reference = redaction::File::decode(reference(BETA)?.as_slice())?;
    let secrets = redaction::secrets(&reference);
    assert_eq!(redaction::secrets(ours), secrets);
    assert_eq!(secrets.len(), 4, "{secrets:?}");
    Ok(())
}

/// One difference between two descriptors.
type Change = fn(&mut FileDescriptorProto);

/// The comparison above is worth nothing if it cannot see a difference.
#[test]
fn every_kind_of_change_is_seen() -> Result<()> {
    let original = our_file()?;
    let base = facts(&original);
    let changes: [(&str, Change); 9] = [
        ("field number", |f| {
            f.message_type[0].field[0].number = Some(77)
        }),
        ("field name", |f| {
            f.message_type[0].field[0].name = Some("other".into())
        }),
        ("field label", |f| {
            f.message_type[0].field[0].label = Some(Label::Repeated.into())
        }),
        ("field type", |f| {
            f.message_type[0].field[0].r#type = Some(Type::Bytes.into())
        }),
        ("presence", |f| {
            f.message_type[0].field[0].proto3_optional = Some(true)
        }),
        ("deprecation", |f| {
            f.message_type[0].field[0]
                .options
                .get_or_insert_default()
                .deprecated = Some(true);
        }),
        ("enum number", |f| f.enum_type[0].value[0].number = Some(77)),
        ("streaming", |f| {
            f.service[0].method[0].server_streaming = Some(true)
        }),
        ("reserved name", |f| {
            f.message_type[0].reserved_name.push("old".into())
        }),
    ];
    for (what, change) in changes {
        let mut changed = original.clone();
        change(&mut changed);
        assert_ne!(facts(&changed), base, "a changed {what} goes unseen");
    }
    Ok(())
}

fn our_file() -> Result<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(our_descriptors()?.as_slice())?;
    let file = set
        .file
        .into_iter()
        .find(|file| file.package() == "runtime.v1");
    file.context("the descriptor set of our proto lacks package runtime.v1")
}

/// Our proto as an encoded `FileDescriptorSet`. The compiler itself encodes it: prost's own types would drop options that
/// they do not know.
fn our_descriptors() -> Result<Vec<u8>> {
    let mut compiler = protox::Compiler::new([Path::new(env!("CARGO_MANIFEST_DIR")).join(PROTOS)])?;
    compiler
        .include_imports(true)
        .open_file("runtime/v1/api.proto")?;
    Ok(compiler.encode_file_descriptor_set())
}

/// Runs the Go program with one of its module files. A machine without Go fails the test: passing would
/// hide a wrong contract.
fn reference(modules: &str) -> Result<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(REFERENCE);
    #[expect(clippy::disallowed_methods, reason = "the reference is a Go program")]
    let mut go = Command::new("go");
    go.args(["run", &format!("-modfile={modules}"), "."])
        .current_dir(&directory)
        // The beta is written for a Go newer than that of most distributions; `go` fetches it like a module.
        .env("GOTOOLCHAIN", "auto")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false");
    let Output { status, stdout, stderr } = go.output().with_context(|| {
        "cannot run `go`, which prints the reference descriptor: run e2e/tools/install.sh, or put Go 1.21 or newer into PATH"
    })?;
    ensure!(
        status.success(),
        "`go run -modfile={modules} .` in {} failed, {status}: {}",
        directory.display(),
        String::from_utf8_lossy(&stderr)
    );
    Ok(stdout)
}

/// Everything a descriptor says, one line a fact, so that a difference reads like the proto.
fn facts(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut facts = BTreeSet::from([
        format!("package {} {}", file.package(), file.syntax()),
        format!("imports {:?} {:?}", file.dependency, file.public_dependency),
        format!("extensions {:?}", file.extension),
    ]);
    let scope = format!(".{}", file.package());
    for message in &file.message_type {
        message_facts(&mut facts, &scope, message);
    }
    for item in &file.enum_type {
        enum_facts(&mut facts, &scope, item);
    }
    for service in &file.service {
        service_facts(&mut facts, &scope, service);
    }
    facts
}

fn message_facts(facts: &mut BTreeSet<String>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    let options = message.options.clone().unwrap_or_default();
    facts.insert(format!(
        "message {name} map_entry={} deprecated={} extensions={:?} {:?}",
        options.map_entry(),
        options.deprecated(),
        message.extension,
        message.extension_range
    ));
    for range in &message.reserved_range {
        facts.insert(format!(
            "reserved {name} {}..{}",
            range.start(),
            range.end()
        ));
    }
    for reserved in &message.reserved_name {
        facts.insert(format!("reserved {name} {reserved:?}"));
    }
    for field in &message.field {
        facts.insert(field_fact(&name, message, field));
    }
    for oneof in &message.oneof_decl {
        facts.insert(format!("oneof {name}.{}", oneof.name()));
    }
    for nested in &message.nested_type {
        message_facts(facts, &name, nested);
    }
    for item in &message.enum_type {
        enum_facts(facts, &name, item);
    }
}

fn field_fact(scope: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let options = field.options.clone().unwrap_or_default();
    let oneof = field
        .oneof_index
        .and_then(|i| message.oneof_decl.get(usize::try_from(i).ok()?));
    format!(
        "field {scope}.{} = {}: {} {} {} json={} oneof={} optional={} deprecated={} packed={:?} default={:?}",
        field.name(),
        field.number(),
        field.label().as_str_name(),
        field.r#type().as_str_name(),
        field.type_name(),
        field.json_name(),
        oneof.map_or("-", |oneof| oneof.name()),
        field.proto3_optional(),
        options.deprecated(),
        options.packed,
        field.default_value,
    )
}

fn enum_facts(facts: &mut BTreeSet<String>, scope: &str, item: &EnumDescriptorProto) {
    let name = format!("{scope}.{}", item.name());
    let options = item.options.clone().unwrap_or_default();
    let (alias, deprecated) = (options.allow_alias(), options.deprecated());
    facts.insert(format!(
        "enum {name} allow_alias={alias} deprecated={deprecated}"
    ));
    for range in &item.reserved_range {
        facts.insert(format!(
            "reserved {name} {}..={}",
            range.start(),
            range.end()
        ));
    }
    for reserved in &item.reserved_name {
        facts.insert(format!("reserved {name} {reserved:?}"));
    }
    for value in &item.value {
        let deprecated = value.options.clone().unwrap_or_default().deprecated();
        let (value, number) = (value.name(), value.number());
        facts.insert(format!(
            "value {name}.{value} = {number} deprecated={deprecated}"
        ));
    }
}

fn service_facts(facts: &mut BTreeSet<String>, scope: &str, service: &ServiceDescriptorProto) {
    let name = format!("{scope}.{}", service.name());
    facts.insert(format!("service {name}"));
    for method in &service.method {
        facts.insert(format!(
            "rpc {name}.{}({}{}) returns ({}{}) deprecated={}",
            method.name(),
            if method.client_streaming() {
                "stream "
            } else {
                ""
            },
            method.input_type(),
            if method.server_streaming() {
                "stream "
            } else {
                ""
            },
            method.output_type(),
            method.options.clone().unwrap_or_default().deprecated(),
        ));
    }
}

/// As much of `google/protobuf/descriptor.proto` as it takes to read `debug_redact`.
mod redaction {
    #[derive(prost::Message)]
    pub struct Set {
        #[prost(message, repeated, tag = "1")]
        pub file: Vec<File>,
    }

    #[derive(prost::Message)]
    pub struct File {
        #[prost(string, tag = "2")]
        pub package: String,
        #[prost(message, repeated, tag = "4")]
        pub message: Vec<Type>,
    }

    #[derive(prost::Message)]
    pub struct Type {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, repeated, tag = "2")]
        pub field: Vec<Field>,
    }

    #[derive(prost::Message)]
    pub struct Field {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "8")]
        pub options: Option<Options>,
    }

    #[derive(prost::Message)]
    pub struct Options {
        #[prost(bool, tag = "16")]
        pub debug_redact: bool,
    }

    /// `Message.field` of every field that must not be printed.
    pub fn secrets(file: &File) -> Vec<String> {
        let fields = file
            .message
            .iter()
            .flat_map(|m| m.field.iter().map(move |f| (m, f)));
        let marked = fields.filter(|(_, f)| f.options.as_ref().is_some_and(|o| o.debug_redact));
        marked
            .map(|(message, field)| format!("{}.{}", message.name, field.name))
            .collect()
    }
}

/// What the reference libraries for network plugins say of the table that the daemon's own reading is held against.
const ORACLE: &str = "tools/cni-oracle";
/// That table, relative to this package.
const ORACLE_TABLE: &str = "../src/network/cni/tests/libcni.json";

#[test]
fn the_table_of_networks_says_what_libcni_says() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(ORACLE_TABLE);
    let kept = std::fs::read_to_string(&path).context("read the table")?;
    let table = std::fs::File::open(&path).context("open the table")?;
    #[expect(clippy::disallowed_methods, reason = "the oracle is a Go program")]
    let mut go = Command::new("go");
    go.args(["run", "."])
        .current_dir(root.join(ORACLE))
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .stdin(table);
    let Output {
        status,
        stdout,
        stderr,
    } = go.output().context("run `go`")?;
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(
        status.success(),
        "`go run .` in {ORACLE} failed, {status}: {stderr}"
    );
    let said = String::from_utf8(stdout).context("read the oracle's answer")?;
    let changed = kept
        .lines()
        .zip(said.lines())
        .find(|(kept, said)| kept != said);
    if let Some((kept, said)) = changed {
        panic!("libcni says\n{said}\nand the table has\n{kept}");
    }
    assert_eq!(kept.len(), said.len());
    Ok(())
}
