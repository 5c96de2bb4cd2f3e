//! What the local stage honours of a suite's manifests. Whatever else they say is
//! refused by name: on kind Istio would follow it, and a row that is green here
//! would be a promise that nobody keeps.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Result, bail};
use harness::suite::manifest::{
    Deployment, deployments, kind, kustomization_files, namespace_and_name,
};
use harness::suite::yaml::read_documents;
use harness::suite::{FILE, Suite};
use harness::trouble::Trouble;
use harness::workspace;
use policy::{Mesh, Origin};
use serde_json::{Value, json};

/// The lists of what is understood.
static UNDERSTOOD: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("understood.yaml")).expect("the lists must be YAML")
});

/// Whose processes pass by their own sidecar (Istio's `proxyUID`).
const PROXY: u64 = 1337;

/// An object and where it is written.
struct Located {
    object: Value,
    origin: Origin,
}

/// Something that is not honoured.
struct Problem {
    path: String,
    why: String,
}

/// Fails with all that the suite's manifests say and the local stage does not honour.
pub fn check(suite: &Suite) -> Result<()> {
    let folders = &suite.manifests;
    let keycloak = read(&suite.path(&folders.keycloak))?;
    let workloads = read(&suite.path(&folders.workloads))?;
    let callers = read(&suite.path(&folders.callers))?;
    let mut refused = Vec::new();
    let mut refuse = |found: &Located, problems: Vec<Problem>| {
        refused.extend(problems.iter().map(|it| found.tell(it)));
    };
    let pods: Vec<_> = keycloak.iter().chain(&workloads).chain(&callers).collect();
    let scene = Scene::of(pods.iter().map(|it| &it.object));
    for (objects, part) in [
        (&keycloak, Part::Keycloak),
        (&workloads, Part::Workloads),
        (&callers, Part::Callers),
    ] {
        for found in objects {
            refuse(found, scene.problems(&found.object, part));
        }
    }
    for profile in &suite.profiles {
        for found in &read(&suite.path(&profile.rules))? {
            refuse(found, unknown_in(&found.object, &["rules"]));
        }
    }
    if let Some(folder) = &folders.mesh_wide {
        for found in &read(&suite.path(folder))? {
            refuse(found, unknown_in(&found.object, &["mesh_wide"]));
        }
    }
    for found in &read_file(&suite.path(&folders.istio))? {
        refuse(found, unknown_in(&found.object, &["istio"]));
        refuse(found, otherwise_than(&suite.mesh, &found.object));
    }
    fail_with(&refused)
}

/// The same for rules that are put in force.
pub fn check_rules(objects: &[Value]) -> Result<()> {
    let refused: Vec<_> = objects
        .iter()
        .flat_map(|object| {
            let problems = unknown_in(object, &["rules"]).into_iter();
            problems.map(|it| format!("{}: {}", describe(object), it.tell()))
        })
        .collect();
    fail_with(&refused)
}

fn fail_with(refused: &[String]) -> Result<()> {
    if refused.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    let lines = refused.iter().filter(|line| seen.insert(*line));
    let lines: Vec<_> = lines.map(|line| format!("  {line}")).collect();
    bail!(Trouble::new(
        format!(
            "the local stage does not do what the manifests say:\n{}",
            lines.join("\n")
        ),
        "take it out, or ask on kind, where it is Istio that does it: mesh e2e",
    ));
}

fn read(folder: &Path) -> Result<Vec<Located>> {
    let mut all = Vec::new();
    for file in kustomization_files(folder)? {
        all.extend(read_file(&file)?);
    }
    Ok(all)
}

fn read_file(file: &Path) -> Result<Vec<Located>> {
    let objects: Vec<Value> = read_documents(file)?;
    let text = std::fs::read_to_string(file)?;
    let origins = Origin::of_documents(&workspace::shown(file), &text);
    let objects = objects.into_iter().filter(|object| !object.is_null());
    Ok(objects
        .zip(origins)
        .map(|(object, origin)| Located { object, origin })
        .collect())
}

impl Located {
    fn tell(&self, problem: &Problem) -> String {
        let place = self.origin.locate(&problem.path);
        format!("{place}: {}: {}", describe(&self.object), problem.tell())
    }
}

impl Problem {
    fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
        }
    }

    fn tell(&self) -> String {
        match (&*self.path, &*self.why) {
            ("", why) => why.to_owned(),
            (path, "") => format!("`{path}`"),
            (path, why) => format!("`{path}` {why}"),
        }
    }
}

