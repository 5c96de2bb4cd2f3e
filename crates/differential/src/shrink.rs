//! A smaller scene that shows the same.

use anyhow::Result;
use serde_json::Value;

use super::scene::Scene;
use super::stage::SIDECARS;

/// Takes away from a scene as long as what is left still shows it. `shows` is
/// asked about many candidates at once; not all of them can be asked about.
pub async fn shrink(
    scene: Scene,
    mut shows: impl AsyncFnMut(&[Scene]) -> Result<Vec<bool>>,
) -> Result<Scene> {
    let mut best = scene;
    'smaller: loop {
        for some in candidates(&best).chunks(SIDECARS) {
            let verdicts = shows(some).await?;
            if let Some(index) = verdicts.iter().position(|shows| *shows) {
                best = some[index].clone();
                continue 'smaller;
            }
        }
        return Ok(best);
    }
}

/// Scenes that lack a little of this one, the smallest first.
fn candidates(scene: &Scene) -> Vec<Scene> {
    let whole = serde_json::to_value(scene).expect("a scene is made for JSON");
    let mut smaller: Vec<_> = lesser(&whole)
        .into_iter()
        .filter_map(|value| serde_json::from_value::<Scene>(value).ok())
        .map(|scene| (size(&scene), scene))
        .filter(|(size_of_it, _)| *size_of_it < size(scene))
        .collect();
    smaller.sort_by_key(|(size, _)| *size);
    smaller.into_iter().map(|(_, scene)| scene).collect()
}

fn size(scene: &Scene) -> usize {
    serde_json::to_string(scene).map_or(usize::MAX, |text| text.len())
}

/// Every value that has one thing less: a member, an item, half of a text.
fn lesser(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => {
            let without = members.keys().map(|name| {
                let mut rest = members.clone();
                rest.remove(name);
                Value::Object(rest)
            });
            let within = members.iter().flat_map(|(name, inner)| {
                lesser(inner).into_iter().map(move |inner| {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), inner);
                    Value::Object(changed)
                })
            });
            without.chain(within).collect()
        }
        Value::Array(items) => {
            let without = (0..items.len()).map(|index| {
                let mut rest = items.clone();
                rest.remove(index);
                Value::Array(rest)
            });
            let within = items.iter().enumerate().flat_map(|(index, inner)| {
                lesser(inner).into_iter().map(move |inner| {
                    let mut changed = items.clone();
                    changed[index] = inner;
                    Value::Array(changed)
                })
            });
            without.chain(within).collect()
        }
        Value::String(text) => halves(text).into_iter().map(Value::String).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Never empty: nothing can be sent without a method.
fn halves(text: &str) -> Vec<String> {
    let middle = text.chars().count() / 2;
    let Some((at, _)) = text.char_indices().nth(middle).filter(|(at, _)| *at > 0) else {
        return Vec::new();
    };
    let (first, second) = text.split_at(at);
    let mut parts = vec![first.to_owned(), second.to_owned()];
    // At the ends single characters go, too: a path is short but for its slash.
    let mut rest = text.chars();
    rest.next();
    parts.push(rest.as_str().to_owned());
    let mut rest = text.chars();
    rest.next_back();
    parts.push(rest.as_str().to_owned());
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::grammar::{Dice, round};

    fn some_scene() -> Scene {
        let mut dice = Dice::new(3);
        let mut round = round(&mut dice, 12);
        Scene {
            call: round.calls.pop().unwrap(),
            sidecar: round.sidecar,
            ..Scene::default()
        }
    }

    #[tokio::test]
    async fn nothing_is_left_but_what_shows_it() {
        let mut scene = some_scene();
        scene.call.request.path = "/some/path/b".to_owned();
        scene
            .call
            .request
            .headers
            .push(("x-a".to_owned(), "12".to_owned()));
        let shows = |scene: &Scene| {
            let request = &scene.call.request;
            request.path.contains("/b") && request.headers.iter().any(|(name, _)| name == "x-a")
        };
        let small = shrink(scene, async |some: &[Scene]| {
            Ok(some.iter().map(shows).collect())
        })
        .await
        .unwrap();
        assert_eq!(
            serde_json::to_value(&small).unwrap(),
            json!({
                "sidecar": {},
                "call": {"request": {"method": "G", "path": "/b", "host": "x", "headers": [["x-a", "1"]]}},
            })
        );
    }

    #[tokio::test]
    async fn scene_of_which_all_is_needed_stays_as_it_is() {
        let scene = some_scene();
        let small = shrink(scene.clone(), async |some: &[Scene]| {
            Ok(vec![false; some.len()])
        })
        .await
        .unwrap();
        assert_eq!(small, scene);
    }

    #[test]
    fn every_candidate_is_smaller() {
        let scene = some_scene();
        let all = candidates(&scene);
        assert!(all.len() > 10);
        assert!(all.iter().all(|one| size(one) < size(&scene)));
    }
}
