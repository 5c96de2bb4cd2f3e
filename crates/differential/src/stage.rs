//! The live side: one Envoy, a sidecar's listener for each round, and the model
//! beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::answer::{Answer, Reply, predict};
use super::grammar::Round;
use super::proxy::Proxy;
use super::scene::{Call, NotAskable, Rules, SERVER_NAMES, SOURCE, Scene, Sidecar};
use super::token::Keyring;
use super::upstream::Upstream;
use super::wire::{CASE_HEADER, Client, Received};
use envoy::{AccessLog, Authority, Bootstrap, Certificate, Inbound};
use harness::poll::{Poll, Step, TimedOut};

/// From an answer to its record; Envoy writes every 10 ms.
const RECORD: Duration = Duration::from_secs(10);
const UPSTREAM: &str = "upstream";
/// Sidecars that can be there at the same time.
pub const SIDECARS: usize = 64;

/// An Envoy, and callers with certificates that it accepts.
#[derive(Debug)]
pub struct Stage {
    proxy: Proxy,
    _upstream: Upstream,
    folder: TempDir,
    authority: Authority,
    certificate: Certificate,
    client: Arc<Client>,
    keyring: Arc<Keyring>,
    records: Records,
    ports: [Ports; 2],
    generation: usize,
}

/// A round that can be asked.
#[derive(Debug)]
pub struct Askable {
    round: Round,
    rules: Rules,
}

impl Askable {
    /// Fails if there is no such sidecar.
    pub fn new(round: Round, keyring: &Keyring) -> Result<Self, NotAskable> {
        let rules = round.sidecar.rules(keyring)?;
        // CUSTOM and Wasm parse but do not translate.
        rules.on_ports(&[0])?;
        Ok(Self { round, rules })
    }
}

/// A call and what both sides say about it.
#[derive(Debug)]
pub struct Judged {
    sidecar: Arc<Sidecar>,
    call: Call,
    /// What the model says.
    pub model: Answer,
    /// What Envoy did.
    pub envoy: Answer,
}

impl Judged {
    /// Whether both say the same.
    pub fn agrees(&self) -> bool {
        self.model.agrees_with(&self.envoy)
    }

    /// The call and its sidecar.
    pub fn scene(&self) -> Scene {
        Scene {
            sidecar: Sidecar::clone(&self.sidecar),
            call: self.call.clone(),
            ..Scene::default()
        }
    }

    /// The kinds of both answers.
    pub fn kinds(&self) -> (String, String) {
        (self.model.kind(), self.envoy.kind())
    }
}

