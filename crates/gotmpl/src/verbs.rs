//! Go's `Sprintf`: the grammar of formats. What a verb makes of a value stands in `verbs/value.rs`.

mod value;

use crate::print::Writer;
use crate::value::Item;
use crate::verbs::value::Format;

/// The largest width, precision and argument number that Go takes.
const MAX_NUMBER: i64 = 1_000_000;

/// `printf`.
pub(crate) fn printf(format: &str, arguments: &[Item<'_>]) -> Result<String, String> {
    let mut formatter = Formatter {
        rest: format,
        arguments,
        next: 0,
        after_index: false,
        good_index: true,
        reordered: false,
        out: Writer::default(),
    };
    while formatter.directive() {}
    formatter.extra();
    formatter.out.finish()
}

struct Formatter<'f, 'a> {
    rest: &'f str,
    arguments: &'f [Item<'a>],
    /// Number of the next argument.
    next: usize,
    /// Whether `[n]` was the last thing read.
    after_index: bool,
    /// Whether each `[n]` of this directive named an argument, where one may be named.
    good_index: bool,
    /// Whether the format names arguments by number.
    reordered: bool,
    out: Writer,
}

impl Formatter<'_, '_> {
    fn accept(&mut self, letter: char) -> bool {
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Writes the text up to the next directive, and it. Whether more may come.
    fn directive(&mut self) -> bool {
        let Some(start) = self.rest.find('%') else {
            self.out.push_str(self.rest);
            return false;
        };
        self.out.push_str(&self.rest[..start]);
        self.rest = &self.rest[start + 1..];
        self.good_index = true;
        let mut format = self.flags();
        self.width(&mut format);
        self.precision(&mut format);
        if !self.after_index {
            self.index();
        }
        self.after_index = false;
        let Some(verb) = self.rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return false;
        };
        self.rest = &self.rest[verb.len_utf8()..];
        self.verb(format, verb);
        !self.out.is_full()
    }

    fn flags(&mut self) -> Format {
        let mut format = Format::default();
        while let Some(flag) = self.rest.chars().next() {
            match flag {
                '#' => format.sharp = true,
                '0' => format.zero = true,
                '+' => format.plus = true,
                '-' => format.minus = true,
                ' ' => format.space = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        format
    }

    fn width(&mut self, format: &mut Format) {
        self.index();
        if self.accept('*') {
            self.after_index = false;
            match self.integer_argument() {
                Some(width) => {
                    format.minus |= width < 0;
                    format.width = usize::try_from(width.abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            return;
        }
        format.width = self.number();
        if self.after_index && format.width.is_some() {
            self.good_index = false;
        }
    }

    fn precision(&mut self, format: &mut Format) {
        if !self.accept('.') {
            return;
        }
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.accept('*') {
            self.after_index = false;
            let precision = self.integer_argument();
            format.precision = precision.and_then(|precision| usize::try_from(precision).ok());
            if format.precision.is_none() {
                self.out.push_str("%!(BADPREC)");
            }
            return;
        }
        format.precision = Some(self.number().unwrap_or(0));
    }

    /// A number in the format, if one stands here and is not too large.
    fn number(&mut self) -> Option<usize> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: i64 = self.rest[..digits].parse().ok()?;
        if value > MAX_NUMBER {
            return None;
        }
        self.rest = &self.rest[digits..];
        usize::try_from(value).ok()
    }

    /// The next argument, which must be a whole number that is not too large.
    fn integer_argument(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        match argument {
            Item::Int(value, _) if (-MAX_NUMBER..=MAX_NUMBER).contains(value) => Some(*value),
            _ => None,
        }
    }

    /// Reads `[n]`, if it stands here.
    fn index(&mut self) {
        self.after_index = false;
        if !self.rest.starts_with('[') {
            return;
        }
        self.reordered = true;
        let Some(end) = self.rest.find(']') else {
            self.good_index = false;
            self.rest = &self.rest[1..];
            return;
        };
        let number: Option<usize> = self.rest[1..end].parse().ok();
        self.rest = &self.rest[end + 1..];
        self.after_index = number.is_some();
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < self.arguments.len() => self.next = index,
            _ => self.good_index = false,
        }
    }

    fn verb(&mut self, mut format: Format, verb: char) {
        if verb == '%' {
            self.out.push('%');
            return;
        }
        let problem = if !self.good_index {
            "(BADINDEX)"
        } else if self.next >= self.arguments.len() {
            "(MISSING)"
        } else {
            if verb == 'v' {
                format.sharp_v = std::mem::take(&mut format.sharp);
                format.plus = false;
            }
            format.argument(&mut self.out, &self.arguments[self.next], verb);
            self.next += 1;
            return;
        };
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push_str(problem);
    }

    /// Tells of arguments that the format does not use.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.arguments.len() || self.out.is_full() {
            return;
        }
        self.out.push_str("%!(EXTRA ");
        for (index, argument) in self.arguments[self.next..].iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            if self.out.is_full() {
                return;
            }
            self.out.push_str(argument.type_name());
            if !matches!(argument, Item::Missing | Item::Nil) {
                self.out.push('=');
                Format::default().argument(&mut self.out, argument, 'v');
            }
        }
        self.out.push(')');
    }
}
