//! Rows about the provider's keys: a provider on loopback whose answers a test sets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cavra_http::Limits;
use serde_json::{Value, json};

use super::signing::{Signer, jwks};
use super::site::{AUDIENCE, TestClock, claims, guard, rights};
use crate::client::{Answer, Request};
use crate::server::{Server, b};

/// Keys are fresh for so long, in seconds.
const TTL: i64 = 1000;
/// And serve for so long more when they cannot be renewed.
const STALE: i64 = 2000;
const COOLDOWN: i64 = 100;

/// How the provider answers for its keys.
#[derive(Debug, Clone)]
enum Fault {
    None,
    Status(u16),
    Body(String),
    Hang,
    Redirect,
}

#[derive(Debug)]
struct Answers {
    keys: Value,
    fault: Fault,
    metadata: Value,
}

struct Idp {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<AtomicUsize>,
    /// One message for each time that the keys were asked for.
    fetched: Receiver<()>,
}

impl Idp {
    fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}");
        let answers = Arc::new(Mutex::new(Answers {
            keys: jwks(keys),
            fault: Fault::None,
            metadata: json!({
                "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
                "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            }),
        }));
        let asked = Arc::new(AtomicUsize::new(0));
        let (tell, fetched) = channel();
        let (served, counted) = (Arc::clone(&answers), Arc::clone(&asked));
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, counted, tell) = (Arc::clone(&served), Arc::clone(&counted), tell.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &served, &counted, &tell));
            }
        });
        Self {
            address,
            answers,
            asked,
            fetched,
        }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn publish(&self, keys: &[&Signer]) {
        self.answers.lock().unwrap().keys = jwks(keys);
    }

    fn fault(&self, fault: Fault) {
        self.answers.lock().unwrap().fault = fault;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn token(&self, signer: &Signer) -> String {
        let mut payload = claims("operator", &["release-operators"]);
        payload["iss"] = json!(self.issuer());
        // The tests move the clock by hours.
        payload["exp"] = json!(payload["iat"].as_i64().unwrap() + 7200);
        signer.sign(&payload)
    }

    fn server(&self, clock: &Arc<TestClock>) -> Server {
        let oidc = json!({
            "issuer": self.issuer(), "audience": AUDIENCE, "leeway_seconds": 30, "max_lifetime_seconds": 86_400,
            "jwks_ttl_seconds": TTL, "jwks_stale_seconds": STALE, "jwks_cooldown_seconds": COOLDOWN,
            "fetch_timeout_seconds": 1, "bad_tokens_per_minute": 100_000,
        });
        let access = guard(&oidc, &rights(), false, Arc::clone(clock) as _);
        Server::with_access(Limits::default(), Arc::clone(clock) as _, access)
    }
}

fn answer(mut stream: TcpStream, answers: &Mutex<Answers>, asked: &AtomicUsize, tell: &Sender<()>) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let (status, body) = if path == "/jwks" {
        asked.fetch_add(1, Ordering::SeqCst);
        let _ = tell.send(());
        let (fault, keys) = {
            let answers = answers.lock().unwrap();
            (answers.fault.clone(), answers.keys.to_string())
        };
        match fault {
            Fault::None => ("200 OK".to_owned(), keys),
            Fault::Status(status) => (format!("{status} No"), String::new()),
            Fault::Body(body) => ("200 OK".to_owned(), body),
            Fault::Redirect => ("302 Found\r\nlocation: /elsewhere".to_owned(), String::new()),
            Fault::Hang => {
                // Until the other side gives up.
                let _ = stream.read(&mut piece);
                return;
            }
        }
    } else if path == "/.well-known/openid-configuration" {
        ("200 OK".to_owned(), answers.lock().unwrap().metadata.to_string())
    } else {
        // A redirect that is followed would find keys here.
        ("200 OK".to_owned(), answers.lock().unwrap().keys.to_string())
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn read(server: &Server, token: &str) -> Answer {
    server.send(&Request::get(&b("/dashboard")).bearer(token))
}

fn statuses(server: &Server, tokens: &[&str]) -> Vec<u16> {
    tokens.iter().map(|token| read(server, token).status).collect()
}

#[test]
fn row_53_an_unknown_key_makes_one_renewal_in_a_while() {
    let (known, unknown) = (Signer::es256("a", 1), Signer::es256("b", 2));
    let idp = Idp::start(&[&known]);
    let clock = TestClock::new();
    let server = idp.server(&clock);
    assert_eq!(read(&server, &idp.token(&known)).status, 200);
    let before = idp.asked();
    let token = idp.token(&unknown);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(read(&server, &token).status, 401);
                }
            });
        }
    });
    assert_eq!(idp.asked(), before + 1);
    clock.forward(COOLDOWN);
    assert_eq!(statuses(&server, &[&token, &token]), [401, 401]);
    assert_eq!(idp.asked(), before + 2);
}

