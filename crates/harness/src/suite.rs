//! A suite: a folder with `suite.yaml` and cases, and all that the harness knows
//! of a mesh.

pub mod grant;
pub mod manifest;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use policy::{Mesh, Peer, Workload};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::case::{Cases, Expected, ExpectedAnswer, grants_needed};
use crate::evidence::DecidedBy;
use crate::secrets::{ADMIN_PASSWORD, CA_CRT, TLS_CRT, TLS_KEY, part_name};
use grant::Grant;
use manifest::{Deployment, Service};
use yaml::{LoadError, Problem, read_yaml};

/// The file that makes a folder a suite.
pub const FILE: &str = "suite.yaml";

/// A suite, read and checked as a whole.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Where it lies.
    pub folder: PathBuf,
    /// Where its manifests are.
    pub manifests: Folders,
    /// Mesh-wide settings that change what policies mean.
    pub mesh: Mesh,
    /// Choices of rules; the first is in force unless the user says otherwise.
    pub profiles: Vec<Profile>,
    /// Keycloak's realms by name.
    pub realms: BTreeMap<String, Realm>,
    /// The Secrets that its pods read.
    pub secrets: Vec<SecretObject>,
    /// What runs the images that are built here.
    pub programs: Vec<Program>,
    /// The workloads that requests leave from; the first asks unless a case says
    /// otherwise.
    pub callers: Vec<Caller>,
    /// The tokens that Keycloak is asked for, by the names that cases have for
    /// them.
    pub grants: BTreeMap<String, Grant>,
    /// What is asked unless a case says otherwise.
    pub request: UsualRequest,
    /// What a positive control is.
    pub control: Control,
    /// Hostile requests, if it has any.
    pub attacks: Option<Attacks>,
    /// The table.
    pub cases: Cases,
    /// The Deployments behind the services.
    pub workloads: Vec<Deployment>,
    services: Vec<Service>,
    placeholders: BTreeSet<String>,
}

/// Where a suite's manifests are, relative to its folder: kustomizations, but
/// for the two files for `istioctl`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folders {
    /// The IstioOperator file that Istio is installed with.
    pub istio: PathBuf,
    /// An IstioOperator file that is added where the proxy is upstream's Envoy
    /// without Istio's own extensions.
    pub plain_envoy: Option<PathBuf>,
    /// What holds for the whole mesh, beside what a namespace says of itself:
    /// applied only to a cluster of our own.
    pub mesh_wide: Option<PathBuf>,
    /// Keycloak, with the realms to import.
    pub keycloak: PathBuf,
    /// The Dockerfile of Keycloak's image, which has the options of its build.
    pub keycloak_image: PathBuf,
    /// The workloads that are asked.
    pub workloads: PathBuf,
    /// The workloads that ask.
    pub callers: PathBuf,
}

/// A choice of rules.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name on the command line and in cases.
    pub name: String,
    /// The kustomization of its rules.
    pub rules: PathBuf,
}

/// A realm of Keycloak.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Realm {
    /// `iss` of its tokens, and where its endpoints are as seen from inside the
    /// mesh.
    pub issuer: String,
    /// The name that the realm import has for its private key. Without one,
    /// tokens like those of its grants cannot be minted.
    pub signing_key: Option<String>,
}

/// A Secret made of the values that fill the realm import, or of a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretObject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Values that are in it under their own names.
    #[serde(default)]
    pub values: Vec<String>,
    /// Values that are in it under other keys: the keys with the values' names.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// The host whose certificate is in it: `tls.crt`, `tls.key`, and in `ca.crt`
    /// the authority, made at set-up, which istiod is told to trust when it fetches
    /// keys.
    pub certificate_for: Option<String>,
}

impl SecretObject {
    /// What is in it: keys with the names of their values.
    pub fn content(&self) -> impl Iterator<Item = (String, String)> {
        let own = self.values.iter().map(|name| (name.clone(), name.clone()));
        let other = self.keys.iter();
        let other = other.map(|(key, name)| (key.clone(), name.clone()));
        own.chain(other).chain(self.certificate())
    }

    fn certificate(&self) -> impl Iterator<Item = (String, String)> {
        let host = self.certificate_for.iter();
        host.flat_map(|host| {
            [CA_CRT, TLS_CRT, TLS_KEY].map(|key| (key.to_owned(), part_name(host, key)))
        })
    }
}

/// What runs an image that is built here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The image's name in manifests.
    pub image: String,
    /// The cargo package, and the binary of that name.
    pub package: String,
    /// The environment variable that says where the program listens.
    pub listens_by: Option<String>,
}

