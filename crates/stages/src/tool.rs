//! Programs that the harness calls: kind, istioctl, docker, cargo.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::versions::versions;
use harness::workspace;

/// A call of a program that did not work out.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The program could not be started.
    #[error("cannot run `{program}`: {source}\n  fix: {hint}")]
    Start {
        /// The program's name.
        program: String,
        /// How to get it.
        hint: String,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// The program ran and failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// The command as one could type it.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of what it wrote to stderr, or to stdout where that is empty.
        output: String,
    },
}

/// A program to call. It runs in a process group of its own, so that Ctrl-C
/// reaches the harness alone, and the group is killed when the call is dropped.
#[derive(Debug)]
pub struct Tool {
    program: String,
    command: Command,
    stdin: Option<Vec<u8>>,
    stderr_is_output: bool,
}

impl Tool {
    /// `program` from PATH.
    pub fn new(program: &str) -> Self {
        let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Self {
            program: program.to_owned(),
            command,
            stdin: None,
            stderr_is_output: false,
        }
    }

    /// Adds arguments. Never a secret: arguments are visible to every process.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.command.current_dir(dir.into());
        self
    }

    /// Feeds these bytes to its standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.stdin = Some(bytes.into());
        self
    }

    /// Shows its standard error as it comes, instead of keeping it.
    #[must_use]
    pub fn stderr_shown(mut self) -> Self {
        self.command.stderr(Stdio::inherit());
        self
    }

    /// Takes its standard error for output, as `2>&1` does for a program that
    /// says everything there.
    #[must_use]
    pub fn stderr_as_output(mut self) -> Self {
        self.stderr_is_output = true;
        self
    }

    /// Runs it to its end and returns what it wrote to standard output.
    pub async fn run(mut self) -> Result<String, ToolError> {
        let std = self.command.as_std();
        let line = std::iter::once(self.program.as_str().into())
            .chain(std.get_args().map(OsStr::to_string_lossy))
            .collect::<Vec<_>>()
            .join(" ");
        tracing::debug!(command = %line, "running");
        let start = |source| ToolError::Start {
            program: self.program.clone(),
            hint: hint(&self.program),
            source,
        };
        let mut child = self.command.spawn().map_err(start)?;
        let group = KillOnDrop::group_of(child.id());
        if let (Some(bytes), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A program that ends before it read everything says why itself.
            let _ = pipe.write_all(&bytes).await;
        }
        let output = child.wait_with_output().await.map_err(start)?;
        group.forgive();
        let mut stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if self.stderr_is_output {
            stdout += &String::from_utf8_lossy(&output.stderr);
        }
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        Err(ToolError::Failed {
            command: line,
            status: output.status,
            output: tail(&said, 20),
        })
    }
}

/// Compiles programs of this checkout and says where cargo has put each, which
/// `CARGO_BUILD_TARGET` and more have a say in.
pub async fn cargo_build(
    set_up: impl FnOnce(Tool) -> Tool,
) -> Result<BTreeMap<String, PathBuf>, ToolError> {
    let cargo = Tool::new("cargo").args(["build", "--release", "--quiet"]);
    let told = set_up(cargo.args(["--message-format", "json-render-diagnostics"]))
        .current_dir(workspace::path("."))
        .stderr_shown()
        .run()
        .await?;
    Ok(executables(&told))
}

/// The programs among what cargo says that it has made.
fn executables(told: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: PathBuf,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let artifacts = told
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    artifacts
        .map(|it: Artifact| (it.target.name, it.executable))
        .collect()
}

/// Kills a process group: a program and what it started.
#[derive(Debug)]
pub struct KillOnDrop(Option<Pid>);

impl KillOnDrop {
    /// The group that a process leads.
    pub fn group_of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// The program has ended, or is to go on.
    pub fn forgive(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Finds a program in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// How to get a program that is missing.
pub fn hint(program: &str) -> String {
    let v = versions();
    match program {
        "docker" => "install Docker Engine or Docker Desktop and start it".to_owned(),
        "kind" => format!("go install sigs.k8s.io/kind@v{}", v.kind),
        "istioctl" => format!(
            "curl -L https://istio.io/downloadIstio | ISTIO_VERSION={} sh -",
            v.istio
        ),
        "cargo" => "install Rust from https://rustup.rs".to_owned(),
        "java" => "install a JDK or JRE 17 or later, such as apt install openjdk-17-jre-headless, \
            or set JAVA_HOME"
            .to_owned(),
        "mvn" => "install Maven, such as apt install maven".to_owned(),
        "pip" => "install Python with pip, such as apt install python3-pip".to_owned(),
        _ => "install it, or put it on PATH".to_owned(),
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Tool, ToolError, executables};

    #[test]
    fn programs_are_where_cargo_says() {
        let told = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"service"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"backend"},"executable":"/t/x86_64-unknown-linux-musl/release/backend"}
{"reason":"build-finished","success":true}
"#;
        let found = executables(told);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found["backend"].to_str(),
            Some("/t/x86_64-unknown-linux-musl/release/backend")
        );
    }

    #[tokio::test]
    async fn output_is_what_the_program_wrote() {
        let out = Tool::new("cat").stdin("hello").run().await.unwrap();
        assert_eq!(out, "hello");
    }

    #[tokio::test]
    async fn failure_carries_command_and_last_words() {
        let error = Tool::new("sh")
            .args(["-c", "echo lost >&2; exit 3"])
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, ToolError::Failed { .. }));
        let text = error.to_string();
        assert!(
            text.contains("`sh -c") && text.contains("lost") && text.contains('3'),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_dropped_call_ends_the_program_and_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! >{} && wait", file.display());
        let call = Tool::new("sh").args(["-c", &script]).run();
        let call = tokio::spawn(call);
        let pid = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<u32>() {
                break pid;
            }
            tokio::task::yield_now().await;
        };
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while is_there() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn missing_program_comes_with_the_fix() {
        let error = Tool::new("no-such-program-here").run().await.unwrap_err();
        assert!(error.to_string().contains("fix: install it"), "{error}");
    }
}
