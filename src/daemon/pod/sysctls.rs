//! Kernel parameters of a pod's network. They are set once the network is there, as with containerd: before that there
//! is no `net.ipv4.conf.eth0`, and a network without IPv6 takes no address of it.
//!
//! A pod that asks for none has only those that all pods have. They are about no interface, and its pause sets them
//! on its way, so that no message is needed for them.

use super::error::PodError;
use super::launch_error;
use super::link::ShimLink;
use crate::spec::{self, PodConfig};
use holdfast_wire::Request;
use holdfast_wire::plan::{PausePlan, Sysctl};

/// How many bytes of them go into one packet, which has room for more.
const PACKET_BYTES: usize = 16 << 10;

/// Takes those out of a pause's plan that are set later.
pub(super) fn take_late(plan: &mut PausePlan, pod: &PodConfig) -> Vec<Sysctl> {
    if !spec::sysctl::asks_of_network(pod) {
        return Vec::new();
    }
    let of_network = |sysctl: &Sysctl| sysctl.path.to_bytes().starts_with(b"net/");
    let (late, now) = plan.sysctls.drain(..).partition(of_network);
    plan.sysctls = now;
    late
}

/// Sets the sysctls of the network, in as many packets as they need, once the pod is connected.
pub(super) async fn set_late(link: &ShimLink, mut late: Vec<Sysctl>) -> Result<(), PodError> {
    const DOING: &str = "set the sysctls of the pod's network";
    while !late.is_empty() {
        let rest = late.split_off(fitting(&late));
        let request = Request::SetNetworkSysctls { sysctls: late };
        let set = link.ask(request, &[]).await;
        set.map_err(|error| launch_error::of_pod(DOING, error))?;
        late = rest;
    }
    Ok(())
}

/// How many of the first go into one packet: one at least.
fn fitting(late: &[Sysctl]) -> usize {
    let mut bytes = 0;
    let fits = |of: &&Sysctl| {
        bytes += of.path.to_bytes().len() + of.value.to_bytes().len();
        bytes <= PACKET_BYTES
    };
    late.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    fn sysctl(path: &str, value: &str) -> Sysctl {
        let text = |text| CString::new(text).unwrap();
        Sysctl {
            path: text(path),
            value: text(value),
        }
    }

    fn plan(sysctls: Vec<Sysctl>) -> PausePlan {
        PausePlan {
            new_net: true,
            new_ipc: true,
            new_uts: true,
            new_pid: false,
            user: None,
            hostname: None,
            sysctls,
            shm_bytes: 0,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            seccomp: None,
            oom_score_adj: None,
            join_net: false,
            new_cgroup: false,
            time: None,
        }
    }

    /// A pod with `net.ipv4.conf.eth0.rp_filter` did not start: there was no eth0 yet.
    #[test]
    fn what_is_asked_of_the_network_comes_after_it() {
        let all = [
            sysctl("kernel/sem", "1"),
            sysctl("net/ipv4/ping_group_range", "0 1"),
            sysctl("net/ipv4/conf/eth0/rp_filter", "2"),
        ];
        let split = |key: &str| {
            let mut pod = PodConfig::default();
            pod.sysctls.insert(key.to_owned(), "1".to_owned());
            let mut plan = plan(all.to_vec());
            let late = take_late(&mut plan, &pod);
            (plan.sysctls.len(), late.len())
        };
        assert_eq!(split("net.ipv4.conf.eth0.rp_filter"), (1, 2));
        assert_eq!(split("net/ipv4/ip_forward"), (1, 2));
        assert_eq!(split("kernel.sem"), (3, 0));
    }

    #[test]
    fn many_long_values_go_into_several_packets() {
        let long = "1".repeat(4095);
        let late: Vec<Sysctl> = (0..9).map(|n| sysctl(&format!("net/{n}"), &long)).collect();
        assert_eq!(fitting(&late), 3);
        assert_eq!(fitting(&late[..1]), 1);
        assert_eq!(fitting(&[sysctl("net/x", &"1".repeat(20_000))]), 1);
        let request = Request::SetNetworkSysctls {
            sysctls: late[..3].to_vec(),
        };
        let sent = holdfast_wire::ToShim {
            id: u64::MAX,
            body: request,
        };
        assert!(holdfast_wire::encode(holdfast_wire::Protocol::CURRENT, &sent).is_ok());
    }
}
