//! `mesh explain`: why a token and a request get what they get.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use policy::{
    Explanation, Mesh, Peer, Question, Request, Style, Token, Verdict, Workload, explain, findings,
};

use crate::place::Place;
use crate::scene::{Scene, assignment, read, workload};
use harness::output::{print, print_line};
use harness::report::colours;
use harness::suite::Suite;

/// Why a token and a request get what they get, from manifests alone
///
/// With --case or --replay, keys and tokens come from a mesh that stands, which
/// --stage, --name or --context says.
///
/// Exit codes: 0 allowed, 1 refused, or replayed with another outcome than
/// predicted, 3 unknown because an input was not given, 2 a question that
/// cannot be asked.
#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub(super) scene: Scene,
    /// The mesh that --case and --replay ask
    #[command(flatten)]
    pub place: Place,
    /// Take token, request and caller from this row of the table
    #[arg(
        long, value_name = "NAME", conflicts_with_all = ["token_file", "no_token", "method",
        "path", "host", "headers", "workload", "namespace", "port", "caller"]
    )]
    pub(super) case: Option<String>,
    /// Send the same request and set prediction and evidence side by side
    #[arg(long, conflicts_with_all = ["principal", "plaintext", "source_ip"])]
    pub(super) replay: bool,
    /// The file that holds the token, `-` for standard input; without it, and
    /// without --no-token, whether there is a token is not known
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The request carries no token
    #[arg(long, conflicts_with = "token_file")]
    pub(super) no_token: bool,
    /// HTTP method
    #[arg(long, default_value = "GET")]
    pub(super) method: String,
    /// Path, with its query if it has one [default: the suite's usual one, or /]
    #[arg(long)]
    pub(super) path: Option<String>,
    /// Host header
    #[arg(long)]
    pub(super) host: Option<String>,
    /// A further header
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(super) headers: Vec<(String, String)>,
    /// The workload whose sidecar decides: its label `app` [default: the one that
    /// the suite asks]
    #[arg(long)]
    pub(super) workload: Option<String>,
    /// The workload's namespace [default: that of the one that the suite asks]
    #[arg(long)]
    pub(super) namespace: Option<String>,
    /// The pod's port [default: the workload's port named `http`]
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// The suite's caller that the request leaves from
    #[arg(long, value_name = "NAME")]
    pub(super) caller: Option<String>,
    /// The caller's mTLS principal, such as cluster.local/ns/demo/sa/frontend
    #[arg(long, conflicts_with_all = ["caller", "case"])]
    principal: Option<String>,
    /// The caller speaks plain text, without a certificate
    #[arg(long, conflicts_with_all = ["principal", "caller", "case"])]
    plaintext: bool,
    /// The caller's address
    #[arg(long)]
    source_ip: Option<IpAddr>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: ExplainOutput,
    /// Print the page about a known mistake, such as MO0008; without a code, list
    /// them all
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = ALL, exclusive = true)]
    code: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ExplainOutput {
    /// For people, one screen
    #[default]
    Text,
    /// For programs
    Json,
}

/// The code that stands for every one.
const ALL: &str = "all";

/// The page about a mistake, or all of them in a line each.
fn print_page(code: &str) -> Result<ExitCode> {
    if code == ALL {
        for (code, title) in findings::CODES {
            print_line(format_args!("{code}  {title}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match findings::page(&code.to_ascii_uppercase()) {
        Some(page) => print(page)?,
        None => bail!("no mistake has the code `{code}`; `mesh explain --code` lists them"),
    }
    Ok(ExitCode::SUCCESS)
}

impl Explain {
    /// Whether a mesh that stands has a part in the answer.
    pub fn needs_stage(&self) -> bool {
        self.replay || self.case.is_some()
    }

    /// Explains from manifests alone.
    pub fn run(&self) -> Result<ExitCode> {
        if let Some(code) = &self.code {
            return print_page(code);
        }
        let suite = self.scene.suite()?;
        let suite = suite.as_ref();
        let mesh = self.scene.mesh(suite);
        let (workload, port) = self.asked_workload(suite)?;
        let request = Request {
            host: self.host.clone(),
            headers: self.headers.clone(),
            port,
            peer: self.peer(suite, &mesh)?,
            source_ip: self.source_ip,
            ..Request::new(&self.method, &self.asked_path(suite))
        };
        let explanation = explain(&Question {
            mesh: &mesh,
            manifests: &self.scene.manifests(suite)?,
            workload: &workload,
            keys: &self.scene.keys()?,
            request: &request,
            token: &self.token()?,
            now: u64::try_from(Timestamp::now().as_second())?,
        });
        match self.output {
            ExplainOutput::Json => print_line(serde_json::to_string_pretty(&explanation)?)?,
            ExplainOutput::Text => print(explanation.render(style()))?,
        }
        Ok(exit(&explanation))
    }

    /// Whose sidecar decides, and the port of its pod.
    pub(super) fn asked_workload(&self, suite: Option<&Suite>) -> Result<(Workload, Option<u16>)> {
        let (workload, port) = workload(suite, self.namespace.as_ref(), self.workload.as_ref())?;
        Ok((workload, self.port.or(port)))
    }

    pub(super) fn asked_path(&self, suite: Option<&Suite>) -> String {
        let usual = suite.map_or("/", |suite| &suite.request.path);
        self.path.clone().unwrap_or_else(|| usual.to_owned())
    }

    fn peer(&self, suite: Option<&Suite>, mesh: &Mesh) -> Result<Peer> {
        Ok(match (&self.principal, &self.caller) {
            (Some(principal), _) => Peer::mtls(principal),
            (None, Some(caller)) => {
                let suite = suite.context("--caller names a suite's, and there is no suite")?;
                suite.caller(caller)?.peer(mesh)
            }
            (None, None) if self.plaintext => Peer::Plaintext,
            (None, None) => Peer::Unknown,
        })
    }

    pub(super) fn token(&self) -> Result<Token> {
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

pub(super) fn style() -> Style {
    Style { colour: colours() }
}

pub(super) fn exit(explanation: &Explanation) -> ExitCode {
    match explanation.verdict {
        Verdict::Allowed => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(3),
    }
}
