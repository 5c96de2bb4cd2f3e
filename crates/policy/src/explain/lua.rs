//! The one Lua script whose meaning is known here: "no verified token, so
//! answer with this".
//!
//! Lua is a program, and programs are not guessed at. A script is recognised
//! only if, token by token, it is a single function
//!
//! ```lua
//! function envoy_on_request(HANDLE)
//!   if HANDLE:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn") == nil then
//!     HANDLE:respond({[":status"] = "401", ["NAME"] = "VALUE", …}, "BODY")
//!   end
//! end
//! ```
//!
//! Spaces, comments, quotes and the name of the handle are free; the reply's
//! status, headers and body are read from it. Anything else is not modelled.

/// The reply to a request without a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MissingTokenReply {
    pub(super) status: u16,
    pub(super) www_authenticate: Option<String>,
    pub(super) body: String,
}

impl MissingTokenReply {
    pub(super) fn read(script: &str) -> Option<Self> {
        let tokens = tokens(script)?;
        let mut reader = Reader { rest: &tokens };
        reader.words(&["function", "envoy_on_request", "("])?;
        let handle = reader.word()?.to_owned();
        reader.words(&[")", "if", &handle, ":", "streamInfo", "(", ")"])?;
        reader.words(&[":", "dynamicMetadata", "(", ")", ":", "get", "("])?;
        if reader.string()? != "envoy.filters.http.jwt_authn" {
            return None;
        }
        reader.words(&[
            ")", "=", "=", "nil", "then", &handle, ":", "respond", "(", "{",
        ])?;

        let mut status = None;
        let mut www_authenticate = None;
        loop {
            reader.words(&["["])?;
            let name = reader.string()?.to_ascii_lowercase();
            reader.words(&["]", "="])?;
            let value = reader.string()?.to_owned();
            match name.as_str() {
                ":status" => status = Some(value.parse().ok()?),
                "www-authenticate" => www_authenticate = Some(value),
                _ => {}
            }
            match reader.word()? {
                "," | ";" => {}
                "}" => break,
                _ => return None,
            }
        }
        reader.words(&[","])?;
        let body = reader.string()?.to_owned();
        reader.words(&[")", "end", "end"])?;
        let status = status?;
        reader.rest.is_empty().then_some(Self {
            status,
            www_authenticate,
            body,
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum LuaToken {
    /// A name, a keyword or one character of punctuation.
    Word(String),
    Text(String),
}

/// `None` for what this small reader does not know (escapes, long strings).
fn tokens(script: &str) -> Option<Vec<LuaToken>> {
    let mut tokens = Vec::new();
    let mut rest = script.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(comment) = rest.strip_prefix("--") {
            if comment.starts_with('[') {
                return None;
            }
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' || first == '\'' {
            let text = &rest[1..];
            let text = &text[..text.find(first)?];
            if text.contains(['\\', '\n']) {
                return None;
            }
            tokens.push(LuaToken::Text(text.to_owned()));
            text.len() + 2
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let end = end.unwrap_or(rest.len());
            tokens.push(LuaToken::Word(rest[..end].to_owned()));
            end
        } else {
            tokens.push(LuaToken::Word(first.to_string()));
            first.len_utf8()
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

struct Reader<'a> {
    rest: &'a [LuaToken],
}

impl<'a> Reader<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (LuaToken::Word(word), rest) = self.rest.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(word)
    }

    fn string(&mut self) -> Option<&'a str> {
        let (LuaToken::Text(text), rest) = self.rest.split_first()? else {
            return None;
        };
        self.rest = rest;
        Some(text)
    }

    fn words(&mut self, expected: &[&str]) -> Option<()> {
        expected
            .iter()
            .try_for_each(|word| (self.word()? == *word).then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"
        -- no token, no entry
        function envoy_on_request(request)
          if request:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn") == nil then
            request:respond({[":status"] = "401", ["www-authenticate"] = "Bearer"}, "Jwt is missing")
          end
        end
    "#;

    #[test]
    fn the_missing_token_script_is_recognised_by_its_shape() {
        let reply = MissingTokenReply {
            status: 401,
            www_authenticate: Some("Bearer".to_owned()),
            body: "Jwt is missing".to_owned(),
        };
        assert_eq!(MissingTokenReply::read(SCRIPT), Some(reply.clone()));
        let renamed = SCRIPT
            .replace("request:", "h:")
            .replace("(request)", "(h)")
            .replace('"', "'");
        assert_eq!(MissingTokenReply::read(&renamed), Some(reply));
    }

    #[test]
    fn any_other_script_is_not_guessed_at() {
        for other in [
            SCRIPT.replace("== nil", "~= nil"),
            SCRIPT.replace("jwt_authn", "rbac"),
            SCRIPT.replace(
                "  end\n        end",
                "  end\n request:headers():remove('x') end",
            ),
            format!("{SCRIPT} function envoy_on_response(h) end"),
            SCRIPT.replace("\"401\"", "status"),
            "function envoy_on_request(h) end".to_owned(),
            String::new(),
        ] {
            assert_eq!(MissingTokenReply::read(&other), None, "{other}");
        }
    }
}
