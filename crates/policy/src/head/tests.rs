use super::*;

fn request(method: &str, target: &str) -> Request {
    Request {
        host: Some("host".to_owned()),
        ..Request::new(method, target)
    }
}

/// What becomes of a request: host, path and scheme, or the details of a refusal.
fn becomes(mut request: Request) -> Result<(String, String, String), String> {
    match read(&mut request, PathNormalization::Base) {
        Ok(()) => Ok((
            request.host.unwrap_or_default(),
            request.path.unwrap_or_default(),
            request.scheme,
        )),
        Err(Stop::Refused(refusal)) => Err(refusal.details.to_owned()),
        Err(Stop::Open(reason)) => Err(format!("open: {reason}")),
    }
}

fn with(headers: &[(&str, &str)]) -> Request {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Request {
        headers: headers.collect(),
        ..request("GET", "/data")
    }
}

fn details(request: Request) -> Option<String> {
    becomes(request).err()
}

#[test]
fn url_as_target_tells_host_path_and_scheme() {
    for (target, host, path, scheme) in [
        ("http://y/a", "y", "/a", "http"),
        ("HTTPS://Y/a/../b?x#f", "Y", "/b?x", "https"),
        ("http://y:80", "y:80", "/", "http"),
        ("http://user@y/a", "y", "/a", "http"),
        ("http://[::1]:80/a", "[::1]:80", "/a", "http"),
    ] {
        let want = (host.to_owned(), path.to_owned(), scheme.to_owned());
        assert_eq!(becomes(request("GET", target)), Ok(want), "{target}");
    }
}

#[test]
fn target_that_cannot_be_read_is_refused() {
    for (target, details) in [
        ("http://", "http1.invalid_url"),
        ("http://y_z/", "http1.invalid_url"),
        ("http://y:99999/", "http1.invalid_url"),
        ("*", "http1.invalid_url"),
        ("ftp://y/a", "http1.invalid_scheme"),
        ("http:/y", "http1.codec_error"),
        ("data", "http1.codec_error"),
        ("/dätä", "http1.codec_error"),
        ("/a\u{1}", "http1.invalid_characters"),
        ("http://y?x", "absolute_path_rejected"),
        ("/a%00", "path_normalization_failed"),
    ] {
        let got = becomes(request("GET", target));
        assert_eq!(got, Err(details.to_owned()), "{target}");
    }
    let star = becomes(request("OPTIONS", "*"));
    assert_eq!(star, Err("absolute_path_rejected".to_owned()));
}

#[test]
fn url_that_is_not_modelled_is_open() {
    for target in ["http://a:b@y/", "http://[y]/"] {
        let got = becomes(request("GET", target)).unwrap_err();
        assert!(got.starts_with("open: how Envoy reads"), "{target}: {got}");
    }
}

#[test]
fn connect_names_a_host_with_a_port_and_has_no_path() {
    let (host, path, _) = becomes(request("CONNECT", "y:80")).unwrap();
    assert_eq!((host.as_str(), path.as_str()), ("y:80", ""));
    for target in ["/a", "y", "u@y:80", "y:80/a", "http://y/a"] {
        let got = becomes(request("CONNECT", target));
        assert_eq!(got, Err("http1.invalid_url".to_owned()), "{target}");
    }
}

#[test]
fn unknown_method_is_no_http() {
    for method in ["get", "GETX", "QUERY", "PRI", ""] {
        let got = becomes(request(method, "/data"));
        assert_eq!(got, Err("http1.codec_error".to_owned()), "{method}");
    }
    for method in ["PROPFIND", "MSEARCH", "GET "] {
        assert!(becomes(request(method, "/data")).is_ok(), "{method}");
    }
}

#[test]
fn headers_over_60_kib_are_too_large_and_near_it_nobody_knows() {
    let of = |length: usize| details(with(&[("x-a", &"a".repeat(length))]));
    assert_eq!(of(50_000), None);
    assert!(of(60_000).unwrap().starts_with("open: "));
    assert_eq!(of(61_440).as_deref(), Some("http1.headers_too_large"));
    let many = |count| details(with(&vec![("x-a", "a"); count]));
    assert_eq!(many(80), None);
    assert!(many(95).unwrap().starts_with("open: "));
    assert_eq!(many(100).as_deref(), Some("http1.too_many_headers"));
}

#[test]
fn names_and_values_that_are_none_are_refused() {
    let refused = |name, value| details(with(&[(name, value)]));
    assert_eq!(refused("x_h", "ä\tb"), None);
    for name in ["x h", "xä", "x(h", ""] {
        assert_eq!(refused(name, "a").as_deref(), Some("http1.codec_error"));
    }
    for value in ["\0", "a\u{1f}", "\u{7f}"] {
        let got = refused("x-h", value);
        assert_eq!(got.as_deref(), Some("http1.invalid_characters"));
    }
}

#[test]
fn host_with_characters_of_no_host_is_refused() {
    let of = |host: &str| {
        details(Request {
            host: Some(host.to_owned()),
            ..request("GET", "/")
        })
    };
    for host in ["", "A_b:99999", "a,b", "a%b", "[::1]", "u@h", "*"] {
        assert_eq!(of(host), None, "{host}");
    }
    for host in ["a b", "ä", "a/b", "a#b", "a\\b", "a\"b"] {
        assert_eq!(
            of(host).as_deref(),
            Some("http.invalid_authority"),
            "{host}"
        );
    }
}

#[test]
fn body_of_two_lengths_is_open() {
    let got = details(with(&[
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
    ]));
    assert!(got.unwrap().starts_with("open: "));
}

#[test]
fn only_a_websocket_may_be_asked_for() {
    let of =
        |connection, protocol| details(with(&[("connection", connection), ("upgrade", protocol)]));
    assert_eq!(of("Upgrade", "WebSocket"), None);
    assert_eq!(of("upgrade, http2-settings", "h2c"), None);
    assert_eq!(of("close", "foo"), None);
    for protocol in ["foo", "", "websocket, h2c"] {
        let got = of("keep-alive, Upgrade", protocol);
        assert_eq!(got.as_deref(), Some("upgrade_failed"), "{protocol}");
    }
}
