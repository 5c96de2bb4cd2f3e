//! `mesh explain` and `mesh translate`: answers from manifests alone.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use policy::{
    KeySets, Manifests, Mesh, Peer, Question, Request, Style, Token, Verdict, Workload, explain,
    http_filters,
};

use crate::report::colours;
use crate::workspace;

/// The resources and the workload that a question is about.
#[derive(Debug, Args)]
struct Scene {
    /// Files or folders of manifests [default: the project's apps and policy]
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace whose policies apply everywhere
    #[arg(long, default_value = "istio-system")]
    root_namespace: String,
    /// An issuer's key set: without it, no signature of that issuer can be judged
    #[arg(long, value_name = "ISSUER=FILE", value_parser = assignment)]
    jwks: Vec<(String, String)>,
}

impl Scene {
    fn mesh(&self) -> Mesh {
        Mesh {
            root_namespace: self.root_namespace.clone(),
            ..Mesh::default()
        }
    }

    fn manifests(&self) -> Result<Manifests> {
        let defaults = [
            workspace::path("manifests/apps"),
            workspace::path("manifests/policy"),
        ];
        let given = if self.files.is_empty() {
            &defaults[..]
        } else {
            &self.files
        };
        let mut texts = Vec::new();
        for path in given {
            read_yaml_files(path, &mut texts)?;
        }
        let texts = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(Manifests::parse_all(texts)?)
    }

    fn keys(&self) -> Result<KeySets> {
        let read = |(issuer, file): &(String, String)| Ok((issuer.clone(), read(Path::new(file))?));
        self.jwks.iter().map(read).collect()
    }
}

/// Why a token and a request get what they get, from manifests alone
///
/// Exit codes: 0 allowed, 1 refused, 3 unknown because an input was not given,
/// 2 a question that cannot be asked.
#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    scene: Scene,
    /// The file that holds the token, `-` for standard input; without it, and
    /// without --no-token, whether there is a token is not known
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The request carries no token
    #[arg(long, conflicts_with = "token_file")]
    no_token: bool,
    /// HTTP method
    #[arg(long, default_value = "GET")]
    method: String,
    /// Path, with its query if it has one
    #[arg(long, default_value = "/data")]
    path: String,
    /// Host header
    #[arg(long)]
    host: Option<String>,
    /// A further header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = assignment)]
    headers: Vec<(String, String)>,
    /// The workload whose sidecar decides: its label `app`
    #[arg(long, default_value = "backend")]
    workload: String,
    /// The workload's namespace
    #[arg(long, default_value = "demo")]
    namespace: String,
    /// The pod's port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The caller's mTLS principal, such as cluster.local/ns/demo/sa/frontend
    #[arg(long)]
    principal: Option<String>,
    /// The caller speaks plain text, without a certificate
    #[arg(long, conflicts_with = "principal")]
    plaintext: bool,
    /// The caller's address
    #[arg(long)]
    source_ip: Option<IpAddr>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    output: ExplainOutput,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ExplainOutput {
    /// For people, one screen
    #[default]
    Text,
    /// For programs
    Json,
}

impl Explain {
    /// Prints the explanation.
    pub fn run(&self) -> Result<ExitCode> {
        let request = Request {
            host: self.host.clone(),
            headers: self.headers.clone(),
            port: Some(self.port),
            peer: match (&self.principal, self.plaintext) {
                (Some(principal), _) => Peer::mtls(principal),
                (None, true) => Peer::Plaintext,
                (None, false) => Peer::Unknown,
            },
            source_ip: self.source_ip,
            ..Request::new(&self.method, &self.path)
        };
        let explanation = explain(&Question {
            mesh: &self.scene.mesh(),
            manifests: &self.scene.manifests()?,
            workload: &Workload::app(&self.namespace, &self.workload),
            keys: &self.scene.keys()?,
            request: &request,
            token: &self.token()?,
            now: u64::try_from(Timestamp::now().as_second())?,
        });
        match self.output {
            ExplainOutput::Json => println!("{}", serde_json::to_string_pretty(&explanation)?),
            ExplainOutput::Text => print!("{}", explanation.render(Style { colour: colours() })),
        }
        Ok(match explanation.verdict {
            Verdict::Allowed => ExitCode::SUCCESS,
            Verdict::Refused => ExitCode::from(1),
            Verdict::Unknown => ExitCode::from(3),
        })
    }

    fn token(&self) -> Result<Token> {
        let Some(file) = &self.token_file else {
            return Ok(if self.no_token {
                Token::None
            } else {
                Token::Unknown
            });
        };
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input")?;
            text
        } else {
            read(file)?
        };
        let token = text.trim();
        if token.is_empty() {
            bail!(
                "{}: no token in it; for a request without one say --no-token",
                file.display()
            );
        }
        Ok(Token::Bearer(token.into()))
    }
}

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

/// Reads a YAML file, or every one below a folder.
fn read_yaml_files(path: &Path, texts: &mut Vec<(String, String)>) -> Result<()> {
    if !path.is_dir() {
        texts.push((path.display().to_string(), read(path)?));
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| path.display().to_string())?;
    entries.sort();
    for entry in entries {
        let is_yaml = entry
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml");
        let is_kustomization = entry.file_stem().is_some_and(|it| it == "kustomization");
        if entry.is_dir() || (is_yaml && !is_kustomization) {
            read_yaml_files(&entry, texts)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` has no `=`"))
}
