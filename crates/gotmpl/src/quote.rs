//! Go's ways to show strings and characters in quotes.

use std::fmt::Write as _;

/// Whether Go prints the character as it is.
pub(crate) fn is_printable(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        _ if letter.is_whitespace() || letter.is_control() => false,
        // A leading letter, because Rust escapes combining marks only where a text begins.
        _ => format!("a{letter}").escape_debug().count() == 2,
    }
}

/// `%q` of a string: in double quotes, escaped.
pub(crate) fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

/// In quotes of the given kind; `ascii` escapes everything else.
pub(crate) fn quote_with(text: &str, mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for letter in text.chars() {
        escape_into(&mut out, letter, mark, ascii);
    }
    out.push(mark);
    out
}

fn escape_into(out: &mut String, letter: char, mark: char, ascii: bool) {
    let short = match letter {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        _ if letter == mark => mark,
        _ if is_printable(letter) && (letter.is_ascii() || !ascii) => {
            out.push(letter);
            return;
        }
        _ => {
            let code = u32::from(letter);
            // Writing into a String cannot fail.
            let _ = match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

/// `%#U` of a character.
pub(crate) fn unicode(letter: char) -> String {
    let code = u32::from(letter);
    if is_printable(letter) {
        format!("U+{code:04X} '{letter}'")
    } else {
        format!("U+{code:04X}")
    }
}
