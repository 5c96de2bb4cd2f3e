//! What a kind cluster or a local stage is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that is safe as a folder, a file, a host and a word of a command: a
/// DNS label (RFC 1123), in lower case.
///
/// ```
/// use stages::name::MeshName;
///
/// assert_eq!("mesh-2".parse::<MeshName>().unwrap().as_str(), "mesh-2");
/// assert!("../mesh".parse::<MeshName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MeshName(String);

/// It is no DNS label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a name has 1 to 63 of a-z, 0-9 and `-`, and neither begins nor ends with `-`")]
pub struct InvalidName;

impl MeshName {
    /// What a mesh is called unless the user says.
    pub const USUAL: &str = "mesh-oidc";

    /// What means it on the command line, after a space: nothing for the usual one.
    pub fn argument(&self) -> String {
        match self.as_str() {
            Self::USUAL => String::new(),
            name => format!(" --name {name}"),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MeshName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for MeshName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let is_label = (1..=63).contains(&name.len())
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        is_label.then_some(Self(name)).ok_or(InvalidName)
    }
}

impl From<MeshName> for String {
    fn from(name: MeshName) -> Self {
        name.0
    }
}

impl fmt::Display for MeshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::MeshName;

    #[test]
    fn dns_labels_are_names() {
        let longest = "a".repeat(63);
        for name in ["mesh-oidc", "a", "0", "a-1", &longest] {
            assert_eq!(name.parse::<MeshName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_could_mean_another_place_is_no_name() {
        let too_long = "a".repeat(64);
        let not_names = [
            "", ".", "..", "../x", "/abs", "a/b", "a.b", "a'b", "A", "a b", "a_b", "-a", "a-", "ä",
            "a\n", "a\0", "$x", &too_long,
        ];
        for name in not_names {
            assert!(name.parse::<MeshName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn name_in_a_file_is_held_to_the_same() {
        assert!(serde_json::from_str::<MeshName>("\"mesh\"").is_ok());
        assert!(serde_json::from_str::<MeshName>("\"../mesh\"").is_err());
    }
}