fn describe(object: &Value) -> String {
    let (namespace, name) = namespace_and_name(object);
    match kind(object) {
        kind @ ("Namespace" | "IstioOperator") => format!("{kind} {name}"),
        kind => format!("{kind} {namespace}/{name}"),
    }
}

// === What is in the lists ===

/// What of an object is in none of these lists.
fn unknown_in(object: &Value, lists: &[&str]) -> Vec<Problem> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let name = format!("{version}/{}", kind(object));
    let mut known = lists.iter().filter_map(|list| UNDERSTOOD[list].get(&name));
    let mut problems = Vec::new();
    match known.next() {
        Some(known) => collect_unknown(object, known, String::new(), &mut problems),
        None => problems.push(Problem::new("", format!("nothing here stands for {name}"))),
    }
    problems.extend(istio_metadata(object));
    problems
}

fn collect_unknown(value: &Value, known: &Value, path: String, problems: &mut Vec<Problem>) {
    match (known, value) {
        (Value::Null, _) | (Value::Object(_), Value::Null) => {}
        (Value::Array(choices), value) if choices.contains(value) => {}
        (Value::Object(_), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(item, known, format!("{path}[{index}]"), problems);
            }
        }
        (Value::Object(known), Value::Object(members)) => {
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match known.get(name) {
                    Some(known) => collect_unknown(value, known, path, problems),
                    None => problems.push(Problem::new(path, "")),
                }
            }
        }
        (_, value) => problems.push(Problem::new(path, format!("is {value}"))),
    }
}

/// Istio's own labels and annotations, by which it would do more or less.
fn istio_metadata(object: &Value) -> Vec<Problem> {
    let of_object = if kind(object) == "Namespace" {
        "namespace"
    } else {
        "other"
    };
    let mut problems = Vec::new();
    for (place, whose) in [("metadata", of_object), ("spec.template.metadata", "pod")] {
        for what in ["labels", "annotations"] {
            let path = format!("{place}.{what}");
            let members = object.pointer(&format!("/{}", path.replace('.', "/")));
            let members = members.and_then(Value::as_object).into_iter().flatten();
            for (name, value) in members.filter(|(name, _)| is_istios(name)) {
                match UNDERSTOOD[what][whose].get(name) {
                    Some(known) => {
                        let path = format!("{path}.{name}");
                        collect_unknown(value, known, path, &mut problems);
                    }
                    None => problems.push(Problem::new(format!("{path}.{name}"), "")),
                }
            }
        }
    }
    problems
}

fn is_istios(name: &str) -> bool {
    let domain = name.split('/').next().unwrap_or_default();
    domain == "istio-injection" || domain == "istio.io" || domain.ends_with(".istio.io")
}

// === What goes beyond lists ===

/// Whose objects.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Keycloak,
    Workloads,
    Callers,
}

/// All objects that pods are made of.
struct Scene {
    deployments: Vec<Deployment>,
    namespaces: BTreeSet<String>,
}

