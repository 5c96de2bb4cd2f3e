//! What a machine lacks, each need with the command that fixes it.

use std::path::Path;

use anyhow::Result;

use crate::artifacts;
use crate::tool::{self, Tool};
use crate::versions::versions;
use harness::trouble::Trouble;

/// Memory that a kind node with Istio and Keycloak needs, in MiB.
const MEMORY_MIB: u64 = 4096;

/// One need of the machine.
#[derive(Debug)]
pub struct Check {
    /// What is needed.
    pub need: &'static str,
    /// What was found, or what is wrong with the fix.
    pub found: Result<String, Trouble>,
}

/// Looks at everything the kind stage needs.
pub async fn kind_stage() -> Vec<Check> {
    vec![
        Check {
            need: "Docker engine",
            found: docker().await,
        },
        Check {
            need: "kind",
            found: kind().await,
        },
        Check {
            need: "istioctl",
            found: istioctl().await,
        },
        Check {
            need: "memory",
            found: memory(Path::new("/proc/meminfo")),
        },
        Check {
            need: "Linux",
            found: linux(),
        },
    ]
}

/// Looks at everything the local stage needs; package tools only if something
/// is still to be fetched.
pub async fn local_stage() -> Vec<Check> {
    let mut checks = vec![
        Check {
            need: "Java",
            found: java().await,
        },
        Check {
            need: "cargo",
            found: runs("cargo", "--version").await,
        },
    ];
    if !artifacts::is_cached(&format!("envoy-{}", versions().envoy)) {
        checks.push(Check {
            need: "pip",
            found: runs("pip", "--version").await,
        });
    }
    if !artifacts::is_cached(&format!("keycloak-{}", versions().keycloak)) {
        checks.push(Check {
            need: "Maven",
            found: runs("mvn", "--version").await,
        });
    }
    checks
}

/// Fails with every unmet need.
pub fn require(checks: Vec<Check>) -> Result<(), Trouble> {
    let unmet: Vec<_> = checks
        .into_iter()
        .filter_map(|check| check.found.err())
        .collect();
    match unmet.len() {
        0 => Ok(()),
        1 => Err(unmet.into_iter().next().expect("one is there")),
        n => Err(Trouble::new(
            format!(
                "{n} needs are not met:\n{}",
                unmet
                    .iter()
                    .map(|t| format!("- {}", t.what()))
                    .collect::<Vec<_>>()
                    .join("\n")
            ),
            unmet
                .iter()
                .map(Trouble::fix)
                .collect::<Vec<_>>()
                .join("\n       "),
        )),
    }
}

async fn docker() -> Result<String, Trouble> {
    Tool::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .run()
        .await
        .map(|version| version.trim().to_owned())
        .map_err(|_| Trouble::new("the Docker engine does not answer", tool::hint("docker")))
}

async fn kind() -> Result<String, Trouble> {
    let said = Tool::new("kind").args(["version"]).run().await;
    expect_version("kind", said.ok().as_deref(), &versions().kind)
}

async fn istioctl() -> Result<String, Trouble> {
    let said = Tool::new("istioctl")
        .args(["version", "--remote=false"])
        .run()
        .await;
    expect_version("istioctl", said.ok().as_deref(), &versions().istio)
}

async fn runs(program: &str, version_flag: &str) -> Result<String, Trouble> {
    let said = Tool::new(program).args([version_flag]).run().await;
    match said
        .ok()
        .and_then(|said| said.lines().next().map(str::to_owned))
    {
        Some(line) => Ok(line),
        None => Err(Trouble::new(
            format!("{program} is missing"),
            tool::hint(program),
        )),
    }
}

/// The version of the Java that Keycloak would run on: JAVA_HOME's, or PATH's.
pub async fn java() -> Result<String, Trouble> {
    let program = match std::env::var("JAVA_HOME") {
        Ok(home) if !home.is_empty() => format!("{home}/bin/java"),
        _ => "java".to_owned(),
    };
    let said = Tool::new(&program)
        .args(["-XX:-UsePerfData", "-XshowSettings:properties", "-version"])
        .stderr_as_output()
        .run()
        .await;
    let version = said.ok().and_then(|said| {
        let property = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("java.version = "));
        property.map(str::to_owned)
    });
    expect_java(version.as_deref())
}

