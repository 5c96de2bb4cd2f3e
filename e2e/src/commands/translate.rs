//! `mesh translate`: what istiod makes of manifests, from them alone.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use policy::{Workload, http_filters};

use crate::scene::{Scene, assignment};

/// The Envoy HTTP filters that istiod would make, in chain order
#[derive(Debug, Args)]
pub struct Translate {
    #[command(flatten)]
    scene: Scene,
    /// The workload's namespace
    #[arg(long, default_value = "demo")]
    namespace: String,
    /// The workload's labels
    #[arg(
        long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = assignment,
        default_value = "app=backend"
    )]
    labels: Vec<(String, String)>,
    /// How to print the filters
    #[arg(long, value_enum, default_value_t)]
    output: TranslateOutput,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum TranslateOutput {
    /// As istioctl proxy-config prints them
    #[default]
    Json,
    /// The same as YAML
    Yaml,
}

impl Translate {
    /// Prints the filters.
    pub fn run(&self) -> Result<ExitCode> {
        let workload = Workload {
            namespace: self.namespace.clone(),
            labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        let (mesh, manifests, keys) = (
            self.scene.mesh(),
            self.scene.manifests()?,
            self.scene.keys()?,
        );
        let translation = http_filters(&mesh, &manifests, &workload, None, &keys)?;
        for issuer in &translation.issuers_without_keys {
            eprintln!(
                "note: no keys for {issuer}; one that refuses every token stands in \
                their place, as in istiod before Keycloak answers (--jwks {issuer}=FILE)"
            );
        }
        match self.output {
            TranslateOutput::Json => {
                println!("{}", serde_json::to_string_pretty(&translation.filters)?);
            }
            TranslateOutput::Yaml => print!("{}", serde_saphyr::to_string(&translation.filters)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}
