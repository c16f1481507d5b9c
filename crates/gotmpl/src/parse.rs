//! Tokens to trees, as Go's parser of templates makes them.

mod pipeline;

use std::collections::BTreeMap;

use crate::MAX_NESTING;
use crate::ParseError;
use crate::lex::Keyword;
use crate::lex::Kind;
use crate::lex::Token;
use crate::lex::lex;
use crate::literal;
use crate::quote::quote;
use crate::tree::Branch;
use crate::tree::Call;
use crate::tree::List;
use crate::tree::Node;
use crate::tree::NodeKind;

/// What an action turned out to be.
enum Item {
    Node(Node),
    Terminator(Terminator),
}

/// What ends a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminator {
    End,
    Else,
}

impl Terminator {
    fn shown(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// Variables and loops of one template; a definition inside another starts anew.
struct Scope {
    variables: Vec<String>,
    ranges: usize,
}

impl Scope {
    fn new() -> Self {
        Self {
            variables: vec!["$".to_owned()],
            ranges: 0,
        }
    }
}

struct Parser<'t> {
    name: &'t str,
    tokens: Vec<Token<'t>>,
    index: usize,
    /// The token looked at last, whose line errors tell.
    latest: usize,
    /// Line where the present action began, 0 outside.
    action_line: usize,
    nesting: usize,
    scope: Scope,
    definitions: BTreeMap<String, List>,
}

type Parsed<T> = Result<T, ParseError>;

/// The template called `name` and all that its text defines.
pub(crate) fn parse(name: &str, text: &str) -> Parsed<BTreeMap<String, List>> {
    let mut parser = Parser {
        name,
        tokens: lex(text),
        index: 0,
        latest: 0,
        action_line: 0,
        nesting: 0,
        scope: Scope::new(),
        definitions: BTreeMap::new(),
    };
    let mut root = List::new();
    while parser.peek().kind != Kind::End {
        if parser.definition()? {
            continue;
        }
        match parser.text_or_action()? {
            Item::Node(node) => root.push(node),
            Item::Terminator(terminator) => {
                return parser.fail(format!("unexpected {}", terminator.shown()));
            }
        }
    }
    parser.define(name.to_owned(), root)?;
    Ok(parser.definitions)
}

/// Whether nothing but space would be printed.
fn is_empty(list: &List) -> bool {
    list.iter().all(|node| match &node.kind {
        NodeKind::Text(text) => text.trim().is_empty(),
        _ => false,
    })
}

impl<'t> Parser<'t> {
    fn fail<T>(&self, detail: impl Into<String>) -> Parsed<T> {
        Err(ParseError {
            name: self.name.to_owned(),
            line: self.tokens[self.latest].line,
            detail: detail.into(),
        })
    }

    /// The token that comes next; the last one for ever.
    fn peek(&mut self) -> Token<'t> {
        self.latest = self.index.min(self.tokens.len() - 1);
        self.tokens[self.latest].clone()
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.index = self.latest + 1;
        token
    }

    fn next_non_space(&mut self) -> Token<'t> {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token<'t> {
        let token = self.next_non_space();
        self.back();
        token
    }

    /// Gives back the token read last.
    fn back(&mut self) {
        self.index = self.latest;
    }

    fn unexpected<T>(&self, token: &Token<'_>, context: &str) -> Parsed<T> {
        let shown = token.shown();
        if token.kind != Kind::Error {
            return self.fail(format!("unexpected {shown} in {context}"));
        }
        if self.action_line == 0 || self.action_line == token.line {
            return self.fail(shown);
        }
        let action = if shown.ends_with(" action") {
            ""
        } else {
            " in action"
        };
        self.fail(format!(
            "{shown}{action} started at {}:{}",
            self.name, self.action_line
        ))
    }

    fn expect_right_delimiter(&mut self, context: &str) -> Parsed<()> {
        let token = self.next_non_space();
        if token.kind == Kind::RightDelimiter {
            return Ok(());
        }
        self.unexpected(&token, context)
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == MAX_NESTING {
            return self.fail(format!(
                "the template nests deeper than {MAX_NESTING} levels: flatten it"
            ));
        }
        self.nesting += 1;
        let done = inside(self);
        self.nesting -= 1;
        done
    }

    /// Parses `{{define "name"}}`, if that is what comes.
    fn definition(&mut self) -> Parsed<bool> {
        const CONTEXT: &str = "define clause";
        let start = self.index;
        if self.next().kind != Kind::LeftDelimiter
            || self.next_non_space().kind != Kind::Keyword(Keyword::Define)
        {
            self.index = start;
            return Ok(false);
        }
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect_right_delimiter(CONTEXT)?;
        self.body(name, CONTEXT)?;
        Ok(true)
    }