impl Stage {
    /// Starts Envoy.
    pub async fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::generate()?;
        let names: Vec<_> = SERVER_NAMES.into_iter().chain(["127.0.0.1"]).collect();
        let certificate = authority.issue("cluster.local/ns/demo/sa/backend", &names)?;
        let upstream = folder.path().join("upstream.sock");
        let bootstrap = Bootstrap {
            clusters: vec![upstream_cluster(&upstream)],
            ..Bootstrap::default()
        };
        let upstream = Upstream::start(&upstream)?;
        let proxy = Proxy::start(binary, folder.path(), &bootstrap).await?;
        Ok(Self {
            proxy,
            _upstream: upstream,
            client: Arc::new(Client::new(&authority)?),
            keyring: Arc::new(Keyring::generate()?),
            records: Records::open(&folder.path().join("access.log"))?,
            folder,
            authority,
            certificate,
            ports: [Ports::reserve()?, Ports::reserve()?],
            generation: 0,
        })
    }

    /// The keys that scenes may name.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.clone()
    }

    /// Asks all calls of all rounds, at most [`SIDECARS`], at the same time.
    pub async fn judge(&mut self, rounds: Vec<Askable>) -> Result<Vec<Judged>> {
        assert!(rounds.len() <= SIDECARS, "there are ports for {SIDECARS}");
        self.generation += 1;
        // The ports of the last generation are still held by its listeners.
        let ports = self.ports[self.generation % 2].numbers.clone();
        let names: Vec<_> = (0..rounds.len())
            .map(|index| format!("{}.{index}", self.generation))
            .collect();
        let listeners: Vec<Value> = names
            .iter()
            .zip(&rounds)
            .zip(&ports)
            .map(|((name, round), port)| self.listener(name, *port, round))
            .collect::<Result<_>>()?;
        let listening = self.proxy.swap(&listeners).await?;

        let mut tasks = JoinSet::new();
        for ((name, round), port) in names.into_iter().zip(rounds).zip(ports) {
            let (client, keyring) = (self.client.clone(), self.keyring.clone());
            let port = listening.contains(&name).then_some(port);
            tasks.spawn(async move { ask(&name, port, round, &client, &keyring).await });
        }
        let mut asked = Vec::new();
        while let Some(done) = tasks.join_next().await {
            asked.extend(done??);
        }
        self.note_details(asked).await
    }

    fn listener(&self, name: &str, port: u16, askable: &Askable) -> Result<Value> {
        let Askable { round, rules } = askable;
        let ports: BTreeSet<u16> = round
            .calls
            .iter()
            .map(|call| call.connection.port)
            .collect();
        let ports: Vec<_> = ports.into_iter().collect();
        let inbound = Inbound {
            name,
            address: SocketAddr::new(SOURCE, port),
            ports: &rules.on_ports(&ports)?,
            certificate: &self.certificate,
            root_pem: self.authority.root_pem(),
            mesh: &rules.mesh,
            cluster: UPSTREAM,
            proxy_protocol: true,
            access_log: &AccessLog {
                path: &self.folder.path().join("access.log"),
                fields: &[
                    ("case", &format!("%REQ({CASE_HEADER})%")),
                    ("line", "%DOWNSTREAM_REMOTE_PORT%"),
                    ("details", "%RESPONSE_CODE_DETAILS%"),
                ],
            },
        };
        Ok(inbound.render())
    }

    /// Completes the answers by what the access log says about them.
    async fn note_details(&mut self, asked: Vec<Asked>) -> Result<Vec<Judged>> {
        let awaited: Vec<_> = asked
            .iter()
            .filter_map(|one| match (&one.got, &one.model) {
                (Got::Received(Received::Response(response)), _) => {
                    Some((one.case.as_str(), response.line))
                }
                // Most closed connections are not recorded: only what the model
                // says is worth the wait.
                (Got::Received(Received::Closed(Some(line))), Answer::Closed(Some(_))) => {
                    Some((one.case.as_str(), *line))
                }
                _ => None,
            })
            .collect();
        let mut details = self.records.wait_for(&awaited).await?;
        let judged = asked.into_iter().map(|one| {
            let envoy = match one.got {
                Got::Received(Received::Response(response)) => {
                    let details = details.take(&one.case, response.line);
                    Answer::Reply(Reply::new(response, details.unwrap_or_default()))
                }
                Got::Received(Received::Closed(line)) => {
                    Answer::Closed(line.and_then(|line| details.take(&one.case, line)))
                }
                Got::NoListener => Answer::ConfigurationRefused,
            };
            Judged {
                sidecar: one.sidecar,
                call: one.call,
                model: one.model,
                envoy,
            }
        });
        Ok(judged.collect())
    }
}

/// Ports that nobody else gets. Envoy is not left to find free ones: it would
/// give a new listener the socket of any old one that wanted a free port, too.
#[derive(Debug)]
struct Ports {
    numbers: Vec<u16>,
    /// Bound, but not listening, and shared with Envoy by `SO_REUSEPORT`.
    _held: Vec<TcpSocket>,
}

impl Ports {
    fn reserve() -> Result<Self> {
        let mut numbers = Vec::with_capacity(SIDECARS);
        let mut held = Vec::with_capacity(SIDECARS);
        for _ in 0..SIDECARS {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseport(true)?;
            socket.bind(SocketAddr::new(SOURCE, 0))?;
            numbers.push(socket.local_addr()?.port());
            held.push(socket);
        }
        Ok(Self {
            numbers,
            _held: held,
        })
    }
}

/// A call that was made, before its record is known.
struct Asked {
    case: String,
    sidecar: Arc<Sidecar>,
    call: Call,
    model: Answer,
    got: Got,
}

