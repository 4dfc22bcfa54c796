// SPDX-License-Identifier: Apache-2.0
//! A program that was started for the mesh: its own working folder, its output in a file, and an end that takes its children along.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How many lines of its output a program that failed is quoted with.
const QUOTED_LINES: usize = 25;

/// A program that runs.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// The group of the program and of all that it starts.
    group: Option<Pid>,
    log: PathBuf,
}

/// A program that stands still.
#[derive(Debug)]
pub struct Paused(Option<Pid>);

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, Signal::CONT);
        }
    }
}

impl Process {
    /// Starts `command` with `folder` as its working folder; what it prints goes to the end of `log`.
    ///
    /// # Errors
    /// When folder or log cannot be made or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, folder: &Path, log: &Path) -> Result<Process> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A group of its own: the terminal's Ctrl-C reaches the demo alone, which then stops all in good order.
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Process { name: name.to_owned(), child, group, log: log.to_owned() })
    }

    /// The name that it was started by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the program, and what it started in its group, where they stand, until what comes back is dropped. It does not answer, and its
    /// connections stay.
    pub fn pause(&self) -> Paused {
        self.signal(Signal::STOP);
        Paused(self.group)
    }

    /// Fails when the program has ended, quoting the end of its log.
    ///
    /// # Errors
    /// Says how it ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); {}", self.name, self.last_words()),
        }
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
        format!("the end of {}:\n  {}", self.log.display(), last.join("\n  "))
    }

    /// Asks the program to stop, waits for `patience`, then ends it and all that it started.
    pub async fn stop(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends the program and all that it started at once, without a chance to say goodbye.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        // The status of a process that was killed says nothing more.
        let _ = self.child.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Process {
        let log = folder.join("log");
        Process::start("it", Command::new("sh").args(["-c", script]), folder, &log).expect("a shell")
    }

    #[tokio::test]
    async fn the_end_of_a_program_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = start("echo the port is taken; exit 3", folder.path());
        process.child.wait().await.expect("its end");
        let error = process.check().expect_err("ended").to_string();
        assert!(error.contains("exit status: 3") && error.contains("the port is taken"), "{error}");
    }

    #[tokio::test]
    async fn what_a_program_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = start("trap '' TERM; sleep 300 & echo $! > child; wait; sleep 300", folder.path());
        let file = folder.path().join("child");
        while !std::fs::read_to_string(&file).unwrap_or_default().ends_with('\n') {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let child = std::fs::read_to_string(&file).expect("its id");
        process.stop(Duration::from_millis(100)).await;
        let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..100 {
            if !alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child {child} goes on");
    }
}
