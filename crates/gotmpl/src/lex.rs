//! Text to tokens, as Go's lexer of templates makes them; an error is the last token.

use crate::quote::quote;
use crate::quote::unicode;

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// A trim marker with the space that belongs to it.
const TRIM_MARKER_BYTES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    /// A printable character that has no other meaning, such as a comma.
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    Keyword(Keyword),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Dot,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

const KEYWORDS: &[(&str, Keyword)] = &[
    ("block", Keyword::Block),
    ("break", Keyword::Break),
    ("continue", Keyword::Continue),
    ("define", Keyword::Define),
    ("else", Keyword::Else),
    ("end", Keyword::End),
    ("if", Keyword::If),
    ("nil", Keyword::Nil),
    ("range", Keyword::Range),
    ("template", Keyword::Template),
    ("with", Keyword::With),
];

#[derive(Debug, Clone)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    /// Byte offset in the text.
    pub(crate) position: usize,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The source; empty for an error.
    pub(crate) text: &'t str,
    /// What is wrong; empty except for an error.
    pub(crate) message: String,
}

impl Token<'_> {
    /// As errors show it.
    pub(crate) fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Error => self.message.clone(),
            Kind::Keyword(_) => format!("<{}>", self.text),
            _ => match self.text.char_indices().nth(10) {
                Some((end, _)) if self.text.len() > 10 => {
                    format!("{}...", quote(&self.text[..end]))
                }
                _ => quote(self.text),
            },
        }
    }
}

/// What comes after a piece was lexed.
enum Next {
    Text,
    Action,
    Done,
}

struct Lexer<'t> {
    input: &'t str,
    start: usize,
    at: usize,
    /// Line of `start`.
    line: usize,
    open_parentheses: usize,
    tokens: Vec<Token<'t>>,
}

/// All tokens of `input`; the last is [`Kind::End`] or [`Kind::Error`].
pub(crate) fn lex(input: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        input,
        start: 0,
        at: 0,
        line: 1,
        open_parentheses: 0,
        tokens: Vec::new(),
    };
    let mut next = Next::Text;
    loop {
        next = match next {
            Next::Text => lexer.text(),
            Next::Action => lexer.inside_action(),
            Next::Done => return lexer.tokens,
        };
    }
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

fn has_left_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', space, ..] if is_space(*space))
}

fn has_right_trim_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [space, b'-', ..] if is_space(*space))
}

