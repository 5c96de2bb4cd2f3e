//! What must not turn up in an answer or a log line. Alone in its program: the
//! subscriber belongs to the thread, the level cache to the process.

mod world;

use std::io::{self, Read};
use std::sync::{Arc, mpsc};
use std::thread;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use service::subscriber;
use tracing_subscriber::EnvFilter;
use wiremock::ResponseTemplate;
use world::{SECRET, World, app_between, ask, data, get, nobody};

#[tokio::test]
async fn no_answer_and_no_log_line_tells_a_secret_or_a_token() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let log = drain(reader);
    let subscriber = subscriber(EnvFilter::new("trace"), Arc::new(writer));
    let logging = tracing::subscriber::set_default(subscriber);

    let mut bodies = String::new();
    for status in [200, 401, 403, 500] {
        let world = World::new().await;
        world.keycloak_issues(&["t0k3n-one", "t0k3n-two"]).await;
        for token in ["t0k3n-one", "t0k3n-two"] {
            let answer = if status == 200 {
                data()
            } else {
                ResponseTemplate::new(status)
            };
            world.backend_answers(token, answer).await;
        }
        let request = Request::get("/?access_token=t0k3n-of-a-caller")
            .header("authorization", "Bearer t0k3n-of-a-caller")
            .header("x-request-id", format!("wanted-{status}"))
            .body(Body::empty())
            .expect("a valid request");
        bodies += &ask(&world.app(), request).await.body;
        bodies += &get(&app_between(&world.keycloak.uri(), &nobody()), "/")
            .await
            .body;
        bodies += &get(&app_between(&nobody(), &nobody()), "/").await.body;

        world.keycloak.reset().await;
        let rejection =
            ResponseTemplate::new(401).set_body_json(json!({"error": "invalid_client"}));
        world.keycloak_answers(rejection).await;
        bodies += &get(&world.app(), "/").await.body;
    }
    drop(logging);
    let log = log.recv().expect("the whole log");

    for status in [200, 502, 403, 503] {
        assert!(
            log.contains(&format!("\"status\":{status}")),
            "no line for {status}"
        );
    }
    for line in log.lines() {
        serde_json::from_str::<Value>(line).expect("each line is JSON");
    }
    let basic = "ZnJvbnRlbmQ6czNjcjN0LW9mLXRoZS1jbGllbnQ"; // frontend:SECRET in base64
    for hidden in [SECRET, "t0k3n", basic] {
        assert!(!bodies.contains(hidden), "{hidden} in an answer");
        let told = log.lines().find(|line| line.contains(hidden));
        assert_eq!(told, None, "{hidden} in the log");
    }
}

/// Reads on a thread of its own: the log is longer than a pipe holds.
fn drain(mut reader: io::PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("UTF-8");
        sender.send(log)
    });
    receiver
}
