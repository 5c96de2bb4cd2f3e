//! What a token says of itself.

use std::{fmt::Write, path::Path, process::ExitCode, time::SystemTime};

use anyhow::Context;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_client::jwt::{self, Unverified};

use crate::cli::{Output, print, read_secret};

/// The claims that hold a moment, and what it is the moment of (RFC 7519 §4.1,
/// OpenID Connect Core 1.0 §2).
const MOMENTS: [(&str, &str); 4] = [
    ("iat", "issued"),
    ("nbf", "valid"),
    ("auth_time", "login"),
    ("exp", "end"),
];

pub(crate) fn run(output: Output) -> anyhow::Result<ExitCode> {
    let text = read_secret(Path::new("-"))?;
    let token = jwt::decode(text.expose_secret()).context("stdin holds no JWT")?;
    let now = SystemTime::now();
    match output {
        Output::Text => print(&for_people(&token, now))?,
        Output::Json => print(&for_programs(&token, now).to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn expired(token: &Unverified, now: SystemTime) -> Option<bool> {
    token.moment("exp").map(|end| end <= now)
}

fn for_people(token: &Unverified, now: SystemTime) -> String {
    let mut text = "Nothing is verified here: not the signature, not the issuer, not the \
                    audience.\n"
        .to_owned();
    for (name, part) in [("header", &token.header), ("claims", &token.claims)] {
        let _ = writeln!(text, "{name} {:#}", Value::from(part.clone()));
    }
    for (claim, meaning) in MOMENTS {
        if let Some(moment) = token.moment(claim) {
            let _ = writeln!(text, "{meaning:>9} {}", relative(moment, now));
        }
    }
    text.push_str(match expired(token, now) {
        Some(true) => "EXPIRED",
        Some(false) => "not expired",
        None => "never expires (no exp)",
    });
    text
}

fn for_programs(token: &Unverified, now: SystemTime) -> Value {
    json!({
        "verified": false,
        "expired": expired(token, now),
        "header": token.header,
        "claims": token.claims,
    })
}

/// Such as `in 4 min 10 s` and `2 h 5 min ago`.
fn relative(moment: SystemTime, now: SystemTime) -> String {
    match moment.duration_since(now) {
        Ok(ahead) => format!("in {}", rough(ahead.as_secs())),
        Err(past) => format!("{} ago", rough(past.duration().as_secs())),
    }
}

/// The two largest units.
fn rough(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// `{"alg":"none"}` and `{"iat":1000,"exp":1300}`.
    fn token() -> Unverified {
        jwt::decode("eyJhbGciOiJub25lIn0.eyJpYXQiOjEwMDAsImV4cCI6MTMwMH0.").unwrap()
    }

    #[test]
    fn times_are_told_relative_to_now() {
        let text = for_people(&token(), at(1050));
        assert!(text.contains("issued 50 s ago"), "{text}");
        assert!(text.contains("end in 4 min 10 s"), "{text}");
        assert_eq!(relative(at(0), at(7500)), "2 h 5 min ago");
        assert_eq!(relative(at(180_000), at(0)), "in 2 d 2 h");
    }

    #[test]
    fn token_is_expired_from_the_second_of_its_end_on() {
        assert!(for_people(&token(), at(1299)).ends_with("not expired"));
        assert!(for_people(&token(), at(1300)).ends_with("EXPIRED"));
        assert_eq!(for_programs(&token(), at(1300))["expired"], true);
    }

    #[test]
    fn nothing_is_said_to_be_verified() {
        assert!(for_people(&token(), at(0)).starts_with("Nothing is verified here"));
        assert_eq!(for_programs(&token(), at(0))["verified"], false);
    }
}
