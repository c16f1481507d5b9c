//! Go's `Sprint` and `Sprintln`: values in their default format.

use crate::MAX_OUTPUT_BYTES;
use crate::number;
use crate::value::Item;
use crate::value::Text;
use crate::value::sorted;

/// Text that takes no more than [`MAX_OUTPUT_BYTES`], whatever is written into it.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    text: String,
    full: bool,
}

impl Writer {
    pub(crate) fn push_str(&mut self, text: &str) {
        self.full |= self.text.len() + text.len() > MAX_OUTPUT_BYTES;
        if !self.full {
            self.text.push_str(text);
        }
    }

    pub(crate) fn push(&mut self, letter: char) {
        self.push_str(letter.encode_utf8(&mut [0; 4]));
    }

    pub(crate) fn repeat(&mut self, letter: char, times: usize) {
        for _ in 0..times {
            if self.full {
                return;
            }
            self.push(letter);
        }
    }

    /// Whether something did not fit; what is written from then on is lost.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// What was written.
    pub(crate) fn finish(self) -> Result<String, String> {
        if self.full {
            return Err(output_too_large());
        }
        Ok(self.text)
    }

    /// What was written, as far as it fitted.
    fn finish_cut(self) -> String {
        self.text
    }
}

/// What is said of [`MAX_OUTPUT_BYTES`].
pub(crate) fn output_too_large() -> String {
    format!("the output has more than {MAX_OUTPUT_BYTES} bytes, which is the limit: write less")
}

/// The default format of one value, as messages show it.
pub(crate) fn shown(item: &Item<'_>) -> String {
    let mut out = Writer::default();
    write(&mut out, item);
    out.finish_cut()
}

/// Writes the default format of one value.
pub(crate) fn write(out: &mut Writer, item: &Item<'_>) {
    match item {
        Item::Missing | Item::Nil => out.push_str("<nil>"),
        Item::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Item::Int(value, _) => out.push_str(&value.to_string()),
        Item::Float(value) => out.push_str(&number::general(*value, None, false)),
        Item::Text(text) => out.push_str(text),
        Item::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                if out.is_full() {
                    return;
                }
                write(out, &Item::from_json(item));
            }
            out.push(']');
        }
        Item::Map(map) => {
            let entries = sorted(map).into_iter();
            write_map(
                out,
                entries.map(|(key, value)| (key, Item::from_json(value))),
            );
        }
        Item::Strings(map) => write_map(
            out,
            map.iter()
                .map(|(key, value)| (key.as_str(), Item::Text(Text::Borrowed(value)))),
        ),
    }
}

fn write_map<'a>(out: &mut Writer, entries: impl Iterator<Item = (&'a str, Item<'a>)>) {
    out.push_str("map[");
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(' ');
        }
        if out.is_full() {
            return;
        }
        out.push_str(key);
        out.push(':');
        write(out, &value);
    }
    out.push(']');
}

/// `print`: spaces stand between two operands of which neither is a string.
pub(crate) fn print(items: &[Item<'_>]) -> Result<String, String> {
    let between = |item: &Item<'_>| !matches!(item, Item::Text(_));
    let mut out = Writer::default();
    for (index, item) in items.iter().enumerate() {
        if index > 0 && between(item) && between(&items[index - 1]) {
            out.push(' ');
        }
        if out.is_full() {
            break;
        }
        write(&mut out, item);
    }
    out.finish()
}

/// `println`: spaces stand between all operands, and a newline at the end.
pub(crate) fn println(items: &[Item<'_>]) -> Result<String, String> {
    let mut out = Writer::default();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        if out.is_full() {
            break;
        }
        write(&mut out, item);
    }
    out.push('\n');
    out.finish()
}
