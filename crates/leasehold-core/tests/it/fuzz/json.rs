//! A second reader of JSON (RFC 8259), written from its grammar, so that ours has an opponent.

/// A value as it stands in the text: doubled fields stay, numbers are not interpreted.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How deep arrays and objects may stand in each other. Our reader's limit.
const DEEPEST: usize = 127;

impl Json {
    /// Reads one value with nothing but white space around it.
    pub(super) fn read(text: &str) -> Option<Json> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(value)
    }

    /// A field of an object: the first of this name.
    pub(super) fn field(&self, name: &str) -> Option<&Json> {
        let Json::Object(fields) = self else { return None };
        fields.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Whether it is an object without two fields of this name.
    pub(super) fn has_one_at_most(&self, name: &str) -> bool {
        let Json::Object(fields) = self else { return false };
        fields.iter().filter(|(n, _)| n == name).count() <= 1
    }

    /// A number without sign, fraction or exponent that fits 64 bits.
    pub(super) fn integer(&self) -> Option<u64> {
        let Json::Number(text) = self else { return None };
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    }

    pub(super) fn text(&self) -> Option<&str> {
        let Json::Text(text) = self else { return None };
        Some(text)
    }

    /// Whether two values mean the same: of doubled fields the last counts, their order does not,
    /// and what is no integer of 64 bits is as exact as a double.
    pub(super) fn means(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Number(a), Json::Number(b)) => match (a.parse::<i128>(), b.parse::<i128>()) {
                (Ok(a), Ok(b)) if fits(a) && fits(b) => a == b,
                _ => a.parse::<f64>().ok() == b.parse::<f64>().ok(),
            },
            (Json::Array(a), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.means(b))
            }
            (Json::Object(a), Json::Object(b)) => {
                let (a, b) = (last_of_each(a), last_of_each(b));
                let same = |(a, b): (&(&str, &Json), &(&str, &Json))| a.0 == b.0 && a.1.means(b.1);
                a.len() == b.len() && a.iter().zip(&b).all(same)
            }
            (a, b) => a == b,
        }
    }
}

fn fits(number: i128) -> bool {
    i64::try_from(number).is_ok() || u64::try_from(number).is_ok()
}

fn last_of_each(fields: &[(String, Json)]) -> Vec<(&str, &Json)> {
    let mut all: Vec<(&str, &Json)> = fields.iter().rev().map(|(n, v)| (&**n, v)).collect();
    all.sort_by_key(|(name, _)| *name);
    all.dedup_by_key(|(name, _)| *name);
    all
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        let first = self.rest.chars().next()?;
        if matches!(first, '{' | '[') && depth == DEEPEST {
            return None;
        }
        match first {
            '{' => self.object(depth + 1),
            '[' => self.array(depth + 1),
            '"' => self.text().map(Json::Text),
            'n' => self.takes("null").map(|()| Json::Null),
            't' => self.takes("true").map(|()| Json::Bool(true)),
            'f' => self.takes("false").map(|()| Json::Bool(false)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.takes("{")?;
        self.space();
        let mut fields = vec![];
        if self.takes("}").is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.text()?;
            self.space();
            self.takes(":")?;
            fields.push((name, self.value(depth)?));
            self.space();
            if self.takes("}").is_some() {
                return Some(Json::Object(fields));
            }
            self.takes(",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.takes("[")?;
        self.space();
        let mut values = vec![];
        if self.takes("]").is_some() {
            return Some(Json::Array(values));
        }
        loop {
            values.push(self.value(depth)?);
            self.space();
            if self.takes("]").is_some() {
                return Some(Json::Array(values));
            }
            self.takes(",")?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let all = self.rest;
        let _ = self.takes("-");
        if self.takes("0").is_none() {
            self.digits()?;
        }
        if self.takes(".").is_some() {
            self.digits()?;
        }
        if self.takes("e").or_else(|| self.takes("E")).is_some() {
            let _ = self.takes("+").or_else(|| self.takes("-"));
            self.digits()?;
        }
        let text = &all[..all.len() - self.rest.len()];
        // What no double can hold could not be written back.
        text.parse::<f64>().is_ok_and(f64::is_finite).then(|| Json::Number(text.to_owned()))
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        (rest.len() < self.rest.len()).then(|| self.rest = rest)
    }

    fn text(&mut self) -> Option<String> {
        self.takes("\"")?;
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high);
                }
                self.takes("\\u")?;
                let low = self.unit()?;
                let low = (0xDC00..0xE000).contains(&low).then_some(low)?;
                return char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00));
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    }
}
