//! Where in a manifest a value stands, so that every message can say it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_saphyr::Spanned;

use super::documents;

/// A place in a manifest file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
}

impl Location {
    /// Whether there is a file at all: resources can also be made by code.
    pub(crate) fn is_known(&self) -> bool {
        !self.file.is_empty()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Where YAML is wrong (0 if that is not known), and what is, in words for who wrote
/// it. They hold nothing of the text, which may have keys in it.
pub fn yaml_problem(error: &serde_saphyr::Error) -> (u64, String) {
    let line = error.location().map_or(0, |location| location.line());
    let text = match error.without_snippet() {
        // The library would tell of its own options.
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            return (line, format!("`{key}` is given twice"));
        }
        error => error.to_string(),
    };
    // The line is told before the text, as compilers do.
    let text = text.split(" at line ").next().unwrap_or(&text);
    (line, text.trim_end_matches(':').to_owned())
}

/// The lines of one resource, by field path (`spec.rules[0].when[1].key`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    file: Arc<str>,
    lines: BTreeMap<String, u64>,
}

impl Origin {
    /// Reads the lines of every field in `document`, whose first line is the
    /// file's line `offset + 1`.
    pub(crate) fn read(file: &Arc<str>, document: &str, offset: u64) -> Self {
        let mut lines = BTreeMap::new();
        if let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(document) {
            collect(&root, String::new(), offset, &mut lines);
        }
        Self {
            file: file.clone(),
            lines,
        }
    }

    /// The lines of each document in the text of a file, but for those that have
    /// comments alone.
    pub fn of_documents(file: &str, text: &str) -> Vec<Self> {
        let file: Arc<str> = file.into();
        let documents = documents(text).into_iter();
        documents
            .map(|(offset, document)| Self::read(&file, &document, offset))
            .collect()
    }

    /// The place of `path`, or of the nearest field around it that is written down.
    pub fn locate(&self, path: &str) -> Location {
        let mut path = path;
        let line = loop {
            if let Some(line) = self.lines.get(path) {
                break *line;
            }
            let Some(parent) = path.rfind(['.', '[']) else {
                break self.lines.get("").copied().unwrap_or(1);
            };
            path = &path[..parent];
        };
        Location {
            file: self.file.to_string(),
            line,
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.locate("").serialize(serializer)
    }
}

enum Node {
    Scalar,
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

fn collect(node: &Spanned<Node>, path: String, offset: u64, lines: &mut BTreeMap<String, u64>) {
    match &node.value {
        Node::Scalar => {}
        Node::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{path}[{index}]"), offset, lines);
            }
        }
        Node::Mapping(entries) => {
            for (key, value) in entries {
                let child = if path.is_empty() {
                    key.value.clone()
                } else {
                    format!("{path}.{}", key.value)
                };
                collect(value, child.clone(), offset, lines);
                // A field stands where its key is, not where its value begins.
                lines.insert(child, offset + key.referenced.line());
            }
        }
    }
    lines.entry(path).or_insert(offset + node.referenced.line());
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($visit:ident: $type:ty),+) => {
        $(fn $visit<E>(self, _: $type) -> Result<Node, E> {
            Ok(Node::Scalar)
        })+
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Node::Mapping(all))
    }
}
