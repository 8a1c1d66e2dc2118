//! The pause, and what is done in its name: namespaces and the pod's netlink socket.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::pod::Pause;
use super::process::Process;
use super::shim::{Shim, Token, failed};
use super::state::State;
use holdfast_kernel::sys::{descriptor, path};
use holdfast_launch::{CgroupDirectories, PauseLaunch, set_in_network, start_pause};
use holdfast_wire::plan::{PausePlan, Sysctl};
use holdfast_wire::{CgroupSlot, Failure, IpFamily, Step};

/// The object that errors about the network name.
const POD_NETWORK: &str = "network namespace of the pod";

/// The contents of a request to start the pause.
pub(super) struct PauseRequest {
    pub(super) request: u64,
    pub(super) slots: Vec<CgroupSlot>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Shim {
    /// Starts the pause. The answer follows when it runs.
    pub(super) fn start_pause(&mut self, asked: PauseRequest) -> Result<(), Failure> {
        if self.pause.is_some() || self.ending.is_some() {
            return Err(failed(
                Step::Admit,
                Errno::EEXIST,
                "the pause was started before",
            ));
        }
        let mut descriptors = asked.descriptors.into_iter();
        let plan: Box<PausePlan> = self.decode_plan(descriptors.next())?;
        let small = descriptors
            .next()
            .ok_or_else(|| failed(Step::MountNamespace, Errno::EBADF, "no descriptor came"))?;
        let made = self.network.take();
        let network = match plan.join_net.then(|| made.or_else(|| descriptors.next())) {
            Some(None) => return Err(failed(Step::Join, Errno::EBADF, "no descriptor came")),
            joined => joined.flatten(),
        };
        self.shim_namespaces
            .enter_small_mounts(small)
            .map_err(|errno| failed(Step::MountNamespace, errno, "small mount namespace"))?;
        let cgroup = CgroupDirectories::new(asked.slots, descriptors);
        let launch = start_pause(&PauseLaunch {
            plan: &plan,
            network: network.as_ref().map(AsFd::as_fd),
            program: self.program.as_fd(),
            cgroup: &cgroup,
            shim_namespaces: &self.shim_namespaces,
            null: self.null.as_fd(),
        })?;
        let process = Process::new(launch, asked.request)
            .map_err(|errno| failed(Step::Clone, errno, "pidfd"))?;
        if let Some(report) = process.report() {
            self.watch(report, Token::PauseReport);
        }
        self.pause = Some(Pause {
            process,
            plan,
            network: None,
            user: None,
        });
        Ok(())
    }

    /// The pause, when it runs.
    pub(super) fn running_pause(&self) -> Result<&Pause, Failure> {
        let running = self
            .pause
            .as_ref()
            .filter(|pause| pause.process.state == State::Running);
        running.ok_or_else(|| failed(Step::Admit, Errno::ESRCH, "the pause does not run"))
    }

    /// Makes the network namespace that the pause is to join: the namespace, and a netlink socket inside it.
    pub(super) fn make_network(&mut self) -> Result<Vec<OwnedFd>, Failure> {
        if self.pause.is_some() || self.ending.is_some() || self.network.is_some() {
            let what = "the network namespace was made before";
            return Err(failed(Step::Admit, Errno::EEXIST, what));
        }
        let made = self.shim_namespaces.new_network(|| {
            let network = path::open(c"/proc/thread-self/ns/net", OFlag::O_RDONLY)?;
            Ok((network, descriptor::netlink_route()?))
        });
        let (network, netlink) = made.map_err(|errno| failed(Step::Clone, errno, POD_NETWORK))?;
        let copy = descriptor::duplicate(network.as_fd())
            .map_err(|errno| failed(Step::Control, errno, POD_NETWORK))?;
        self.network = Some(copy);
        Ok(vec![network, netlink])
    }

    /// A netlink socket of the pod's network namespace.
    pub(super) fn open_netlink(&self) -> Result<OwnedFd, Failure> {
        self.open_inside_network(descriptor::netlink_route)
    }

    /// A TCP socket of the pod's network namespace.
    pub(super) fn open_tcp(&self, family: IpFamily) -> Result<OwnedFd, Failure> {
        let family = match family {
            IpFamily::V4 => AddressFamily::Inet,
            IpFamily::V6 => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        self.open_inside_network(|| socket(family, SockType::Stream, flags, None))
    }

    /// Sets sysctls of the pod's network namespace.
    pub(super) fn set_network_sysctls(&self, sysctls: &[Sysctl]) -> Result<(), Failure> {
        set_in_network(&self.shim_namespaces, self.pod_network()?, sysctls)
    }

    fn open_inside_network(
        &self,
        open: impl FnOnce() -> nix::Result<OwnedFd>,
    ) -> Result<OwnedFd, Failure> {
        let network = self.pod_network()?;
        let opened = self.shim_namespaces.inside_network(network, open);
        opened.map_err(|errno| failed(Step::Join, errno, POD_NETWORK))
    }

    fn pod_network(&self) -> Result<&OwnedFd, Failure> {
        let network = self.running_pause()?.network.as_ref();
        network.ok_or_else(|| failed(Step::Join, Errno::EBADF, POD_NETWORK))
    }
}