impl Scene {
    fn of<'a>(objects: impl Iterator<Item = &'a Value>) -> Self {
        let objects: Vec<_> = objects.cloned().collect();
        let namespaces = objects.iter().filter(|it| kind(it) == "Namespace");
        Self {
            namespaces: namespaces
                .map(|it| namespace_and_name(it).1.to_owned())
                .collect(),
            deployments: deployments(&objects),
        }
    }

    fn problems(&self, object: &Value, part: Part) -> Vec<Problem> {
        let lists: &[&str] = match part {
            Part::Workloads => &["pods", "rules"],
            Part::Keycloak | Part::Callers => &["pods"],
        };
        let mut problems = unknown_in(object, lists);
        let (namespace, _) = namespace_and_name(object);
        let is_rule = object["apiVersion"]
            .as_str()
            .is_some_and(|it| it.contains("istio.io/"));
        if kind(object) != "Namespace" && !is_rule && !self.namespaces.contains(namespace) {
            let why = format!("is `{namespace}`, which is no Namespace of the manifests");
            problems.push(Problem::new("metadata.namespace", why));
        }
        match kind(object) {
            "Deployment" => problems.extend(self.of_deployment(object, part)),
            "Service" => problems.extend(of_service(object, part)),
            _ => {}
        }
        problems
    }

    fn of_deployment(&self, object: &Value, part: Part) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (namespace, name) = namespace_and_name(object);
        let mut same = self.deployments.iter().filter(|it| it.name == name);
        let found = same.clone().find(|it| it.namespace == namespace);
        match (part, found.map(|it| it.has_sidecar)) {
            (Part::Workloads, Some(false)) => problems.push(Problem::new(
                "spec.template.metadata",
                "gets no sidecar, by its labels and those of its Namespace: workloads without one \
                 are not to be had here",
            )),
            (Part::Keycloak, Some(true)) => problems.push(Problem::new(
                "spec.template.metadata",
                "gets a sidecar, by its labels and those of its Namespace: Keycloak with one is \
                 not to be had here",
            )),
            _ => {}
        }
        if same.nth(1).is_some() {
            let why = "is that of another Deployment, too, and processes are called by it";
            problems.push(Problem::new("metadata.name", why));
        }
        if object.pointer("/spec/replicas") == Some(&json!(0)) {
            problems.push(Problem::new("spec.replicas", "is 0: it would run here"));
        }
        let pod = &object["spec"]["template"]["spec"];
        if pod["containers"].as_array().map_or(0, Vec::len) != 1 {
            let why = "are not one: that is what a process stands for";
            problems.push(Problem::new("spec.template.spec.containers", why));
        }
        for (place, context) in [
            ("spec.template.spec", &pod["securityContext"]),
            (
                "spec.template.spec.containers[0]",
                &pod["containers"][0]["securityContext"],
            ),
        ] {
            for member in ["runAsUser", "runAsGroup"] {
                if context[member] == PROXY {
                    problems.push(Problem::new(
                        format!("{place}.securityContext.{member}"),
                        format!("is {PROXY}: what it sends passes by its sidecar"),
                    ));
                }
            }
        }
        problems
    }
}

/// By the protocol of a Service's port Istio decides which rules can hold at all. Only
/// Keycloak, which has no sidecar, may speak TLS itself.
fn of_service(object: &Value, part: Part) -> Vec<Problem> {
    let allowed: &[&str] = match part {
        Part::Keycloak => &["http", "https"],
        Part::Workloads | Part::Callers => &["http"],
    };
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    let ports = ports.into_iter().flatten().enumerate();
    ports
        .filter_map(|(index, port)| {
            let told = |member: &str| port[member].as_str();
            let named = || told("name").and_then(|name| name.split('-').next());
            let protocol = told("appProtocol").or_else(named).unwrap_or_default();
            let member = told("appProtocol").map_or("name", |_| "appProtocol");
            let path = format!("spec.ports[{index}].{member}");
            (!allowed.contains(&protocol)).then(|| {
                Problem::new(
                    path,
                    format!(
                        "makes its protocol `{protocol}` to Istio, where other rules hold than \
                         for HTTP: `http`, or `http-` and more, is what there is here"
                    ),
                )
            })
        })
        .collect()
}

/// Where the mesh's configuration says otherwise than `mesh` of the suite, by which
/// the local stage and every explanation go.
fn otherwise_than(mesh: &Mesh, operator: &Value) -> Vec<Problem> {
    let says = &operator["spec"]["meshConfig"];
    let usual = Mesh::default();
    let normalization = match &says["pathNormalization"]["normalization"] {
        Value::Null => json!(usual.path_normalization),
        Value::String(text) if text == "DEFAULT" => json!(usual.path_normalization),
        other => other.clone(),
    };
    let or = |value: &Value, usual: Value| match value {
        Value::Null => usual,
        other => other.clone(),
    };
    let settings = [
        (
            "trustDomain",
            or(&says["trustDomain"], json!(usual.trust_domain)),
            ("trust_domain", json!(mesh.trust_domain)),
        ),
        (
            "trustDomainAliases",
            or(&says["trustDomainAliases"], json!([])),
            ("trust_domain_aliases", json!(mesh.trust_domain_aliases)),
        ),
        (
            "rootNamespace",
            or(&says["rootNamespace"], json!(usual.root_namespace)),
            ("root_namespace", json!(mesh.root_namespace)),
        ),
        (
            "pathNormalization.normalization",
            normalization,
            ("path_normalization", json!(mesh.path_normalization)),
        ),
    ];
    let differing = settings
        .into_iter()
        .filter(|(_, there, (_, here))| there != here);
    differing
        .map(|(name, there, (key, here))| {
            Problem::new(
                format!("spec.meshConfig.{name}"),
                format!("is {there}, but `mesh.{key}` of {FILE} is {here}: say the same in both"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
