//! JSON as text: checked at the doors, and read without a tree where a path is all that is wanted.

use std::borrow::Cow;

use crate::limits;

#[derive(Debug, thiserror::Error)]
#[error("{wanted} at byte {at}")]
pub(crate) struct Error {
    wanted: &'static str,
    at: usize,
}

/// Accepts exactly one well-formed JSON value (RFC 8259) that is at most 128 deep.
///
/// # Errors
/// Says what was wanted, and at which byte.
pub fn check_json(text: &str) -> Result<(), String> {
    check(text).map_err(|error| error.to_string())
}

pub(crate) fn check(text: &str) -> Result<(), Error> {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    scanner.space();
    scanner.value(0)?;
    scanner.space();
    if scanner.at < text.len() { scanner.fail("the end of the text was wanted") } else { Ok(()) }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn fail<T>(&self, wanted: &'static str) -> Result<T, Error> {
        Err(Error { wanted, at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Error> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("a JSON value was wanted"),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.fail("a JSON value was wanted")
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit was wanted") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _signed = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        if self.at - start > limits::NUMBER_CHARS_MAX {
            return self.fail("a shorter number was wanted");
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.fail("the end of a string was wanted"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) => return self.fail("an escaped control character was wanted"),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unit()? {
                0xD800..0xDC00 => {
                    if self.peek() == Some(b'\\') && self.bytes.get(self.at + 1) == Some(&b'u') {
                        self.at += 1;
                        if matches!(self.unit()?, 0xDC00..0xE000) {
                            return Ok(());
                        }
                    }
                    self.fail("the second half of a surrogate pair was wanted")
                }
                0xDC00..0xE000 => self.fail("the first half of a surrogate pair was wanted"),
                _ => Ok(()),
            },
            _ => self.fail("an escape was wanted"),
        }
    }

    /// The four digits after `u`.
    fn unit(&mut self) -> Result<u32, Error> {
        self.at += 1;
        let digits =
            self.bytes.get(self.at..self.at + 4).and_then(|digits| str::from_utf8(digits).ok());
        let unit = digits
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.fail("four hexadecimal digits were wanted"),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        if depth > limits::JSON_DEPTH_MAX {
            return self.fail("a value that is at most 128 deep was wanted");
        }
        self.at += 1;
        self.space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth)?;
            self.space();
            if self.eat(b']') {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.fail("a comma or the end of an array was wanted");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Error> {
        if depth > limits::JSON_DEPTH_MAX {
            return self.fail("a value that is at most 128 deep was wanted");
        }
        self.at += 1;
        self.space();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a key in quotes was wanted");
            }
            self.string()?;
            self.space();
            if !self.eat(b':') {
                return self.fail("a colon was wanted");
            }
            self.space();
            self.value(depth)?;
            self.space();
            if self.eat(b'}') {
                return Ok(());
            }
            if !self.eat(b',') {
                return self.fail("a comma or the end of an object was wanted");
            }
        }
    }
}

pub(crate) fn is_number(text: &str) -> bool {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
        && scanner.number().is_ok()
        && scanner.at == text.len()
}

/// What a text that is known to be JSON begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    False,
    Other(&'static str),
    Object,
    Array,
}

pub(crate) fn shape(text: &str) -> Shape {
    match text.trim_start().as_bytes().first() {
        Some(b'n') => Shape::Null,
        Some(b'f') => Shape::False,
        Some(b't') => Shape::Other("boolean"),
        Some(b'"') => Shape::Other("string"),
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::Array,
        _ => Shape::Other("number"),
    }
}

/// jq's truth.
pub(crate) fn is_true(text: &str) -> bool {
    !matches!(shape(text), Shape::Null | Shape::False)
}

/// The text of a member of an object that is known to be JSON; of several the last, as readers do.
pub(crate) fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let mut found = None;
    members(object, |name, value| {
        if name == key || (name.contains('\\') && unescape(name) == key) {
            found = Some(value);
        }
    });
    found
}

pub(crate) fn members<'a>(object: &'a str, mut each: impl FnMut(&'a str, &'a str)) {
    let bytes = object.as_bytes();
    let mut at = space(bytes, 0) + 1;
    loop {
        at = space(bytes, at);
        if bytes.get(at) != Some(&b'"') {
            return;
        }
        let name_end = skip(bytes, at);
        let name = &object[at + 1..name_end - 1];
        at = space(bytes, space(bytes, name_end) + 1);
        let end = skip(bytes, at);
        each(name, &object[at..end]);
        at = space(bytes, end) + 1;
    }
}

/// Where the next thing begins that is no white space.
pub(crate) fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The texts of the elements of an array that is known to be JSON.
pub(crate) fn elements(array: &str) -> Vec<&str> {
    let bytes = array.as_bytes();
    let mut found = Vec::new();
    let mut at = array.len() - array.trim_start().len() + 1;
    loop {
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',')) {
            at += 1;
        }
        if matches!(bytes.get(at), None | Some(b']')) {
            return found;
        }
        let end = skip(bytes, at);
        found.push(&array[at..end]);
        at = end;
    }
}

