//! What a call gets: by the model, and by Envoy.

use std::fmt;

use policy::{Explanation, Outcome, Question, Token, explain};
use serde::Serialize;

use super::scene::{Call, Request, Rules, workload};
use super::upstream::Arrived;
use super::wire::Response;
use harness::redact::redact;
use harness::rules::prediction::fits;

/// What a call gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An HTTP answer.
    Reply(Reply),
    /// A connection that is closed without one, with what the proxy logs about it.
    Closed(Option<String>),
    /// The sidecar does not take its configuration.
    ConfigurationRefused,
    /// The model cannot tell, though all is known.
    Open(Vec<String>),
}

/// An HTTP answer and what the proxy logs about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
    /// `www-authenticate`.
    pub www_authenticate: Option<String>,
    /// `grpc-status`.
    pub grpc_status: Option<String>,
    /// `grpc-message`.
    pub grpc_message: Option<String>,
    /// What arrived behind the sidecar.
    pub arrived: Option<Arrived>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
}

impl Reply {
    /// What was received, with what was logged.
    pub fn new(response: Response, details: String) -> Self {
        let arrived = (details == "via_upstream")
            .then(|| serde_json::from_str(&response.body).ok())
            .flatten();
        Self {
            status: response.status,
            body: match &arrived {
                Some(_) => String::new(),
                None => response.body,
            },
            www_authenticate: response.www_authenticate,
            grpc_status: response.grpc_status,
            grpc_message: response.grpc_message,
            arrived,
            details,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) | Self::ConfigurationRefused => f.write_str(&self.kind()),
            Self::Open(missing) => write!(f, "unknown for want of {}", missing.join(", ")),
            Self::Reply(reply) => {
                write!(f, "{} {} {:?}", reply.status, reply.details, reply.body)?;
                for (name, value) in [
                    ("www-authenticate", &reply.www_authenticate),
                    ("grpc-status", &reply.grpc_status),
                    ("grpc-message", &reply.grpc_message),
                ] {
                    if let Some(value) = value {
                        write!(f, ", {name}: {value}")?;
                    }
                }
                match &reply.arrived {
                    None => Ok(()),
                    Some(arrived) => write!(f, ", arrived: {}", redact(&format!("{arrived:?}"))),
                }
            }
        }
    }
}

impl Answer {
    /// The answer without what differs from policy to policy and from request
    /// to request.
    pub fn kind(&self) -> String {
        match self {
            Self::Closed(None) => "connection closed".to_owned(),
            Self::Closed(Some(details)) => format!("connection closed, {details}"),
            Self::ConfigurationRefused => "configuration refused".to_owned(),
            Self::Open(_) => "unknown".to_owned(),
            Self::Reply(Reply {
                status, details, ..
            }) => match details.split_once('[') {
                Some((what, "none]")) => format!("{status} {what}[none]"),
                Some((what, _)) if what.starts_with("rbac") => format!("{status} {what}[rule]"),
                _ => format!("{status} {details}"),
            },
        }
    }

    /// The same for reports: a challenge repeats the token of a query.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        if let Self::Reply(reply) = &mut self {
            if let Some(text) = &mut reply.www_authenticate {
                *text = redact(text);
            }
            if let Some(arrived) = &mut reply.arrived {
                arrived.path = redact(&arrived.path);
                for value in arrived.headers.values_mut().flatten() {
                    *value = redact(value);
                }
            }
        }
        self
    }

    /// Whether the model's answer is what Envoy gave.
    pub fn agrees_with(&self, observed: &Self) -> bool {
        let (Self::Reply(model), Self::Reply(envoy)) = (self, observed) else {
            return self == observed && !matches!(self, Self::Open(_));
        };
        let challenge = match (&model.www_authenticate, &envoy.www_authenticate) {
            (Some(model), Some(envoy)) => fits(model, envoy),
            (model, envoy) => model == envoy,
        };
        let rest = |reply: &Reply| Reply {
            www_authenticate: None,
            ..reply.clone()
        };
        challenge && rest(model) == rest(envoy)
    }
}

