//! Random connections and requests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Dice, tokens};
use crate::scene::{Call, Connection, PRINCIPALS, Request, SERVER_NAMES};
use crate::token::Token;

pub(super) fn connection(dice: &mut Dice) -> Connection {
    let default = Connection::default();
    let (from, to): (IpAddr, IpAddr) = if dice.chance(85) {
        let from = *dice.pick(&[[192, 0, 2, 1], [192, 0, 2, 7], [198, 51, 100, 1]]);
        (from.into(), default.to)
    } else {
        let v6 = |text: &str| text.parse().expect("an address written here");
        (v6("2001:db8::1"), v6("2001:db8::9"))
    };
    let principal = dice.maybe(50, |dice| {
        if dice.chance(60) {
            PRINCIPALS[0].to_owned()
        } else {
            dice.text(&PRINCIPALS)
        }
    });
    let server_name = principal
        .is_some()
        .then(|| dice.maybe(60, |dice| dice.text(&SERVER_NAMES)))
        .flatten();
    Connection {
        principal,
        server_name,
        from,
        to,
        port: *dice.pick(&[8080, 8080, 8080, 9090]),
    }
}

const PATHS: [&str; 29] = [
    "/a",
    "/a",
    "/a/b",
    "/a/x/c",
    "/b",
    "/",
    "/A",
    "/a/../b",
    "/a/./b",
    "/a//b",
    "//a",
    "/%61",
    "/a%2Fb",
    "/a%5Cb",
    "/a\\b",
    "/..;/a",
    "/../a",
    "/a|b",
    "/a/%2e%2e/a",
    "/a/b?x=1",
    "/a?x=/b",
    "/a?",
    "/a?z=%2F%41&b&z=2",
    "/a?&y==1&",
    "/a?y=%0a",
    "/a#b",
    "/%zz",
    "/a%00",
    "/ä",
];
const METHODS: [&str; 7] = ["GET", "GET", "GET", "GET", "POST", "OPTIONS", "DELETE"];
const HOSTS: [&str; 5] = [
    "example.com",
    "Example.com:8080",
    "x",
    "example.com.",
    "a.com",
];

pub(super) fn call(dice: &mut Dice, connection: Connection) -> Call {
    let mut tokens = Tokens::default();
    let mut request = Request {
        method: dice.text(&METHODS),
        path: dice.text(&PATHS),
        host: dice.text(&HOSTS),
        headers: Vec::new(),
    };
    if dice.chance(3) {
        request.path = format!("/a/{}", "long/".repeat(dice.between(49, 52)));
    }
    carry_tokens(dice, &mut tokens, &mut request);
    add_headers(dice, &mut request);
    if dice.chance(12) {
        odd(dice, &mut request);
    }
    Call {
        connection,
        tokens: tokens.0,
        request,
    }
}

#[derive(Default)]
struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// A new token's place in the request.
    fn another(&mut self, dice: &mut Dice) -> String {
        let name = format!("t{}", self.0.len());
        let place = format!("{{{name}}}");
        self.0.insert(name, tokens::token(dice));
        place
    }
}

/// Puts tokens where rules look for them, and where none looks.
fn carry_tokens(dice: &mut Dice, tokens: &mut Tokens, request: &mut Request) {
    let mut header = |name: &str, value: String| request.headers.push((name.to_owned(), value));
    match dice.between(0, 19) {
        0 => {}
        1 => header("authorization", "Basic x".to_owned()),
        2 => header("authorization", format!("bearer {}", tokens.another(dice))),
        3 => header("x-t", tokens.another(dice)),
        4 => header("X-T", format!("Tok {}", tokens.another(dice))),
        5 => {
            let name = dice.text(&["access_token", "q", "t", "access%5ftoken"]);
            add_param(request, &name, &tokens.another(dice));
        }
        6 => {
            let (first, second) = (tokens.another(dice), tokens.another(dice));
            let second = if dice.chance(50) { &second } else { &first };
            header("cookie", format!("a=1; c={first}; tok=\"{second}\""));
        }
        7 => {
            header("authorization", format!("Bearer {}", tokens.another(dice)));
            header("Authorization", format!("Bearer {}", tokens.another(dice)));
        }
        8 => {
            header(
                "authorization",
                format!("x Bearer   {}", tokens.another(dice)),
            );
            add_param(request, "q", &format!("{}&z=1", tokens.another(dice)));
        }
        9 => {
            header("authorization", format!("Bearer {}", tokens.another(dice)));
            header("x-t", tokens.another(dice));
            header("x-u", tokens.another(dice));
        }
        10 => header("authorization", format!("Bearer{}", tokens.another(dice))),
        _ => header("authorization", format!("Bearer {}", tokens.another(dice))),
    }
}

