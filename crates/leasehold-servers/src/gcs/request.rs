//! What a request asks for: the part of Google's JSON API that a lock needs, read from HTTP.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::script::When;

/// Google's limit for the name of an object, in bytes.
const OBJECT_NAME_BYTES_MAX: usize = 1024;

/// A request that could be understood, or the answer to one that could not.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) bucket: String,
    pub(super) object: String,
    pub(super) authorization: Option<String>,
    pub(super) ask: Result<Ask, Answer>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Read { only: Condition, media: bool },
    Write { only: Condition, about: Map<String, Value>, bytes: Bytes },
    Delete { only: Condition },
    List { prefix: String, after: String, limit: usize },
    Bucket,
    MakeBucket { about: Map<String, Value> },
    Rights { asked: Vec<String> },
}

/// The generations on which something is to be done; 0 is the generation of an object that is not there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Condition {
    pub(super) is: Option<u64>,
    pub(super) is_not: Option<u64>,
}

impl Request {
    pub(super) fn read(head: &Parts, body: Bytes) -> Request {
        let authorization = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let mut request = Request {
            bucket: String::new(),
            object: String::new(),
            authorization: authorization.map(|text| String::from_utf8_lossy(text).into_owned()),
            ask: Err(Answer::error(404, "notFound", "Not Found")),
        };
        request.ask = request.understand(head, body);
        request
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

    pub(super) fn when(&self) -> When {
        match &self.ask {
            Ok(Ask::Read { .. }) => When::Read,
            Ok(Ask::Write { only, .. }) if only.is == Some(0) => When::Create,
            Ok(Ask::Write { .. }) => When::Overwrite,
            Ok(Ask::Delete { .. }) => When::Delete,
            Ok(Ask::List { .. }) => When::List,
            Ok(Ask::Bucket | Ask::MakeBucket { .. } | Ask::Rights { .. }) => When::Bucket,
            Err(_) => When::Any,
        }
    }

    fn understand(&mut self, head: &Parts, body: Bytes) -> Result<Ask, Answer> {
        let query = Query::read(head.uri.query().unwrap_or_default())?;
        let path = head.uri.path();
        let (is_upload, path) = match path.strip_prefix("/upload") {
            Some(rest) => (true, rest),
            None => (false, path),
        };
        let path = path.strip_prefix("/storage/v1/b").ok_or_else(unknown)?;
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let parts = parts.iter().map(|part| decoded(part)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (&head.method, is_upload, parts.as_slice()) {
            (&Method::POST, false, []) => self.make_bucket(&query, &body),
            (&Method::GET, false, [bucket]) => {
                (*bucket).clone_into(&mut self.bucket);
                Ok(Ask::Bucket)
            }
            (&Method::GET, false, [bucket, "iam", "testPermissions"]) => {
                (*bucket).clone_into(&mut self.bucket);
                Ok(Ask::Rights { asked: query.all("permissions") })
            }
            (&Method::GET, false, [bucket, "o"]) => {
                (*bucket).clone_into(&mut self.bucket);
                list(&query)
            }
            (&Method::GET, false, [bucket, "o", object]) => {
                self.name(bucket, object)?;
                let media = query.get("alt") == Some("media");
                Ok(Ask::Read { only: query.condition()?, media })
            }
            (&Method::DELETE, false, [bucket, "o", object]) => {
                self.name(bucket, object)?;
                Ok(Ask::Delete { only: query.condition()? })
            }
            (&Method::POST, true, [bucket, "o"]) => {
                let (about, bytes) = upload(head, &query, body)?;
                let name = about.get("name").and_then(Value::as_str).unwrap_or_default();
                self.name(bucket, name)?;
                Ok(Ask::Write { only: query.condition()?, about, bytes })
            }
            _ => Err(unknown()),
        }
    }

    fn name(&mut self, bucket: &str, object: &str) -> Result<(), Answer> {
        bucket.clone_into(&mut self.bucket);
        object.clone_into(&mut self.object);
        if object.is_empty() {
            return Err(Answer::error(400, "required", "Required"));
        }
        if object.len() > OBJECT_NAME_BYTES_MAX || object.contains(['\r', '\n']) {
            let what = format!("Disallowed unicode characters or length in object name '{object}'");
            return Err(invalid(&what));
        }
        Ok(())
    }

    fn make_bucket(&mut self, query: &Query, body: &[u8]) -> Result<Ask, Answer> {
        if query.get("project").is_none_or(str::is_empty) {
            return Err(Answer::error(400, "required", "Required parameter: project"));
        }
        let about = object_of(body)?;
        let name = about.get("name").and_then(Value::as_str).unwrap_or_default();
        name.clone_into(&mut self.bucket);
        if !is_bucket_name(name) {
            return Err(invalid(&format!("Invalid bucket name: '{name}'")));
        }
        Ok(Ask::MakeBucket { about })
    }
}

/// The rule that people break; Google has some more.
fn is_bucket_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().zip(name.bytes().next_back());
    (3..=63).contains(&name.len())
        && ends.is_some_and(|(first, last)| is_plain(first) && is_plain(last))
        && name.bytes().all(|byte| is_plain(byte) || b"-_.".contains(&byte))
}

fn unknown() -> Answer {
    Answer::error(404, "notFound", "Not Found")
}

fn invalid(what: &str) -> Answer {
    Answer::error(400, "invalid", what)
}

fn list(query: &Query) -> Result<Ask, Answer> {
    let prefix = query.get("prefix").unwrap_or_default().to_owned();
    let after = match query.get("pageToken") {
        None => String::new(),
        Some(token) => from_token(token).ok_or_else(|| invalid("Invalid page token"))?,
    };
    let limit = match query.get("maxResults") {
        None => 1000,
        Some(text) => text.parse().map_err(|_| invalid("Invalid maxResults"))?,
    };
    Ok(Ask::List { prefix, after, limit: usize::clamp(limit, 1, 1000) })
}

/// Where the next page of a list begins. Google's tokens are base64, so this one too has characters that a
/// client must escape.
pub(super) fn to_token(last: &str) -> String {
    format!("+/{last}==")
}

fn from_token(token: &str) -> Option<String> {
    Some(token.strip_prefix("+/")?.strip_suffix("==")?.to_owned())
}

/// What an upload says about the object, with its name and its type, and the object's bytes.
fn upload(head: &Parts, query: &Query, body: Bytes) -> Result<(Map<String, Value>, Bytes), Answer> {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default();
    let named = query.get("name").map(str::to_owned);
    let (mut about, part_kind, bytes) = match query.get("uploadType") {
        Some("media") => (Map::new(), Some(kind.to_owned()), body),
        Some("multipart") => {
            let parts = boundary(kind).and_then(|boundary| two_parts(&body, &boundary));
            let (about, part_kind, bytes) =
                parts.ok_or_else(|| invalid("Malformed multipart body."))?;
            (object_of(&about)?, part_kind, bytes)
        }
        _ => return Err(invalid("Only the upload types media and multipart are known here.")),
    };
    if let Some(name) = named {
        about.insert("name".into(), name.into());
    }
    if let Some(kind) = part_kind.filter(|kind| !kind.is_empty()) {
        about.entry("contentType").or_insert_with(|| kind.into());
    }
    Ok((about, bytes))
}

fn object_of(json: &[u8]) -> Result<Map<String, Value>, Answer> {
    serde_json::from_slice(json).map_err(|_| Answer::error(400, "parseError", "Parse Error"))
}

fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let value = parts.find_map(|part| part.strip_prefix("boundary="))?.trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// The body of the first part, and the type and body of the second.
fn two_parts(body: &Bytes, boundary: &str) -> Option<(Bytes, Option<String>, Bytes)> {
    let line = format!("--{boundary}\r\n");
    let start = if body.starts_with(line.as_bytes()) {
        line.len()
    } else {
        let line = format!("\r\n{line}");
        find(body, line.as_bytes())? + line.len()
    };
    let rest = body.slice(start..);
    let line = format!("\r\n{line}");
    let middle = find(&rest, line.as_bytes())?;
    let (_, first) = part(&rest.slice(..middle))?;
    let rest = rest.slice(middle + line.len()..);
    let end = find(&rest, format!("\r\n--{boundary}--").as_bytes())?;
    let (kind, second) = part(&rest.slice(..end))?;
    Some((first, kind, second))
}

/// The content type and the body of one part.
fn part(whole: &Bytes) -> Option<(Option<String>, Bytes)> {
    if let Some(headerless) = whole.strip_prefix(b"\r\n") {
        return Some((None, whole.slice_ref(headerless)));
    }
    let end = find(whole, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&whole[..end]).ok()?;
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    Some((kind, whole.slice(end + 4..)))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The parameters behind the `?`.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Result<Query, Answer> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
        });
        pairs.collect::<Result<_, _>>().map(Query)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    fn condition(&self) -> Result<Condition, Answer> {
        let number = |name: &str| match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| invalid(&format!("Invalid {name}"))),
        };
        Ok(Condition { is: number("ifGenerationMatch")?, is_not: number("ifGenerationNotMatch")? })
    }
}

/// Percent-decoding, to UTF-8.
fn decoded(text: &str) -> Result<String, Answer> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let code = others.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.ok_or_else(|| invalid("Malformed percent-encoding"))?);
        rest = &others[2..];
    }
    String::from_utf8(bytes).map_err(|_| invalid("Not UTF-8"))
}
