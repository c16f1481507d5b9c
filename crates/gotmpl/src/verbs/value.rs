//! One value under one verb.

use crate::number;
use crate::print::Writer;
use crate::quote::quote_with;
use crate::quote::unicode;
use crate::value::IntType;
use crate::value::Item;
use crate::value::Text;
use crate::value::sorted;

/// Digits of `%e` and `%f` behind the point where the format names none.
const FRACTION_DIGITS: usize = 6;

/// Flags, width and precision of a directive.
#[derive(Debug, Clone, Default)]
pub(super) struct Format {
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%#v`: as the value would be written in Go.
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

impl Format {
    /// Writes an argument.
    pub(super) fn argument(&self, out: &mut Writer, item: &Item<'_>, verb: char) {
        match (item, verb) {
            (_, 'T') => self.text(out, item.type_name()),
            (Item::Missing | Item::Nil, 'v') => self.pad(out, "<nil>"),
            (Item::Bool(value), 't' | 'v') => self.pad(out, &value.to_string()),
            (Item::Int(value, int_type), _) => self.int(out, *value, *int_type, verb),
            (Item::Float(value), 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G') => {
                self.float(out, *value, verb);
            }
            (Item::Text(text), 'v') if self.sharp_v => self.quoted(out, text),
            (Item::Text(text), 'v' | 's') => self.text(out, text),
            (Item::Text(text), 'x') => self.hexadecimal(out, text, false),
            (Item::Text(text), 'X') => self.hexadecimal(out, text, true),
            (Item::Text(text), 'q') => self.quoted(out, text),
            (Item::List(items), _) if verb != 'p' => {
                let (open, close) = self.brackets(item, '[', ']');
                let items = items.iter().map(|item| (None, Item::from_json(item)));
                self.items(out, items, verb, &open, close);
            }
            (Item::Map(map), _) if verb != 'p' => {
                let (open, close) = self.brackets(item, '[', ']');
                let entries = sorted(map).into_iter();
                let entries = entries.map(|(key, value)| (Some(key), Item::from_json(value)));
                self.items(out, entries, verb, &open, close);
            }
            (Item::Strings(map), _) if verb != 'p' => {
                let (open, close) = self.brackets(item, '[', ']');
                let entries = map
                    .iter()
                    .map(|(key, value)| (Some(key.as_str()), Item::Text(Text::Borrowed(value))));
                self.items(out, entries, verb, &open, close);
            }
            _ => self.bad_verb(out, item, verb),
        }
    }

    /// What encloses a list or map.
    fn brackets(&self, item: &Item<'_>, open: char, close: char) -> (String, char) {
        if self.sharp_v {
            return (format!("{}{{", item.type_name()), '}');
        }
        match item {
            Item::List(_) => (open.to_string(), close),
            _ => (format!("map{open}"), close),
        }
    }

    fn items<'a>(
        &self,
        out: &mut Writer,
        items: impl Iterator<Item = (Option<&'a str>, Item<'a>)>,
        verb: char,
        open: &str,
        close: char,
    ) {
        out.push_str(open);
        for (index, (key, value)) in items.enumerate() {
            if index > 0 {
                out.push_str(if self.sharp_v { ", " } else { " " });
            }
            if out.is_full() {
                return;
            }
            if let Some(key) = key {
                self.argument(out, &Item::Text(Text::Borrowed(key)), verb);
                out.push(':');
            }
            match value {
                Item::Nil if self.sharp_v => out.push_str("interface {}(nil)"),
                Item::Nil => out.push_str("<nil>"),
                value => self.argument(out, &value, verb),
            }
        }
        out.push(close);
    }

    fn bad_verb(&self, out: &mut Writer, item: &Item<'_>, verb: char) {
        out.push_str("%!");
        out.push(verb);
        out.push('(');
        out.push_str(item.type_name());
        if !matches!(item, Item::Missing | Item::Nil) {
            out.push('=');
            self.argument(out, item, 'v');
        }
        out.push(')');
    }

    /// Writes text at the width asked for.
    fn pad(&self, out: &mut Writer, text: &str) {
        let width = self.width.unwrap_or(0);
        let missing = width.saturating_sub(if width == 0 { 0 } else { text.chars().count() });
        if self.minus {
            out.push_str(text);
            out.repeat(' ', missing);
        } else {
            out.repeat(if self.zero { '0' } else { ' ' }, missing);
            out.push_str(text);
        }
    }

    fn pad_with_spaces(&self, out: &mut Writer, text: &str) {
        let spaces = Self {
            zero: false,
            ..self.clone()
        };
        spaces.pad(out, text);
    }

