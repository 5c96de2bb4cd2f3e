//! Processes that may outlive the command that started them, and are ended by
//! another.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use crate::tool::{self, KillOnDrop};
use harness::poll::{Poll, Step, TimedOut};
use harness::private;
use harness::trouble::Trouble;

/// From SIGTERM to SIGKILL. Writing the classes takes Keycloak a while.
const GRACE: Duration = Duration::from_mins(1);
/// The same for a stage's processes, which have nothing to write.
const STAGE_GRACE: Duration = Duration::from_secs(5);
/// From SIGKILL to the end.
const KILLED: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// The variable by which the processes of a stage are known, and what they start:
/// whoever their parent is by then, and whatever became of the stage's files.
pub const STAGE: &str = "MESH_OIDC_STAGE";

/// A process that was started here or by an earlier command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// What it is, such as `envoy of backend`.
    pub name: String,
    pid: u32,
    /// When it started, in seconds since 1970: a process id alone may belong to
    /// another process by now.
    started: u64,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output goes to `log`, in a process group of its
    /// own, so that Ctrl-C does not reach it.
    pub fn spawn(name: impl Into<String>, mut command: Command, log: &Path) -> Result<Self> {
        let name = name.into();
        let output = private::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child.id();
        Ok(Self {
            name,
            pid,
            started: look(pid).map_or(0, |(started, _)| started),
            log: log.to_owned(),
        })
    }

    /// Whether it is still there.
    pub fn is_alive(&self) -> bool {
        look(self.pid).is_some_and(|(started, status)| {
            started == self.started
                && !matches!(status, ProcessStatus::Zombie | ProcessStatus::Dead)
        })
    }

    /// Fails with its last words if it has ended. They say why; `and_then` is what to do
    /// besides.
    pub fn check_alive(&self, and_then: &str) -> Result<(), Trouble> {
        if self.is_alive() {
            return Ok(());
        }
        let words = self.last_words();
        let fix = if words.contains("No space left on device") {
            "make room on the disk".to_owned()
        } else {
            format!("its last words say why{and_then}")
        };
        Err(Trouble::new(
            format!("{} has ended:\n{words}", self.name),
            fix,
        ))
    }

    /// Ends it and what it started, and waits until it is gone.
    pub async fn end(&self) -> Result<()> {
        self.signal(Signal::TERM);
        let gone = Poll::new(format!("end of {}", self.name), GRACE)
            .every(LOOK)
            .until(async || {
                Ok(if self.is_alive() {
                    Step::NotYet("still there".to_owned())
                } else {
                    Step::Done(())
                })
            })
            .await;
        match gone {
            Err(error) if error.is::<TimedOut>() => {
                self.signal(Signal::KILL);
                Ok(())
            }
            other => other,
        }
    }

    /// Kills it if what waits for it is given up.
    pub fn killed_on_drop(&self) -> KillOnDrop {
        KillOnDrop::group_of(Some(self.pid))
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(group) = group.filter(|_| self.is_alive()) {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The end of what it wrote.
    pub fn last_words(&self) -> String {
        tool::tail(&fs::read_to_string(&self.log).unwrap_or_default(), 10)
    }
}

/// A program that asks to be ended with its parent, as Envoy does, under a shell
/// that stands in for the command which is over by then.
pub fn under_shell(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    // The shell waits for the program's own orderly end.
    shell
        .args(["-c", r#"trap : TERM; "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// Has a command and what it starts known as a stage's.
pub fn mark(command: &mut Command, stage: &str) {
    command.env(STAGE, stage);
}

/// Ends all that is known as a stage's, and waits until it is gone.
pub async fn end_stage(stage: &str) -> Result<()> {
    for (signal, grace) in [(Signal::TERM, STAGE_GRACE), (Signal::KILL, KILLED)] {
        for member in members(stage) {
            // It may have ended by itself just now.
            let _ = kill_process(member, signal);
        }
        let gone = Poll::new("end of the stage's processes", grace)
            .every(LOOK)
            .until(async || {
                Ok(match members(stage).len() {
                    0 => Step::Done(()),
                    left => Step::NotYet(format!("{left} are left")),
                })
            })
            .await;
        match gone {
            Err(error) if error.is::<TimedOut>() && signal == Signal::TERM => {}
            other => return other,
        }
    }
    Ok(())
}

/// The processes that are known as a stage's. One that is over has no environment.
fn members(stage: &str) -> Vec<Pid> {
    let wanted = format!("{STAGE}={stage}");
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::All,
        true,
        ProcessRefreshKind::nothing().with_environ(UpdateKind::Always),
    );
    let processes = system.processes().iter();
    processes
        // Threads are listed, too.
        .filter(|(_, process)| process.thread_kind().is_none())
        .filter(|(_, process)| process.environ().iter().any(|it| *it == *wanted))
        .filter_map(|(pid, _)| Pid::from_raw(pid.as_u32().try_into().ok()?))
        .collect()
}

/// Start time and status of a process.
fn look(pid: u32) -> Option<(u64, ProcessStatus)> {
    let pid = sysinfo::Pid::from_u32(pid);
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        true,
        ProcessRefreshKind::nothing(),
    );
    let process = system.process(pid)?;
    Some((process.start_time(), process.status()))
}

#[cfg(test)]
mod tests;
