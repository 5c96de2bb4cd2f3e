use std::process::Command;

use super::{Process, end_stage, mark, members};

fn shell(script: &str) -> (tempfile::TempDir, Process) {
    shell_of("", script)
}

fn shell_of(stage: &str, script: &str) -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    mark(&mut command, stage);
    let process = Process::spawn("shell", command, &folder.path().join("log")).unwrap();
    (folder, process)
}

#[tokio::test]
async fn a_process_is_ended_with_what_it_started() {
    let (_folder, process) = shell("sleep 600 & wait");
    assert!(process.is_alive());
    process.end().await.unwrap();
    assert!(!process.is_alive());
}

#[tokio::test]
async fn another_process_with_the_same_id_is_left_alone() {
    let (_folder, process) = shell("sleep 600");
    let later = Process {
        started: process.started + 1,
        ..process.clone()
    };
    assert!(!later.is_alive());
    later.end().await.unwrap();
    assert!(process.is_alive());
    process.end().await.unwrap();
}

#[tokio::test]
async fn last_words_are_the_end_of_the_log() {
    let (_folder, process) = shell("echo lost >&2");
    while process.is_alive() {
        tokio::task::yield_now().await;
    }
    assert_eq!(process.last_words(), "lost");
}

#[tokio::test]
async fn what_a_dead_process_started_is_ended_with_its_stage() {
    let stage = uuid::Uuid::new_v4().to_string();
    let (_folder, process) = shell_of(&stage, "sleep 600 & exit");
    let other = format!("{stage}-2");
    let (_other_folder, bystander) = shell_of(&other, "sleep 600");
    while process.is_alive() {
        tokio::task::yield_now().await;
    }
    assert_eq!(members(&stage).len(), 1);
    end_stage(&stage).await.unwrap();
    assert_eq!(members(&stage).len(), 0);
    assert!(bystander.is_alive());
    bystander.end().await.unwrap();
}

#[tokio::test]
async fn what_does_not_hear_sigterm_is_killed() {
    let stage = uuid::Uuid::new_v4().to_string();
    let (folder, process) = shell_of(&stage, "trap '' TERM; echo deaf; sleep 600 & wait");
    let log = folder.path().join("log");
    while std::fs::read_to_string(&log).unwrap_or_default() != "deaf\n" {
        tokio::task::yield_now().await;
    }
    end_stage(&stage).await.unwrap();
    assert!(!process.is_alive());
}
