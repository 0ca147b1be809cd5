//! Plain HTTP to the cluster under test, without our code or kubectl's in requests and answers; `kubectl proxy` only
//! adds the credentials.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::Rig;

pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";

/// A connection to the API server as one user.
pub struct Wire {
    proxy: Child,
    host: String,
}

/// An answer that is still being read.
pub struct Stream {
    pub code: u16,
    /// The headers as they came, in lower case.
    pub head: String,
    body: BufReader<TcpStream>,
}

impl Wire {
    pub fn of(rig: &Rig, who: &str) -> Self {
        let mut command = rig.kubectl_command(&rig.folder.join(format!("{who}.kubeconfig")));
        let mut proxy = command
            .args(["proxy", "--port=0", "--append-server-path"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(proxy.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        // Starting to serve on 127.0.0.1:12345
        let host = said.trim().rsplit(' ').next().unwrap().to_owned();
        Self { proxy, host }
    }

    /// Sends a request of HTTP/1.0: the answer ends with its connection and needs no decoding.
    pub fn open(&self, method: &str, path: &str, kind: &str, body: &str) -> Stream {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (host, length) = (&self.host, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\nUser-Agent: contract/1\r\n\
            Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut body = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(body.read_line(&mut head).unwrap() > 0, "{method} {path}: no answer: {head}");
        }
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Stream { code, head: head.to_lowercase(), body }
    }

    /// Status code and document; a body that is not JSON becomes text.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = self.open(method, path, kind, &body);
        let text = stream.text();
        (stream.code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, JSON, &Value::Null)
    }

    /// The document of an answer that must be a success.
    pub fn ok(&self, method: &str, path: &str, kind: &str, body: &Value) -> Value {
        let (code, document) = self.ask(method, path, kind, body);
        assert!((200..300).contains(&code), "{method} {path}: {code} {document}");
        document
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.proxy.kill());
        drop(self.proxy.wait());
    }
}

impl Stream {
    /// The rest of it.
    pub fn text(&mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }

    /// The next line; None at its end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.body.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    /// The next event of a watch: its type and its object.
    pub fn event(&mut self) -> Option<(String, Value)> {
        let mut event: Value = serde_json::from_str(&self.line()?).unwrap();
        Some((event["type"].as_str().unwrap().to_owned(), event["object"].take()))
    }

    /// Waits this long, fails if it ends; drops everything that arrives.
    pub fn lasts(&mut self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        self.body.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        while Instant::now() < end {
            match self.body.fill_buf().map(<[u8]>::len) {
                Ok(0) => return false,
                Ok(some) => self.body.consume(some),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
