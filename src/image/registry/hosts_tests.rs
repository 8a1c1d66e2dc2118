use super::*;
use std::fs::{File, create_dir_all};
use std::io::Write as _;

struct Certs(tempfile::TempDir);

impl Certs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, path: &str, content: &str) -> Self {
        let path = self.0.path().join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path)
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
        self
    }

    fn endpoints(&self, host: &str) -> Vec<Endpoint> {
        endpoints(Some(self.0.path()), host).unwrap()
    }

    fn urls(&self, host: &str) -> Vec<String> {
        self.endpoints(host).iter().map(url).collect()
    }
}

fn url(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.scheme == Scheme::Https {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}{}", endpoint.authority, endpoint.path)
}

fn pem(base64: &str) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

/// A FIFO without a writer once kept the pull. A link to /dev/null is an empty file, as for containerd.
#[test]
fn what_is_no_regular_file_is_refused() {
    use std::os::unix::fs::symlink;
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let linked = |to: &'static str| move |path: &Path| symlink(to, path).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Make<'_>, Option<&str>); 6] = [
        ("hosts.toml", &fifo, Some("a FIFO")),
        ("ca.crt", &fifo, Some("a FIFO")),
        ("client.cert", &fifo, Some("a FIFO")),
        ("hosts.toml", &linked("/dev/zero"), Some("a device")),
        ("hosts.toml", &linked("/etc"), Some("a directory")),
        ("hosts.toml", &linked("/dev/null"), None),
    ];
    for (name, make, wanted) in cases {
        let certs = Certs::new().file("quay.io/README", "");
        make(&certs.0.path().join("quay.io").join(name));
        match (endpoints(Some(certs.0.path()), "quay.io"), wanted) {
            (Ok(found), None) => assert_eq!(url(&found[0]), "https://quay.io/v2"),
            (Err(HostsError::Read { path, source }), Some(wanted)) => {
                assert!(path.ends_with(name), "{path:?}");
                assert!(source.to_string().contains(wanted), "{name}: {source}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn without_configuration() {
    for (host, expected) in [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("quay.io", "https://quay.io/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("localhost:443", "https://localhost:443/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000/v2"),
    ] {
        assert_eq!(url(&endpoints(None, host).unwrap()[0]), expected);
    }
    assert_eq!(Certs::new().urls("quay.io"), ["https://quay.io/v2"]);
}

#[test]
fn mirrors_come_in_the_order_of_the_file_then_the_server() {
    let certs = Certs::new().file(
        "docker.io/hosts.toml",
        r#"
        server = "https://docker.io"
        # [host."http://commented.example"]
        [host."http://zzz.example:5000"]
          capabilities = ["pull", "resolve"]
        [host."https://aaa.example/proxy/v2/"]
          capabilities = ["pull"]
        [host."mmm.example/other"]
        [host."https://last.example/api"]
          override_path = true
        "#,
    );
    assert_eq!(
        certs.urls("docker.io"),
        [
            "http://zzz.example:5000/v2",
            "https://aaa.example/proxy/v2",
            "https://mmm.example/other/v2",
            "https://last.example/api",
            "https://docker.io/v2",
        ]
    );
    let endpoints = certs.endpoints("docker.io");
    assert!(endpoints[0].resolve && endpoints[0].pull);
    assert!(!endpoints[1].resolve && endpoints[1].pull);
    assert!(endpoints[2].resolve && endpoints[2].pull);
}

#[test]
fn the_first_directory_that_exists_counts() {
    let certs = Certs::new()
        .file(
            "_default/hosts.toml",
            r#"server = "https://default.example""#,
        )
        .file(
            "registry.example_5000_/hosts.toml",
            r#"server = "https://underscores.example""#,
        )
        .file(
            "other.example:5000/hosts.toml",
            r#"server = "https://colon.example""#,
        );
    assert_eq!(
        certs.urls("registry.example:5000"),
        ["https://underscores.example/v2"]
    );
    assert_eq!(
        certs.urls("other.example:5000"),
        ["https://colon.example/v2"]
    );
    assert_eq!(certs.urls("third.example"), ["https://default.example/v2"]);
}

#[test]
fn a_file_without_server_falls_back_to_the_registry() {
    let certs = Certs::new().file(
        "registry.example/hosts.toml",
        "[host.\"http://mirror.example\"]\n  skip_verify = true\n  [host.\"http://mirror.example\".header]\n    x-a = [\"1\", \"2\"]\n    x-b = \"3\"\n",
    );
    let endpoints = certs.endpoints("registry.example");
    assert_eq!(url(&endpoints[1]), "https://registry.example/v2");
    assert_eq!(endpoints[0].tls.verification, Verification::Skipped);
    assert_eq!(endpoints[1].tls, Tls::default());
    let headers: Vec<_> = endpoints[0]
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
        .collect();
    assert_eq!(headers, [("x-a", "1"), ("x-a", "2"), ("x-b", "3")]);
    assert!(endpoints[1].headers.is_empty());
}

#[test]
fn certificates_are_read_relative_to_the_directory() {
    let certs = Certs::new()
        .file(
            "a.example/hosts.toml",
            "server = \"https://a.example\"\nca = [\"one.pem\", \"two.pem\"]\nclient = [[\"c.pem\", \"k.pem\"]]\n",
        )
        .file("a.example/one.pem", &pem("MTIz"))
        .file("a.example/two.pem", &pem("NDU2"))
        .file("a.example/c.pem", "C")
        .file("a.example/k.pem", "K")
        .file("b.example/ca.crt", "A")
        .file("b.example/x.cert", "C")
        .file("b.example/x.key", "K")
        .file("c.example/hosts.toml", "ca = \"absent.pem\"");
    let a = &certs.endpoints("a.example")[0].tls;
    let authorities = [pem("MTIz"), pem("NDU2")].map(String::into_bytes);
    assert_eq!(a.authorities, authorities);
    assert_eq!(a.identity.as_deref(), Some(&b"C\nK"[..]));
    assert!(!format!("{a:?}").contains('K'));
    let b = &certs.endpoints("b.example")[0].tls;
    assert_eq!(
        (b.authorities.len(), b.identity.as_deref()),
        (1, Some(&b"C\nK"[..]))
    );
    let error = endpoints(Some(certs.0.path()), "c.example").unwrap_err();
    let text = error.to_string();
    let named = text.contains("c.example/hosts.toml: ca: ") && text.contains("absent.pem");
    assert!(named, "{text}");
}

#[test]
fn unusable_files_are_errors_with_their_path() {
    for bad in [
        "server = ",
        "[host.\"ftp://x\"]",
        "[host.\"https://u@x\"]",
        "ca = 3",
        "[host.\"http://\"]",
    ] {
        let certs = Certs::new().file("a.example/hosts.toml", bad);
        let error = endpoints(Some(certs.0.path()), "a.example");
        let error = match error {
            Ok(endpoints) => panic!("{bad}: {endpoints:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("a.example/hosts.toml"), "{error}");
    }
}

/// Such values were taken, passed over, or refused without their key. containerd refuses unknown capabilities too,
/// and takes them in any case of letters (docker/config/hosts.go).
#[test]
fn unusable_values_are_errors_with_their_key() {
    for (bad, key) in [
        ("server = 5", "server: a text is expected"),
        ("host = \"x\"", "host: a table is expected"),
        ("ca = \"absent.pem\"", "ca: cannot read "),
        (
            "ca = [\"hosts.toml\"]",
            "hosts.toml holds no certificate in PEM form",
        ),
        ("ca = \".\"", "ca: cannot read "),
        ("client = \"absent.pem\"", "client: cannot read "),
        (
            "client = [[\"hosts.toml\", \"absent.key\"]]",
            "client: cannot read ",
        ),
        (
            "capabilities = [\"pul\"]",
            "capabilities: unknown value \"pul\": use pull, resolve",
        ),
        (
            "capabilities = [\"pull\", \"\"]",
            "capabilities: unknown value \"\"",
        ),
        (
            "[host.\"https://m\"]\n  capabilities = [\"delete\"]",
            "capabilities: unknown value",
        ),
        (
            "[host.\"https://m\"]\n  ca = \"absent.pem\"",
            "ca: cannot read ",
        ),
    ] {
        let certs = Certs::new().file("a.example/hosts.toml", bad);
        let error = endpoints(Some(certs.0.path()), "a.example").map(|_| bad);
        let text = error.unwrap_err().to_string();
        let named = text.contains("a.example/hosts.toml") && text.contains(key);
        assert!(named, "{bad}: {text}");
    }
    let upper = "capabilities = [\"PULL\", \"push\", \"referrers\"]";
    let certs = Certs::new().file("a.example/hosts.toml", upper);
    let found = &certs.endpoints("a.example")[0];
    assert!(found.pull && !found.resolve);
}

/// Such values failed as a registry that is unavailable, or were sent as the word "invalid". What a header may hold is
/// RFC 9110, 5.1 and 5.5 (containerd 2.4.2 refuses the same by net/http); a URL is one that url::Url and net/url take.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of files")]
fn mistakes_in_urls_headers_and_tables_have_their_key() {
    for (bad, key) in [
        (
            "[header]\nAuthorization = \"Bearer x\\n\"",
            "header.Authorization: its value holds a line break",
        ),
        (
            "[header]\nx-a = [\"1\", \"a\\u0000\"]",
            "header.x-a: its value",
        ),
        ("[header]\nx-a = \"\\u007f\"", "header.x-a: its value"),
        (
            "[header]\n\"x y\" = \"1\"",
            "header.\"x y\": it is not a name",
        ),
        ("[header]\n\"\" = \"1\"", ": it is not a name"),
        (
            "[header]\n\"x:\" = \"1\"",
            "header.\"x:\": it is not a name",
        ),
        ("[header]\nx-a = 5", "header.x-a: "),
        (
            "[header]\ncontent-length = \"5\"",
            "header.content-length: ",
        ),
        ("header = \"x: 1\"", "header: "),
        (
            "[host.\"https://m\".header]\nAuthorization = \"a\\rb\"",
            "host.\"https://m\".header.Authorization: its",
        ),
        (
            "server = \"http://127.0.0.1:99999\"",
            "server: \"http://127.0.0.1:99999\" is not an http or https URL of a registry (invalid port number)",
        ),
        ("server = \"http://[::1\"", "server: \"http://[::1\" is no"),
        ("server = \"http://\"", "server: \"http://\" is no"),
        ("server = \"http://a:b\"", "server: "),
        ("server = \"http://a\\tb\"", "server: "),
        ("server = \"http://a\\\\b\"", "server: "),
        ("server = \"http://1.2.3.400\"", "server: "),
        (
            "[host.\"https://m:65536\"]",
            "host.\"https://m:65536\": \"https://m:65536\" is no",
        ),
        (
            "[host]\n\"https://m\" = \"x\"",
            "host.\"https://m\": a table is expected",
        ),
        (
            "[[host.\"https://m\"]]",
            "host.\"https://m\": a table is expected",
        ),
        ("[[host]]\nx = 1", "host: a table is expected"),
        (
            "[host.\"https://m\"]\nskip_verify = \"no\"",
            "host.\"https://m\".skip_verify: invalid type",
        ),
        ("capabilities = \"pull\"", "capabilities: invalid type"),
        (
            "[host.\"https://m\"]\ncapabilities = [\"pul\"]",
            "host.\"https://m\".capabilities: unknown",
        ),
    ] {
        let certs = Certs::new().file("a.example/hosts.toml", bad);
        let error = endpoints(Some(certs.0.path()), "a.example").map(|_| bad);
        let text = error.unwrap_err().to_string();
        let named = text.contains("a.example/hosts.toml: ") && text.contains(key);
        assert!(named, "{bad}: {text}");
        assert!(!text.contains("Bearer"), "{text}");
    }
    for (good, wanted) in [
        ("server = \"http://[::1]:5000\"", "http://[::1]:5000/v2"),
        ("server = \"HTTP://m.example\"", "http://m.example/v2"),
        (
            "server = \"m.example:65535/x//v2/\"",
            "https://m.example:65535/x/v2",
        ),
        (
            "server = \"https://bücher.example\"",
            "https://bücher.example/v2",
        ),
    ] {
        let certs = Certs::new().file("a.example/hosts.toml", good);
        assert_eq!(certs.urls("a.example"), [wanted], "{good}");
    }
    let padded = "[header]\nx-a = [\" 1\\t\", \"a b\", \"\", \"é\"]";
    let certs = Certs::new().file("a.example/hosts.toml", padded);
    let headers = &certs.endpoints("a.example")[0].headers;
    let values: Vec<&[u8]> = headers.iter().map(|(_, value)| value.as_bytes()).collect();
    assert_eq!(values, [b"1", &b"a b"[..], b"", "é".as_bytes()]);
}
