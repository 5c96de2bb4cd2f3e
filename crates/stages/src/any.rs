use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use token_client::batch;

use crate::kubernetes::KubernetesStage;
use crate::local::LocalStage;
use harness::attack::{AppLine, Origin, RawAnswer, Sent, Shot, Target};
use harness::case::{Caller, Profile, StageName};
use harness::evidence::Evidence;
use harness::model::Model;
use harness::secrets::RealmSecrets;
use harness::stage::Stage;

/// A stage of whatever kind the user chose.
pub enum AnyStage {
    /// A mesh in a cluster.
    Kubernetes(Box<KubernetesStage>),
    /// A mesh of processes.
    Local(Box<LocalStage>),
}

macro_rules! delegate {
    ($self:ident, $stage:ident => $call:expr) => {
        match $self {
            Self::Kubernetes($stage) => $call,
            Self::Local($stage) => $call,
        }
    };
}

impl Stage for AnyStage {
    fn name(&self) -> StageName {
        delegate!(self, stage => stage.name())
    }

    fn versions(&self) -> BTreeMap<String, String> {
        delegate!(self, stage => stage.versions())
    }

    async fn secrets(&self) -> Result<RealmSecrets> {
        delegate!(self, stage => stage.secrets().await)
    }

    async fn apply_policy(&self, profile: Profile) -> Result<()> {
        delegate!(self, stage => stage.apply_policy(profile).await)
    }

    async fn ask(
        &self,
        caller: Caller,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        delegate!(self, stage => stage.ask(caller, requests).await)
    }

    fn evidence(&self) -> Evidence {
        delegate!(self, stage => stage.evidence())
    }

    fn address_of(&self, caller: Caller) -> Result<IpAddr> {
        delegate!(self, stage => stage.address_of(caller))
    }

    fn comparable(&self) -> Vec<String> {
        delegate!(self, stage => stage.comparable())
    }

    async fn difference(&self, workload: &str, model: &Model) -> Result<Option<String>> {
        delegate!(self, stage => stage.difference(workload, model).await)
    }

    fn cannot_attack(&self, from: &Origin, request: &Sent) -> Option<String> {
        delegate!(self, stage => stage.cannot_attack(from, request))
    }

    async fn attack(&self, shot: &Shot) -> Result<RawAnswer> {
        delegate!(self, stage => stage.attack(shot).await)
    }

    async fn refused_connections(&self, of: Target) -> Result<Option<u64>> {
        delegate!(self, stage => stage.refused_connections(of).await)
    }

    fn app_lines(&self) -> Vec<AppLine> {
        delegate!(self, stage => stage.app_lines())
    }

    async fn dump(&self, folder: &Path) -> Result<()> {
        delegate!(self, stage => stage.dump(folder).await)
    }
}
