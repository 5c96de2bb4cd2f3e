//! Starts the frontend; everything else is in the library.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use frontend::{Backend, Drain, app, serve, shutdown_on_signal, subscriber};
use reqwest::Url;
use token_client::{Config, ConnectTo, OAuthSource, Policy, Secret, TokenCache};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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

    /// The Keycloak realm that issues our tokens, such as http://HOST/realms/NAME
    #[arg(long, env, value_name = "URL", value_parser = http_url, required_unless_present = "token_endpoint")]
    issuer: Option<Url>,

    /// The token endpoint, if it is not the issuer's
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

    /// Seconds to keep accepting after SIGTERM, no longer ready
    #[arg(long, env, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    drain_delay: Duration,

    /// Seconds that requests in flight may take after that
    #[arg(long, env, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    drain_grace: Duration,
}

impl Args {
    /// Given outright, or where a Keycloak realm has it.
    fn token_endpoint(&self) -> anyhow::Result<Url> {
        match (&self.token_endpoint, &self.issuer) {
            (Some(endpoint), _) => Ok(endpoint.clone()),
            (None, Some(issuer)) => {
                let realm = issuer.as_str().trim_end_matches('/');
                Ok(format!("{realm}/protocol/openid-connect/token").parse()?)
            }
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

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn http_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse()?;
    ensure!(
        url.scheme() == "http",
        "must begin with http://: the mesh encrypts, this program has no TLS"
    );
    Ok(url)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is not a filter such as `info` or `info,frontend=debug`")?;
    tracing::subscriber::set_global_default(subscriber(filter, io::stderr))?;

    let config = Config::client_credentials(
        args.token_endpoint()?,
        &args.client_id,
        args.client_secret()?,
    );
    let source = OAuthSource::with_http(config, http(args.connect_to))?;
    let backend = Backend::new(
        args.backend_url,
        args.backend_timeout,
        TokenCache::new(source, Policy::default()),
        http(args.connect_to),
    )?;

    let shutdown = shutdown_on_signal().context("cannot handle signals")?;
    let listener = TcpListener::bind(args.addr)
        .await
        .with_context(|| format!("cannot listen on {}", args.addr))?;
    let drain = Drain {
        delay: args.drain_delay,
        grace: args.drain_grace,
    };
    serve(listener, app(backend, shutdown.clone()), shutdown, drain).await?;
    Ok(())
}
