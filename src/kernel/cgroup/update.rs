//! Applies limits: all of them, or, as far as the kernel lets, none.

use std::os::fd::AsFd;

use super::settings::{self, Age};
use super::write::Setting;
use super::{Cgroup, CgroupError, Controller, DeviceRule, Limits, device_filter, file, refusal};

impl Cgroup {
    /// Changes the given limits and leaves the others. What can be refused is refused before anything is
    /// written; when the kernel refuses a write, the earlier ones are taken back, newest first. Device rules
    /// cannot be taken back, because the kernel does not say what they replaced.
    ///
    /// # Errors
    /// [`CgroupError::BelowUsage`], [`CgroupError::InvalidLimit`], [`CgroupError::Unavailable`],
    /// [`CgroupError::Gone`], [`CgroupError::Refused`], or [`CgroupError::Kernel`] naming the file and the value.
    pub fn apply(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits.validate()?;
        let settings = settings::plan(self, limits, Age::Existing)?;
        let mut undo: Vec<(&Setting<'_>, String)> = Vec::with_capacity(settings.len());
        let applied = settings
            .iter()
            .try_for_each(|setting| {
                let before = file::read(&setting.member.dir, &setting.file).ok();
                self.write(setting)?;
                undo.extend(before.map(|before| (setting, before)));
                Ok(())
            })
            .and_then(|()| self.filter_devices(&limits.devices));
        if applied.is_err() {
            for (setting, before) in undo.iter().rev() {
                // The first error is the one worth telling; a value that cannot be restored shows in
                // `limits()`.
                let _ = file::write(&setting.member.dir, &setting.file, before.trim());
            }
        }
        applied
    }

    /// Applies limits to a group that was just made. Unlike [`Cgroup::apply`] it reads nothing first and takes nothing
    /// back.
    pub(super) fn apply_new(&self, limits: &Limits) -> Result<(), CgroupError> {
        settings::plan(self, limits, Age::New)?
            .iter()
            .try_for_each(|setting| self.write(setting))?;
        self.filter_devices(&limits.devices)
    }

    /// Enforces device rules where there is no v1 controller for them.
    fn filter_devices(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        if rules.is_empty() || self.find(Controller::Devices).is_some() {
            return Ok(());
        }
        let Some(unified) = self.members.iter().find(|member| member.is_unified()) else {
            return Ok(());
        };
        device_filter::install(unified.dir.as_fd(), rules).map_err(|errno| {
            let operation = "load the device filter (needs CONFIG_CGROUP_BPF and CAP_BPF) of";
            self.failed(operation, unified, "", errno)
        })
    }

    fn write(&self, setting: &Setting<'_>) -> Result<(), CgroupError> {
        file::write(&setting.member.dir, &setting.file, &setting.value).map_err(|errno| {
            if let Some(refusal) = refusal::explain(setting, errno) {
                return refusal;
            }
            let operation = format!("write `{}` to", setting.value);
            self.failed(&operation, setting.member, &setting.file, errno)
        })
    }
}
