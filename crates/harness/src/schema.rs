//! JSON Schemas of a suite's files for editors, made from the very types that
//! read them.

use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{Schema, json_schema, schema_for};
use serde_json::{Map, Value, json};

use crate::attack::corpus::ClassYaml;
use crate::case::load::FamilyYaml;
use crate::suite::SuiteYaml;

/// A kind of file of a suite.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case")]
pub enum File {
    /// `suite.yaml`.
    Suite,
    /// A file of cases.
    Cases,
    /// A file of attacks.
    Attacks,
}

impl File {
    /// The JSON Schema (draft 2020-12) of such a file.
    pub fn schema(self) -> Value {
        let schema = match self {
            Self::Suite => schema_for!(SuiteYaml),
            Self::Cases => schema_for!(FamilyYaml),
            Self::Attacks => with_variables(schema_for!(ClassYaml)),
        };
        schema.to_value()
    }
}

/// The name that the schema of attacks has for a text such as `{variable}`.
const VARIABLE: &str = "Variable";
const NAME: &str = r"^\{[^{}]+\}$";

/// Lets a variable of an attack's `for` stand wherever a value may.
fn with_variables(mut schema: Schema) -> Schema {
    RecursiveTransform(admit_variables).transform(&mut schema);
    let variable = json_schema!({
        "description": "A variable of `for` or a member of one, in the place of a value or of its only key.",
        "type": ["string", "object"],
        "pattern": NAME,
        "propertyNames": {"pattern": NAME},
        "minProperties": 1,
        "maxProperties": 1
    });
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.insert(VARIABLE.to_owned(), variable.to_value());
    }
    schema
}

fn admit_variables(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, value) in properties {
            // These are read before anything is filled in.
            if !matches!(name.as_str(), "attacks" | "for") {
                admit_variable(value);
            }
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(value) = schema.get_mut(below) {
            admit_variable(value);
        }
    }
    if let Some(Value::Array(items)) = schema.get_mut("prefixItems") {
        items.iter_mut().for_each(admit_variable);
    }
}

fn admit_variable(value: &mut Value) {
    let Value::Object(schema) = value else {
        return;
    };
    let is_text = match schema.get("type") {
        Some(Value::Array(types)) => types.contains(&json!("string")),
        other => other == Some(&json!("string")),
    };
    if is_text {
        return;
    }
    let mut either = Map::new();
    for shown in ["description", "default"] {
        either.extend(schema.remove_entry(shown));
    }
    let variable = json!({"$ref": format!("#/$defs/{VARIABLE}")});
    either.insert("anyOf".to_owned(), json!([schema, variable]));
    *schema = either;
}

#[cfg(test)]
mod tests;
