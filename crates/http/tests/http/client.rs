//! A small HTTP/1.1 client: it sends any bytes, also those that no well-behaved client would, and hides nothing.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A server that does not answer at all ends a test with an error instead of a stalled build.
const STALLED: Duration = Duration::from_mins(2);

/// What the sender does once its bytes are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Waits for the answer.
    Wait,
    /// Says that nothing follows, and waits for the answer.
    Close,
}

/// A request; what is not set is left out of the bytes.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    host: bool,
    body: Option<Vec<u8>>,
}

/// What a failed test shows of it.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(self.body.as_deref().unwrap_or_default());
        write!(f, "{} {:.300}", self.method, self.target)?;
        for (name, value) in &self.headers {
            write!(f, " {name}: {value:.100}")?;
        }
        write!(f, " {body:.300}")
    }
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            host: true,
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` of JSON text.
    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target)
            .header("content-type", "application/json")
            .body(body)
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = false;
        self.header("host", host)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The head as bytes. Without a body nothing is announced, unless a header does.
    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\n",
            self.method, self.target
        );
        if self.host {
            write!(head, "host: {address}\r\n").unwrap();
        }
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = &self.body {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    pub(crate) fn send(&self, address: SocketAddr) -> Answer {
        self.send_with(address, &[], Then::Wait)
            .expect("the server answers")
    }

    /// Sends the request and whatever follows it.
    pub(crate) fn send_with(&self, address: SocketAddr, more: &[u8], then: Then) -> Option<Answer> {
        let mut bytes = self.bytes(address);
        bytes.extend_from_slice(more);
        exchange(address, &bytes, then, self.method == "HEAD")
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; several lines of the same name are one list, as RFC 9110 5.3 has it.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("an answer is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "status {}: not JSON ({error}): {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// The JSON of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// Sends bytes and reads the answer; none when the server hangs up without one. Writing and reading go on at the
/// same time, because a server may answer before it has everything.
fn exchange(address: SocketAddr, bytes: &[u8], then: Then, head_only: bool) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(STALLED)).unwrap();
    stream.set_write_timeout(Some(STALLED)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A server that has answered may stop reading; the answer says why.
            if writer.write_all(bytes).is_ok() && then == Then::Close {
                let _ = writer.shutdown(Shutdown::Write);
            }
        });
        // A reset after the answer takes nothing of what is read already.
        let _ = read_answer(&mut stream, &mut received, head_only);
        let _ = stream.shutdown(Shutdown::Both);
    });
    parse(&received, head_only)
}

/// Reads until the answer is whole or the server closes.
fn read_answer(stream: &mut TcpStream, received: &mut Vec<u8>, head_only: bool) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => received.extend_from_slice(&piece[..count]),
        }
        if parse(received, head_only).is_some() {
            return Ok(());
        }
    }
}

/// A whole answer, or nothing.
fn parse(bytes: &[u8], head_only: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    let rest = &bytes[end + 4..];
    // Nothing follows the head of a 304 (RFC 9112 6.3).
    if head_only || status == 304 {
        return Some(answer);
    }
    if answer
        .header("transfer-encoding")
        .is_some_and(|encoding| encoding == "chunked")
    {
        answer.body = chunks(rest)?;
    } else {
        let length = answer.header("content-length")?.parse().ok()?;
        answer.body = rest.get(..length)?.to_vec();
    }
    Some(answer)
}

/// The content of a chunked body, once its end is there.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// Bytes as a query or path segment carries them.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        encoded
    })
}
