//! From the hooks of a Spec to those of a plan.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{Hook as OciHook, Spec};
use serde_json::json;

use super::plan_error::PlanError;
use super::text::{absolute, c_string, from_root};
use holdfast_wire::plan::{Hook, HookMoment, Hooks};

/// Environment of a hook that is described without one: runc and crun hand their own down, which has a PATH.
const DEFAULT_ENV: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Name of the root's directory in a bundle.
const ROOT: &str = "rootfs";

/// The hooks of a container; `None` when it has none. `bundle` is a directory of the host with a file config.json that
/// is the Spec and a directory `rootfs`.
///
/// # Errors
/// [`PlanError`] names the hook that cannot be run.
pub(crate) fn hooks(
    spec: &Spec,
    container: &str,
    bundle: &Path,
) -> Result<Option<Hooks>, PlanError> {
    let Some(given) = spec.hooks() else {
        return Ok(None);
    };
    let moments = [
        (HookMoment::Prestart, "prestart", given.prestart()),
        (
            HookMoment::CreateRuntime,
            "createRuntime",
            given.create_runtime(),
        ),
        (
            HookMoment::CreateContainer,
            "createContainer",
            given.create_container(),
        ),
        (
            HookMoment::StartContainer,
            "startContainer",
            given.start_container(),
        ),
        (HookMoment::Poststart, "poststart", given.poststart()),
        (HookMoment::Poststop, "poststop", given.poststop()),
    ];
    let mut hooks = Vec::new();
    for (moment, name, list) in moments {
        for (index, one) in list.iter().flatten().enumerate() {
            hooks.push(hook(&format!("hooks.{name}[{index}]"), moment, one)?);
        }
    }
    if hooks.is_empty() {
        return Ok(None);
    }
    let (state_head, state_tail) = state(spec, container, bundle);
    Ok(Some(Hooks {
        bundle: absolute("bundle", bundle)?,
        root: absolute("bundle", &bundle.join(ROOT))?,
        state_head,
        state_tail,
        hooks,
    }))
}

fn hook(field: &str, moment: HookMoment, given: &OciHook) -> Result<Hook, PlanError> {
    let path = from_root(&format!("{field}.path"), given.path())?;
    let texts = |name: &str, list: &Option<Vec<String>>| -> Result<Vec<CString>, PlanError> {
        let field = format!("{field}.{name}");
        let list = list.iter().flatten();
        list.map(|text| c_string(&field, text.as_bytes())).collect()
    };
    let mut args = texts("args", given.args())?;
    if args.is_empty() {
        args.push(path.clone());
    }
    let mut env = texts("env", given.env())?;
    if env.is_empty() {
        env.push(c_string(field, DEFAULT_ENV)?);
    }
    let timeout = match given.timeout() {
        None => None,
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds @ 1..) => Some(seconds),
            _ => {
                let reason = format!("{seconds} is no number of seconds; give at least 1");
                return Err(PlanError::unsupported(format!("{field}.timeout"), reason));
            }
        },
    };
    Ok(Hook {
        moment,
        path,
        args,
        env,
        timeout,
    })
}

/// The container's state in JSON, without the value of `status` and that of `pid`: the OCI runtime specification,
/// "State".
fn state(spec: &Spec, container: &str, bundle: &Path) -> (String, String) {
    let none = HashMap::new();
    let annotations = spec.annotations().as_ref().unwrap_or(&none);
    let bundle = String::from_utf8_lossy(bundle.as_os_str().as_bytes());
    let head = format!(
        r#"{{"ociVersion":{},"id":{},"status":""#,
        json!(spec.version()),
        json!(container)
    );
    let tail = format!(
        r#","bundle":{},"annotations":{}}}"#,
        json!(bundle),
        json!(annotations)
    );
    (head, tail)
}