    /// The body of a template defined here, up to its end.
    fn body(&mut self, name: String, context: &str) -> Parsed<()> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let (list, terminator) = self.deeper(Self::list)?;
        if terminator != Terminator::End {
            return self.fail(format!("unexpected {} in {context}", terminator.shown()));
        }
        self.scope = outer;
        self.define(name, list)
    }

    fn define(&mut self, name: String, list: List) -> Parsed<()> {
        let replaceable = self.definitions.get(&name).is_none_or(is_empty);
        if replaceable {
            self.definitions.insert(name, list);
        } else if !is_empty(&list) {
            let shown = quote(&name);
            return self.fail(format!("template: multiple definition of template {shown}"));
        }
        Ok(())
    }

    fn list(&mut self) -> Parsed<(List, Terminator)> {
        let mut list = List::new();
        while self.peek_non_space().kind != Kind::End {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                Item::Terminator(terminator) => return Ok((list, terminator)),
            }
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node {
                position: token.position,
                kind: NodeKind::Text(token.text.to_owned()),
            })),
            Kind::LeftDelimiter => {
                self.action_line = token.line;
                let item = self.action()?;
                self.action_line = 0;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let Kind::Keyword(keyword) = token.kind else {
            self.back();
            return self.plain_action();
        };
        let node = match keyword {
            Keyword::Block => self.block()?,
            Keyword::Break => self.jump(&token, "break", NodeKind::Break)?,
            Keyword::Continue => self.jump(&token, "continue", NodeKind::Continue)?,
            Keyword::Else => return self.otherwise(),
            Keyword::End => {
                self.expect_right_delimiter("end")?;
                return Ok(Item::Terminator(Terminator::End));
            }
            Keyword::If => self.branch("if", Keyword::If, NodeKind::If)?,
            Keyword::Range => self.branch("range", Keyword::Range, NodeKind::Range)?,
            Keyword::With => self.branch("with", Keyword::With, NodeKind::With)?,
            Keyword::Template => self.call()?,
            Keyword::Dot | Keyword::Nil | Keyword::Define => {
                self.back();
                return self.plain_action();
            }
        };
        Ok(Item::Node(node))
    }

    fn plain_action(&mut self) -> Parsed<Item> {
        let position = self.peek().position;
        let pipe = self.pipeline("command", Kind::RightDelimiter)?;
        Ok(Item::Node(Node {
            position,
            kind: NodeKind::Action(pipe),
        }))
    }

    fn jump(&mut self, token: &Token<'t>, word: &str, kind: NodeKind) -> Parsed<Node> {
        let action = format!("{{{{{word}}}}}");
        self.expect_right_delimiter(&action)?;
        if self.scope.ranges == 0 {
            return self.fail(format!("{action} outside {{{{range}}}}"));
        }
        Ok(Node {
            position: token.position,
            kind,
        })
    }

    fn otherwise(&mut self) -> Parsed<Item> {
        let next = self.peek_non_space().kind;
        // Left for the branch to read: `{{else if` and `{{else with`.
        if !matches!(next, Kind::Keyword(Keyword::If | Keyword::With)) {
            self.expect_right_delimiter("else")?;
        }
        Ok(Item::Terminator(Terminator::Else))
    }

    fn branch(
        &mut self,
        context: &str,
        keyword: Keyword,
        make: impl FnOnce(Branch) -> NodeKind + Copy,
    ) -> Parsed<Node> {
        let known = self.scope.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let position = pipe.position;
        let loops = usize::from(keyword == Keyword::Range);
        self.scope.ranges += loops;
        let (list, mut terminator) = self.deeper(Self::list)?;
        self.scope.ranges -= loops;
        let mut otherwise = None;
        if terminator == Terminator::Else {
            let chained = keyword != Keyword::Range && self.peek().kind == Kind::Keyword(keyword);
            otherwise = Some(if chained {
                self.next();
                vec![self.deeper(|parser| parser.branch(context, keyword, make))?]
            } else {
                let (list, last) = self.deeper(Self::list)?;
                terminator = last;
                if terminator != Terminator::End {
                    let shown = terminator.shown();
                    return self.fail(format!("expected end; found {shown}"));
                }
                list
            });
        }
        self.scope.variables.truncate(known);
        Ok(Node {
            position,
            kind: make(Branch {
                pipe,
                list,
                otherwise,
            }),
        })
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        self.body(name.clone(), CONTEXT)?;
        let pipe = Some(pipe);
        Ok(Node {
            position: token.position,
            kind: NodeKind::Template(Call { name, pipe }),
        })
    }

    fn call(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelimiter {
            self.back();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?);
        }
        Ok(Node {
            position: token.position,
            kind: NodeKind::Template(Call { name, pipe }),
        })
    }

    fn template_name(&self, token: &Token<'t>, context: &str) -> Parsed<String> {
        match token.kind {
            Kind::String | Kind::RawString => self.literal(literal::string(token.text)),
            _ => self.unexpected(token, context),
        }
    }

    fn literal<T>(&self, read: Result<T, String>) -> Parsed<T> {
        read.or_else(|detail| self.fail(detail))
    }
}
