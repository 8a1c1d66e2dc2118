//! Limits a pod's traffic by token buckets (tc-tbf(8)) on the host's side, where the pod cannot change them.
//!
//! ```text
//!   to the pod:    bridge ──▶ hf… [tbf] ──▶ eth0
//!   from the pod:  eth0 ──▶ hf… ── redirected ──▶ hi… (ifb) [tbf] ──▶ back into hf…'s receive path ──▶ bridge
//! ```
//!
//! A queue limits what an interface sends, so what the pod sends passes through an interface of its own, as the
//! bandwidth plugin of the CNI does it.

use nix::errno::Errno;

use super::bandwidth::Bandwidth;
use super::bridge::{BridgeNetwork, NetworkError};
use super::link;
use super::names;
use super::netlink::{Batch, Flags, NetlinkError};

/// How much a bucket holds at least, in bytes: one packet of the largest size that the host hands over.
const LEAST_BURST: u64 = 64 << 10;
/// A bucket, and the queue before it, hold what the rate brings in so many parts of a second.
const BURST_SHARE: u64 = 20;
/// TC_H_ROOT, TC_H_INGRESS and the handle of the ingress queue (linux/pkt_sched.h).
const ROOT: u32 = 0xffff_ffff;
const INGRESS: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// Attributes of a queue: TCA_KIND and TCA_OPTIONS.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;

impl BridgeNetwork {
    /// Limits the traffic of an attached pod. Repeated it sets the limits anew.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`]: the kernel may lack `sch_tbf`, `ifb`, `cls_u32` or `act_mirred`.
    pub fn shape(&self, owner: &str, limits: Bandwidth) -> Result<(), NetworkError> {
        self.shape_links(owner, limits)
            .map_err(|source| self.shape_failed("limit", owner, source))
    }

    fn shape_links(&self, owner: &str, limits: Bandwidth) -> Result<(), NetlinkError> {
        let bridge = &self.settings().name;
        let host = names::host_interface(bridge, owner);
        let mut home = self.lock();
        let index = |found: Option<link::Link>| found.map_or(0, |link| link.index);
        let veth = index(link::find(&mut home.socket, &host)?);
        let mut batch = Batch::new();
        if let Some(rate) = limits.ingress {
            push_bucket(&mut batch, (veth, &host), rate);
        }
        if let Some(rate) = limits.egress {
            let name = names::shaping_interface(bridge, owner);
            let mut made = Batch::new();
            link::push_ifb(&mut made, &name, owner);
            home.socket.run(made)?;
            let ifb = index(link::find(&mut home.socket, &name)?);
            push_bucket(&mut batch, (ifb, &name), rate);
            push_redirection(&mut batch, (veth, &host), ifb);
        }
        home.socket.run(batch)
    }

    /// Takes back what [`BridgeNetwork::shape`] made beside the pod's own interface, which takes the rest with
    /// it. Works when nothing was made.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`].
    pub fn unshape(&self, owner: &str) -> Result<(), NetworkError> {
        let name = names::shaping_interface(&self.settings().name, owner);
        let mut batch = Batch::new();
        link::push_mark_for_deletion(&mut batch, &name);
        match self.lock().socket.run(batch) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
            other => other.map_err(|source| self.shape_failed("lift the limits on", owner, source)),
        }
    }

    fn shape_failed(&self, operation: &str, pod: &str, source: NetlinkError) -> NetworkError {
        NetworkError::Kernel {
            operation: format!("{operation} the bandwidth of pod {pod}"),
            source,
        }
    }
}

/// The `struct tcmsg` of rtnetlink(7).
fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    for (at, value) in [(4, index), (8, handle), (12, parent), (16, info)] {
        header[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    header
}

/// Puts a bucket of a rate in bits per second at the root of an interface.
fn push_bucket(batch: &mut Batch, (index, name): (u32, &str), rate: u64) {
    /// TCA_TBF_PARMS, TCA_TBF_RATE64 and TCA_TBF_BURST.
    const PARAMETERS: u16 = 1;
    const RATE64: u16 = 4;
    const BURST: u16 = 6;
    let bytes = rate.div_ceil(8);
    let share = (bytes / BURST_SHARE).max(LEAST_BURST);
    let burst = u32::try_from(share).unwrap_or(u32::MAX / 2);
    // `struct tc_tbf_qopt`: rate and peak rate (`struct tc_ratespec`), limit, buffer, mtu.
    let mut parameters = [0; 36];
    // TC_LINKLAYER_ETHERNET: without it the kernel wants a table of times.
    parameters[1] = 1;
    let short = u32::try_from(bytes).unwrap_or(u32::MAX);
    parameters[8..12].copy_from_slice(&short.to_ne_bytes());
    let limit = burst.saturating_mul(2);
    parameters[24..28].copy_from_slice(&limit.to_ne_bytes());
    batch.push(
        (libc::RTM_NEWQDISC, Flags::Replace),
        ("limit the rate of", name),
        &tcmsg(index, 0, ROOT, 0),
        |queue| {
            queue.string(KIND, "tbf");
            queue.nest(OPTIONS, &[], |options| {
                options.bytes(PARAMETERS, &parameters);
                options.u32(BURST, burst);
                if bytes > u64::from(u32::MAX) {
                    options.bytes(RATE64, &bytes.to_ne_bytes());
                }
            });
        },
    );
}

/// Redirects all that an interface receives to what another one sends.
fn push_redirection(batch: &mut Batch, (index, name): (u32, &str), to: u32) {
    /// Attributes of a filter: TCA_U32_SEL and TCA_U32_ACT.
    const SELECTOR: u16 = 5;
    const ACTIONS: u16 = 7;
    /// TCA_ACT_KIND, TCA_ACT_OPTIONS and TCA_MIRRED_PARMS.
    const ACTION_KIND: u16 = 1;
    const ACTION_OPTIONS: u16 = 2;
    const MIRRED_PARAMETERS: u16 = 2;
    batch.push(
        (libc::RTM_NEWQDISC, Flags::Create),
        ("add the ingress queue of", name),
        &tcmsg(index, INGRESS_HANDLE, INGRESS, 0),
        |queue| queue.string(KIND, "ingress"),
    );
    // Priority 1, and ETH_P_ALL (3) in network byte order.
    let info = 1 << 16 | u32::from(3_u16.to_be());
    // `struct tc_u32_sel`: one key, TC_U32_TERMINAL; `struct tc_u32_key`: mask 0 fits every packet.
    let mut selector = [0; 16 + 16];
    selector[0] = 1;
    selector[2] = 1;
    // `struct tc_mirred`: action TC_ACT_STOLEN, eaction TCA_EGRESS_REDIR, ifindex.
    let mut redirect = [0; 28];
    redirect[8..12].copy_from_slice(&4_i32.to_ne_bytes());
    redirect[20..24].copy_from_slice(&1_i32.to_ne_bytes());
    redirect[24..28].copy_from_slice(&to.to_ne_bytes());
    batch.push(
        (libc::RTM_NEWTFILTER, Flags::Create),
        ("redirect what is received by", name),
        &tcmsg(index, 0, INGRESS_HANDLE, info),
        |filter| {
            filter.string(KIND, "u32");
            filter.nest(OPTIONS, &[], |options| {
                options.bytes(SELECTOR, &selector);
                options.nest(ACTIONS, &[], |actions| {
                    actions.nest(1, &[], |action| {
                        action.string(ACTION_KIND, "mirred");
                        action.nest(ACTION_OPTIONS, &[], |mirred| {
                            mirred.bytes(MIRRED_PARAMETERS, &redirect);
                        });
                    });
                });
            });
        },
    );
}
