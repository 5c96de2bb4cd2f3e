//! The commands.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde_json::json;
use token_client::{
    ClientAuth, Config, Grant, OAuthSource, Policy, Secret, Token, TokenCache, batch, jwt,
};
use url::Url;

/// Obtains, shows and uses OAuth 2.0 access tokens.
///
/// Secrets are never taken as arguments: name a file (`-` is stdin) or set the
/// environment variable that the option names.
///
/// Exit code: 0 done, 1 refused (by the token endpoint, or a status of 400 and
/// up), 2 not possible.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Obtain a token and print it.
    Fetch {
        #[command(flatten)]
        client: ClientArgs,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show header and claims of the token on stdin. Verifies nothing.
    Inspect {
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Send requests, with or without a token.
    Call(CallArgs),
    /// Do nothing until told to end, so that a pod can be exec'd into.
    StandBy,
}

#[derive(Clone, Copy, Default, PartialEq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Where tokens come from.
#[derive(Args)]
struct ClientArgs {
    /// Token endpoint.
    #[arg(long, env = "TOKEN_CLIENT_ENDPOINT", value_name = "URL")]
    token_endpoint: Option<Url>,
    /// Client identifier.
    #[arg(long, env = "TOKEN_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// File with the client's secret, `-` for stdin. Otherwise
    /// TOKEN_CLIENT_SECRET is used; with neither, the client is public.
    #[arg(long, env = "TOKEN_CLIENT_SECRET_FILE", value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// How the secret is sent.
    #[arg(long, env = "TOKEN_CLIENT_AUTH", value_enum, default_value_t)]
    auth: AuthMethod,
    /// Scope to ask for; may be repeated.
    #[arg(
        long,
        env = "TOKEN_CLIENT_SCOPE",
        value_delimiter = ' ',
        value_name = "SCOPE"
    )]
    scope: Vec<String>,
    /// Ask as this user, by the password grant. For test users only.
    #[arg(long, env = "TOKEN_CLIENT_USERNAME", value_name = "NAME")]
    username: Option<String>,
    /// File with the user's password, `-` for stdin. Otherwise
    /// TOKEN_CLIENT_PASSWORD is used.
    #[arg(long, env = "TOKEN_CLIENT_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum AuthMethod {
    /// `client_secret_basic`: in the Authorization header.
    #[default]
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

#[derive(Args)]
struct CallArgs {
    /// Where to send a single request.
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    url: Option<String>,
    /// Read one JSON request a line from stdin, write one JSON answer a line.
    #[arg(long)]
    batch: bool,
    /// How many requests of a batch may be under way at once.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "batch")]
    in_flight: usize,
    /// HTTP method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A further header, `name: value`; may be repeated. Not for secrets.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// File with the body, `-` for stdin.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// File with a token to send, `-` for stdin, instead of fetching one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send no token even if a client is configured.
    #[arg(long, conflicts_with = "token_file")]
    no_token: bool,
    /// Longest time for the whole call, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout_ms: u64,
    /// What to print: the body, or the whole answer as JSON.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

#[tokio::main]
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Fetch { client, output } => fetch(&client, output).await,
        Command::Inspect { output } => inspect(output),
        Command::Call(args) if args.batch => {
            let stdin = tokio::io::BufReader::new(tokio::io::stdin());
            batch::run(stdin, tokio::io::stdout(), args.in_flight).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Call(args) => call(args).await,
        Command::StandBy => stand_by().await,
    }
}