/// Where the value that begins at `at` ends, in text that is known to be JSON.
pub(crate) fn skip(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => {
                at += 1;
                loop {
                    match bytes.get(at) {
                        None => return bytes.len(),
                        Some(b'"') => break,
                        Some(b'\\') => at += 2,
                        Some(_) => at += 1,
                    }
                }
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => depth = depth.saturating_sub(1),
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') => {}
            Some(_) => {
                while !matches!(
                    bytes.get(at + 1),
                    None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
                ) {
                    at += 1;
                }
            }
        }
        at += 1;
        if depth == 0 {
            return at.min(bytes.len());
        }
    }
}

/// Whether a value is nested so deep that whoever reads it as a tree may run out of stack.
pub(crate) fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip(bytes, at) - 1,
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::JSON_DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// What a JSON string stands for; `inside` is the text between the quotes.
pub(crate) fn unescape(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str(&format!("\"{inside}\"")).map_or(Cow::Borrowed(inside), Cow::Owned)
}

/// The string that a text that is known to be JSON stands for.
pub(crate) fn as_string(text: &str) -> Option<Cow<'_, str>> {
    text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(unescape)
}

/// Appends a value that is known to be JSON, without the white space between its tokens.
pub(crate) fn write_compact(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let (mut from, mut at, mut inside) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => inside = !inside,
            b'\\' if inside => at += 1,
            b' ' | b'\t' | b'\n' | b'\r' if !inside => {
                out.push_str(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(&text[from..]);
}

pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, 0..0x20 | b'"' | b'\\') {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        out.push('\\');
        match byte {
            b'"' | b'\\' => out.push(char::from(byte)),
            b'\n' => out.push('n'),
            b'\r' => out.push('r'),
            b'\t' => out.push('t'),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("u00");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

/// As much of a text as fits.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// One token of a JSON pointer (RFC 6901).
pub(crate) fn escape_pointer(token: &str) -> Cow<'_, str> {
    if token.contains(['~', '/']) {
        Cow::Owned(token.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(token)
    }
}

/// The value at a pointer, in text that is known to be JSON.
pub(crate) fn at_pointer<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    let mut at = text;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        at = match shape(at) {
            Shape::Object => member(at, &token)?,
            Shape::Array => elements(at).get(token.parse::<usize>().ok()?).copied()?,
            Shape::Null | Shape::False | Shape::Other(_) => return None,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_json_is_accepted_and_nothing_else() {
        for good in
            ["null", " {\"a\" : [1, -2.5e+3, \"\\ud83d\\ude00\", true]} ", "0", "[]", "{}", "\"é\""]
        {
            assert!(check_json(good).is_ok(), "{good}");
        }
        let deep = "[".repeat(129) + &"]".repeat(129);
        let long = "1".repeat(1_001);
        for bad in [
            "",
            "nul",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "NaN",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\n\"",
            "1 2",
            "[",
            "{\"a\"",
            "\"\\u12\"",
            "b\"x\"",
            "#\n1",
            "{1:2}",
            &deep,
            &long,
        ] {
            assert!(check_json(bad).is_err(), "{bad}");
        }
        assert!(check_json(&("[".repeat(128) + &"]".repeat(128))).is_ok());
    }

    #[test]
    fn paths_are_read_from_the_text() {
        let text = r#" { "a" : { "b" : [ 1 , {"c":"}"} ] } , "q\"\\" : "x\"," , "a2":-1.50 , "a":{"b":[2,[3]]} } "#;
        assert_eq!(at_pointer(text, "/a/b/0"), Some("2"));
        assert_eq!(at_pointer(text, "/a/b/1"), Some("[3]"));
        assert_eq!(member(text, "q\"\\"), Some(r#""x\",""#));
        assert_eq!(member(text, "a2"), Some("-1.50"));
        assert_eq!(member(text, "b"), None);
        assert_eq!(elements(" [ ] "), Vec::<&str>::new());
        assert_eq!(elements("[1, \"a]\" ,{}]"), ["1", "\"a]\"", "{}"]);
        let mut out = String::new();
        write_compact(" { \"a b\" : [ 1 , \"\\\" \" ] } ", &mut out);
        assert_eq!(out, "{\"a b\":[1,\"\\\" \"]}");
    }

    #[test]
    fn strings_are_written_so_that_they_read_back() {
        for text in ["", "a\"b\\c\n\r\t\u{1}\u{1f}é😀", "plain"] {
            let written = string(text);
            assert!(check_json(&written).is_ok());
            assert_eq!(as_string(&written).as_deref(), Some(text));
        }
    }
}
