//! A machine of a test's own: its folders, and programs that stand in for real ones.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::poll::{Poll, Step};
use harness::workspace;
use rustix::process::{Pid, Signal, kill_process};
use stages::local;
use stages::versions::versions;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use tempfile::{NamedTempFile, TempDir};

/// For what takes a moment, on a machine that is busy.
const SOON: Duration = Duration::from_mins(1);
/// What names of local stages on the real machine begin with.
pub const STORM: &str = "storm";
const LOOK: Duration = Duration::from_millis(20);
/// How a process says whose it is.
const WORLD: &str = "MESH_TEST_WORLD";

/// The machine. All that is started on it carries its name in the environment.
pub struct World {
    root: TempDir,
    home: PathBuf,
    cache: PathBuf,
    target: PathBuf,
}

/// What the stand-in for cargo does: by then Keycloak and Envoy are started.
#[derive(Clone, Copy)]
pub enum Cargo {
    /// Goes on for ever.
    Hangs,
    /// Fails as soon as both are there.
    Fails,
}

impl World {
    /// With Java, Keycloak and Envoy in place, as scripts.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let [home, cache, target] = ["home", "cache", "target"].map(|it| root.path().join(it));
        let world = Self {
            root,
            home,
            cache,
            target,
        };
        world.lay_out();
        world.program("bin/java", "echo 'java.version = 17.0.15' >&2");
        let suite = harness::suite::Suite::load(&workspace::path("e2e")).unwrap();
        let keycloak = local::keycloak_in_cache(&suite, "17.0.15").unwrap();
        let keycloak = format!("cache/mesh-oidc/{keycloak}");
        // Like the real one, it waits for what it starts.
        world.program(&format!("{keycloak}/home/bin/kc.sh"), "sleep 601 & wait");
        world.file(&format!("{keycloak}/home/data/h2/keycloakdb.mv.db"), "keys");
        world.file(&format!("{keycloak}/admin-password"), "secret");
        world.file(&format!("{keycloak}/.complete"), "");
        let envoy = format!("cache/mesh-oidc/envoy-{}", versions().envoy);
        world.program(&format!("{envoy}/envoy/_bin/envoy"), "exec sleep 602");
        world.file(&format!("{envoy}/.complete"), "");
        world.cargo(Cargo::Hangs);
        world
    }

    /// With the Java, Keycloak, Envoy and services of the real machine.
    pub fn real() -> Self {
        let home = PathBuf::from(std::env::var("HOME").unwrap());
        let cache = workspace::cache_dir().unwrap();
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            home,
            cache: cache.parent().unwrap().to_owned(),
            target: workspace::target_dir(),
        };
        world.lay_out();
        world
    }

    fn lay_out(&self) {
        for folder in ["bin", "state", "cache", "tmp", "target", "home"] {
            fs::create_dir(self.path(folder)).unwrap();
        }
        // Never those of the real machine.
        for absent in ["kind", "docker"] {
            self.program(&format!("bin/{absent}"), "exit 1");
        }
    }

    /// From now on Envoys do not hear SIGTERM.
    pub fn deaf_envoy(&self) {
        let envoy = versions().envoy.clone();
        let envoy = format!("cache/mesh-oidc/envoy-{envoy}/envoy/_bin/envoy");
        self.program(&envoy, "trap '' TERM; exec sleep 602");
    }

    /// What the stand-in for cargo does from now on.
    pub fn cargo(&self, does: Cargo) {
        let started = "until [ -e \"$MESH_TEST_STAGE/state.json\" ] \
            && [ $(grep -c '\"pid\"' \"$MESH_TEST_STAGE/state.json\") -ge 2 ]; do sleep 0.05; done";
        let build = match does {
            Cargo::Hangs => "exec sleep 603".to_owned(),
            Cargo::Fails => format!("{started}; echo 'error: no such crate' >&2; exit 101"),
        };
        let script = format!("case $1 in --version) echo cargo 1.95;; *) {build};; esac");
        self.program("bin/cargo", &script);
    }

    /// A path on this machine.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The folder of a local stage.
    pub fn stage(&self, name: &str) -> PathBuf {
        self.target.join("mesh/local").join(name)
    }

    /// Writes a file, with the folders that it lies in.
    pub fn file(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }

    /// Writes a shell script that can be run.
    pub fn program(&self, relative: &str, script: &str) {
        self.file(relative, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(relative), Permissions::from_mode(0o755)).unwrap();
    }

    /// `mesh` with these arguments, on this machine, for the project's own suite.
    pub fn mesh(&self, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
        command
            .args(args)
            .current_dir(workspace::path("."))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", &self.home)
            .env("XDG_CACHE_HOME", &self.cache)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("TMPDIR", self.path("tmp"))
            .env("CARGO_TARGET_DIR", &self.target)
            .env("MESH_TEST_STAGE", self.stage("x"))
            .env(WORLD, self.root.path())
            .env_remove("JAVA_HOME")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `mesh` to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.mesh(args).output().unwrap()
    }

    /// Starts `mesh`.
    pub fn start(&self, args: &[&str]) -> Run {
        self.start_command(self.mesh(args))
    }

    /// Starts a command. What it says goes to a file: a pipe would stay open as long
    /// as anything that it started.
    pub fn start_command(&self, mut command: Command) -> Run {
        let said = tempfile::NamedTempFile::new_in(self.root.path()).unwrap();
        let stderr = said.reopen().unwrap();
        let child = command
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Run { child, said }
    }

    /// Starts `mesh demo --name x` and waits until all is started.
    pub fn demo_under_way(&self) -> Run {
        let demo = self.start(&["demo", "--name", "x"]);
        self.wait_until_all_is_started();
        demo
    }

    /// Waits until Keycloak, an Envoy for each sidecar, and cargo are started.
    pub fn wait_until_all_is_started(&self) {
        self.wait_for("Keycloak, Envoys and cargo", || {
            let sidecars = fs::read_dir(self.stage("x").join("sidecars"));
            let sidecars = sidecars.map_or(0, Iterator::count);
            let compiles = self.processes().iter().any(|line| line == "sleep 603");
            compiles && sidecars > 0 && self.sleepers() == sidecars + 1
        });
    }

    /// How many processes stand in for Keycloak's Java and for Envoys.
    pub fn sleepers(&self) -> usize {
        let is_one = |line: &String| line == "sleep 601" || line == "sleep 602";
        self.processes().iter().filter(|line| is_one(line)).count()
    }

    /// The command lines of all processes on this machine, but for those that are over.
    pub fn processes(&self) -> Vec<String> {
        self.all_processes()
            .into_iter()
            .map(|(_, line)| line)
            .collect()
    }

    /// The same with their ids.
    pub fn all_processes(&self) -> Vec<(u32, String)> {
        let mut system = System::new();
        let what = ProcessRefreshKind::nothing()
            .with_environ(UpdateKind::Always)
            .with_cmd(UpdateKind::Always);
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        let mark = format!("{WORLD}={}", self.root.path().display());
        // A service has nothing of the environment but what its pod has.
        let temporary = format!("TMPDIR={}", self.stage(STORM).display());
        let is_ours = |variable: &OsString| {
            *variable == *mark || variable.to_string_lossy().starts_with(&temporary)
        };
        let ours = system
            .processes()
            .values()
            // Threads are listed, too.
            .filter(|process| process.thread_kind().is_none())
            .filter(|process| process.environ().iter().any(is_ours));
        ours.map(|process| {
            let words = process.cmd().iter().map(|it| it.to_string_lossy());
            (process.pid().as_u32(), words.collect::<Vec<_>>().join(" "))
        })
        .collect()
    }

    /// Kills the processes whose command line has this in it, but not their children.
    pub fn kill(&self, part: &str) {
        self.send_kill(part);
        self.wait_for("end of what was killed", || {
            !self.processes().iter().any(|line| line.contains(part))
        });
    }

    fn send_kill(&self, part: &str) {
        for (pid, line) in self.all_processes() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| line.contains(part)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Waits until it is so, or fails.
    pub fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let wait = Poll::new(what, SOON).every(LOOK);
        let wait = wait.until(async || {
            Ok(if is_so() {
                Step::Done(())
            } else {
                Step::NotYet(format!("there are {:#?}", self.processes()))
            })
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(wait).unwrap();
    }

    /// All that there is below the folders in which a run could leave something.
    pub fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for folder in ["state", "tmp", "target/mesh", "cache/mesh-oidc/scratch"] {
            collect(&self.path(folder), &mut left);
        }
        left
    }

    /// Fails if a process or a file is left.
    pub fn assert_nothing_is_left(&self) {
        let (processes, files) = (self.processes(), self.left());
        assert!(processes.is_empty(), "left running: {processes:#?}");
        assert!(files.is_empty(), "left behind: {files:#?}");
    }
}

impl Drop for World {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        self.send_kill("");
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
            // An empty folder that others share is nothing left of a run.
            if path.ends_with("tmp") || path.parent().is_some_and(|it| it.ends_with("local")) {
                files.push(path);
            }
        } else {
            files.push(path);
        }
    }
}

/// A `mesh` that runs.
pub struct Run {
    child: Child,
    said: NamedTempFile,
}

impl Run {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; its exit code and what it said on standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, fs::read_to_string(self.said.path()).unwrap())
    }
}

/// What a finished run said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
