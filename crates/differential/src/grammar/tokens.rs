//! Random tokens: most are good but for one thing.

use serde_json::{Map, Value, json};

use super::{Dice, ISSUERS, SLASHED_ISSUER};
use crate::token::{Defect, Token};

/// Key, `alg` and `kid`, which do not always fit each other.
const OTHER_SIGNERS: [(&str, &str, &str); 18] = [
    ("rsa", "RS256", "rsa"),
    ("rsa", "RS384", "rsa"),
    ("rsa", "RS512", "rsa"),
    ("rsa", "PS256", "rsa"),
    ("rsa", "PS384", "rsa"),
    ("rsa", "PS512", "rsa"),
    ("rsa", "ES256", "p256"),
    ("foreign-rsa", "RS256", "rsa"),
    ("p384", "ES384", "p384"),
    ("p521", "ES512", "p521"),
    ("secret", "HS256", "secret"),
    ("secret", "HS384", "secret"),
    ("secret", "HS512", "secret"),
    ("p256", "ES384", "p384"),
    ("ed25519", "ES256", "p256"),
    ("p256", "EdDSA", "ed25519"),
    ("p521", "ES256", "p521"),
    ("p521", "ES384", "p521"),
];

pub(super) fn token(dice: &mut Dice) -> Token {
    let mut claims = claims(dice);
    if dice.chance(30) {
        spoil(dice, &mut claims);
    }
    // RSA takes much longer to sign than all the rest of a case.
    let (key, alg, kid) = if dice.chance(75) {
        *dice.pick(&[("p256", "ES256", "p256"), ("ed25519", "EdDSA", "ed25519")])
    } else {
        *dice.pick(&OTHER_SIGNERS)
    };
    let mut header = Map::from_iter([("alg".to_owned(), json!(alg))]);
    if dice.chance(80) {
        header.insert("kid".to_owned(), json!(kid));
    } else if dice.chance(30) {
        header.insert("kid".to_owned(), json!("zz"));
    }
    if dice.chance(20) {
        header.insert("typ".to_owned(), json!("JWT"));
    }
    Token {
        header,
        claims,
        key: Some(key.to_owned()),
        defect: dice.maybe(18, defect),
    }
}

fn claims(dice: &mut Dice) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut set = |name: &str, value| claims.insert(name.to_owned(), value);
    set(
        "iss",
        json!(if dice.chance(75) {
            ISSUERS[0]
        } else {
            ISSUERS[1]
        }),
    );
    set("exp", json!("now+600s"));
    set("iat", json!("now"));
    if dice.chance(90) {
        set("sub", json!(dice.text(&["user", "user", "u2", "x"])));
    }
    if dice.chance(90) {
        let audiences = [
            json!("aud"),
            json!("aud"),
            json!(["aud", "account"]),
            json!("http://other"),
            json!(["other/"]),
        ];
        set("aud", dice.pick(&audiences).clone());
    }
    if dice.chance(50) {
        set("azp", json!("fe"));
    }
    if dice.chance(50) {
        set("email", json!("user@example.com"));
    }
    if dice.chance(60) {
        set("c", value(dice));
    }
    if dice.chance(50) {
        let inner = value(dice);
        set("n", json!({"c": inner}));
    }
    if dice.chance(10) {
        set("n.c", value(dice));
    }
    if dice.chance(10) {
        set("https://x/c", value(dice));
    }
    if dice.chance(50) {
        set(
            "scope",
            json!(dice.text(&["openid email", "openid", "", " ", "email  x"])),
        );
    }
    claims
}

fn value(dice: &mut Dice) -> Value {
    let values = [
        json!("a"),
        json!("a"),
        json!("b"),
        json!("ab"),
        json!("x"),
        json!("a b"),
        json!(""),
        json!("ä"),
        json!("a\r\nx-a: b"),
        json!("a\0"),
        json!("a\0"),
        json!("a\0"),
        json!("a\tb"),
        json!(1),
        json!(1.5),
        json!(-1),
        json!(true),
        Value::Null,
        json!(["a", "x"]),
        json!(["b", 1]),
        json!([]),
        json!([["a"]]),
        json!({"c": "a"}),
        json!({"d": "a"}),
        json!({}),
    ];
    dice.pick(&values).clone()
}

/// Makes one claim wrong, or nearly so. Envoy allows a minute either way, and
/// nothing here comes near the edge of that minute.
fn spoil(dice: &mut Dice, claims: &mut Map<String, Value>) {
    let changes = [
        ("iss", Some(json!(1))),
        ("iss", Some(json!(SLASHED_ISSUER))),
        ("iss", None),
        ("exp", Some(json!("now-90s"))),
        ("exp", Some(json!("now-90s"))),
        ("exp", Some(json!("now-30s"))),
        ("exp", Some(json!("x"))),
        ("exp", Some(json!(-1))),
        ("exp", Some(json!(0))),
        ("exp", Some(json!("now+100.9s"))),
        ("exp", Some(json!(1e30))),
        ("exp", Some(Value::Null)),
        ("exp", None),
        ("nbf", Some(json!("now+200s"))),
        ("nbf", Some(json!("now+200s"))),
        ("nbf", Some(json!("now+30s"))),
        ("nbf", Some(json!(1e30))),
        ("nbf", Some(json!("x"))),
        ("nbf", Some(json!([]))),
        ("iat", Some(json!("7"))),
        ("iat", Some(json!(-7))),
        ("iat", Some(json!("now+9000s"))),
        ("aud", Some(json!(["aud", 1]))),
        ("aud", Some(Value::Null)),
        ("aud", Some(json!([]))),
        ("aud", Some(json!({"aud": "aud"}))),
        ("sub", Some(json!(7))),
        ("sub", Some(Value::Null)),
        ("jti", Some(json!(7))),
        ("jti", Some(json!("id"))),
    ];
    let (name, value) = dice.pick(&changes);
    match value {
        Some(value) => claims.insert((*name).to_owned(), value.clone()),
        None => claims.remove(*name),
    };
}

fn defect(dice: &mut Dice) -> Defect {
    let layouts = [
        "{header}..{claims}.{signature}",
        "{header}.{claims}.{signature}A",
        "{header}.{claims}.{signature}=",
        "{header}.{claims}.{signature}==",
        "{header}.{claims}",
        "{header}.{claims}.",
        ".{header}.{claims}.{signature}",
        "!!.{claims}.{signature}",
        "{header}.a.{signature}",
        "{header}.{claims}=.{signature}",
        "{header}.{claims}.*",
        "{header}.{claims}.AAAA",
        "{header}.{claims}.{signature}.x",
        "{header}. {claims}.{signature}",
        "{header}.{claims}.{signature} x",
        "junk",
        "",
    ];
    let headers = [
        r#"{"alg":"none"}"#,
        r#"{"typ":"x"}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":1}"#,
        r#"{"alg":"ES256","alg":"RS256"}"#,
        "{",
        "[]",
        "",
    ];
    let claims = [
        "[]",
        "null",
        "{}",
        "{",
        "\"x\"",
        r#"{"iss":"http://kc/realms/a","iss":"x"}"#,
        r#"{"iss":"http://kc/realms/a",}"#,
        r"{'iss':'http://kc/realms/a'}",
        r#"{iss:"http://kc/realms/a"}"#,
        r#"{"iss":"http://kc/realms/a","exp":1e400}"#,
    ];
    match dice.between(0, 9) {
        0..=3 => Defect::Layout(dice.text(&layouts)),
        4..=5 => Defect::Header(dice.text(&headers)),
        6..=7 => Defect::Claims(dice.text(&claims)),
        _ => Defect::LastCharacter,
    }
}
