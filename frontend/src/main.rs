//! Starts the frontend; everything else is in the libraries.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use frontend::{Backend, app};
use reqwest::Url;
use service::{Drain, seconds};
use token_client::{Config, ConnectTo, Endpoint, OAuthSource, Policy, Secret, TokenCache};

/// The service that calls the backend as itself, with a token from Keycloak.
///
/// The client's secret comes from a file (--client-secret-file) or from the
/// variable CLIENT_SECRET. Logs are JSON lines on stderr; RUST_LOG sets the
/// level (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on
    #[arg(long, env = "FRONTEND_ADDR", default_value = "0.0.0.0:8080")]
    addr: SocketAddr,

    /// Where the backend's data is; plain HTTP, as the mesh encrypts
    #[arg(long, env, default_value = "http://backend.demo.svc.cluster.local/data", value_name = "URL", value_parser = http_url)]
    backend_url: Url,

    /// Seconds that the backend may take to answer
    #[arg(long, env, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    backend_timeout: Duration,

    /// Who issues our tokens, such as http://HOST/realms/NAME; its metadata
    /// names the token endpoint, and is asked for when a token is first needed
    #[arg(long, env, value_name = "URL", value_parser = http_issuer, required_unless_present = "token_endpoint")]
    issuer: Option<String>,

    /// The token endpoint itself, whatever the issuer says
    #[arg(long, env, value_name = "URL", value_parser = http_url)]
    token_endpoint: Option<Url>,

    /// Our client at the issuer
    #[arg(long, env, value_name = "ID")]
    client_id: String,

    /// File with the client's secret; read again for each token
    #[arg(long, env, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    /// Connect here, whatever host a URL names: the sidecar, where nothing
    /// redirects connections to it
    #[arg(long, env, value_name = "IP:PORT")]
    connect_to: Option<SocketAddr>,

    #[command(flatten)]
    drain: Drain,
}

impl Args {
    fn endpoint(&self) -> Endpoint {
        match (&self.token_endpoint, &self.issuer) {
            (Some(endpoint), _) => Endpoint::Token(endpoint.clone()),
            (None, Some(issuer)) => Endpoint::Issuer(issuer.clone()),
            (None, None) => unreachable!("clap demands one of the two"),
        }
    }

    /// Read once here so that a secret that is not there shows at the start.
    fn client_secret(&self) -> anyhow::Result<Secret> {
        let secret = match (&self.client_secret_file, env::var("CLIENT_SECRET")) {
            (Some(file), _) => Secret::file(file),
            (None, Ok(secret)) if !secret.is_empty() => Secret::value(secret),
            (None, _) => bail!("no client secret: set CLIENT_SECRET_FILE or CLIENT_SECRET"),
        };
        secret.read()?;
        Ok(secret)
    }
}

fn http(connect_to: Option<SocketAddr>) -> reqwest::ClientBuilder {
    let http = reqwest::Client::builder();
    match connect_to {
        Some(address) => http.dns_resolver(Arc::new(ConnectTo(address))),
        None => http,
    }
}

fn http_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse()?;
    ensure!(
        url.scheme() == "http",
        "must begin with http://: the mesh encrypts, this program has no TLS"
    );
    Ok(url)
}

/// As given: an issuer is compared letter by letter.
fn http_issuer(text: &str) -> anyhow::Result<String> {
    http_url(text)?;
    Ok(text.to_owned())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config =
        Config::client_credentials(args.endpoint(), &args.client_id, args.client_secret()?);
    let source = OAuthSource::with_http(config, http(args.connect_to))?;
    let tokens = TokenCache::new(source, Policy::default());
    let backend = Backend::new(
        args.backend_url,
        args.backend_timeout,
        tokens.clone(),
        http(args.connect_to),
    )?;
    service::run(args.addr, args.drain, |shutdown| {
        app(backend, tokens, shutdown)
    })
    .await?;
    Ok(())
}