fn expect_java(version: Option<&str>) -> Result<String, Trouble> {
    const OLDEST: u32 = 17;
    let Some(version) = version else {
        return Err(Trouble::new("Java is missing", tool::hint("java")));
    };
    let feature = version.split(|c: char| !c.is_ascii_digit()).next();
    if feature
        .and_then(|it| it.parse().ok())
        .is_some_and(|it: u32| it >= OLDEST)
    {
        return Ok(version.to_owned());
    }
    Err(Trouble::new(
        format!("Java is {version}, and Keycloak needs {OLDEST} or later"),
        tool::hint("java"),
    ))
}

/// The same minor version will do.
fn expect_version(program: &str, said: Option<&str>, wanted: &str) -> Result<String, Trouble> {
    let fix = tool::hint(program);
    let Some(said) = said else {
        return Err(Trouble::new(format!("{program} is missing"), fix));
    };
    let found = said
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find(|word| word.matches('.').count() == 2)
        .unwrap_or(said.trim());
    if minor(found) == minor(wanted) {
        Ok(found.to_owned())
    } else {
        Err(Trouble::new(
            format!("{program} is {found}, and {wanted} is wanted"),
            fix,
        ))
    }
}

fn minor(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn memory(meminfo: &Path) -> Result<String, Trouble> {
    // Only Linux has this file; elsewhere Docker Desktop has its own setting.
    let Ok(text) = std::fs::read_to_string(meminfo) else {
        return Ok("not known on this system".to_owned());
    };
    let available: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let mib = available / 1024;
    if mib >= MEMORY_MIB {
        Ok(format!("{mib} MiB available"))
    } else {
        Err(Trouble::new(
            format!("{mib} MiB of memory are available, and {MEMORY_MIB} MiB are needed"),
            "end something large, or give the machine more memory",
        ))
    }
}

fn linux() -> Result<String, Trouble> {
    if std::env::consts::OS != "linux" {
        return Err(Trouble::new(
            "service images are built from Linux binaries, and this is not Linux",
            "run in a Linux machine or container, or use the local stage: mesh demo",
        ));
    }
    Ok("Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Check, Trouble};
    use super::{expect_java, expect_version, memory, require};

    #[test]
    fn another_patch_of_the_same_minor_will_do() {
        let found = expect_version("istioctl", Some("client version: 1.31.2"), "1.31.0").unwrap();
        assert_eq!(found, "1.31.2");
    }

    #[test]
    fn another_minor_is_refused_with_the_fix() {
        let error = expect_version("kind", Some("kind v0.20.0 go1.20"), "0.33.0").unwrap_err();
        assert!(error.to_string().contains("kind is 0.20.0"), "{error}");
        assert!(error.fix().contains("go install"), "{error}");
    }

    #[test]
    fn java_before_17_is_refused() {
        assert_eq!(expect_java(Some("17.0.15")).unwrap(), "17.0.15");
        assert_eq!(expect_java(Some("25")).unwrap(), "25");
        for old in ["1.8.0_402", "11.0.22"] {
            let error = expect_java(Some(old)).unwrap_err();
            assert!(error.what().contains(old), "{error}");
        }
        assert!(expect_java(None).unwrap_err().fix().contains("install"));
    }

    #[test]
    fn too_little_memory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "MemTotal: 9 kB\nMemAvailable:  1048576 kB\n").unwrap();
        let error = memory(file.path()).unwrap_err();
        assert!(error.what().starts_with("1024 MiB"), "{error}");
    }

    #[test]
    fn every_unmet_need_is_named() {
        let check = |what: &str| Check {
            need: "x",
            found: Err(Trouble::new(what, "mend it")),
        };
        let error = require(vec![check("no docker"), check("no kind")]).unwrap_err();
        assert!(
            error.what().contains("no docker") && error.what().contains("no kind"),
            "{error}"
        );
    }
}