    fn truncated<'t>(&self, text: &'t str) -> &'t str {
        let end = self
            .precision
            .and_then(|precision| text.char_indices().nth(precision));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn text(&self, out: &mut Writer, text: &str) {
        self.pad(out, self.truncated(text));
    }

    fn quoted(&self, out: &mut Writer, text: &str) {
        let text = self.truncated(text);
        let raw = |letter: char| letter == '\t' || (letter != '`' && !letter.is_control());
        if self.sharp && text.chars().all(raw) {
            self.pad(out, &format!("`{text}`"));
        } else {
            self.pad(out, &quote_with(text, '"', self.plus));
        }
    }

    fn hexadecimal(&self, out: &mut Writer, text: &str, upper: bool) {
        let bytes = text.as_bytes();
        let length = self.precision.unwrap_or(bytes.len()).min(bytes.len());
        let prefix = match (self.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut written = String::with_capacity(length * 2);
        for (index, byte) in bytes[..length].iter().enumerate() {
            if index > 0 && self.space {
                written.push(' ');
            }
            if index == 0 || self.space {
                written.push_str(prefix);
            }
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            written.push_str(&digits);
        }
        self.pad(out, &written);
    }

    fn int(&self, out: &mut Writer, value: i64, int_type: IntType, verb: char) {
        let magnitude = value.unsigned_abs();
        let letter = u32::try_from(value)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER);
        match verb {
            'v' if self.sharp_v && int_type == IntType::Uint8 => {
                self.digits(out, value < 0, &format!("{magnitude:x}"), "0x");
            }
            'v' | 'd' => self.digits(out, value < 0, &magnitude.to_string(), ""),
            'b' => self.digits(out, value < 0, &format!("{magnitude:b}"), self.prefix("0b")),
            'o' => self.digits(out, value < 0, &format!("{magnitude:o}"), self.prefix("0")),
            'O' => self.digits(out, value < 0, &format!("{magnitude:o}"), "0o"),
            'x' => self.digits(out, value < 0, &format!("{magnitude:x}"), self.prefix("0x")),
            'X' => self.digits(out, value < 0, &format!("{magnitude:X}"), self.prefix("0X")),
            'c' => self.pad(out, letter.encode_utf8(&mut [0; 4])),
            'q' => {
                let quoted = quote_with(letter.encode_utf8(&mut [0; 4]), '\'', self.plus);
                self.pad(out, &quoted);
            }
            'U' if self.sharp => self.pad_with_spaces(out, &unicode(letter)),
            'U' => self.pad_with_spaces(out, &format!("U+{magnitude:04X}")),
            _ => self.bad_verb(out, &Item::Int(value, int_type), verb),
        }
    }

    fn prefix(&self, prefix: &'static str) -> &'static str {
        if self.sharp { prefix } else { "" }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn digits(&self, out: &mut Writer, negative: bool, digits: &str, prefix: &str) {
        let sign = self.sign(negative);
        let wanted = match (self.precision, self.width) {
            // Zero with no digits at all.
            (Some(0), _) if digits == "0" => {
                self.pad_with_spaces(out, "");
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.minus => width.saturating_sub(sign.len()),
            (None, _) => 0,
        };
        let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
        // An octal number that begins with a zero needs no other.
        let prefix = if prefix == "0" && (!zeros.is_empty() || digits == "0") {
            ""
        } else {
            prefix
        };
        self.pad_with_spaces(out, &format!("{sign}{prefix}{zeros}{digits}"));
    }

    fn float(&self, out: &mut Writer, value: f64, verb: char) {
        let upper = verb.is_ascii_uppercase();
        let written = match verb {
            'e' | 'E' => {
                number::exponential(value, self.precision.or(Some(FRACTION_DIGITS)), upper)
            }
            'f' | 'F' => number::fixed(value, self.precision.or(Some(FRACTION_DIGITS))),
            _ => number::general(value, self.precision, upper),
        };
        let negative = written.starts_with('-');
        let digits = written.trim_start_matches(['-', '+']);
        // Infinity keeps its plus where Go's own printing of it has one.
        let sign = if written.starts_with('+') && !self.space {
            "+"
        } else {
            self.sign(negative)
        };
        if !value.is_finite() || !self.zero || self.minus {
            self.pad_with_spaces(out, &format!("{sign}{digits}"));
            return;
        }
        let width = self.width.unwrap_or(0);
        out.push_str(sign);
        out.repeat('0', width.saturating_sub(sign.len() + digits.len()));
        out.push_str(digits);
    }
}
