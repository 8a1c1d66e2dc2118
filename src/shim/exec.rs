//! Further processes in containers.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::cgroup;
use super::pod::{Exec, Pause};
use super::process::Process;
use super::shim::{Shim, Token, failed};
use super::state::State;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::namespace::CloneFlags;
use holdfast_kernel::sys::path;
use holdfast_launch::{ExecLaunch, Streams, start_exec};
use holdfast_wire::plan::ExecPlan;
use holdfast_wire::{ExecStdio, Failure, Step};

/// The contents of an exec request.
pub(super) struct ExecRequest {
    pub(super) request: u64,
    pub(super) container: ContainerId,
    pub(super) exec: u64,
    pub(super) stdio: ExecStdio,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// The name of a further process' cgroup.
fn directory_name(exec: u64) -> CString {
    // A name of letters and digits has no zero byte.
    CString::new(format!("exec-{exec}")).unwrap_or_default()
}

impl Shim {
    /// Starts a further process. The answer follows when it runs its program.
    pub(super) fn start_exec(&mut self, asked: ExecRequest) -> Result<(), Failure> {
        let mut descriptors = asked.descriptors.into_iter();
        let plan: Box<ExecPlan> = self.decode_plan(descriptors.next())?;
        let slot = self.find_container(asked.container).unwrap_or(u32::MAX);
        let container = self.running_container(asked.container)?;
        let files: Vec<OwnedFd> = descriptors.collect();
        let streams = match (asked.stdio, files.as_slice()) {
            (ExecStdio::Terminal, _) => Streams::Terminal(plan.terminal_size),
            (ExecStdio::Descriptors, [input, output, error, ..]) => {
                Streams::Files([input.as_fd(), output.as_fd(), error.as_fd()])
            }
            _ => {
                return Err(failed(
                    Step::Admit,
                    Errno::EBADF,
                    "three streams are expected",
                ));
            }
        };
        let directory = self.make_directory(slot, asked.exec)?;
        let launch = start_exec(&ExecLaunch {
            plan: &plan,
            streams,
            cgroup: &container.cgroup,
            unified: directory.as_ref().map(AsFd::as_fd),
            container: container.process.pidfd(),
            extra_namespaces: self
                .pause
                .as_ref()
                .map_or_else(CloneFlags::empty, Pause::extra_namespaces),
            user: self
                .pause
                .as_ref()
                .and_then(|pause| pause.user.as_ref())
                .map(AsFd::as_fd),
            shim_namespaces: &self.shim_namespaces,
        })
        .and_then(|launch| {
            Process::new(launch, asked.request).map_err(|errno| failed(Step::Clone, errno, "pidfd"))
        });
        let process = match launch {
            Ok(process) => process,
            Err(failure) => {
                self.remove_directory(slot, asked.exec);
                return Err(failure);
            }
        };
        let exec_slot = self.next_slot();
        if let Some(report) = process.report() {
            self.watch(report, Token::ExecReport(exec_slot));
        }
        self.execs.insert(
            exec_slot,
            Exec {
                id: asked.exec,
                container: slot,
                process,
                directory,
                plan: Some(plan),
            },
        );
        Ok(())
    }

    fn make_directory(&self, container: u32, exec: u64) -> Result<Option<OwnedFd>, Failure> {
        let unified = self
            .containers
            .get(&container)
            .and_then(|found| found.cgroup.unified());
        let Some(unified) = unified else {
            return Ok(None);
        };
        let name = directory_name(exec);
        path::make_directory(unified, name.as_c_str(), 0o755)
            .and_then(|()| {
                path::open_at(
                    unified,
                    name.as_c_str(),
                    OFlag::O_RDONLY | OFlag::O_DIRECTORY,
                )
            })
            .map(Some)
            .map_err(|errno| failed(Step::Cgroup, errno, &name.to_string_lossy()))
    }

    /// Removes the cgroup of an ended process. One with processes in the background stays until the
    /// container's end.
    pub(super) fn remove_directory(&self, container: u32, exec: u64) {
        let unified = self
            .containers
            .get(&container)
            .and_then(|found| found.cgroup.unified());
        if let Some(unified) = unified {
            let _ = path::remove_directory(unified, directory_name(exec).as_c_str());
        }
    }

    /// Kills a further process and everything that it started.
    pub(super) fn kill_exec(&self, exec: u64) -> Result<(), Failure> {
        let found = self.execs.values().find(|found| found.id == exec);
        let failure = |errno| failed(Step::Control, errno, "the process is not known");
        let found = found.ok_or_else(|| failure(Errno::ESRCH))?;
        if found.process.pid.is_none() && found.process.state == State::Gone {
            return Err(failure(Errno::ESRCH));
        }
        found.process.kill().map_err(failure)?;
        match &found.directory {
            Some(directory) => cgroup::kill(directory.as_fd()).map_err(failure),
            None => Ok(()),
        }
    }
}
