//! Matrices: one attack written once, with values to be filled in.

use serde_json::{Map, Value};

/// A value of a matrix: what it is called in the attack's name, and itself.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The variable.
    pub variable: String,
    /// Its value, in words.
    pub label: String,
    /// Its value.
    pub value: Value,
}

/// Every combination of the values of `matrix`, the last variable turning first.
/// A list's values are their own labels; an object's labels are its names.
pub fn combinations(matrix: &Map<String, Value>) -> Result<Vec<Vec<Choice>>, String> {
    let mut all = vec![Vec::new()];
    for (variable, values) in matrix {
        let choices: Vec<(String, Value)> = match values {
            Value::Array(items) => items
                .iter()
                .map(|item| (text(item), item.clone()))
                .collect(),
            Value::Object(items) => items.clone().into_iter().collect(),
            _ => return Err(format!("`for.{variable}` is neither a list nor a map")),
        };
        if choices.is_empty() {
            return Err(format!("`for.{variable}` is empty"));
        }
        all = all
            .iter()
            .flat_map(|chosen: &Vec<Choice>| {
                choices.iter().map(|(label, value)| {
                    let choice = Choice {
                        variable: variable.clone(),
                        label: label.clone(),
                        value: value.clone(),
                    };
                    chosen.iter().cloned().chain([choice]).collect()
                })
            })
            .collect();
    }
    Ok(all)
}

/// `value` with `{variable}` and `{variable.member}` filled in everywhere, names
/// of members too. A text that is nothing else becomes the value itself; what no
/// variable is called stays.
pub fn fill(value: &Value, choices: &[Choice]) -> Value {
    match value {
        Value::String(template) => fill_text(template, choices),
        Value::Array(items) => items.iter().map(|item| fill(item, choices)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (text(&fill_text(name, choices)), fill(value, choices)))
            .collect(),
        other => other.clone(),
    }
}

/// A name with the labels of the choices filled in.
pub fn label(template: &str, choices: &[Choice]) -> String {
    choices.iter().fold(template.to_owned(), |name, choice| {
        name.replace(&format!("{{{}}}", choice.variable), &choice.label)
    })
}

fn fill_text(template: &str, choices: &[Choice]) -> Value {
    if let Some(value) = whole(template, choices) {
        return value.clone();
    }
    let mut filled = template.to_owned();
    for choice in choices {
        filled = filled.replace(&format!("{{{}}}", choice.variable), &text(&choice.value));
        for (member, value) in choice.value.as_object().into_iter().flatten() {
            let place = format!("{{{}.{member}}}", choice.variable);
            filled = filled.replace(&place, &text(value));
        }
    }
    Value::String(filled)
}

/// The value of a text that is one placeholder.
fn whole<'a>(template: &str, choices: &'a [Choice]) -> Option<&'a Value> {
    let name = template.strip_prefix('{')?.strip_suffix('}')?;
    choices.iter().find_map(|choice| {
        if choice.variable == name {
            return Some(&choice.value);
        }
        let member = name.strip_prefix(&choice.variable)?.strip_prefix('.')?;
        choice.value.get(member)
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(matrix: Value) -> Vec<Vec<Choice>> {
        let Value::Object(matrix) = matrix else {
            panic!("an object")
        };
        combinations(&matrix).unwrap()
    }

    #[test]
    fn every_combination_comes_once() {
        let all = chosen(json!({"a": [1, 2], "b": {"x": "X", "y": "Y"}}));
        let names: Vec<_> = all.iter().map(|c| label("{a}{b}", c)).collect();
        assert_eq!(names, ["1x", "1y", "2x", "2y"]);
    }

    #[test]
    fn without_a_matrix_there_is_one_attack() {
        assert_eq!(chosen(json!({})).len(), 1);
    }

    #[test]
    fn a_text_that_is_one_placeholder_takes_the_value_itself() {
        let all = chosen(json!({"v": {"list": {"aud": ["x", 1]}}}));
        let filled = fill(
            &json!({"{v.aud}": "{v.aud}", "t": "{token}", "n": 7}),
            &all[0],
        );
        assert_eq!(
            filled,
            json!({"[\"x\",1]": ["x", 1], "t": "{token}", "n": 7})
        );
    }

    #[test]
    fn a_matrix_of_nothing_is_refused() {
        for matrix in [json!({"a": []}), json!({"a": 1})] {
            assert!(combinations(matrix.as_object().unwrap()).is_err());
        }
    }
}