/// A workload that requests leave from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name in cases.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub account: String,
    /// Its Deployment.
    pub deployment: String,
    /// Whether it has a sidecar: without one it speaks plain text and has no
    /// identity.
    pub has_sidecar: bool,
}

/// What is asked unless a case says otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsualRequest {
    /// The host, with a port if it is not 80.
    pub host: String,
    /// The path.
    pub path: String,
}

/// What a positive control is: a request that comes back with one of these
/// statuses, decided by this.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The lowest status of a success.
    pub least: u16,
    /// The highest.
    pub most: u16,
    /// Who decides about it.
    pub decided_by: DecidedBy,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            least: 200,
            most: 299,
            decided_by: DecidedBy::App,
        }
    }
}

impl Control {
    /// Whether a verdict is that of a positive control.
    pub fn admits(&self, expected: &Expected) -> bool {
        let statuses: RangeInclusive<u16> = self.least..=self.most;
        expected.decided_by == self.decided_by
            && matches!(&expected.answer, ExpectedAnswer::Http { status, .. } if statuses.contains(status))
    }
}

/// Hostile requests to a suite's mesh (`mesh attacks`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attacks {
    /// The folder of the corpus.
    pub folder: PathBuf,
    /// The caller that sends them unless an attack says otherwise.
    pub from: String,
    /// The workload that they go to unless an attack says otherwise.
    pub to: String,
}

/// A folder of manifests and cases, and all that is known of its mesh.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Suite")]
pub(crate) struct SuiteYaml {
    /// Where its manifests are, relative to this file.
    manifests: Folders,
    /// Mesh-wide settings that change what policies mean.
    #[serde(default)]
    mesh: Mesh,
    /// Choices of rules; the first is in force unless `--profile` names another.
    #[schemars(with = "Vec<Profile>")]
    profiles: Vec<Spanned<Profile>>,
    /// Keycloak's realms by name.
    realms: BTreeMap<String, Realm>,
    /// The Secrets that pods read.
    #[serde(default)]
    secrets: Vec<SecretObject>,
    /// What runs the images that are built here, where there is no Docker.
    #[serde(default)]
    programs: Vec<Program>,
    /// The workloads that requests leave from; the first asks unless a case says
    /// otherwise.
    #[schemars(with = "Vec<CallerYaml>")]
    callers: Vec<Spanned<CallerYaml>>,
    /// The tokens that Keycloak is asked for, by the names that cases have for
    /// them.
    #[schemars(with = "BTreeMap<String, Grant>")]
    grants: BTreeMap<String, Spanned<Grant>>,
    /// What is asked unless a case says otherwise.
    #[schemars(with = "UsualRequest")]
    request: Spanned<UsualRequest>,
    /// What a positive control is.
    #[serde(default)]
    control: Control,
    /// Hostile requests (`mesh attacks`), if it has any.
    #[schemars(with = "Option<Attacks>")]
    attacks: Option<Spanned<Attacks>>,
    /// The folder of the cases, relative to this file.
    #[serde(default = "cases_folder")]
    cases: PathBuf,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Caller")]
struct CallerYaml {
    /// Its name in cases.
    name: String,
    /// Its service account, `NAMESPACE/ACCOUNT`, which is its mTLS identity.
    service_account: String,
}

fn cases_folder() -> PathBuf {
    "cases".into()
}

impl Suite {
    /// Reads a suite's folder and checks it as a whole: every problem is told,
    /// with file and line.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let file = folder.join(FILE);
        let yaml: SuiteYaml = read_yaml(&file)?;
        let mut wrong = Wrong {
            file: &file,
            problems: Vec::new(),
        };
        let mut objects = |relative: &Path| -> Result<Vec<Value>, LoadError> {
            match manifest::objects(&folder.join(relative)) {
                Ok(objects) => Ok(objects),
                Err(error) => error.add_to(&mut wrong.problems).map(|()| Vec::new()),
            }
        };
        let workloads = objects(&yaml.manifests.workloads)?;
        let callers = objects(&yaml.manifests.callers)?;
        let placeholders = placeholders(&objects(&yaml.manifests.keycloak)?);
        for profile in &yaml.profiles {
            objects(&profile.value.rules)?;
        }
        // The callers' namespaces may be among the workloads' manifests.
        let all: Vec<_> = callers.iter().chain(&workloads).cloned().collect();
        let askers = manifest::deployments(&all);
        let mut suite = Self {
            folder: folder.to_owned(),
            manifests: yaml.manifests,
            mesh: yaml.mesh,
            profiles: Vec::new(),
            realms: yaml.realms,
            secrets: yaml.secrets,
            programs: yaml.programs,
            callers: Vec::new(),
            grants: BTreeMap::new(),
            request: yaml.request.value,
            control: yaml.control,
            attacks: None,
            cases: Cases::default(),
            placeholders,
            services: manifest::services(&workloads),
            workloads: manifest::deployments(&workloads),
        };
        let lines = Lines::of(&yaml.callers, &yaml.grants);
        suite.add_profiles(yaml.profiles, &mut wrong);
        suite.add_callers(yaml.callers, &askers, &mut wrong);
        suite.add_grants(yaml.grants, &mut wrong);
        suite.check_secrets(&mut wrong);
        suite.add_attacks(yaml.attacks, &mut wrong);
        if suite.serving(&suite.request.host).is_none() {
            let text = format!("no workload is behind `{}`", suite.request.host);
            wrong.at(yaml.request.referenced.line(), text);
        }
        // What is said of cases would only follow from what is wrong here.
        LoadError::none_of(std::mem::take(&mut wrong.problems))?;
        suite.cases = Cases::load(&folder.join(yaml.cases), &suite)?;
        suite.check_use(&lines, &mut wrong);
        LoadError::none_of(wrong.problems)?;
        Ok(suite)
    }

