//! Carries out the daemon's requests.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::attach::AttachRequest;
use super::cgroup;
use super::connection::Incoming;
use super::container::StartRequest;
use super::exec::ExecRequest;
use super::pause::PauseRequest;
use super::shim::{Shim, failed};
use super::state::{Event, State};
use holdfast_kernel::fault;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{errno_of, pidfd, tty};
use holdfast_wire::plan::Sysctl;
use holdfast_wire::{ContainerReport, Failure, Phase, Reply, Request, Step, ToShim};

/// Requests read before other descriptors have their turn.
const REQUESTS_PER_TURN: usize = 16;

/// An answer that is ready at once, with its descriptors; `None` when it follows later.
type Answer = Result<Option<(Reply, Vec<OwnedFd>)>, Failure>;

fn done() -> Answer {
    Ok(Some((Reply::Done, Vec::new())))
}

fn socket(socket: OwnedFd) -> Answer {
    Ok(Some((Reply::Netlink, vec![socket])))
}

impl Shim {
    /// Reads and carries out what the daemon asks.
    pub(super) fn serve_daemon(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            match daemon.receive(self.packet.as_mut_slice()) {
                Incoming::Request(request, descriptors) => self.carry_out(request, descriptors),
                Incoming::Unknown => self.refuse_packet(),
                Incoming::Nothing => return,
                Incoming::Closed => {
                    self.daemon = None;
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, request: ToShim, descriptors: Vec<OwnedFd>) {
        let id = request.id;
        let _step = fault::mark("shim.request");
        match self.answer(id, request.body, descriptors) {
            Ok(None) => {}
            Ok(Some((reply, descriptors))) => self.reply(id, reply, descriptors),
            Err(failure) => self.reply(id, Reply::Failed(failure), Vec::new()),
        }
    }

    fn answer(&mut self, id: u64, request: Request, descriptors: Vec<OwnedFd>) -> Answer {
        match request {
            Request::StartPause { cgroup } => self
                .start_pause(PauseRequest {
                    request: id,
                    slots: cgroup,
                    descriptors,
                })
                .map(|()| None),
            Request::OpenNetlink => self.open_netlink().and_then(socket),
            Request::MakeNetwork => Ok(Some((Reply::NetworkMade, self.make_network()?))),
            Request::StartContainer {
                container,
                log,
                cgroup,
            } => self
                .start_container(StartRequest {
                    request: id,
                    container,
                    log,
                    slots: cgroup,
                    descriptors,
                })
                .map(|()| None),
            Request::Exec {
                container,
                exec,
                stdio,
            } => self
                .start_exec(ExecRequest {
                    request: id,
                    container,
                    exec,
                    stdio,
                    descriptors,
                })
                .map(|()| None),
            Request::Signal { container, signal } => self.signal(container, signal),
            Request::Kill { container } => self.kill(container),
            Request::KillExec { exec } => self.kill_exec(exec).and_then(|()| done()),
            Request::ReopenLog { container } => self.reopen_log(container, descriptors),
            Request::Resize {
                container,
                exec,
                height,
                width,
            } => self.resize(container, exec, height, width),
            Request::Acknowledge { sequence } => self.acknowledge(sequence),
            Request::Inventory => self.inventory(),
            Request::Forget { container } => self.forget(container),
            Request::Shutdown => self.shut_down(id),
            Request::Attach {
                container,
                client,
                stdout,
                stderr,
                stdin,
            } => self
                .attach(AttachRequest {
                    container,
                    client,
                    stdout,
                    stderr,
                    stdin,
                    descriptors,
                })
                .map(Some),
            Request::OpenTcp { family } => self.open_tcp(family).and_then(socket),
            Request::SetNetworkSysctls { sysctls } => self.set_sysctls(&sysctls),
            Request::Identify => Ok(Some((Reply::Identity(Pid::own()), Vec::new()))),
        }
    }

    fn set_sysctls(&self, sysctls: &[Sysctl]) -> Answer {
        self.set_network_sysctls(sysctls)?;
        done()
    }

    fn signal(&mut self, container: ContainerId, signal: i32) -> Answer {
        let running = self.running_container(container)?;
        pidfd::send_signal(running.process.pidfd(), signal).map_err(|error| {
            failed(Step::Control, errno_of(&error), &format!("signal {signal}"))
        })?;
        self.known_container(container)?.stop_asked = true;
        done()
    }

    fn kill(&mut self, container: ContainerId) -> Answer {
        let id = container;
        let container = self.known_container(id)?;
        if matches!(container.process.state, State::Launching | State::Running) {
            container.kill_asked = true;
        }
        let failure = |errno| failed(Step::Control, errno, "kill");
        container.process.kill().map_err(failure)?;
        if let Some(directory) = container.cgroup.any() {
            cgroup::kill(directory).map_err(failure)?;
        }
        if let Some(slot) = self.find_container(id) {
            self.kill_start_hooks(slot);
        }
        done()
    }

    fn reopen_log(&mut self, container: ContainerId, descriptors: Vec<OwnedFd>) -> Answer {
        let container = self.known_container(container)?;
        let file = descriptors.into_iter().next();
        let file = file.ok_or_else(|| failed(Step::Control, Errno::EBADF, "no log file came"))?;
        container.output.log.replace(file);
        done()
    }

    fn resize(
        &mut self,
        container: ContainerId,
        exec: Option<u64>,
        height: u16,
        width: u16,
    ) -> Answer {
        let terminal = match exec {
            None => &self.known_container(container)?.process.terminal,
            Some(exec) => {
                let found = self.execs.values().find(|found| found.id == exec);
                let found = found
                    .ok_or_else(|| failed(Step::Admit, Errno::ESRCH, "the process is not known"))?;
                &found.process.terminal
            }
        };
        let failure = |errno| failed(Step::Control, errno, "terminal size");
        let terminal = terminal.as_ref().ok_or_else(|| failure(Errno::ENOTTY))?;
        tty::set_size(terminal.as_fd(), height, width).map_err(failure)?;
        done()
    }

    fn acknowledge(&mut self, sequence: u64) -> Answer {
        let found = self
            .containers
            .values_mut()
            .find(|one| one.sequence == sequence);
        if let Some(container) = found {
            container.process.apply(Event::Acknowledged);
        }
        done()
    }

    fn forget(&mut self, container: ContainerId) -> Answer {
        let Some(slot) = self.find_container(container) else {
            return done();
        };
        if let Some(container) = self.containers.get_mut(&slot) {
            container.process.apply(Event::Forgotten);
            if container.process.state != State::Gone {
                return Err(failed(
                    Step::Admit,
                    Errno::EBUSY,
                    "the container has not ended",
                ));
            }
        }
        self.containers.remove(&slot);
        done()
    }

    fn inventory(&mut self) -> Answer {
        let containers = self.containers.values().filter_map(|container| {
            let phase = match container.process.state {
                State::Running => Phase::Running {
                    pid: container.process.pid,
                    start_ticks: container.process.start_ticks,
                },
                State::Draining(_) | State::Exited(_) | State::Settled => Phase::Exited,
                State::Launching => Phase::Launching,
                State::Failing(_) | State::Lost | State::Gone => return None,
            };
            Some(ContainerReport {
                container: container.id,
                phase,
            })
        });
        let containers = containers.collect();
        let pause = self.running_pause().ok();
        let descriptors = pause.map_or_else(|| Ok(Vec::new()), |pause| pause.descriptors());
        let descriptors = descriptors.map_err(|errno| failed(Step::Control, errno, "inventory"))?;
        let pause = pause.map(|pause| pause.report());
        Ok(Some((Reply::Inventory { pause, containers }, descriptors)))
    }

    /// Kills everything. The answer follows when all is gone.
    fn shut_down(&mut self, request: u64) -> Answer {
        self.ending = Some(request);
        for container in self.containers.values_mut() {
            if container.process.pid.is_none() {
                continue;
            }
            container.kill_asked |= container.process.state == State::Running;
            // What a signal cannot reach is already gone.
            let _ = container.process.kill();
            if let Some(directory) = container.cgroup.any() {
                let _ = cgroup::kill(directory);
            }
        }
        for slot in self.containers.keys() {
            self.kill_start_hooks(*slot);
        }
        for exec in self.execs.values() {
            let _ = exec.process.kill();
        }
        if let Some(pause) = &self.pause {
            let _ = pause.process.kill();
        }
        Ok(None)
    }
}
