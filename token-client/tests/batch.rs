//! A batch sends requests as they are given and answers every line.

use std::sync::{Arc, Mutex};

use token_client::ConnectTo;
use token_client::batch::{self, Answer, Connection, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server that answers `ok` to everything and keeps what it was sent: one
/// entry per connection.
async fn recorder() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn({
        let seen = seen.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_ok(stream, seen.clone()));
            }
        }
    });
    (address, seen)
}

async fn answer_ok(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(String::new());
        seen.len() - 1
    };
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let text = {
            let mut seen = seen.lock().unwrap();
            seen[index].push_str(&String::from_utf8_lossy(&buffer[..n]));
            seen[index].clone()
        };
        if text.ends_with("\r\n\r\n") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
    }
}

async fn run(input: &str) -> Vec<Answer> {
    let mut output = Vec::new();
    batch::run(input.as_bytes(), &mut output, 16).await.unwrap();
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn line(request: &Request) -> String {
    serde_json::to_string(request).unwrap() + "\n"
}

#[tokio::test]
async fn request_goes_out_exactly_as_given() {
    let (address, seen) = recorder().await;
    let mut request = Request::get(
        "r1",
        format!("http://{address}/a/../b/%2e%2e/?x='1'&x=%41&&="),
    );
    for value in ["Bearer one", "Bearer two"] {
        request
            .headers
            .push(("authorization".to_owned(), value.to_owned()));
    }
    let answers = run(&line(&request)).await;
    assert_eq!(answers[0].id.as_deref(), Some("r1"));
    let response = answers[0].response().unwrap();
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    assert_eq!(response.header("content-length"), Some("2"));
    assert_eq!(
        seen.lock().unwrap()[0],
        format!(
            "GET /a/../b/%2e%2e/?x='1'&x=%41&&= HTTP/1.1\r\nauthorization: Bearer one\r\n\
             authorization: Bearer two\r\nhost: {address}\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn fresh_requests_share_no_connection_and_reuse_requests_do() {
    let (address, seen) = recorder().await;
    let sender = batch::Sender::new();
    let mut request = Request::get("r", format!("http://{address}/"));
    for _ in 0..3 {
        assert!(sender.send(request.clone()).await.response().is_some());
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
    request.connection = Connection::Reuse;
    for _ in 0..3 {
        assert!(sender.send(request.clone()).await.response().is_some());
    }
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn connections_can_all_go_to_one_place() {
    let (address, seen) = recorder().await;
    let sender = batch::Sender::connecting_to(ConnectTo(address.parse().unwrap()));
    let request = Request::get("r", "http://backend.demo.svc.cluster.local/data");
    assert!(sender.send(request).await.response().is_some());
    assert_eq!(
        seen.lock().unwrap()[0],
        "GET /data HTTP/1.1\r\nhost: backend.demo.svc.cluster.local\r\n\r\n"
    );
}

#[tokio::test]
async fn port_of_the_url_does_not_lead_to_another_place() {
    let (address, seen) = recorder().await;
    let sender = batch::Sender::connecting_to(ConnectTo(address.parse().unwrap()));
    let request = Request::get("r", "http://invoices.billing.svc.cluster.local:8080/data");
    assert!(sender.send(request).await.response().is_some());
    assert_eq!(
        seen.lock().unwrap()[0],
        "GET /data HTTP/1.1\r\nhost: invoices.billing.svc.cluster.local:8080\r\n\r\n"
    );
}

#[tokio::test]
async fn bad_line_is_answered_and_the_run_goes_on() {
    let (address, _) = recorder().await;
    let good = line(&Request::get("good", format!("http://{address}/")));
    let input = format!(
        "{good}not json\n\n{{\"id\":\"x\",\"url\":\"u\",\"headers\":\"Bearer s3cret\"}}\n{good}"
    );
    let answers = run(&input).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.response().is_some())
            .count(),
        2
    );
    let mut errors: Vec<_> = answers.iter().filter_map(Answer::error).collect();
    errors.sort_unstable();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].starts_with("line 2: expected"), "{}", errors[0]);
    assert!(
        errors[1].starts_with("line 4: invalid type: string"),
        "{}",
        errors[1]
    );
    assert!(!errors[1].contains("s3cret"), "{}", errors[1]);
}

#[tokio::test]
async fn failure_names_the_innermost_cause() {
    let sender = batch::Sender::new();
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let answer = sender
        .send(Request::get("r", format!("http://{vacant}/")))
        .await;
    assert!(
        answer.error().unwrap().contains("connection refused"),
        "{answer:?}"
    );

    let resetting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = resetting.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = resetting.accept().await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    let answer = sender
        .send(Request::get("r", format!("http://{address}/")))
        .await;
    assert!(
        answer.error().unwrap().contains("connection reset"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn silent_server_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut request = Request::get("r", format!("http://{}/", silent.local_addr().unwrap()));
    request.timeout_ms = 50;
    let answer = batch::Sender::new().send(request).await;
    assert_eq!(answer.error(), Some("timed out: no answer within 50 ms"));
}

#[test]
fn debug_output_never_contains_a_credential_or_a_body() {
    let mut request = Request::get("r", "http://h/?access_token=s3cret");
    request.headers = vec![("Authorization".into(), "Bearer s3cret".into())];
    request.body = Some("password=s3cret".into());
    let answer: Answer = serde_json::from_str(
        r#"{"id":"r","status":200,"headers":[["set-cookie","s3cret"]],"body":"s3cret"}"#,
    )
    .unwrap();
    let text = format!("{request:?} {answer:?}");
    assert!(!text.contains("s3cret"), "{text}");
}
