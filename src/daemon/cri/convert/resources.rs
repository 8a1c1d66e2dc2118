//! Converts resource limits of requests, and back for statuses.

use cri_api::runtime::v1 as cri;

use super::FieldError;
use super::field::{sorted, unsorted};
use crate::pod::PodResources;
use crate::spec::Resources;

/// The limits of a request; a missing message limits nothing.
///
/// # Errors
/// [`FieldError`] for a value that the kernel could not take.
pub(crate) fn resources(
    field: &str,
    message: Option<&cri::LinuxContainerResources>,
) -> Result<Resources, FieldError> {
    let Some(message) = message else {
        return Ok(Resources::default());
    };
    let at = |name: &str| format!("{field}.{name}");
    if !(-1000..=1000).contains(&message.oom_score_adj) {
        let remedy = "give a number from -1000 to 1000";
        return Err(FieldError::invalid(
            at("oom_score_adj"),
            message.oom_score_adj,
            remedy,
        ));
    }
    Ok(Resources {
        cpu_period: at_least(&at("cpu_period"), message.cpu_period, 0)?,
        cpu_quota: at_least(&at("cpu_quota"), message.cpu_quota, -1)?,
        cpu_shares: at_least(&at("cpu_shares"), message.cpu_shares, 0)?,
        memory_limit: at_least(
            &at("memory_limit_in_bytes"),
            message.memory_limit_in_bytes,
            -1,
        )?,
        memory_swap_limit: at_least(
            &at("memory_swap_limit_in_bytes"),
            message.memory_swap_limit_in_bytes,
            -1,
        )?,
        oom_score_adj: message.oom_score_adj,
        cpuset_cpus: cpu_list(&at("cpuset_cpus"), &message.cpuset_cpus)?,
        cpuset_mems: cpu_list(&at("cpuset_mems"), &message.cpuset_mems)?,
        hugepage_limits: hugepages(&at("hugepage_limits"), &message.hugepage_limits)?,
        unified: {
            for (key, value) in &message.unified {
                unified(&at("unified"), key, value)?;
            }
            sorted(&message.unified)
        },
    })
}

/// The resources of a pod; a missing message says nothing.
///
/// # Errors
/// [`FieldError`] for a value that the kernel could not take.
pub(crate) fn pod_resources(
    request: &cri::UpdatePodSandboxResourcesRequest,
) -> Result<PodResources, FieldError> {
    let given = |field, message: Option<&cri::LinuxContainerResources>| {
        message
            .map(|message| resources(field, Some(message)))
            .transpose()
    };
    Ok(PodResources {
        resources: given("resources", request.resources.as_ref())?,
        overhead: given("overhead", request.overhead.as_ref())?,
    })
}

fn at_least(field: &str, value: i64, lowest: i64) -> Result<i64, FieldError> {
    if value >= lowest {
        return Ok(value);
    }
    let remedy = if lowest < 0 {
        "give a number above 0, -1 for unlimited, or 0 for unspecified"
    } else {
        "give a number above 0, or 0 for unspecified"
    };
    Err(FieldError::invalid(field, value, remedy))
}

fn cpu_list(field: &str, list: &str) -> Result<String, FieldError> {
    if list
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-'))
    {
        return Ok(list.to_owned());
    }
    Err(FieldError::invalid(
        field,
        list,
        "give a list such as 0-2,7: cpuset(7)",
    ))
}

fn hugepages(field: &str, limits: &[cri::HugepageLimit]) -> Result<Vec<(String, u64)>, FieldError> {
    let limit = |(index, limit): (usize, &cri::HugepageLimit)| {
        let size = limit.page_size.as_str();
        let digits = ["KB", "MB", "GB"]
            .iter()
            .find_map(|unit| size.strip_suffix(unit));
        let known = digits.is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        if !known {
            let field = format!("{field}[{index}].page_size");
            return Err(FieldError::invalid(
                field,
                size,
                "give a size such as 2MB or 1GB",
            ));
        }
        Ok((size.to_owned(), limit.limit))
    };
    limits.iter().enumerate().map(limit).collect()
}

/// A key is the name of a file in a cgroup directory, so it must not be able to leave it.
fn unified(field: &str, key: &str, value: &str) -> Result<(), FieldError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !key.bytes().all(plain) || !key.contains('.') || key.starts_with('.') {
        let remedy = "give the name of a file of cgroup v2, such as memory.high";
        return Err(FieldError::invalid(field, key, remedy));
    }
    if value.contains('\0') {
        let field = format!("{field}[{key}]");
        return Err(FieldError::invalid(
            field,
            value,
            "give a value without NUL bytes",
        ));
    }
    Ok(())
}

/// Limits as statuses show them.
pub(super) fn resources_message(resources: &Resources) -> cri::LinuxContainerResources {
    let hugepage = |(size, limit): &(String, u64)| cri::HugepageLimit {
        page_size: size.clone(),
        limit: *limit,
    };
    cri::LinuxContainerResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: resources.hugepage_limits.iter().map(hugepage).collect(),
        unified: unsorted(&resources.unified),
        memory_swap_limit_in_bytes: resources.memory_swap_limit,
    }
}
