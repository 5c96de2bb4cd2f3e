//! The real thing, at random: signals at any time, races for one name, beside a mesh
//! that stands and must go on standing.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{Run, STORM, World, said};

/// The longest that a run is left alone: by then it has its mesh and asks it.
const LONGEST: Duration = Duration::from_secs(12);
const BYSTANDER: &str = "storm-bystander";
const DOWN: [&str; 5] = ["down", "--stage", "local", "--name", STORM];
const SIGNALS: [Signal; 5] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::KILL,
];

/// How often, from the environment.
fn count(variable: &str, usual: usize) -> usize {
    let set = std::env::var(variable).ok();
    set.map_or(usual, |it| it.parse().expect("a number"))
}

struct Storm {
    world: World,
    /// The processes of the mesh that stands.
    standing: BTreeSet<u32>,
}

#[test]
#[ignore = "brings real meshes up: just storm"]
fn signals_and_races_leave_nothing_and_destroy_nothing() {
    let seed = std::env::var("STORM_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("a number"),
    );
    let (signals, races) = (count("STORM_SIGNALS", 10), count("STORM_RACES", 5));
    let told = format!("STORM_SEED={seed} STORM_SIGNALS={signals} STORM_RACES={races}");
    fastrand::seed(seed);
    let storm = Storm::begin();
    for round in 0..signals {
        storm.signal(&format!("{told}, signal {round}"));
    }
    for round in 0..races {
        storm.race(&format!("{told}, race {round}"));
    }
    storm.end();
}

impl Storm {
    fn begin() -> Self {
        let world = World::real();
        let up = world.run(&["up", "--stage", "local", "--name", BYSTANDER]);
        assert_eq!(up.status.code(), Some(0), "{}", said(&up));
        let standing = world.all_processes().into_iter().map(|(pid, _)| pid);
        let standing = standing.collect();
        Self { world, standing }
    }

    /// One command, one signal, or two, at any time.
    fn signal(&self, told: &str) {
        let mut run = self.world.start(&any_command(STORM));
        let signal = SIGNALS[fastrand::usize(..SIGNALS.len())];
        let start = Instant::now();
        // More often early, when most is being made.
        let after = LONGEST.mul_f64(fastrand::f64().powi(2));
        thread::sleep(after);
        let told = format!("{told}: {signal:?} after {after:.1?}");
        let twice = fastrand::u8(..4) == 0;
        if run.goes_on() {
            run.send(signal);
        }
        if twice && run.goes_on() {
            run.send(Signal::TERM);
        }
        let (code, said) = run.end();
        assert!(
            start.elapsed() < LONGEST * 5,
            "{told}: it took long to end\n{said}"
        );
        // What was killed, or came to its end before, is for `down` to remove.
        if twice || signal == Signal::KILL || code == Some(0) {
            self.down(&told);
        }
        self.assert_only_the_bystander_is_there(&format!("{told}, exit code {code:?}\n{said}"));
    }

    /// Several commands of one name at once: one makes the mesh.
    fn race(&self, told: &str) {
        let mut runs: Vec<_> = (0..3)
            .map(|_| self.world.start(&any_command(STORM)))
            .chain([self.world.start(&DOWN)])
            .collect();
        let of_bystander = self.world.start(&any_command(BYSTANDER));
        let (code, said) = of_bystander.end();
        assert_eq!(code, Some(2), "{told}: {said}");
        assert!(said.contains("is already there"), "{told}: {said}");
        while runs.iter_mut().map(Run::goes_on).filter(|it| *it).count() > 1 {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(LONGEST.mul_f64(fastrand::f64() / 2.0));
        let (winners, losers): (Vec<_>, Vec<_>) = runs
            .into_iter()
            .map(|mut run| (run.goes_on(), run))
            .partition(|(goes_on, _)| *goes_on);
        for (_, loser) in losers {
            let (code, said) = loser.end();
            let lost = said.contains("in the hands of") || said.contains("is already there");
            assert!(code == Some(2) && lost || code == Some(0), "{told}: {said}");
        }
        for (_, winner) in winners {
            assert!(self.world.stage(STORM).exists(), "{told}: no stage");
            winner.send(Signal::TERM);
            let (code, said) = winner.end();
            let in_order = said.contains("local stage `storm` removed") || code == Some(0);
            assert!(in_order, "{told}: {said}");
        }
        self.down(told);
        self.assert_only_the_bystander_is_there(told);
    }

    fn down(&self, told: &str) {
        let down = self.world.run(&DOWN);
        assert_eq!(down.status.code(), Some(0), "{told}: {}", said(&down));
    }

    fn assert_only_the_bystander_is_there(&self, told: &str) {
        let processes = self.world.all_processes();
        let pids: BTreeSet<_> = processes.iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids, self.standing, "{told}: {processes:#?}");
        assert!(!self.world.stage(STORM).exists(), "{told}");
        assert!(self.world.stage(BYSTANDER).exists(), "{told}");
        let left = self.world.left();
        // Its record, and nothing else.
        assert_eq!(left.len(), 1, "{told}: {left:#?}");
    }

    /// The bystander still is what it was.
    fn end(self) {
        let at_it = ["--stage", "local", "--name", BYSTANDER];
        let verify = self
            .world
            .run(&[&["verify", "--filter", "user is allowed"], &at_it[..]].concat());
        assert_eq!(verify.status.code(), Some(0), "{}", said(&verify));
        let down = self.world.run(&[&["down"], &at_it[..]].concat());
        assert_eq!(down.status.code(), Some(0), "{}", said(&down));
        self.world.assert_nothing_is_left();
    }
}

fn any_command(name: &str) -> Vec<&str> {
    match fastrand::u8(..3) {
        0 => vec!["up", "--stage", "local", "--name", name],
        1 => vec!["e2e", "--stage", "local", "--name", name],
        _ => vec!["demo", "--name", name],
    }
}
