//! Environment variables: values, and fields of the pod.

use super::expand::expand;
use super::manifest_error::ManifestError;
use super::pod::Pod;
use super::schema::Container;

/// The variables of a container in order.
pub(super) fn environment(
    field: &str,
    container: &Container,
    pod: &Pod<'_>,
) -> Result<Vec<(String, String)>, ManifestError> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (index, variable) in container.env.iter().enumerate() {
        if variable.name.is_empty() || variable.name.contains('=') {
            let field = format!("{field}.env[{index}].name");
            return Err(ManifestError::field(
                field,
                &variable.name,
                "give a name without \"=\"",
            ));
        }
        let value = match (&variable.value, &variable.value_from) {
            (Some(_), Some(_)) => {
                let field = format!("{field}.env[{index}].valueFrom");
                let remedy = "give either value or valueFrom";
                return Err(ManifestError::field(field, &variable.name, remedy));
            }
            (None, Some(from)) => {
                let path = &from.field_ref.field_path;
                let field = format!("{field}.env[{index}].valueFrom.fieldRef.fieldPath");
                value_of(path, pod).map_err(|remedy| ManifestError::field(field, path, remedy))?
            }
            // A variable sees those before it.
            (value, None) => expand(value.as_deref().unwrap_or_default(), &env),
        };
        env.push((variable.name.clone(), value));
    }
    Ok(env)
}

/// The value of a field of the pod, or what to do.
fn value_of(path: &str, pod: &Pod<'_>) -> Result<String, &'static str> {
    let manifest = &pod.manifest.metadata;
    let (map, key) = match path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        Some(("metadata.labels", key)) => (&manifest.labels, key),
        Some(("metadata.annotations", key)) => (&manifest.annotations, key),
        Some(_) => return Err("only metadata.labels and metadata.annotations have keys"),
        None => return plain_value(path, pod),
    };
    // One that is not there is empty, as on a node.
    Ok(map.get(key).cloned().unwrap_or_default())
}

fn plain_value(path: &str, pod: &Pod<'_>) -> Result<String, &'static str> {
    match path {
        "metadata.name" => Ok(pod.metadata.name.clone()),
        "metadata.namespace" => Ok(pod.metadata.namespace.clone()),
        "metadata.uid" => Ok(pod.metadata.uid.clone()),
        "spec.nodeName" => Ok(pod.known.node_name.clone()),
        "status.podIP" | "status.podIPs" if pod.spec.host_network => {
            Err("a pod in the host's network has no address of its own")
        }
        "status.podIP" => Ok(pod.known.pod_ips.first().cloned().unwrap_or_default()),
        "status.podIPs" => Ok(pod.known.pod_ips.join(",")),
        _ => Err(
            "give metadata.name, .namespace, .uid, .labels['KEY'] or .annotations['KEY'], \
                  spec.nodeName, status.podIP or status.podIPs",
        ),
    }
}
