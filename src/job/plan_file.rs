//! A file without a name, which child processes of this one read: it goes with this process, however it ends.

use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::Serialize;

/// It may hold secrets: nobody but this user can open it, and only while this process runs.
pub struct PlanFile(File);

impl PlanFile {
    pub fn new() -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self(file))
    }

    /// Replaces what is in it.
    pub fn write(&self, plan: &impl Serialize) -> io::Result<()> {
        let mut file = &self.0;
        let text = serde_json::to_vec(plan)?;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&text)
    }

    /// Where a child process can open it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}