/// The model's answer at `now`; `request` is the call's with its tokens made.
pub fn predict(rules: &Rules, call: &Call, request: &Request, now: u64) -> Answer {
    let explanation = explain(&Question {
        mesh: &rules.mesh,
        manifests: &rules.manifests,
        workload: &workload(),
        keys: &rules.keys,
        request: &call.for_model(request),
        token: &Token::None,
        now,
    });
    match explanation.outcome {
        Some(outcome) => {
            let told = explanation.arrival.filter(|_| request.method != "HEAD");
            of_outcome(outcome, told.as_ref().map(Arrived::predicted))
        }
        None => without_outcome(explanation),
    }
}

fn of_outcome(outcome: Outcome, arrived: Option<Arrived>) -> Answer {
    let details = outcome.response_code_details;
    if outcome.allowed && details.is_none() {
        // The answer to a WebSocket's handshake has no length, so it says nothing.
        return Answer::Reply(Reply {
            status: 200,
            details: "websocket_handshake_unsuccessful".to_owned(),
            ..Reply::default()
        });
    }
    let (status, body) = match (outcome.allowed, outcome.status) {
        (true, _) => (200, None),
        (false, Some(status)) => (status, outcome.body),
        (false, None) => return Answer::Closed(details),
    };
    Answer::Reply(Reply {
        status,
        body: body.unwrap_or_default(),
        www_authenticate: outcome.www_authenticate,
        grpc_status: outcome.grpc_status.map(|status| status.to_string()),
        grpc_message: outcome.grpc_message,
        arrived,
        details: details.unwrap_or_default(),
    })
}

fn without_outcome(explanation: Explanation) -> Answer {
    let refused = "the configuration that the sidecar still has";
    if explanation.missing == [refused] {
        Answer::ConfigurationRefused
    } else {
        Answer::Open(explanation.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, details: &str, challenge: Option<&str>) -> Answer {
        Answer::Reply(Reply {
            status,
            body: String::new(),
            www_authenticate: challenge.map(str::to_owned),
            grpc_status: None,
            grpc_message: None,
            arrived: None,
            details: details.to_owned(),
        })
    }

    #[test]
    fn every_part_of_a_reply_must_agree() {
        let model = reply(401, "a", Some("Bearer"));
        assert!(model.agrees_with(&reply(401, "a", Some("Bearer"))));
        assert!(!model.agrees_with(&reply(403, "a", Some("Bearer"))));
        assert!(!model.agrees_with(&reply(401, "b", Some("Bearer"))));
        assert!(!model.agrees_with(&reply(401, "a", None)));
        assert!(!model.agrees_with(&Answer::Closed(None)));
    }

    #[test]
    fn model_that_cannot_tell_never_agrees() {
        let open = Answer::Open(vec!["port".to_owned()]);
        assert!(!open.agrees_with(&open));
    }

    #[test]
    fn token_that_the_model_hides_may_be_any_but_nothing_else_may() {
        let model = "Bearer realm=\"http://x/a?t=<token>&z=1\"";
        assert!(fits(model, "Bearer realm=\"http://x/a?t=eyJ.eyJ.abc&z=1\""));
        assert!(!fits(
            model,
            "Bearer realm=\"http://x/b?t=eyJ.eyJ.abc&z=1\""
        ));
        assert!(!fits(
            model,
            "Bearer realm=\"http://x/a?t=eyJ.eyJ.abc&z=2\""
        ));
        assert!(!fits(
            model,
            "Bearer realm=\"http://x/a?t=eyJ.eyJ.abc&z=1\", more"
        ));
    }

    #[test]
    fn kind_leaves_names_out_but_not_whether_a_rule_matched() {
        let matched = reply(
            403,
            "rbac_access_denied_matched_policy[ns[demo]-policy[p0]-rule[0]]",
            None,
        );
        assert_eq!(
            matched.kind(),
            "403 rbac_access_denied_matched_policy[rule]"
        );
        let none = reply(403, "rbac_access_denied_matched_policy[none]", None);
        assert_eq!(none.kind(), "403 rbac_access_denied_matched_policy[none]");
        let jwt = reply(401, "jwt_authn_access_denied{Jwt_is_expired}", None);
        assert_eq!(jwt.kind(), "401 jwt_authn_access_denied{Jwt_is_expired}");
    }
}
