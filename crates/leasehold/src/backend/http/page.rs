//! Pages where an answer was expected: a portal, a proxy, a wrong address. One line of a page is told.

/// How much of a page is looked at.
const LOOKED_AT_MAX: usize = 8 * 1024;

/// Whether a body is a page, of HTML or XML, and no answer of an API that speaks JSON.
pub(super) fn is_page(body: &[u8]) -> bool {
    let start = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start();
    start.first() == Some(&b'<')
}

/// The line of a page that says what it is: its title or its message, or the first text in it. `None` where
/// the text is no page.
pub(super) fn line(text: &str) -> Option<String> {
    if !is_page(text.as_bytes()) {
        return None;
    }
    let mut end = text.len().min(LOOKED_AT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let texts = texts(&text[..end]);
    let named = |name: &str| texts.iter().find(|(tag, _)| tag == name);
    let found = named("title").or_else(|| named("message")).or_else(|| texts.first());
    Some(found.map_or_else(|| "a page without text".into(), |(_, text)| plain(text)))
}

/// The texts of a page that people see, each with the tag before it.
fn texts(page: &str) -> Vec<(String, &str)> {
    let mut texts = vec![];
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once('<') {
        let (tag, text) = behind.split_once('>').unwrap_or((behind, ""));
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        let text = text.split('<').next().unwrap_or_default().trim();
        if !text.is_empty() && !matches!(name.as_str(), "script" | "style") {
            texts.push((name, text));
        }
        rest = behind;
    }
    texts
}

/// A text without the few entities that stand in titles.
fn plain(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    entities.iter().fold(text.to_owned(), |text, (entity, stands)| text.replace(entity, stands))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages as portals, proxies and servers make them, and what is no page.
    #[test]
    fn one_line_of_a_page_is_told() {
        for (text, told) in [
            ("<html>captive portal</html>", Some("captive portal")),
            (
                "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<style>a{b}</style>\n<title>Error \
                 &amp; response</title></head><body><h1>Message</h1></body>",
                Some("Error & response"),
            ),
            (
                "<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>It is not there.\
                 </Message></Error>",
                Some("It is not there."),
            ),
            ("  <p>é", Some("é")),
            ("<", Some("a page without text")),
            ("<a><b></b>", Some("a page without text")),
            ("plain < text", None),
            ("{\"a\":\"<b>\"}", None),
        ] {
            assert_eq!(line(text).as_deref(), told, "{text}");
        }
        assert!(line(&format!("<{}", "é".repeat(LOOKED_AT_MAX))).is_some());
    }
}
