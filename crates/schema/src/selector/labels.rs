//! The text form of label selectors.

use super::Operator;
use super::Requirement;
use super::Selector;
use super::SelectorError;

/// The longest text read. A request line holds far less; a selector object may hold more.
const MAX_TEXT_BYTES: usize = 64 * 1024;

const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'static str),
    Unknown(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Unknown(text) => text,
            Token::Symbol(text) => text,
            Token::End => "",
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Selector, SelectorError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(SelectorError(format!(
            "the label selector is longer than {MAX_TEXT_BYTES} bytes: select by fewer values"
        )));
    }
    let mut reader = Reader {
        tokens: tokens(text),
        place: 0,
    };
    let mut selector = Selector::everything();
    loop {
        match reader.peek() {
            Token::End => return Ok(selector),
            Token::Word(_) | Token::Symbol("!") => {
                let requirement = reader.requirement().map_err(|SelectorError(error)| {
                    SelectorError(format!("unable to parse requirement: {error}"))
                })?;
                selector.push(requirement)?;
            }
            other => return Err(found(other, "!, identifier, or 'end of string'")),
        }
        match reader.take() {
            Token::End => return Ok(selector),
            Token::Symbol(",") => match reader.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(found(other, "identifier after ','")),
            },
            other => return Err(found(other, "',' or 'end of string'")),
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}', expected: {expected}", token.text()))
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    place: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.place).copied().unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.place += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.take();
        }
        let key = match self.take() {
            Token::Word(key) => key,
            other => return Err(found(other, "identifier")),
        };
        super::check_key(key)?;
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new(), false);
        }
        let (operator, equality) = match self.peek() {
            Token::End | Token::Symbol(",") => {
                return Requirement::new(key, Operator::Exists, Vec::new(), false);
            }
            Token::Word("in") => (Operator::In, false),
            Token::Word("notin") => (Operator::NotIn, false),
            Token::Symbol("=" | "==") => (Operator::In, true),
            Token::Symbol("!=") => (Operator::NotIn, true),
            Token::Symbol(">") => (Operator::GreaterThan, false),
            Token::Symbol("<") => (Operator::LessThan, false),
            other => return Err(found(other, BINARY_OPERATORS)),
        };
        let listed = matches!(self.take(), Token::Word(_));
        let values = if listed {
            self.value_list()?
        } else {
            vec![self.single_value()?]
        };
        Requirement::new(key, operator, values, equality)
    }

    fn single_value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(value) => {
                self.take();
                Ok(value.to_owned())
            }
            other => Err(found(other, "identifier")),
        }
    }

    fn value_list(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.take() {
            Token::Symbol("(") => {}
            other => return Err(found(other, "'('")),
        }
        let mut values = Vec::new();
        // Between two commas, and beside a bracket, stands the empty value.
        let mut pending = true;
        loop {
            match self.take() {
                Token::Word(value) if pending => {
                    values.push(value.to_owned());
                    pending = false;
                }
                Token::Symbol(",") => {
                    if pending {
                        values.push(String::new());
                    }
                    pending = true;
                }
                Token::Symbol(")") => {
                    if pending {
                        values.push(String::new());
                    }
                    return Ok(values);
                }
                other if pending => return Err(found(other, "',', ')' or identifier")),
                other => return Err(found(other, "',' or ')'")),
            }
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let special = |character: char| "=!(),<>".contains(character);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let symbol = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"]
            .into_iter()
            .find(|symbol| rest.starts_with(symbol));
        let length = match symbol {
            Some(symbol) => {
                tokens.push(Token::Symbol(symbol));
                symbol.len()
            }
            None => {
                let end = rest
                    .find(|character: char| special(character) || character.is_whitespace())
                    .unwrap_or(rest.len());
                let (word, _) = rest.split_at(end);
                tokens.push(if word.is_empty() {
                    Token::Unknown(rest)
                } else {
                    Token::Word(word)
                });
                end.max(1)
            }
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    tokens
}
