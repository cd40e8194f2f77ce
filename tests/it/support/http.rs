//! A client of the HTTP door that does what it is told, also what no client should: one request on
//! one connection, written as it stands here.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64ct::{Base64, Encoding};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::server::{House, Ticket};
use super::{PATIENCE, eventually};

/// The tus version that is spoken.
pub(crate) const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");
/// The type of a part of an upload.
pub(crate) const PART: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

/// The door of a house, asked as a ticket.
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(crate) reference: String,
    authorization: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl House {
    /// A house with an HTTP door on a free port.
    pub(crate) fn with_http() -> Self {
        Self::new().set("HTTP__LISTEN", "127.0.0.1:0")
    }

    /// Where the HTTP door of the running server listens.
    pub(crate) fn http_port(&self) -> u16 {
        eventually("the HTTP door's address in the log", || {
            let log = self.log();
            let (_, rest) = log.rsplit_once("http listening on ")?;
            let line = rest.split_once('\n')?.0;
            line.split_whitespace().next()?.rsplit(':').next()?.parse().ok()
        })
    }

    /// The door, asked with a ticket's token.
    pub(crate) fn door(&self, ticket: &Ticket) -> Door {
        Door::at(self.http_port(), &ticket.reference, &format!("{}:{}", ticket.reference, ticket.token))
    }
}

impl Door {
    pub(crate) fn at(port: u16, reference: &str, shown: &str) -> Self {
        let authorization = format!("Basic {}", Base64::encode_string(shown.as_bytes()));
        Self { port, reference: reference.to_owned(), authorization }
    }

    pub(crate) fn files(&self, path: &str) -> String {
        format!("/v1/tickets/{}/files/{path}", self.reference)
    }

    pub(crate) fn uploads(&self) -> String {
        format!("/v1/tickets/{}/uploads", self.reference)
    }

    /// Begins a request: its head, and no byte of its body. `length`: what it says of that.
    pub(crate) fn begin(&self, method: &str, path: &str, fields: &[(&str, &str)], length: Option<u64>) -> TcpStream {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let mut line = |name: &str, value: &str| head += &format!("{name}: {value}\r\n");
        if !fields.iter().any(|(name, _)| *name == "Host") {
            line("Host", &format!("127.0.0.1:{}", self.port));
        }
        line("Authorization", &self.authorization);
        fields.iter().for_each(|(name, value)| line(name, value));
        if let Some(length) = length {
            line("Content-Length", &length.to_string());
        }
        socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        socket
    }

    /// One whole request.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = (!body.is_empty() || method != "GET" && method != "HEAD").then_some(body.len() as u64);
        let mut socket = self.begin(method, path, fields, length);
        // Who is refused early need not hear all of it.
        let _ = socket.write_all(body);
        Answer::read(socket)
    }

    /// The bytes of a file.
    pub(crate) fn fetch(&self, path: &str) -> Answer {
        self.ask("GET", &self.files(path), &[], b"")
    }

    /// Begins a tus upload and gives its address.
    pub(crate) fn create(&self, name: &str, length: Option<u64>) -> String {
        let metadata = format!("filename {}", Base64::encode_string(name.as_bytes()));
        let length = length.map(|length| length.to_string());
        let told = match &length {
            Some(length) => ("Upload-Length", length.as_str()),
            None => ("Upload-Defer-Length", "1"),
        };
        let answer = self.ask("POST", &self.uploads(), &[TUS, told, ("Upload-Metadata", &metadata)], b"");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.field("location").to_owned()
    }

    /// Where an upload stands.
    pub(crate) fn head(&self, upload: &str) -> Answer {
        self.ask("HEAD", upload, &[TUS], b"")
    }

    /// Sends a part of an upload.
    pub(crate) fn patch(&self, upload: &str, offset: u64, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let offset = offset.to_string();
        let fields = [&[TUS, PART, ("Upload-Offset", offset.as_str())], more].concat();
        self.ask("PATCH", upload, &fields, body)
    }

    /// The unfinished uploads of the ticket.
    pub(crate) fn unfinished(&self) -> Vec<Value> {
        let answer = self.ask("GET", &self.uploads(), &[], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["items"].as_array().unwrap().clone()
    }
}

impl Answer {
    /// Reads an answer to the end of its connection.
    pub(crate) fn read(mut socket: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset behind the answer takes nothing from it.
        let _ = socket.read_to_end(&mut bytes);
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer, but {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status: u16 = head[9..12].parse().unwrap();
        if status == 100 {
            return Self::parse(&bytes[end + 4..]);
        }
        let fields = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, fields, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn maybe(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn offset(&self) -> u64 {
        self.field("upload-offset").parse().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The machine's word of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.field("content-type"), "application/problem+json");
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

/// A digest as `Repr-Digest` says it.
pub(crate) fn repr_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(bytes)))
}

/// A checksum as `Upload-Checksum` says it.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    format!("sha256 {}", Base64::encode_string(&Sha256::digest(bytes)))
}