fn spaces() -> impl Fn(char) -> bool {
    |letter| letter.is_ascii() && is_space(letter as u8)
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn accept(&mut self, allowed: &str) -> bool {
        let accepted = self.peek().is_some_and(|letter| allowed.contains(letter));
        if accepted {
            self.at += 1;
        }
        accepted
    }

    fn accept_run(&mut self, allowed: &str) {
        while self.accept(allowed) {}
    }

    fn accept_alphanumeric(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
    }

    /// Passes over what was read since `start`.
    fn ignore(&mut self) {
        self.line += self.input[self.start..self.at].matches('\n').count();
        self.start = self.at;
    }

    fn emit(&mut self, kind: Kind) -> Next {
        self.tokens.push(Token {
            kind,
            position: self.start,
            line: self.line,
            text: &self.input[self.start..self.at],
            message: String::new(),
        });
        self.ignore();
        Next::Action
    }

    fn error(&mut self, message: impl Into<String>) -> Next {
        self.tokens.push(Token {
            kind: Kind::Error,
            position: self.start,
            line: self.line,
            text: "",
            message: message.into(),
        });
        Next::Done
    }

    fn text(&mut self) -> Next {
        let Some(offset) = self.rest().find(LEFT) else {
            self.at = self.input.len();
            if self.at > self.start {
                self.emit(Kind::Text);
            }
            self.emit(Kind::End);
            return Next::Done;
        };
        let delimiter = self.at + offset;
        let mut shown = &self.input[self.at..delimiter];
        if has_left_trim_marker(&self.input[delimiter + LEFT.len()..]) {
            shown = shown.trim_end_matches(spaces());
        }
        self.at += shown.len();
        if !shown.is_empty() {
            self.emit(Kind::Text);
        }
        self.at = delimiter;
        self.ignore();
        self.left_delimiter()
    }

    fn left_delimiter(&mut self) -> Next {
        self.at += LEFT.len();
        let marker = if has_left_trim_marker(self.rest()) {
            TRIM_MARKER_BYTES
        } else {
            0
        };
        if self.input[self.at + marker..].starts_with("/*") {
            self.at += marker;
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelimiter);
        self.at += marker;
        self.ignore();
        self.open_parentheses = 0;
        Next::Action
    }

    fn comment(&mut self) -> Next {
        self.at += "/*".len();
        let Some(length) = self.rest().find("*/") else {
            return self.error("unclosed comment");
        };
        self.at += length + "*/".len();
        match self.right_delimiter_here() {
            Some(trims) => self.close(trims),
            None => self.error("comment ends before closing delimiter"),
        }
    }

    /// Whether the closing delimiter stands here, and if so whether it trims.
    fn right_delimiter_here(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER_BYTES..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    /// Passes the closing delimiter of a comment or, already emitted, of an action.
    fn close(&mut self, trims: bool) -> Next {
        if trims {
            self.at += TRIM_MARKER_BYTES;
        }
        self.at += RIGHT.len();
        self.trim_following(trims);
        Next::Text
    }

    fn trim_following(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(spaces()).len();
        }
        self.ignore();
    }

    fn right_delimiter(&mut self, trims: bool) -> Next {
        if trims {
            self.at += TRIM_MARKER_BYTES;
            self.ignore();
        }
        self.at += RIGHT.len();
        self.emit(Kind::RightDelimiter);
        self.trim_following(trims);
        Next::Text
    }

    fn inside_action(&mut self) -> Next {
        if let Some(trims) = self.right_delimiter_here() {
            return if self.open_parentheses == 0 {
                self.right_delimiter(trims)
            } else {
                self.error("unclosed left paren")
            };
        }
        let Some(letter) = self.next() else {
            return self.error("unclosed action");
        };
        match letter {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' if self.accept("=") => self.emit(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => match self.rest().find('`') {
                Some(length) => {
                    self.at += length + 1;
                    self.emit(Kind::RawString)
                }
                None => self.error("unterminated raw quoted string"),
            },
            '$' => self.name(Kind::Variable, Kind::Variable),
            '.' if !self.peek().is_some_and(|digit| digit.is_ascii_digit()) => {
                self.name(Kind::Keyword(Keyword::Dot), Kind::Field)
            }
            '(' => {
                self.open_parentheses += 1;
                self.emit(Kind::LeftParenthesis)
            }
            ')' if self.open_parentheses == 0 => self.error("unexpected right paren"),
            ')' => {
                self.open_parentheses -= 1;
                self.emit(Kind::RightParenthesis)
            }
            '.' | '+' | '-' | '0'..='9' => self.number(),
            _ if is_alphanumeric(letter) => self.identifier(),
            ' '..='~' => self.emit(Kind::Char),
            _ => self.error(format!(
                "unrecognized character in action: {}",
                unicode(letter)
            )),
        }
    }

    /// A run of spaces, the first of which is read; the last may belong to a trim marker.
    fn space(&mut self) -> Next {
        let mut count = 1;
        while self.rest().bytes().next().is_some_and(is_space) {
            self.at += 1;
            count += 1;
        }
        self.at -= 1;
        if self.right_delimiter_here() == Some(true) {
            if count == 1 {
                return self.right_delimiter(true);
            }
        } else {
            self.at += 1;
        }
        self.emit(Kind::Space)
    }

    fn quoted(&mut self, closing: char, kind: Kind, unterminated: &str) -> Next {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|escaped| escaped != '\n') => {
                    self.next();
                }
                Some('\\' | '\n') | None => return self.error(unterminated),
                Some(letter) if letter == closing => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    /// Whether what follows may follow a name.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '(' | ')') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn bad_character(&mut self) -> Next {
        let letter = self.peek().unwrap_or(char::REPLACEMENT_CHARACTER);
        self.error(format!("bad character {}", unicode(letter)))
    }

    /// A field or variable, whose `.` or `$` is read and may stand alone.
    fn name(&mut self, alone: Kind, named: Kind) -> Next {
        if self.at_terminator() {
            return self.emit(alone);
        }
        self.accept_alphanumeric();
        if self.at_terminator() {
            self.emit(named)
        } else {
            self.bad_character()
        }
    }

    fn identifier(&mut self) -> Next {
        self.accept_alphanumeric();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.at];
        let keyword = KEYWORDS.iter().find(|(name, _)| *name == word);
        match (keyword, word) {
            (Some((_, keyword)), _) => self.emit(Kind::Keyword(*keyword)),
            (None, "true" | "false") => self.emit(Kind::Bool),
            (None, _) => self.emit(Kind::Identifier),
        }
    }

    fn number(&mut self) -> Next {
        self.at = self.start;
        let mut good = self.scan_number();
        let mut kind = Kind::Number;
        if good && matches!(self.peek(), Some('+' | '-')) {
            good = self.scan_number() && self.input[..self.at].ends_with('i');
            kind = Kind::Complex;
        }
        if good {
            return self.emit(kind);
        }
        let shown = quote(&self.input[self.start..self.at]);
        self.error(format!("bad number syntax: {shown}"))
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEXADECIMAL: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEXADECIMAL;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits == DECIMAL && self.accept("eE") || digits == HEXADECIMAL && self.accept("pP") {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}
