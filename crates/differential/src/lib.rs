#![doc = include_str!("../README.md")]

pub mod answer;
pub mod corpus;
pub mod grammar;
pub mod proxy;
pub mod report;
pub mod scene;
pub mod shrink;
pub mod stage;
pub mod token;
pub mod upstream;
pub mod wire;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use harness::output::say;
use jiff::Timestamp;

use grammar::{Dice, Round};
use report::{Disagreement, Report};
use scene::Scene;
use stage::{Askable, Judged, SIDECARS, Stage};
use token::Keyring;

/// Random policies, tokens and requests to a live Envoy: does it do what the
/// model says?
#[derive(Debug)]
pub struct Differential {
    /// How many random calls to make.
    pub cases: usize,
    /// The same seed gives the same scenes; by default it comes from the clock.
    pub seed: Option<u64>,
    /// The folder of scenes that are asked first, and where new ones go.
    pub corpus: PathBuf,
}

/// One mistake shows in many kinds of answer; so many of them tell enough.
const DISAGREEMENTS: usize = 3;
/// Calls to each sidecar.
const CALLS: usize = 32;
/// A run of so many cases reaches every kind of answer in [`KINDS`].
const ENOUGH: usize = 20_000;

/// What Envoy can answer to the grammar's scenes.
const KINDS: [&str; 50] = [
    "200 jwt_authn_access_denied{Jwt_issuer_is_not_configured}",
    "200 lua_response",
    "200 rbac_access_denied_matched_policy[none]",
    "200 rbac_access_denied_matched_policy[rule]",
    "200 via_upstream",
    "400 http.invalid_authority",
    "400 http1.codec_error",
    "400 http1.invalid_characters",
    "400 http1.invalid_scheme",
    "400 http1.invalid_url",
    "400 path_normalization_failed",
    "401 jwt_authn_access_denied{Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt}",
    "401 jwt_authn_access_denied{Jwt_ED25519_signature_is_wrong_length}",
    "401 jwt_authn_access_denied{Jwt_header_[alg]_field_is_required_and_must_be_a_string}",
    "401 jwt_authn_access_denied{Jwt_header_[alg]_is_not_supported}",
    "401 jwt_authn_access_denied{Jwt_header_[kid]_field_is_not_a_string}",
    "401 jwt_authn_access_denied{Jwt_header_is_an_invalid_Base64url_encoded}",
    "401 jwt_authn_access_denied{Jwt_header_is_an_invalid_JSON}",
    "401 jwt_authn_access_denied{Jwt_is_expired}",
    "401 jwt_authn_access_denied{Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_and_3_sections}",
    "401 jwt_authn_access_denied{Jwt_issuer_is_not_configured}",
    "401 jwt_authn_access_denied{Jwt_not_yet_valid}",
    "401 jwt_authn_access_denied{Jwt_payload_[aud]_field_is_not_a_string_or_string_list}",
    "401 jwt_authn_access_denied{Jwt_payload_[exp]_field_is_not_a_positive_64_bit_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[exp]_field_is_not_an_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[iat]_field_is_not_a_positive_64_bit_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[iat]_field_is_not_an_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[iss]_field_is_not_a_string}",
    "401 jwt_authn_access_denied{Jwt_payload_[jti]_field_is_not_a_string}",
    "401 jwt_authn_access_denied{Jwt_payload_[nbf]_field_is_not_a_positive_64_bit_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[nbf]_field_is_not_an_integer}",
    "401 jwt_authn_access_denied{Jwt_payload_[sub]_field_is_not_a_string}",
    "401 jwt_authn_access_denied{Jwt_payload_is_an_invalid_Base64url_encoded}",
    "401 jwt_authn_access_denied{Jwt_payload_is_an_invalid_JSON}",
    "401 jwt_authn_access_denied{Jwt_signature_is_an_invalid_Base64url_encoded}",
    "401 jwt_authn_access_denied{Jwt_verification_fails}",
    "401 lua_response",
    "403 jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}",
    "403 rbac_access_denied_matched_policy[none]",
    "403 rbac_access_denied_matched_policy[rule]",
    "403 upgrade_failed",
    "404 absolute_path_rejected",
    "404 route_not_found",
    "418 lua_response",
    "431 http1.headers_too_large",
    "431 http1.too_many_headers",
    "503 filter_removed_required_request_headers{invalid_header_value_for:_x-c}",
    "configuration refused",
    "connection closed",
    "connection closed, filter_chain_not_found",
];

impl Differential {
    /// Runs it with the Envoy of this binary. `progress` is told now and then how
    /// many calls were made.
    pub async fn report(&self, envoy: &Path, progress: impl Fn(usize)) -> Result<Report> {
        let scenes = corpus::load(&self.corpus)?;
        let mut stage = Stage::start(envoy).await?;
        let mut report = Report {
            seed: match self.seed {
                Some(seed) => seed,
                None => u64::try_from(Timestamp::now().as_millisecond())?,
            },
            ..Report::default()
        };
        say(format!("seed {}", report.seed));
        replay(&mut stage, scenes, &mut report).await?;
        if report.disagreements.is_empty() {
            self.explore(&mut stage, &mut report, progress).await?;
        }
        Ok(report)
    }

