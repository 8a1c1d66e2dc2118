//! The configuration: what is merged, what is refused, and that the sample is true.

use holdfast_kernel::error_chain;
use std::path::Path;
use std::time::Duration;

use super::config::Config;
use super::quantity::{Period, Size};

fn write(path: &Path, text: &str) {
    #[allow(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::write(path, text).unwrap();
}

fn load(files: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("config.d")).unwrap();
    for (name, text) in files {
        write(&dir.path().join(name), text);
    }
    let file = dir.path().join("config.toml");
    Config::load(Some(&file))
        .map_err(|error| error_chain(&error).replace(&*dir.path().to_string_lossy(), "DIR"))
}

#[test]
fn the_defaults_are_valid_and_survive_being_printed() {
    let config = load(&[("config.toml", "")]).unwrap();
    assert_eq!(config, Config::default());
    assert!(config.network.subnet4.is_some() && config.network.subnet6.is_some());
    let printed = config.to_toml().unwrap();
    assert_eq!(load(&[("config.toml", &printed)]).unwrap(), config);
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names() {
    let config = load(&[
        (
            "config.toml",
            "[network]\nbridge = \"a0\"\nmtu = 1400\n[image]\npinned = [\"a\"]\n",
        ),
        ("config.d/20.toml", "[network]\nbridge = \"c0\"\n"),
        (
            "config.d/10.toml",
            "[network]\nbridge = \"b0\"\n[image]\npinned = [\"b\"]\n",
        ),
        ("config.d/ignored.txt", "nonsense"),
    ])
    .unwrap();
    assert_eq!(config.network.bridge, "c0");
    assert_eq!(config.network.mtu, Some(1400));
    assert_eq!(config.image.pinned, ["b"]);
}

#[test]
fn mistakes_have_file_and_line() {
    let text = load(&[("config.toml", "\n\n[network]\nbrigde = \"x\"\n")]).unwrap_err();
    assert!(
        text.starts_with("DIR/config.toml:4: unknown field `brigde`"),
        "{text}"
    );
    let text = load(&[
        ("config.toml", ""),
        ("config.d/1.toml", "[log]\nlevel = 3\n"),
    ])
    .unwrap_err();
    assert!(
        text.starts_with("DIR/config.d/1.toml:2: invalid type"),
        "{text}"
    );
    let text = load(&[("config.toml", "[network]\nsubnet4 = \"10.0.0.1/16\"\n")]).unwrap_err();
    assert!(
        text.starts_with("DIR/config.toml:2: ") && text.contains("10.0.0.0/16"),
        "{text}"
    );
}

#[test]
fn values_that_do_not_fit_name_their_key() {
    for (text, key) in [
        ("root_dir = \"relative\"", "root_dir"),
        ("run_dir = \"/\"", "run_dir"),
        ("run_dir = \"/var/lib/holdfast\"", "run_dir"),
        ("[network]\nsubnet4 = \"fd00::/64\"", "network.subnet4"),
        ("[network]\nsubnet4 = \"\"\nsubnet6 = \"\"", "network.kind"),
        ("[cgroup]\nparent = \"/a/../b\"", "cgroup.parent"),
        ("shim = \"/no/such/shim\"", "shim"),
        ("[network]\nbridge = \"sixteen-letters-\"", "network.bridge"),
        ("[network]\nbridge = \"a/b\"", "network.bridge"),
        ("[log]\nlevel = \"verbose\"", "log.level"),
        ("[log]\nlevel = \"\"", "log.level"),
        ("[log]\nlevel = \"info,warning\"", "log.level"),
        ("[log]\nlevel = \"holdfast_image=loud\"", "log.level"),
        ("[log]\nlevel = \"=debug\"", "log.level"),
        (
            "[image]\nmax_parallel_layers = 0",
            "image.max_parallel_layers",
        ),
    ] {
        let error = load(&[("config.toml", text)]).unwrap_err();
        assert!(
            error.contains(&format!("configuration: {key}: invalid value ")),
            "{text}: {error}"
        );
    }
}

/// A library's frames are not what somebody wants who asks for the debug level.
#[test]
fn debug_without_a_module_is_for_our_own_lines() {
    for (level, filter) in [
        ("info", "info"),
        ("off", "off"),
        ("debug", "info,holdfast=debug"),
        ("warn, trace", "warn,info,holdfast=trace"),
        ("info,holdfast_image=debug", "info,holdfast_image=debug"),
        ("error,h2::proto=trace", "error,h2::proto=trace"),
    ] {
        let config = load(&[("config.toml", &format!("[log]\nlevel = {level:?}\n"))]).unwrap();
        assert_eq!(config.log.filter().unwrap(), filter, "{level}");
    }
}

#[test]
fn experiments_are_allowed_by_their_names() {
    let load = |list: &str| load(&[("config.toml", &format!("[experiments]\nallow = {list}\n"))]);
    let config = load(r#"["time-offsets", "join-network"]"#).unwrap();
    let names: Vec<_> = config
        .experiments
        .allow
        .iter()
        .map(|experiment| experiment.as_str())
        .collect();
    assert_eq!(names, ["join-network", "time-offsets"]);
    assert!(Config::default().experiments.allow.is_empty());
    let error = load(r#"["time-travel"]"#).unwrap_err();
    assert!(
        error.starts_with("DIR/config.toml:2: unknown variant `time-travel`"),
        "{error}"
    );
}

#[test]
fn a_named_file_has_to_exist() {
    assert!(Config::load(Some(Path::new("/nonexistent/config.toml"))).is_err());
}

#[test]
fn times_and_sizes_are_written_as_people_do() {
    assert_eq!(
        "1m30s".parse::<Period>().unwrap().get(),
        Duration::from_secs(90)
    );
    assert_eq!("250ms".parse::<Period>().unwrap().to_string(), "250ms");
    assert_eq!("64MiB".parse::<Size>().unwrap(), Size(64 << 20));
    assert_eq!(Size(256 << 30).to_string(), "256GiB");
    for wrong in ["", "5", "s", "-1s", "1 s", "99999999999999999999s"] {
        assert!(wrong.parse::<Period>().is_err(), "{wrong}");
    }
    for wrong in ["", "5", "MiB", "1MB", "-1B"] {
        assert!(wrong.parse::<Size>().is_err(), "{wrong}");
    }
}

/// The sample shows every key with its default: uncommented, it is the default configuration.
#[test]
fn the_sample_is_the_default_configuration() {
    let sample = include_str!("../../../deploy/config.toml");
    let uncommented: String = sample
        .lines()
        .map(|line| line.strip_prefix("#:").unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(load(&[("config.toml", sample)]).unwrap(), Config::default());
    assert_eq!(
        load(&[("config.toml", &uncommented)]).unwrap(),
        Config::default()
    );
    let printed: toml::Table = toml::from_str(&Config::default().to_toml().unwrap()).unwrap();
    let shown: toml::Table = toml::from_str(&uncommented).unwrap();
    assert_eq!(shown, printed);
}

#[test]
fn plugins_to_be_served_are_named_from_a_list() {
    let native = |names: &str| load(&[("config.toml", &format!("[cni]\nnative = {names}\n"))]);
    let all =
        native(r#"["loopback", "bridge", "ptp", "host-local", "portmap", "bandwidth"]"#).unwrap();
    assert_eq!(all.cni.native.map(|all| all.len()), Some(6));
    assert_eq!(native("[]").unwrap().cni.native, Some(Vec::new()));
    let error = native(r#"["bridge", "static"]"#).unwrap_err();
    let wanted = "unknown variant `static`, expected one of `loopback`, `bridge`, `ptp`, `host-local`, `portmap`, `bandwidth`";
    assert!(
        error.starts_with("DIR/config.toml:2: ") && error.contains(wanted),
        "{error}"
    );
}
