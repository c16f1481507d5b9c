//! Pipelines: commands, operands and the variables they are given to.

use crate::functions;
use crate::lex::Keyword;
use crate::lex::Kind;
use crate::literal;
use crate::parse::Parsed;
use crate::parse::Parser;
use crate::quote::quote;
use crate::tree::Command;
use crate::tree::Operand;
use crate::tree::OperandKind;
use crate::tree::Pipe;

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let position = self.peek_non_space().position;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParenthesis
                | Kind::Keyword(Keyword::Dot | Keyword::Nil) => {
                    self.back();
                    commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check(&commands, context)?;
        Ok(Pipe {
            position,
            assigns,
            variables,
            commands,
        })
    }

    /// `$x :=`, `$x =` or, of a range, `$i, $x :=`, if one of them comes.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut variables = Vec::new();
        loop {
            let token = self.peek_non_space();
            let start = self.index;
            if token.kind != Kind::Variable {
                return Ok((variables, false));
            }
            self.next();
            let following = self.peek_non_space();
            match following.kind {
                Kind::Assign | Kind::Declare => {
                    self.next();
                    variables.push(token.text.to_owned());
                    self.scope.variables.push(token.text.to_owned());
                    return Ok((variables, following.kind == Kind::Assign));
                }
                Kind::Char if following.text == "," => {
                    self.next();
                    variables.push(token.text.to_owned());
                    self.scope.variables.push(token.text.to_owned());
                    if context != "range" || variables.len() > 1 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                    match self.peek_non_space().kind {
                        Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis => {}
                        _ => return self.fail("range can only initialize variables"),
                    }
                }
                _ => {
                    self.index = start;
                    return Ok((variables, false));
                }
            }
        }
    }

    fn check(&self, commands: &[Command], context: &str) -> Parsed<()> {
        if commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if matches!(
                command.arguments[0].kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(..)
                    | OperandKind::Text(..)
            ) {
                return self.fail(format!(
                    "non executable command in pipeline stage {}",
                    index + 1
                ));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let position = self.peek_non_space().position;
        let mut arguments = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                arguments.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParenthesis => {
                    self.back();
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if arguments.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command {
            position,
            arguments,
        })
    }

    /// A term with the fields taken from it.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let kind = match term.kind {
            OperandKind::Field(all) => OperandKind::Field([all, names].concat()),
            OperandKind::Variable(all) => OperandKind::Variable([all, names].concat()),
            OperandKind::Bool(_)
            | OperandKind::Text(..)
            | OperandKind::Number(..)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let shown = quote(&term.to_string());
                return self.fail(format!("unexpected . after term {shown}"));
            }
            _ => OperandKind::Chain(Box::new(term), names),
        };
        Ok(Some(Operand {
            position: first.position,
            kind,
        }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.next_non_space();
        let text = token.text.to_owned();
        let kind = match token.kind {
            Kind::Identifier if functions::is_function(&text) => OperandKind::Identifier(text),
            Kind::Identifier => {
                return self.fail(format!("function {} not defined", quote(&text)));
            }
            Kind::Keyword(Keyword::Dot) => OperandKind::Dot,
            Kind::Keyword(Keyword::Nil) => OperandKind::Nil,
            Kind::Variable if self.scope.variables.contains(&text) => {
                OperandKind::Variable(vec![text])
            }
            Kind::Variable => return self.fail(format!("undefined variable {}", quote(&text))),
            Kind::Field => OperandKind::Field(vec![text[1..].to_owned()]),
            Kind::Bool => OperandKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => {
                let value = self.literal(literal::number(&text, token.kind))?;
                OperandKind::Number(text, value)
            }
            Kind::String | Kind::RawString => {
                let value = self.literal(literal::string(&text))?;
                OperandKind::Text(text, value)
            }
            Kind::LeftParenthesis => {
                let pipe = self.deeper(|parser| {
                    parser.pipeline("parenthesized pipeline", Kind::RightParenthesis)
                })?;
                OperandKind::Pipe(Box::new(pipe))
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand {
            position: token.position,
            kind,
        }))
    }
}