    /// Random scenes until there are enough, or until some disagree.
    async fn explore(
        &self,
        stage: &mut Stage,
        report: &mut Report,
        progress: impl Fn(usize),
    ) -> Result<()> {
        let keyring = stage.keyring();
        let mut dice = Dice::new(report.seed);
        let started = Instant::now();
        while report.cases < self.cases && report.disagreements.is_empty() {
            let left = self.cases - report.cases;
            let rounds = (0..SIDECARS.min(left.div_ceil(CALLS)))
                .map(|_| throw(&mut dice, &keyring))
                .collect::<Result<Vec<_>>>()?;
            report.sidecars += rounds.len();
            let judged = stage.judge(rounds).await?;
            report.cases += judged.len();
            progress(report.cases);
            for one in &judged {
                *report.answers.entry(one.envoy.kind()).or_default() += 1;
            }
            report.seconds = started.elapsed().as_secs_f64();
            let different = judged.into_iter().filter(|one| !one.agrees());
            save(stage, different.collect(), &self.corpus, report).await?;
        }
        if report.cases >= ENOUGH {
            let seen = |kind: &&str| report.answers.contains_key(*kind);
            report.never_seen = KINDS.into_iter().filter(|kind| !seen(kind)).collect();
        }
        Ok(())
    }
}

/// Throws until the API server would take the manifests.
fn throw(dice: &mut Dice, keyring: &Keyring) -> Result<Askable> {
    let thrown = (0..100).find_map(|_| Askable::new(grammar::round(dice, CALLS), keyring).ok());
    thrown.context("a hundred times the API server would refuse the manifests")
}

/// Asks the scenes of the corpus.
async fn replay(
    stage: &mut Stage,
    scenes: Vec<(PathBuf, Scene)>,
    report: &mut Report,
) -> Result<()> {
    for (file, scene) in scenes {
        let recorded = scene.answer.clone();
        let judged = judge_one(stage, scene)
            .await
            .with_context(|| file.display().to_string())?;
        report.corpus += 1;
        if !judged.agrees() || judged.envoy.kind() != recorded {
            report
                .disagreements
                .push(disagreement(file, judged, recorded));
        }
    }
    Ok(())
}

async fn judge_one(stage: &mut Stage, scene: Scene) -> Result<Judged> {
    let askable = Askable::new(round_of(scene), &stage.keyring())?;
    let mut judged = stage.judge(vec![askable]).await?;
    judged.pop().context("one call has one answer")
}

fn round_of(scene: Scene) -> Round {
    Round {
        sidecar: scene.sidecar,
        calls: vec![scene.call],
    }
}

fn disagreement(file: PathBuf, judged: Judged, recorded: String) -> Disagreement {
    Disagreement {
        file,
        recorded,
        scene: judged.scene(),
        model: judged.model,
        envoy: judged.envoy.redacted(),
    }
}

/// Shrinks and saves one disagreement of each kind, up to [`DISAGREEMENTS`].
async fn save(
    stage: &mut Stage,
    different: Vec<Judged>,
    folder: &Path,
    report: &mut Report,
) -> Result<()> {
    let mut kinds = BTreeSet::new();
    for judged in different {
        let (model, envoy) = judged.kinds();
        if kinds.len() == DISAGREEMENTS || !kinds.insert((model.clone(), envoy.clone())) {
            continue;
        }
        let wanted = (model, envoy);
        let mut scene = shrink::shrink(judged.scene(), async |some: &[Scene]| {
            shows(stage, some, &wanted).await
        })
        .await?;
        let (model, envoy) = wanted;
        scene.shows = format!("seed {}: the model says {model}", report.seed);
        scene.answer.clone_from(&envoy);
        let file = corpus::save(folder, &format!("{envoy}, not {model}"), &scene)?;
        let again = judge_one(stage, scene).await?;
        report.disagreements.push(disagreement(file, again, envoy));
    }
    Ok(())
}

/// Which of the scenes show a disagreement of the same kinds.
async fn shows(stage: &mut Stage, scenes: &[Scene], kinds: &(String, String)) -> Result<Vec<bool>> {
    let keyring = stage.keyring();
    let mut verdicts = vec![false; scenes.len()];
    let mut places = Vec::new();
    let mut rounds = Vec::new();
    for (place, scene) in scenes.iter().enumerate() {
        let can_be_sent = scene.call.is_sound(&keyring);
        if let (true, Ok(round)) = (can_be_sent, Askable::new(round_of(scene.clone()), &keyring)) {
            places.push((place, scene));
            rounds.push(round);
        }
    }
    for judged in stage.judge(rounds).await? {
        if !judged.agrees() && judged.kinds() == *kinds {
            let scene = judged.scene();
            let same = places.iter().filter(|(_, asked)| **asked == scene);
            for (place, _) in same {
                verdicts[*place] = true;
            }
        }
    }
    Ok(verdicts)
}
