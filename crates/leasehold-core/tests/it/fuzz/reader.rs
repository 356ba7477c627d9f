//! A second reader of records, written from the tables of `docs/protocol.md` and nothing else.

use super::json::Json;

/// What a client makes of bytes.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Verdict {
    /// A record, as the object it is.
    Good(Json),
    /// "Refuse it as newer".
    Newer,
    /// "Refuse it as corrupt".
    Corrupt,
    /// Not JSON at all: corrupt, unless a client finds a newer format in it all the same.
    NotJson,
}

const MOST_BYTES: usize = 16_384;
const TEXT_BYTES: usize = 256;
const TIME_MOST: u64 = (1 << 53) - 1;

pub(super) const KNOWN: [&str; 7] =
    ["leasehold", "kind", "token", "write", "holders", "past", "outcome"];
const OF_HOLDER: [&str; 6] =
    ["id", "label", "ttl_ms", "renewals", "acquired_unix_ms", "takeover_delay_ms"];
const OF_PAST: [&str; 6] = ["label", "id", "ended", "unix_ms", "by", "reason"];
const OF_OUTCOME: [&str; 8] =
    ["key", "state", "token", "resumes", "failures", "ending", "checkpoint", "earlier"];
const OF_ENDING: [&str; 5] = ["token", "by", "unix_ms", "code", "text"];

pub(super) fn read(bytes: &[u8]) -> Verdict {
    if bytes.len() > MOST_BYTES {
        return Verdict::Corrupt;
    }
    let Ok(text) = str::from_utf8(bytes) else { return Verdict::NotJson };
    let Some(json) = Json::read(text) else { return Verdict::NotJson };
    let format = json.field("leasehold").filter(|_| json.has_one_at_most("leasehold"));
    match format.and_then(Json::integer) {
        Some(format) if format > 1 => Verdict::Newer,
        Some(1) if record(&json).is_some() => Verdict::Good(json),
        _ => Verdict::Corrupt,
    }
}

fn record(json: &Json) -> Option<()> {
    once_each(json, &KNOWN)?;
    let kind = json.field("kind")?.text()?;
    let kinds = ["mutex", "rwlock", "semaphore", "election", "once"];
    let Json::Array(holders) = json.field("holders")? else { return None };
    holders.iter().try_for_each(holder)?;
    let token = json.field("token")?.integer()?;
    id(json.field("write")?)?;
    if let Some(past) = or_null(json.field("past")) {
        once_each(past, &OF_PAST)?;
        short(past.field("label")?)?;
        let ended = past.field("ended")?.text()?;
        ["released", "taken-over", "forced", "reset"].contains(&ended).then_some(())?;
        time(past.field("unix_ms")?)?;
        or_null(past.field("id")).map_or(Some(()), id)?;
        or_null(past.field("by")).map_or(Some(()), short)?;
        or_null(past.field("reason")).map_or(Some(()), short)?;
    }
    if let Some(done) = or_null(json.field("outcome")) {
        (kind == "once").then_some(())?;
        outcome(done)?;
    }
    let one = kind == "mutex" || kind == "once";
    let fits = token < TIME_MOST && (!one || holders.len() <= 1);
    (fits && kinds.contains(&kind)).then_some(())
}

fn holder(json: &Json) -> Option<()> {
    once_each(json, &OF_HOLDER)?;
    id(json.field("id")?)?;
    short(json.field("label")?)?;
    let ttl = json.field("ttl_ms")?.integer()?;
    time(json.field("renewals")?)?;
    time(json.field("acquired_unix_ms")?)?;
    let delay = json.field("takeover_delay_ms").map_or(Some(0), Json::integer)?;
    ((1..=86_400_000).contains(&ttl) && delay <= 60_000).then_some(())
}

fn outcome(json: &Json) -> Option<()> {
    once_each(json, &OF_OUTCOME)?;
    at_most(json.field("key")?, 128)?;
    let state = json.field("state")?.text()?;
    ["started", "done", "failed"].contains(&state).then_some(())?;
    token(json.field("token")?)?;
    or_null(json.field("resumes")).map_or(Some(()), token)?;
    json.field("failures").map_or(Some(()), time)?;
    or_null(json.field("checkpoint")).map_or(Some(()), base64)?;
    if let Some(Json::Array(all)) = json.field("earlier") {
        (all.len() <= 64).then_some(())?;
        all.iter().try_for_each(|one| {
            once_each(one, &["key", "done"])?;
            at_most(one.field("key")?, 128)?;
            or_null(one.field("done")).map_or(Some(()), token)
        })?;
    } else {
        json.field("earlier").is_none().then_some(())?;
    }
    let Some(ending) = or_null(json.field("ending")) else {
        return (state != "done").then_some(());
    };
    once_each(ending, &OF_ENDING)?;
    token(ending.field("token")?)?;
    short(ending.field("by")?)?;
    time(ending.field("unix_ms")?)?;
    let code = or_null(ending.field("code")).map_or(Some(0), Json::integer)?;
    ending.field("text").map_or(Some(()), |text| at_most(text, 1024))?;
    (code <= 255).then_some(())
}

fn token(json: &Json) -> Option<()> {
    (json.integer()? < TIME_MOST).then_some(())
}

fn at_most(json: &Json, bytes: usize) -> Option<()> {
    (json.text()?.len() <= bytes).then_some(())
}

/// With padding, and no bits that are left over.
fn base64(json: &Json) -> Option<()> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = json.text()?;
    let digits = text.strip_suffix("==").or(text.strip_suffix('=')).unwrap_or(text);
    let padding = text.len() - digits.len();
    let last = digits.chars().map(|c| ALPHABET.find(c)).collect::<Option<Vec<_>>>()?;
    let loose = last.last().map_or(0, |bits| bits & [0, 3, 15][padding]);
    let fits = text.len() / 4 * 3 <= 4096 + padding;
    (text.len().is_multiple_of(4) && loose == 0 && fits).then_some(())
}

/// "A known field twice" is refused.
fn once_each(json: &Json, known: &[&str]) -> Option<()> {
    known.iter().all(|name| json.has_one_at_most(name)).then_some(())
}

fn or_null(json: Option<&Json>) -> Option<&Json> {
    json.filter(|value| **value != Json::Null)
}

fn id(json: &Json) -> Option<()> {
    let text = json.text()?;
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 32 && text.bytes().all(is_digit)).then_some(())
}

fn short(json: &Json) -> Option<()> {
    (json.text()?.len() <= TEXT_BYTES).then_some(())
}

fn time(json: &Json) -> Option<()> {
    (json.integer()? <= TIME_MOST).then_some(())
}
