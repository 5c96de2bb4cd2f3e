//! The commands.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde_json::json;
use token_client::{Token, TokenCache, TokenError, batch, token_is_refused};
use tokio::time::Instant;

use crate::{client_args::ClientArgs, inspect};

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
        /// Keep the token up to date until told to end, and print a line, with
        /// no token in it, each time that it turns or cannot be had.
        #[arg(long, conflicts_with = "output")]
        watch: bool,
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
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
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
        Command::Fetch {
            client,
            output,
            watch,
        } => {
            let cache = client
                .cache()?
                .context("which client? give --client-id or set TOKEN_CLIENT_ID (see --help)")?;
            if watch {
                keep_watch(&cache).await
            } else {
                fetch(&cache, output).await
            }
        }
        Command::Inspect { output } => inspect::run(output),
        Command::Call(args) if args.batch => {
            let stdin = tokio::io::BufReader::new(tokio::io::stdin());
            batch::run(stdin, tokio::io::stdout(), args.in_flight).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Call(args) => call(args).await,
        Command::StandBy => told_to_end().await,
    }
}

async fn fetch(cache: &TokenCache, output: Output) -> anyhow::Result<ExitCode> {
    let token = match cache.get().await {
        Ok(token) => token,
        Err(error) => return no_token(error),
    };
    match output {
        Output::Text => print(token.expose())?,
        Output::Json => print(&json(&token))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks once a second, as a service with steady traffic would.
async fn keep_watch(cache: &TokenCache) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let line = |text: String| {
        print(&format!(
            "{:>7.1} s  {text}",
            started.elapsed().as_secs_f64()
        ))
    };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut shown: Option<Token> = None;
    let mut retry_at = None;
    let told_to_end = told_to_end();
    tokio::pin!(told_to_end);
    loop {
        match cache.get().await {
            Ok(token) if shown.as_ref().is_some_and(|shown| shown.is_same(&token)) => {}
            Ok(token) => {
                line(format!(
                    "a token that lives {} s",
                    token.lifetime().as_secs()
                ))?;
                (shown, retry_at) = (Some(token), None);
            }
            // One line for each attempt, not for each look.
            Err(error) if retry_at != Some(error.retry_at()) => {
                let pause = error.retry_after().as_secs_f64();
                line(format!("{error}; next attempt in {pause:.1} s"))?;
                retry_at = Some(error.retry_at());
            }
            Err(_) => {}
        }
        tokio::select! {
            _ = tick.tick() => {}
            ended = &mut told_to_end => return ended,
        }
    }
}

fn no_token(error: TokenError) -> anyhow::Result<ExitCode> {
    match error {
        TokenError::Rejected { .. } => {
            let _ = writeln!(std::io::stderr(), "token-client: {error}");
            Ok(ExitCode::from(1))
        }
        TokenError::Unavailable { .. } => Err(error.into()),
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

async fn call(args: CallArgs) -> anyhow::Result<ExitCode> {
    let mut request = batch::Request::get("call", args.url.expect("must be there: clap saw to it"));
    request.method = args.method;
    request.headers = args.headers;
    request.timeout_ms = args.timeout_ms;
    if let Some(path) = &args.body_file {
        request.body = Some(read_text(path)?.to_string());
    }
    let answer = match (&args.token_file, args.client.cache()?) {
        (Some(path), _) => send(request, read_secret(path)?.expose_secret()).await,
        (None, Some(cache)) if !args.no_token => match send_with_cache(request, &cache).await {
            Ok(answer) => answer,
            Err(error) => return no_token(error),
        },
        (None, _) => batch::Sender::new().send(request).await,
    };
    if args.output == Output::Json {
        print(&serde_json::to_string(&answer)?)?;
    }
    let Some(response) = answer.response() else {
        bail!("no answer: {}", answer.error().unwrap_or_default());
    };
    if args.output == Output::Text {
        let _ = writeln!(std::io::stderr(), "HTTP {}", response.status);
        print(&response.body)?;
    }
    Ok(ExitCode::from(u8::from(response.status >= 400)))
}

async fn send(mut request: batch::Request, token: &str) -> batch::Answer {
    request
        .headers
        .push(("authorization".to_owned(), format!("Bearer {token}")));
    batch::Sender::new().send(request).await
}

/// Once more with a fresh token if the first is refused, as
/// [`token_client::BearerClient`] does.
async fn send_with_cache(
    request: batch::Request,
    cache: &TokenCache,
) -> Result<batch::Answer, TokenError> {
    let token = cache.get().await?;
    let answer = send(request.clone(), token.expose()).await;
    let refused = answer.response().is_some_and(|response| {
        StatusCode::from_u16(response.status)
            .is_ok_and(|status| token_is_refused(status, &response.header_map()))
    });
    if !refused {
        return Ok(answer);
    }
    cache.invalidate(&token);
    Ok(send(request, cache.get().await?.expose()).await)
}

/// Waits for SIGTERM or Ctrl-C.
async fn told_to_end() -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn read_secret(path: &Path) -> anyhow::Result<SecretString> {
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

pub(crate) fn name(path: &Path) -> String {
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
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
