//! Documents as writers make them. What is right is what `json.Unmarshal` of Go 1.26 makes of them with the types of
//! image-spec v1.1.1, which containerd 2.4.2 reads images with, and docker's and go.podman.io/image's for CRI-O 1.37.

use super::*;
use serde_json::{Value, json};

fn config(value: &Value) -> Result<ImageConfig, DocumentError> {
    ImageConfig::parse(value.to_string().as_bytes())
}

/// A port whose value was null, as some writers have it, made the image "malformed".
#[test]
fn null_is_nothing_wherever_it_stands() {
    let full = json!({
        "created": "2024-05-06T07:08:09.123456789Z", "author": "a",
        "architecture": "amd64", "os": "linux", "os.version": "1", "os.features": ["f"], "variant": "v1",
        "config": {
            "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c"],
            "Volumes": {"/d": {}}, "WorkingDir": "/w", "Labels": {"l": "v"}, "StopSignal": "SIGINT",
            "ArgsEscaped": true,
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
        "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "x", "author": "y", "comment": "z", "empty_layer": true}],
    });
    assert!(config(&full).is_ok());
    // Every single field, object and list of it may be null.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.replace('/', "~1"), value))
                .collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value))
                .collect(),
            _ => Vec::new(),
        };
        for (key, value) in below {
            let place = format!("{at}/{key}");
            places(value, &place, found);
            found.push(place);
        }
    }
    let mut found = Vec::new();
    places(&full, "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    for place in found {
        let mut changed = full.clone();
        *changed.pointer_mut(&place).unwrap() = Value::Null;
        assert!(config(&changed).is_ok(), "{place}: {:?}", config(&changed));
    }
    let ports =
        json!({"config": {"ExposedPorts": {"80/tcp": null}, "Volumes": {"/d": null, "/e": {}}}});
    let volumes = config(&ports).unwrap().execution.volumes;
    assert_eq!(volumes.into_keys().collect::<Vec<_>>(), ["/d", "/e"]);
}

#[test]
fn keys_of_any_case_and_keys_that_come_again() {
    let text = br#"{"OS":"linux","Architecture":"arm","CONFIG":{"env":["A=1","B=2"],"labels":{"a":"1"}},
        "config":{"Cmd":["x"],"Env":["C=3"],"Labels":{"b":"2"}},"RootFS":{"Diff_IDs":["d"]},"rootfs":{"type":"layers"}}"#;
    let config = ImageConfig::parse(text).unwrap();
    assert_eq!(
        (
            config.platform.os.as_str(),
            config.platform.architecture.as_str()
        ),
        ("linux", "arm")
    );
    // Objects merge, lists are replaced.
    assert_eq!(config.execution.env, ["C=3"]);
    assert_eq!(config.execution.cmd, ["x"]);
    assert_eq!(config.execution.labels.len(), 2);
    assert_eq!(config.root_fs.diff_ids, ["d"]);
    let manifest =
        br#"{"SchemaVersion":2,"Layers":[{"Digest":"a","SIZE":7,"mediatype":"t"}],"Config":{}}"#;
    let document = Document::parse(manifest, "manifest").unwrap();
    let layers = document.layers.unwrap();
    assert_eq!((layers[0].size, layers[0].media_type.as_str()), (7, "t"));
}

/// What containers' tools write beyond the specification is passed over, whatever its type.
#[test]
fn unknown_fields_may_be_anything() {
    let value = json!({
        "os": "linux", "container": 5, "docker_version": null, "container_config": "x", "parent": [],
        "config": {
            "Healthcheck": {"Test": ["NONE"], "Interval": "30s"}, "OnBuild": {}, "Shell": 1, "Hostname": [],
            "Memory": 1e3, "NetworkDisabled": "no",
        },
        "moby.buildkit.buildinfo.v1": {"a": [null]},
        "rootfs": {"type": "layers", "base_layer": 7},
    });
    assert!(config(&value).is_ok());
}

/// `created: ""` is refused by containerd and CRI-O alike, which read a `time.Time`.
#[test]
fn times_are_those_of_go() {
    let dated = |text: &str| config(&json!({"created": text}));
    for good in [
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "2024-02-29T23:59:59Z",
        "2024-05-06T07:08:09.1Z",
        "2024-05-06T07:08:09.123456789123Z",
        "2024-05-06T07:08:09+05:30",
        "2024-05-06T07:08:09.5-11:00",
        "2024-05-06T7:08:09Z",
        "2024-05-06T07:08:09,5Z",
        "2024-05-06T07:08:09+24:60",
    ] {
        let read = dated(good).unwrap();
        assert_eq!(read.created, Some(Timestamp(good.to_owned())), "{good}");
    }
    for bad in [
        "",
        " ",
        "now",
        "2024-05-06",
        "2024-05-06T07:08:09",
        "2024-05-06 07:08:09Z",
        "2024-05-06t07:08:09z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-05-06T24:00:00Z",
        "2024-05-06T07:08:60Z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09+25:00",
        "2024-05-06T07:8:09Z",
        "2024-05-06T07:08:09+0530",
        "12024-05-06T07:08:09Z",
        "２024-05-06T07:08:09Z",
    ] {
        let Err(DocumentError::Field { source, .. }) = dated(bad) else {
            panic!("{bad}: {:?}", dated(bad))
        };
        let text = source.to_string();
        assert!(
            text.starts_with(&format!("created: invalid value {bad:?}: a time")),
            "{text}"
        );
        let history = json!({"history": [{}, {"created": bad}]});
        let Err(DocumentError::Field { source, .. }) = config(&history) else {
            panic!("{bad}")
        };
        assert!(
            source.to_string().starts_with("history[1].created: "),
            "{source}"
        );
    }
    assert_eq!(config(&json!({"created": null})).unwrap().created, None);
}

#[test]
fn values_of_another_type_are_named_with_their_place() {
    for (value, text) in [
        (
            json!({"config": {"Env": ["A=b", 5]}}),
            "config.Env[1]: invalid value 5: a text is expected",
        ),
        (
            json!({"config": {"Cmd": "sh"}}),
            "config.Cmd: invalid value \"sh\": a list is expected",
        ),
        (
            json!({"config": {"Volumes": ["/d"]}}),
            "config.Volumes: invalid value […]: an object is expected",
        ),
        (
            json!({"config": {"ExposedPorts": {"80/tcp": true}}}),
            "config.ExposedPorts[\"80/tcp\"]: invalid value true: an object is expected",
        ),
        (
            json!({"config": {"User": 1000}}),
            "config.User: invalid value 1000: a text is expected",
        ),
        (
            json!({"config": []}),
            "config: invalid value […]: an object is expected",
        ),
        (
            json!({"rootfs": {"diff_ids": "x"}}),
            "rootfs.diff_ids: invalid value \"x\": a list is expected",
        ),
        (
            json!({"os": {}}),
            "os: invalid value {…}: a text is expected",
        ),
        (
            json!({"history": {}}),
            "history: invalid value {…}: a list is expected",
        ),
        (
            json!({"history": [{"empty_layer": "true"}]}),
            "history[0].empty_layer: invalid value \"true\": true or false is expected",
        ),
        (
            json!([]),
            "the document: invalid value […]: an object is expected",
        ),
    ] {
        let Err(DocumentError::Field { source, .. }) = config(&value) else {
            panic!("{value}: {:?}", config(&value))
        };
        assert_eq!(source.to_string(), text);
    }
    assert!(matches!(
        ImageConfig::parse(b"{} {}"),
        Err(DocumentError::Json { .. })
    ));
}
