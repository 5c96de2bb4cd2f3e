//! `mesh translate`: what istiod makes of manifests, from them alone.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use harness::output::{print, print_line, say};
use policy::{Workload, http_filters};

use crate::scene::{Scene, assignment, workload};

/// The Envoy HTTP filters that istiod would make, in chain order
#[derive(Debug, Args)]
pub struct Translate {
    #[command(flatten)]
    scene: Scene,
    /// The workload's namespace [default: that of the one that the suite asks]
    #[arg(long)]
    namespace: Option<String>,
    /// The workload's labels [default: those of the one that the suite asks]
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = assignment)]
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
        let suite = self.scene.suite()?;
        let suite = suite.as_ref();
        let workload = match (&self.namespace, &self.labels[..]) {
            (_, []) => workload(suite, self.namespace.as_ref(), None)?.0,
            (Some(namespace), labels) => Workload {
                namespace: namespace.clone(),
                labels: labels.iter().cloned().collect(),
            },
            (None, labels) => Workload {
                labels: labels.iter().cloned().collect(),
                ..workload(suite, None, None)?.0
            },
        };
        let (mesh, manifests, keys) = (
            self.scene.mesh(suite),
            self.scene.manifests(suite)?,
            self.scene.keys()?,
        );
        let translation = http_filters(&mesh, &manifests, &workload, None, &keys)?;
        for issuer in &translation.issuers_without_keys {
            say(format!(
                "note: no keys for {issuer}; one that refuses every token stands in \
                their place, as in istiod before Keycloak answers (--jwks {issuer}=FILE)"
            ));
        }
        match self.output {
            TranslateOutput::Json => {
                print_line(serde_json::to_string_pretty(&translation.filters)?)?;
            }
            TranslateOutput::Yaml => print(serde_saphyr::to_string(&translation.filters)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