enum Got {
    Received(Received),
    NoListener,
}

/// Makes a round's calls, those of one connection one after the other.
async fn ask(
    name: &str,
    port: Option<u16>,
    Askable { round, rules }: Askable,
    client: &Client,
    keyring: &Keyring,
) -> Result<Vec<Asked>> {
    let sidecar = Arc::new(round.sidecar);
    let mut connections: BTreeMap<_, Vec<(String, Call)>> = BTreeMap::new();
    for (index, call) in round.calls.into_iter().enumerate() {
        let calls = connections.entry(call.connection.clone()).or_default();
        calls.push((format!("{name}.{index}"), call));
    }
    let asked = connections.into_iter().map(async |(connection, calls)| {
        let now = u64::try_from(Timestamp::now().as_second())?;
        let requests = calls
            .iter()
            .map(|(case, call)| Ok((case.clone(), call.request(keyring, now)?)))
            .collect::<Result<Vec<_>>>()?;
        let answers: Vec<_> = match port {
            None => calls.iter().map(|_| Got::NoListener).collect(),
            Some(port) => {
                let received = client.ask(port, &connection, &requests).await?;
                received.into_iter().map(Got::Received).collect()
            }
        };
        let asked = calls.into_iter().zip(&requests).zip(answers);
        anyhow::Ok(
            asked
                .map(|(((case, call), (_, request)), got)| Asked {
                    model: predict(&rules, &call, request, now),
                    case,
                    sidecar: sidecar.clone(),
                    call,
                    got,
                })
                .collect::<Vec<_>>(),
        )
    });
    let asked = futures::future::try_join_all(asked).await?;
    Ok(asked.into_iter().flatten().collect())
}

fn upstream_cluster(socket: &Path) -> Value {
    let endpoint = json!({"endpoint": {"address": {"pipe": {"path": socket}}}});
    json!({
        "name": UPSTREAM,
        "type": "STATIC",
        "loadAssignment": {
            "clusterName": UPSTREAM,
            "endpoints": [{"lbEndpoints": [endpoint]}],
        },
    })
}

/// The access log, read as it grows.
#[derive(Debug)]
struct Records {
    file: File,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Records {
    fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        Ok(Self {
            file,
            rest: Vec::new(),
        })
    }

    /// The records of these calls, made over these lines. One that does not come
    /// has no details, which is a disagreement.
    async fn wait_for(&mut self, calls: &[(&str, u16)]) -> Result<Details> {
        let mut details = Details::default();
        let all = Poll::new("records in the access log", RECORD)
            .every(Duration::from_millis(5))
            .until(async || {
                self.read(&mut details)?;
                let missing = calls
                    .iter()
                    .filter(|(case, line)| !details.has(case, *line));
                Ok(match missing.count() {
                    0 => Step::Done(()),
                    count => Step::NotYet(format!("{count} of {} are missing", calls.len())),
                })
            })
            .await;
        match all {
            Err(error) if !error.is::<TimedOut>() => Err(error),
            _ => Ok(details),
        }
    }

    fn read(&mut self, details: &mut Details) -> Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        for line in self.rest[..end].split(|byte| *byte == b'\n') {
            let record: Record = serde_json::from_slice(line)?;
            match record.case {
                Some(case) => details.by_case.insert(case, record.details),
                None => details.by_line.insert(record.line, record.details),
            };
        }
        self.rest.drain(..=end);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Record {
    case: Option<String>,
    line: u16,
    #[serde(default)]
    details: String,
}

/// Details of answers. A request that Envoy cannot read has no case for it: it is
/// the last of its line.
#[derive(Default)]
struct Details {
    by_case: HashMap<String, String>,
    by_line: HashMap<u16, String>,
}

impl Details {
    fn has(&self, case: &str, line: u16) -> bool {
        self.by_case.contains_key(case) || self.by_line.contains_key(&line)
    }

    fn take(&mut self, case: &str, line: u16) -> Option<String> {
        let by_line = || self.by_line.remove(&line);
        self.by_case.remove(case).or_else(by_line)
    }
}