    /// What no case uses has lost its cases, or a typo has taken them to another. The
    /// usual caller asks for tokens, too.
    fn check_use(&self, lines: &Lines, wrong: &mut Wrong<'_>) {
        let cases = self.cases.all();
        let asking: BTreeSet<_> = cases.iter().map(|case| &case.caller).collect();
        for caller in self.callers.iter().skip(1) {
            if !asking.contains(&caller.name) {
                let text = format!("no case is asked by caller `{}`", caller.name);
                wrong.at(lines.of_callers[&caller.name], text);
            }
        }
        let granted = grants_needed(cases);
        for name in self.grants.keys() {
            if !granted.contains(name.as_str()) {
                let text = format!("no case has a token of grant `{name}`");
                wrong.at(lines.of_grants[name], text);
            }
        }
    }

    fn add_profiles(&mut self, profiles: Vec<Spanned<Profile>>, wrong: &mut Wrong<'_>) {
        if profiles.is_empty() {
            wrong.at(0, "`profiles` must name one at least".to_owned());
        }
        for profile in profiles {
            let name = &profile.value.name;
            if self.profiles.iter().any(|known| known.name == *name) {
                let text = format!("there is another profile `{name}`");
                wrong.at(profile.referenced.line(), text);
            }
            self.profiles.push(profile.value);
        }
    }

    fn add_callers(
        &mut self,
        callers: Vec<Spanned<CallerYaml>>,
        askers: &[Deployment],
        wrong: &mut Wrong<'_>,
    ) {
        if callers.is_empty() {
            wrong.at(0, "`callers` must name one at least".to_owned());
        }
        for caller in callers {
            let line = caller.referenced.line();
            let CallerYaml {
                name,
                service_account,
            } = caller.value;
            if self.callers.iter().any(|known| known.name == name) {
                wrong.at(line, format!("there is another caller `{name}`"));
            }
            match Caller::find(&name, &service_account, askers) {
                Some(caller) => self.callers.push(caller),
                None => wrong.at(
                    line,
                    format!(
                        "caller `{name}`: no Deployment of {} runs as service account \
                         `{service_account}` (NAMESPACE/ACCOUNT)",
                        self.manifests.callers.display()
                    ),
                ),
            }
        }
    }

    fn add_grants(&mut self, grants: BTreeMap<String, Spanned<Grant>>, wrong: &mut Wrong<'_>) {
        for (name, grant) in grants {
            let line = grant.referenced.line();
            let grant = grant.value;
            if !self.realms.contains_key(&grant.realm) {
                wrong.at(
                    line,
                    format!("grant `{name}`: there is no realm `{}`", grant.realm),
                );
            }
            let password = grant.user.as_ref().map(|user| &user.password);
            for secret in password.into_iter().chain([&grant.client_secret]) {
                if !self.placeholders.contains(secret) {
                    let text = format!("grant `{name}`: the realm import has no `${{{secret}}}`");
                    wrong.at(line, text);
                }
            }
            self.grants.insert(name, grant);
        }
    }

