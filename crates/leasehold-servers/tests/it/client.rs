//! A small HTTP/1.1 client that hides nothing: no retries, no pool, each failure as it came.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The generation that the answer to a write names.
    pub(crate) fn generation(&self) -> u64 {
        assert_eq!(self.code, 200, "{}", self.text());
        let generation = self.json()["generation"].as_str().map(str::parse);
        generation.expect("a generation is a string").expect("a generation is a number")
    }
}

/// One connection, which can be used again as long as the server lets it.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Connection(BufReader::new(stream))
    }

    /// From now on an answer that takes longer is an error.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.0.get_ref().set_read_timeout(Some(patience)).expect("a timeout can be set");
    }

    /// Sends a request and awaits its answer.
    pub(crate) fn call(&mut self, call: &Call) -> io::Result<Reply> {
        self.send(call)?;
        self.receive()
    }

    pub(crate) fn send(&mut self, call: &Call) -> io::Result<()> {
        let mut message =
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", call.method, call.target);
        for (name, value) in &call.headers {
            let _ = write!(message, "{name}: {value}\r\n");
        }
        let _ = write!(message, "Content-Length: {}\r\n\r\n", call.body.len());
        let mut message = message.into_bytes();
        message.extend(&call.body);
        self.0.get_mut().write_all(&message)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let status = self.line()?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| io::Error::other(format!("no status line: {status}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { code, headers, body: Vec::new() };
        if code == 204 || code == 304 {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            while let count @ 1.. = usize::from_str_radix(&self.line()?, 16).unwrap_or(0) {
                self.read(&mut reply.body, count)?;
                self.line()?;
            }
            self.line()?;
        } else {
            let length = reply.header("content-length").and_then(|length| length.parse().ok());
            self.read(&mut reply.body, length.unwrap_or(0))?;
        }
        Ok(reply)
    }

    /// Says that nothing more is sent.
    pub(crate) fn end_sending(&mut self) {
        self.0.get_ref().shutdown(Shutdown::Write).expect("the connection stands");
    }

    /// What is left to receive, or the failure that ended it.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn read(&mut self, into: &mut Vec<u8>, count: usize) -> io::Result<()> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        into.extend(bytes);
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Call {
        Call { method, target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Call {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn with_target(mut self, change: impl FnOnce(&str) -> String) -> Call {
        self.target = change(&self.target);
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = body.into();
        self
    }

    /// Reads `bkt/OBJECT`; `more` is what follows in the query, like `&ifGenerationNotMatch=7`.
    pub(crate) fn read(object: &str, more: &str) -> Call {
        Call::new("GET", format!("/storage/v1/b/bkt/o/{}?alt=media{more}", escaped(object)))
    }

    pub(crate) fn create(object: &str, bytes: &[u8]) -> Call {
        Call::write(object, "&ifGenerationMatch=0", bytes)
    }

    pub(crate) fn overwrite(object: &str, generation: u64, bytes: &[u8]) -> Call {
        Call::write(object, &format!("&ifGenerationMatch={generation}"), bytes)
    }

    /// Writes `bkt/OBJECT` as leasehold does, in two parts.
    pub(crate) fn write(object: &str, more: &str, bytes: &[u8]) -> Call {
        let about = serde_json::json!({
            "name": object, "contentType": "application/json", "cacheControl": "no-store",
        });
        let line = "--part";
        let json = "Content-Type: application/json; charset=UTF-8\r\n\r\n";
        let mut body = format!("{line}\r\n{json}{about}\r\n{line}\r\n{json}").into_bytes();
        body.extend(bytes);
        body.extend(format!("\r\n{line}--\r\n").into_bytes());
        let target = format!("/upload/storage/v1/b/bkt/o?uploadType=multipart{more}");
        Call::new("POST", target)
            .with_header("Content-Type", "multipart/related; boundary=part")
            .with_body(body)
    }

    pub(crate) fn delete(object: &str, generation: u64) -> Call {
        let object = escaped(object);
        Call::new("DELETE", format!("/storage/v1/b/bkt/o/{object}?ifGenerationMatch={generation}"))
    }

    /// Sends it on a connection of its own.
    pub(crate) fn attempt(&self, address: SocketAddr) -> io::Result<Reply> {
        Connection::to(address).call(self)
    }

    /// The same for a call that has to be answered.
    pub(crate) fn on(&self, address: SocketAddr) -> Reply {
        self.attempt(address).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Percent-encoding of everything that is not plain.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