const TARGETS: [&str; 22] = [
    "http://example.com/a",
    "http://Example.com:8080/a/../b",
    "https://a.com/a?x=/b",
    "HTTP://x/a#b",
    "http://x",
    "http://x?y",
    "http://user@x/a",
    "http://[::1]:80/a",
    "http://x_y/a",
    "http://x:y/a",
    "http:///a",
    "ftp://x/a",
    "ws://x/a",
    "http:/x/a",
    "http://x/ä",
    "http://x/a%00",
    "*",
    "x:80",
    "x",
    "a/b",
    "?x",
    "example.com:8080",
];

/// Something that is Envoy's to read before any filter.
fn odd(dice: &mut Dice, request: &mut Request) {
    let mut header = |name: &str, value: &str| {
        request.headers.push((name.to_owned(), value.to_owned()));
    };
    match dice.between(0, 13) {
        0 | 1 => request.path = dice.text(&TARGETS),
        2 => {
            request.method = dice.text(&["CONNECT", "CONNECT", "OPTIONS"]);
            request.path = if dice.chance(50) {
                "example.com:8080".to_owned()
            } else {
                dice.text(&TARGETS)
            };
        }
        3 => {
            let methods = [
                "GETX", "get", "QUERY", "PRI", "PROPFIND", "MSEARCH", "HEAD", "TRACE",
            ];
            request.method = dice.text(&methods);
        }
        4 => header("x-big", &"x".repeat(*dice.pick(&[40_000, 61_441, 90_000]))),
        5 => {
            for _ in 0..*dice.pick(&[40, 101, 150]) {
                header("x-many", "");
            }
        }
        6 => {
            request.host = dice.text(&["a b", "a/b", "ä", "a@b", "[::1]", "A_b:99999", "a\"b", ""]);
        }
        7 => header(
            "x-odd",
            &dice.text(&["\0", "a\u{1}", "\u{7f}", "ä", "a\tb", "a\rb"]),
        ),
        8 => header(&dice.text(&["x h", "x(", "ä", "x_h", "x!", "x-A"]), "a"),
        9 => {
            header(
                "connection",
                &dice.text(&["Upgrade", "keep-alive, upgrade", "keep-alive"]),
            );
            header(
                "upgrade",
                &dice.text(&["websocket", "h2c", "foo", "websocket, h2c", ""]),
            );
        }
        _ => {
            let types = [
                "application/grpc",
                "application/grpc+proto",
                "application/grpc-web",
                "a/b",
            ];
            header("content-type", &dice.text(&types));
        }
    }
}

fn add_param(request: &mut Request, name: &str, value: &str) {
    let separator = if request.path.contains('?') { '&' } else { '?' };
    request.path = format!("{}{separator}{name}={value}", request.path);
}

fn add_headers(dice: &mut Dice, request: &mut Request) {
    let mut header = |name: &str, value: &str| {
        request.headers.push((name.to_owned(), value.to_owned()));
    };
    if dice.chance(30) {
        header("x-a", &dice.text(&["1", "2", "12", "", "1,2"]));
        if dice.chance(40) {
            header("X-A", "2");
        }
    }
    if dice.chance(20) {
        header("accept", "a");
        if dice.chance(50) {
            header("accept", "b");
        }
    }
    if dice.chance(20) {
        header("x-c", "a");
    }
    if dice.chance(10) {
        header("x-p", "forged");
    }
    if dice.chance(15) {
        header("origin", &dice.text(&["http://o", ""]));
        if dice.chance(70) {
            header("access-control-request-method", "GET");
        }
    }
    if dice.chance(10) {
        header("x-forwarded-proto", &dice.text(&["http", "https"]));
    }
}