    fn add_attacks(&mut self, attacks: Option<Spanned<Attacks>>, wrong: &mut Wrong<'_>) {
        let Some(attacks) = attacks else {
            return;
        };
        let line = attacks.referenced.line();
        let attacks = attacks.value;
        for problem in [
            self.caller(&attacks.from).map(drop),
            self.workload(&attacks.to).map(drop),
        ] {
            if let Err(unknown) = problem {
                wrong.at(line, format!("attacks: {unknown}"));
            }
        }
        self.attacks = Some(attacks);
    }

    fn check_secrets(&self, wrong: &mut Wrong<'_>) {
        let content = self.secrets.iter().flat_map(SecretObject::content);
        let kept: BTreeSet<_> = content.map(|(_, name)| name).collect();
        let certificates = self.secrets.iter().flat_map(SecretObject::certificate);
        let certificates: BTreeSet<_> = certificates.map(|(_, name)| name).collect();
        let realms = self.realms.values();
        let signing = realms.filter_map(|realm| realm.signing_key.as_ref());
        for name in signing.chain(kept.difference(&certificates)) {
            if name != ADMIN_PASSWORD && !self.placeholders.contains(name) {
                wrong.at(0, format!("the realm import has no `${{{name}}}`"));
            }
        }
        let all = self.placeholders.iter().map(String::as_str);
        for name in all.chain([ADMIN_PASSWORD]) {
            if !kept.contains(name) {
                wrong.at(0, format!("`{name}` is in none of the `secrets`"));
            }
        }
    }

    /// A path of the suite.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }

    /// The profile of this name.
    pub fn profile(&self, name: &str) -> Result<&Profile, Unknown> {
        let found = self.profiles.iter().find(|profile| profile.name == name);
        let known = self.profiles.iter().map(|profile| &profile.name);
        found.ok_or_else(|| Unknown::new("profile", name, known))
    }

    /// The profile that is in force unless the user says otherwise.
    pub fn usual_profile(&self) -> &Profile {
        &self.profiles[0]
    }

    /// The caller of this name.
    pub fn caller(&self, name: &str) -> Result<&Caller, Unknown> {
        let found = self.callers.iter().find(|caller| caller.name == name);
        let known = self.callers.iter().map(|caller| &caller.name);
        found.ok_or_else(|| Unknown::new("caller", name, known))
    }

    /// The workload of this name among those that are asked.
    pub fn workload(&self, name: &str) -> Result<&Deployment, Unknown> {
        let found = self.workloads.iter().find(|workload| workload.name == name);
        let known = self.workloads.iter().map(|workload| &workload.name);
        found.ok_or_else(|| Unknown::new("workload", name, known))
    }

    /// The name that other workloads have for one.
    pub fn host_of(&self, workload: &Deployment) -> Option<String> {
        let mut services = self.services.iter();
        let service = services.find(|service| service.leads_to(workload))?;
        let Service {
            name, namespace, ..
        } = service;
        Some(format!("{name}.{namespace}.svc.cluster.local"))
    }

    /// The caller that asks unless a case says otherwise.
    pub fn usual_caller(&self) -> &Caller {
        &self.callers[0]
    }

    /// The namespaces that its manifests make, the last first.
    pub fn namespaces(&self) -> Result<Vec<String>, LoadError> {
        let mut names = Vec::new();
        let folders = &self.manifests;
        for folder in [&folders.callers, &folders.workloads, &folders.keycloak] {
            for object in manifest::objects(&self.path(folder))? {
                let (_, name) = manifest::namespace_and_name(&object);
                if manifest::kind(&object) == "Namespace" && !names.iter().any(|it| it == name) {
                    names.push(name.to_owned());
                }
            }
        }
        Ok(names)
    }

    /// The workload behind a host, perhaps with a port.
    pub fn serving(&self, host: &str) -> Option<&Deployment> {
        let host = host.split(':').next().unwrap_or(host);
        let service = self
            .services
            .iter()
            .find(|service| service.is_named(host))?;
        self.workloads
            .iter()
            .find(|deployment| service.leads_to(deployment))
    }