async fn fetch(client: &ClientArgs, output: Output) -> anyhow::Result<ExitCode> {
    let cache = client
        .cache()?
        .context("which client? give --client-id and --token-endpoint")?;
    let token = match cache.get().await {
        Ok(token) => token,
        Err(error) => return refused(error),
    };
    match output {
        Output::Text => print(token.expose())?,
        Output::Json => print(&json(&token))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(error: token_client::TokenError) -> anyhow::Result<ExitCode> {
    match error {
        token_client::TokenError::Rejected { .. } => {
            eprintln!("token-client: {error}");
            Ok(ExitCode::from(1))
        }
        token_client::TokenError::Unavailable { .. } => Err(error.into()),
    }
}

/// As in a token response (RFC 6749 §5.1).
fn json(token: &Token) -> String {
    let mut response = json!({
        "access_token": token.expose(),
        "token_type": "Bearer",
        "expires_in": token.lifetime().as_secs(),
    });
    if let Some(scope) = token.scope() {
        response["scope"] = scope.into();
    }
    response.to_string()
}

fn inspect(output: Output) -> anyhow::Result<ExitCode> {
    let text = read_secret(Path::new("-"))?;
    let token = jwt::decode(text.expose_secret()).context("stdin holds no JWT")?;
    let expired = token.moment("exp").map(|end| end <= SystemTime::now());
    match output {
        Output::Text => {
            let verdict = match expired {
                Some(true) => "EXPIRED",
                Some(false) => "not expired",
                None => "without an end (no exp)",
            };
            print(&format!(
                "Nothing is verified here: not the signature, not the issuer, not the audience.\n\
                 header {:#}\nclaims {:#}\n{verdict}",
                serde_json::Value::from(token.header),
                serde_json::Value::from(token.claims),
            ))?;
        }
        Output::Json => print(
            &json!({
                "verified": false,
                "expired": expired,
                "header": token.header,
                "claims": token.claims,
            })
            .to_string(),
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn call(args: CallArgs) -> anyhow::Result<ExitCode> {
    let mut request = batch::Request::get("call", args.url.expect("must be there: clap saw to it"));
    request.method = args.method;
    request.headers = args.headers;
    request.timeout_ms = args.timeout_ms;
    if let Some(path) = &args.body_file {
        request.body = Some(read_text(path)?.to_string());
    }
    if let Some(path) = &args.token_file {
        let token = read_secret(path)?;
        request.headers.push((
            "authorization".to_owned(),
            format!("Bearer {}", token.expose_secret()),
        ));
    } else if !args.no_token
        && let Some(cache) = args.client.cache()?
    {
        let token = match cache.get().await {
            Ok(token) => token,
            Err(error) => return refused(error),
        };
        request.headers.push((
            "authorization".to_owned(),
            format!("Bearer {}", token.expose()),
        ));
    }
    let answer = batch::Sender::new().send(request).await;
    if args.output == Output::Json {
        print(&serde_json::to_string(&answer)?)?;
    }
    let Some(response) = answer.response() else {
        bail!("no answer: {}", answer.error().unwrap_or_default());
    };
    if args.output == Output::Text {
        eprintln!("HTTP {}", response.status);
        print(&response.body)?;
    }
    Ok(ExitCode::from(u8::from(response.status >= 400)))
}

async fn stand_by() -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl ClientArgs {
    /// A cache for the client that the options describe, if they name one.
    fn cache(&self) -> anyhow::Result<Option<TokenCache>> {
        let Some(client_id) = &self.client_id else {
            return Ok(None);
        };
        let endpoint = self
            .token_endpoint
            .clone()
            .context("no token endpoint: give --token-endpoint or set TOKEN_CLIENT_ENDPOINT")?;
        let secret = secret(self.client_secret_file.as_deref(), "TOKEN_CLIENT_SECRET")?;
        let mut config = Config::client_credentials(
            endpoint,
            client_id,
            secret.clone().unwrap_or_else(|| Secret::value("")),
        );
        config.auth = match (secret, self.auth) {
            (None, _) => ClientAuth::None,
            (Some(secret), AuthMethod::Basic) => ClientAuth::Basic(secret),
            (Some(secret), AuthMethod::Post) => ClientAuth::Post(secret),
        };
        config.scope.clone_from(&self.scope);
        if let Some(username) = &self.username {
            let password = secret_of_user(self.password_file.as_deref(), username)?;
            config.grant = Grant::Password {
                username: username.clone(),
                password,
            };
        }
        Ok(Some(TokenCache::new(
            OAuthSource::new(config)?,
            Policy::default(),
        )))
    }
}

fn secret_of_user(path: Option<&Path>, username: &str) -> anyhow::Result<Secret> {
    secret(path, "TOKEN_CLIENT_PASSWORD")?.with_context(|| {
        format!("no password for {username}: give --password-file or set TOKEN_CLIENT_PASSWORD")
    })
}

fn secret(path: Option<&Path>, variable: &str) -> anyhow::Result<Option<Secret>> {
    Ok(match path {
        Some(path) if path == Path::new("-") => Some(Secret::value(read_secret(path)?)),
        Some(path) => Some(Secret::file(path)),
        None => match std::env::var(variable) {
            Ok(value) if value.is_empty() => None,
            Ok(value) => Some(Secret::value(value)),
            Err(std::env::VarError::NotPresent) => None,
            Err(error) => bail!("{variable}: {error}"),
        },
    })
}

fn read_secret(path: &Path) -> anyhow::Result<SecretString> {
    let text = read_text(path)?;
    let secret = text.trim();
    ensure!(!secret.is_empty(), "{} is empty", name(path));
    Ok(secret.into())
}

/// A file's text, or stdin's for `-`.
fn read_text(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    }
    .with_context(|| format!("cannot read {}", name(path)))?;
    Ok(text)
}

fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A line on stdout. A reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
