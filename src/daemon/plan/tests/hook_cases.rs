//! Hooks of a Spec.

use oci_spec::runtime::HooksBuilder;

use super::*;

#[test]
fn hooks_are_listed_in_the_order_of_their_moments() {
    let hook = |path: &str, timeout: i64| {
        let hook = oci_spec::runtime::HookBuilder::default().path(path);
        hook.timeout(timeout).build().unwrap()
    };
    let with = |hooks: oci_spec::runtime::Hooks| {
        let mut spec = spec();
        spec.set_hooks(Some(hooks));
        crate::plan::hooks(&spec, "c\"1", Path::new("/state/bundle"))
    };
    let hooks = HooksBuilder::default()
        .poststop(vec![hook("/stop", 3)])
        .create_runtime(vec![hook("/one", 1), hook("/two", 2)])
        .prestart(vec![hook("/first", 9)])
        .build()
        .unwrap();
    let found = with(hooks).unwrap().unwrap();
    let order: Vec<_> = found
        .hooks
        .iter()
        .map(|hook| hook.path.to_str().unwrap())
        .collect();
    assert_eq!(order, ["/first", "/one", "/two", "/stop"]);
    let first = &found.hooks[0];
    assert_eq!(
        (first.args.as_slice(), first.timeout),
        ([first.path.clone()].as_slice(), Some(9))
    );
    assert!(first.env[0].to_bytes().starts_with(b"PATH=/"));
    assert_eq!(found.root.to_bytes(), b"/state/bundle/rootfs");
    let state = format!(
        "{}created\",\"pid\":7{}",
        found.state_head, found.state_tail
    );
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(
        (state["id"].as_str(), state["pid"].as_i64()),
        (Some("c\"1"), Some(7))
    );
    assert_eq!(state["bundle"], "/state/bundle");
    for (bad, word) in [
        (hook("bin/x", 1), "absolute"),
        (hook("/x", 0), "timeout"),
        (hook("/x", -5), "-5"),
    ] {
        let hooks = HooksBuilder::default()
            .poststart(vec![bad])
            .build()
            .unwrap();
        let error = with(hooks).unwrap_err().to_string();
        assert!(
            error.starts_with("hooks.poststart[0]") && error.contains(word),
            "{error}"
        );
    }
    assert_eq!(with(oci_spec::runtime::Hooks::default()).unwrap(), None);
}