    /// The sidecars: the workloads' first, then the callers'.
    pub fn sidecars(&self) -> Vec<SidecarOf<'_>> {
        let workloads = self.workloads.iter().filter(|it| it.has_sidecar);
        let workloads = workloads.map(|it| (it.namespace.as_str(), it.name.as_str()));
        let callers = self.callers.iter().filter(|it| it.has_sidecar);
        let callers = callers.map(|it| (it.namespace.as_str(), it.deployment.as_str()));
        let all: Vec<_> = workloads.chain(callers).collect();
        let title = |(namespace, name): (&str, &str)| {
            if all.iter().filter(|(_, other)| *other == name).count() == 1 {
                name.to_owned()
            } else {
                format!("{name}.{namespace}")
            }
        };
        let sidecars = all.iter().map(|&(namespace, deployment)| SidecarOf {
            title: title((namespace, deployment)),
            namespace,
            deployment,
        });
        sidecars.collect()
    }

    /// The names of the private keys that realms sign with.
    pub fn signing_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.realms
            .iter()
            .filter_map(|(name, realm)| Some((name.as_str(), realm.signing_key.as_deref()?)))
    }

    /// The names of all values that fill the realm import (`${NAME}` in it).
    pub fn placeholders(&self) -> &BTreeSet<String> {
        &self.placeholders
    }

    /// The realms that grants are asked of.
    pub fn realms_in_use(&self) -> BTreeSet<&str> {
        let grants = self.grants.values();
        grants.map(|grant| grant.realm.as_str()).collect()
    }
}

/// Where `suite.yaml` has what cases name.
struct Lines {
    of_callers: BTreeMap<String, u64>,
    of_grants: BTreeMap<String, u64>,
}

impl Lines {
    fn of(callers: &[Spanned<CallerYaml>], grants: &BTreeMap<String, Spanned<Grant>>) -> Self {
        let callers = callers.iter();
        let grants = grants.iter();
        Self {
            of_callers: callers
                .map(|it| (it.value.name.clone(), it.referenced.line()))
                .collect(),
            of_grants: grants
                .map(|(name, it)| (name.clone(), it.referenced.line()))
                .collect(),
        }
    }
}

/// What is wrong with `suite.yaml`, as far as it is known.
struct Wrong<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
}

impl Wrong<'_> {
    fn at(&mut self, line: u64, text: String) {
        self.problems.push(Problem::new(self.file, line, text));
    }
}

/// The `${NAMES}` in the data of these objects.
fn placeholders(objects: &[Value]) -> BTreeSet<String> {
    let data = objects
        .iter()
        .filter_map(|object| object["data"].as_object());
    let texts = data
        .flat_map(|data| data.values())
        .filter_map(Value::as_str);
    let names = texts.flat_map(|text| text.split("${").skip(1));
    names
        .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
        .collect()
}

/// Whose a sidecar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarOf<'a> {
    /// What it is called: the Deployment's name, and its namespace where two have
    /// that name.
    pub title: String,
    /// The Deployment's namespace.
    pub namespace: &'a str,
    /// The Deployment.
    pub deployment: &'a str,
}

impl Caller {
    fn find(name: &str, service_account: &str, askers: &[Deployment]) -> Option<Self> {
        let (namespace, account) = service_account.split_once('/')?;
        let deployment = askers
            .iter()
            .find(|asker| asker.namespace == namespace && asker.account == account)?;
        Some(Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            deployment: deployment.name.clone(),
            has_sidecar: deployment.has_sidecar,
        })
    }

    /// Its mTLS identity (`TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT`), which it has
    /// only with a sidecar.
    pub fn principal(&self, mesh: &Mesh) -> Option<String> {
        let Self {
            namespace, account, ..
        } = self;
        let domain = &mesh.trust_domain;
        self.has_sidecar
            .then(|| format!("{domain}/ns/{namespace}/sa/{account}"))
    }

    /// What a workload's sidecar knows of it.
    pub fn peer(&self, mesh: &Mesh) -> Peer {
        match self.principal(mesh) {
            Some(principal) => Peer::mtls(&principal),
            None => Peer::Plaintext,
        }
    }
}

impl Deployment {
    /// Its mTLS identity, `TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
    pub fn principal(&self, mesh: &Mesh) -> String {
        let Self {
            namespace, account, ..
        } = self;
        format!("{}/ns/{namespace}/sa/{account}", mesh.trust_domain)
    }

    /// What policies select.
    pub fn workload(&self) -> Workload {
        Workload {
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// A name that the suite does not have.
#[derive(Debug, thiserror::Error)]
#[error("the suite has no {what} `{name}`; it has {known}")]
pub struct Unknown {
    what: &'static str,
    name: String,
    known: String,
}

impl Unknown {
    fn new<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let known: Vec<_> = known.map(String::as_str).collect();
        Self {
            what,
            name: name.to_owned(),
            known: known.join(", "),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
