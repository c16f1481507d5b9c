//! Go's escaping for HTML, JavaScript and the query of a URL.

use std::fmt::Write as _;

use crate::quote::is_printable;

/// `html`.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(letter),
        }
    }
    out
}

/// `js`.
pub(crate) fn javascript(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(letter);
            }
            '<' | '>' | '&' | '=' | '\0'..' ' => code(&mut out, letter),
            _ if letter.is_ascii() || is_printable(letter) => out.push(letter),
            _ => code(&mut out, letter),
        }
    }
    out
}

fn code(out: &mut String, letter: char) {
    // Writing into a String cannot fail.
    let _ = write!(out, "\\u{:04X}", u32::from(letter));
}

/// `urlquery`.
pub(crate) fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                // Writing into a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