#[test]
fn row_63_rotation_with_overlap_needs_no_restart() {
    let (old, new) = (Signer::es256("old", 1), Signer::rs256("new", 0));
    let idp = Idp::start(&[&old]);
    let server = idp.server(&TestClock::new());
    let (before, after) = (idp.token(&old), idp.token(&new));
    assert_eq!(statuses(&server, &[&before, &after]), [200, 401]);
    let clock = TestClock::new();
    let server = idp.server(&clock);
    assert_eq!(read(&server, &before).status, 200);
    idp.publish(&[&new, &old]);
    assert_eq!(statuses(&server, &[&before, &after, &before]), [200, 200, 200]);
}

#[test]
fn row_64_a_key_that_was_withdrawn_is_good_until_the_keys_are_renewed() {
    let (old, new) = (Signer::es256("old", 1), Signer::es256("new", 2));
    let idp = Idp::start(&[&old, &new]);
    let clock = TestClock::new();
    let server = idp.server(&clock);
    let (before, after) = (idp.token(&old), idp.token(&new));
    assert_eq!(statuses(&server, &[&before, &after]), [200, 200]);
    idp.publish(&[&new]);
    clock.forward(TTL + 1);
    assert_eq!(statuses(&server, &[&before, &after]), [401, 200]);
}

#[test]
fn row_65_keys_that_cannot_be_renewed_serve_until_they_are_too_old() {
    let key = Signer::es256("a", 1);
    for fault in [
        Fault::Status(503),
        Fault::Hang,
        Fault::Body("{\"keys\": [".to_owned()),
        Fault::Body("{\"keys\": []}".to_owned()),
        Fault::Body("x".repeat(600 << 10)),
        Fault::Redirect,
    ] {
        let idp = Idp::start(&[&key]);
        let clock = TestClock::new();
        let server = idp.server(&clock);
        let token = idp.token(&key);
        assert_eq!(read(&server, &token).status, 200);
        idp.fault(fault.clone());
        clock.forward(TTL + STALE);
        assert_eq!(read(&server, &token).status, 200, "{fault:?}");
        clock.forward(1);
        let answer = read(&server, &token);
        assert_eq!(answer.status, 503, "{fault:?}");
        assert!(answer.header("retry-after").is_some());
        // And once the provider is back, so is the service.
        idp.fault(Fault::None);
        clock.forward(COOLDOWN);
        assert_eq!(read(&server, &token).status, 200, "{fault:?}");
    }
}

#[test]
fn row_66_without_any_keys_the_answer_is_to_come_again() {
    let key = Signer::es256("a", 1);
    for fault in [Fault::Status(503), Fault::Hang, Fault::Body("{".to_owned())] {
        let idp = Idp::start(&[&key]);
        idp.fault(fault.clone());
        let clock = TestClock::new();
        let server = idp.server(&clock);
        let position = server.position();
        let answer = server.send(&super::site::ack().bearer(&idp.token(&key)));
        assert_eq!(answer.status, 503, "{fault:?}");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(server.position(), position);
        // Within the cool-down nobody is asked again, and the answer comes at once.
        let asked = idp.asked();
        assert_eq!(read(&server, &idp.token(&key)).status, 503);
        assert_eq!(idp.asked(), asked);
        idp.fault(Fault::None);
        clock.forward(COOLDOWN);
        assert_eq!(read(&server, &idp.token(&key)).status, 200, "{fault:?}");
    }
}

#[test]
fn row_67_a_discovery_document_of_somebody_else_is_refused() {
    let key = Signer::es256("a", 1);
    for (member, value) in [
        ("issuer", json!("https://evil.example.test")),
        ("issuer", json!("http://127.0.0.1:1/")),
        ("jwks_uri", json!("http://idp.example.test/jwks")),
        ("jwks_uri", json!("ftp://127.0.0.1/jwks")),
        ("jwks_uri", json!("not a url")),
    ] {
        let idp = Idp::start(&[&key]);
        idp.answers.lock().unwrap().metadata[member] = value.clone();
        let server = idp.server(&TestClock::new());
        assert_eq!(read(&server, &idp.token(&key)).status, 503, "{member} {value}");
        assert_eq!(idp.asked(), 0, "{member} {value}");
    }
}

#[test]
fn keys_are_fetched_before_anybody_asks() {
    let idp = Idp::start(&[&Signer::es256("a", 1)]);
    let server = idp.server(&TestClock::new());
    idp.fetched
        .recv_timeout(Duration::from_secs(30))
        .expect("the start asks for the keys");
    drop(server);
}

#[test]
fn a_remembered_token_is_forgotten_with_the_key_that_signed_it_and_with_its_end() {
    let (old, new) = (Signer::es256("old", 1), Signer::es256("new", 2));
    let idp = Idp::start(&[&old]);
    let clock = TestClock::new();
    let server = idp.server(&clock);
    let (before, after) = (idp.token(&old), idp.token(&new));
    assert_eq!(statuses(&server, &[&before, &before]), [200, 200]);
    // The unknown key brings new keys, and the old one is not among them.
    idp.publish(&[&new]);
    assert_eq!(statuses(&server, &[&after, &before]), [200, 401]);
    clock.forward(7200 + 29);
    assert_eq!(read(&server, &after).status, 401);
}
