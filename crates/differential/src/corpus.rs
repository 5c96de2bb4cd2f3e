//! Scenes that showed something once, in files, and are asked in every run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::suite::yaml::yaml_files;

use super::scene::Scene;

/// Reads all scenes of a folder, in the order of their names.
pub fn load(folder: &Path) -> Result<Vec<(PathBuf, Scene)>> {
    let paths = yaml_files(folder)?;
    let scenes = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path)?;
        let scene = parse(&text).with_context(|| path.display().to_string())?;
        Ok((path, scene))
    });
    scenes.collect()
}

fn parse(text: &str) -> Result<Scene> {
    let scene: Scene = serde_saphyr::from_str(text)?;
    ensure!(
        !scene.shows.is_empty(),
        "`shows` must say what there is to be seen"
    );
    ensure!(
        !scene.answer.is_empty(),
        "`answer` must say what Envoy answers"
    );
    scene.call.connection.check()?;
    Ok(scene)
}

/// Writes a scene to a new file, named after what it shows.
pub fn save(folder: &Path, name: &str, scene: &Scene) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let text = serde_saphyr::to_string(scene)?;
    let name = slug(name);
    let mut path = folder.join(format!("{name}.yaml"));
    let mut number = 1;
    while path.exists() {
        number += 1;
        path = folder.join(format!("{name}-{number}.yaml"));
    }
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn slug(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let words: Vec<_> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Dice, round};

    #[test]
    fn saved_scene_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut dice = Dice::new(1);
        for _ in 0..50 {
            let mut round = round(&mut dice, 1);
            let scene = Scene {
                shows: "a test".to_owned(),
                answer: "200 via_upstream".to_owned(),
                sidecar: round.sidecar,
                call: round.calls.pop().unwrap(),
            };
            let path = save(folder.path(), "401 Jwt is missing, not [none]", &scene).unwrap();
            let text = fs::read_to_string(path).unwrap();
            assert_eq!(parse(&text).unwrap(), scene, "{text}");
        }
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 50);
    }

    #[test]
    fn corpus_in_the_repository_can_be_read() {
        let scenes = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
        assert!(scenes.len() >= 10, "{} scenes", scenes.len());
    }
}
