//! JSON objects as protobuf reads them into a `Struct`. Envoy has it read in the
//! old way, which takes more than RFC 8259 allows: a comma at the end, single
//! quotes, keys without quotes and control characters in strings. It takes less,
//! too: no key twice, and nothing nested deeper than 100 levels.

use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::{Map, Value};

const DEEPEST: usize = 100;

/// Reads an object; `None` if protobuf would refuse it. `null` is the empty one.
pub(crate) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader {
        text,
        rest: text.char_indices().peekable(),
        depth: 0,
    };
    let value = reader.value()?;
    reader.skip_space();
    if reader.rest.next().is_some() {
        return None;
    }
    match value {
        Value::Object(object) => Some(object),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    depth: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            '{' => self.nested(Self::members),
            '[' => self.nested(Self::items),
            '"' | '\'' => self.string().map(Value::String),
            '-' | '0'..='9' => self.number(),
            't' => self.word("true", Value::Bool(true)),
            'f' => self.word("false", Value::Bool(false)),
            'n' => self.word("null", Value::Null),
            _ => None,
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.rest.next();
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = inner(self)?;
        self.depth -= 1;
        Some(value)
    }

    fn members(&mut self) -> Option<Value> {
        let mut members = Map::new();
        while !self.takes('}') {
            let key = match self.peek()? {
                '"' | '\'' => self.string()?,
                _ => self.bare_key()?,
            };
            if !self.takes(':') {
                return None;
            }
            let value = self.value()?;
            if members.insert(key, value).is_some() {
                return None;
            }
            if !self.takes(',') && self.peek()? != '}' {
                return None;
            }
        }
        Some(Value::Object(members))
    }

    fn items(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        while !self.takes(']') {
            items.push(self.value()?);
            if !self.takes(',') && self.peek()? != ']' {
                return None;
            }
        }
        Some(Value::Array(items))
    }

    fn bare_key(&mut self) -> Option<String> {
        let key = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_literal = ["null", "true", "false"].contains(&key);
        (begins && !is_literal).then(|| key.to_owned())
    }

    /// Numbers are as in RFC 8259, and must not be too large for a double.
    fn number(&mut self) -> Option<Value> {
        let number = self.take_while(|c| c.is_ascii_digit() || "+-.eE".contains(c));
        serde_json::from_str(number).ok()
    }

    fn string(&mut self) -> Option<String> {
        let (_, quote) = self.rest.next()?;
        let mut text = String::new();
        loop {
            match self.rest.next()?.1 {
                end if end == quote => return Some(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.rest.next()?.1 {
            c @ ('"' | '\'' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' | 'U' => return self.unicode(),
            _ => return None,
        })
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.code_unit()?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) {
            let begins = self.rest.next()?.1 == '\\' && self.rest.next()?.1 == 'u';
            units.push(begins.then(|| self.code_unit())??);
        }
        let mut decoded = char::decode_utf16(units);
        decoded.next()?.ok().filter(|_| decoded.next().is_none())
    }

    fn code_unit(&mut self) -> Option<u16> {
        (0..4).try_fold(0, |unit, _| {
            let digit = self.rest.next()?.1.to_digit(16)?;
            Some(unit * 16 + u16::try_from(digit).ok()?)
        })
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        (self.take_while(|c| c.is_ascii_alphanumeric()) == word).then_some(value)
    }

    fn take_while(&mut self, takes: impl Fn(char) -> bool) -> &str {
        let start = self.offset();
        while self.rest.next_if(|(_, c)| takes(*c)).is_some() {}
        let end = self.offset();
        &self.text[start..end]
    }

    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    /// Takes a character of punctuation if it is the next.
    fn takes(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.rest.next().is_some()
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest.peek().map(|(_, c)| *c)
    }

    fn skip_space(&mut self) {
        let space = |(_, c): &(usize, char)| matches!(c, ' ' | '\t' | '\r' | '\n');
        while self.rest.next_if(space).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        object(text.as_bytes()).map(Value::Object)
    }

    #[test]
    fn standard_json_reads_as_anywhere_else() {
        for text in [
            "{}",
            " {\r\n\t\"a\" : [ ] } ",
            r#"{"a": [1, -2.5e3, 0, true, false, null, {"b": "c"}], "d": 18446744073709551615}"#,
            r#"{"a": "\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00\u0000"}"#,
            "{\"ä\": \"€\"}",
        ] {
            assert_eq!(read(text), serde_json::from_str(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn old_syntax_is_taken() {
        let same = [
            (r#"{"a":1,}"#, json!({"a": 1})),
            (r#"{"a":[1,],}"#, json!({"a": [1]})),
            (r#"{'a':'it\'s "b"'}"#, json!({"a": "it's \"b\""})),
            ("{a_1:1}", json!({"a_1": 1})),
            ("{\"a\":\"b\n\t\"}", json!({"a": "b\n\t"})),
            (r#"{"a":"\U0041"}"#, json!({"a": "A"})),
        ];
        for (text, value) in same {
            assert_eq!(read(text), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "\"a\"",
            "{} x",
            "{}{}",
            "{,}",
            "{\"a\":1,,}",
            "{\"a\" 1}",
            "{\"a\":[,]}",
            "{\"a\":[1 2]}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":-}",
            "{\"a\":1e400}",
            "{\"a\":0x1}",
            "{\"a\":NaN}",
            "{\"a\":True}",
            "{\"a\":truex}",
            "{\"a\":\"\\x41\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{null:1}",
            "{true:1}",
            "{9a:1}",
            "{a.b:1}",
            "{a-b:1}",
            "{$a:1}",
            "{\"a\":1/**/}",
            "\u{feff}{}",
            "{\"a\":\"b}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_at_any_depth() {
        assert!(read(r#"{"a":1,"b":{"a":1}}"#).is_some());
        assert!(read(r#"{"a":1,"a":1}"#).is_none());
        assert!(read(r#"{"a":1,"\u0061":1}"#).is_none());
        assert!(read(r#"{"b":[{"a":1,"a":2}]}"#).is_none());
    }

    #[test]
    fn null_is_an_empty_object_and_a_list_is_none() {
        assert_eq!(object(b"null"), Some(Map::new()));
        assert_eq!(object(b"[]"), None);
    }

    #[test]
    fn nesting_ends_at_a_hundred_levels() {
        let lists = |count| format!("{{\"a\":{}{}}}", "[".repeat(count), "]".repeat(count));
        assert!(read(&lists(DEEPEST - 1)).is_some());
        assert!(read(&lists(DEEPEST)).is_none());
    }
}
