//! All expressions of one admission policy, compiled together.

use serde_json::Value;

use super::CompileError;
use super::Declarations;
use super::Expression;
use super::Reads;
use crate::validate::FieldError;
use crate::validate::FieldPath;

/// The variables of every expression.
const NAMES: [&str; 4] = ["object", "oldObject", "request", "namespaceObject"];

/// The variable that a policy with a `paramKind` has.
const PARAMS: &str = "params";

/// The variables that ask what users may do.
const AUTHORIZER: [&str; 2] = ["authorizer", "authorizer.requestResource"];

/// An expression with the name its policy gives it.
#[derive(Debug)]
pub struct Named {
    /// The name; the key, for an audit annotation.
    pub name: String,
    /// The expression.
    pub expression: Expression,
}

/// One rule of a validating policy.
#[derive(Debug)]
pub struct Validation {
    /// What must be true.
    pub expression: Expression,
    /// What is said when it is not; may be empty.
    pub message: String,
    /// An expression for what is said, which goes before `message`.
    pub message_expression: Option<Expression>,
    /// The `metav1.StatusReason` of the refusal; empty for `Invalid`.
    pub reason: String,
}

/// One change of a mutating policy.
#[derive(Debug)]
pub enum Mutation {
    /// The expression's object is merged in, as a server-side apply merges.
    ApplyConfiguration(Expression),
    /// The expression's list is applied as a JSON patch.
    JsonPatch(Expression),
}

/// The compiled specification of a `ValidatingAdmissionPolicy` or `MutatingAdmissionPolicy`.
#[derive(Debug, Default)]
pub struct PolicyProgram {
    /// Conditions that must all hold for the policy to concern a request.
    pub match_conditions: Vec<Named>,
    /// Composited variables, in the order in which they may use each other.
    pub variables: Vec<Named>,
    /// Rules; none in a mutating policy.
    pub validations: Vec<Validation>,
    /// Audit annotations.
    pub audit_annotations: Vec<Named>,
    /// Changes; none in a validating policy.
    pub mutations: Vec<Mutation>,
    /// What all the expressions together read.
    pub reads: Reads,
}

impl PolicyProgram {
    /// Compiles a policy's `spec`.
    ///
    /// # Errors
    /// One for every expression that does not compile. Absent expressions are no business of this
    /// function: they are left out.
    pub fn compile(spec: &Value) -> Result<PolicyProgram, Vec<FieldError>> {
        let mut compiler = Compiler {
            errors: Vec::new(),
            reads: Reads::default(),
            variables: Vec::new(),
            has_params: spec.get("paramKind").is_some_and(|kind| !kind.is_null()),
        };
        let path = FieldPath::new("spec");
        let mut program = PolicyProgram {
            match_conditions: compiler.named(spec, "matchConditions", ["name", "expression"], true),
            ..PolicyProgram::default()
        };
        for (index, variable) in list(spec, "variables").iter().enumerate() {
            let path = path.child("variables").index(index).child("expression");
            let expression = compiler.compile(text(variable, "expression"), &path, true);
            let name = text(variable, "name").to_owned();
            compiler.variables.push(name.clone());
            let named = expression.map(|expression| Named { name, expression });
            program.variables.extend(named);
        }
        for (index, rule) in list(spec, "validations").iter().enumerate() {
            let validation = compiler.validation(rule, &path.child("validations").index(index));
            program.validations.extend(validation);
        }
        let fields = ["key", "valueExpression"];
        program.audit_annotations = compiler.named(spec, "auditAnnotations", fields, false);
        for (index, mutation) in list(spec, "mutations").iter().enumerate() {
            let mutation = compiler.mutation(mutation, &path.child("mutations").index(index));
            program.mutations.extend(mutation);
        }
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        program.reads = compiler.reads;
        Ok(program)
    }
}

struct Compiler {
    errors: Vec<FieldError>,
    reads: Reads,
    variables: Vec<String>,
    has_params: bool,
}

impl Compiler {
    /// Compiles an expression, unless it is absent; `authorizer` says whether it may ask for rights.
    fn compile(&mut self, text: &str, path: &FieldPath, authorizer: bool) -> Option<Expression> {
        self.compile_with(text, path, authorizer, false)
    }

    fn compile_with(
        &mut self,
        text: &str,
        path: &FieldPath,
        authorizer: bool,
        initialisers: bool,
    ) -> Option<Expression> {
        if text.trim().is_empty() {
            return None;
        }
        let mut names = NAMES.to_vec();
        if self.has_params {
            names.push(PARAMS);
        }
        if authorizer {
            names.extend(AUTHORIZER);
        }
        let declared = Declarations {
            names: &names,
            variables: &self.variables,
            initialisers,
            has_conditions: false,
        };
        match Expression::compile(text, &declared) {
            Ok(expression) => {
                self.reads.merge(expression.reads());
                Some(expression)
            }
            Err(CompileError(why)) => {
                let detail = format!("compilation failed: {why}");
                self.errors.push(FieldError::invalid(path, text, detail));
                None
            }
        }
    }

    fn named(
        &mut self,
        spec: &Value,
        field: &str,
        [name, expression]: [&str; 2],
        authorizer: bool,
    ) -> Vec<Named> {
        let path = FieldPath::new("spec").child(field);
        let mut found = Vec::new();
        for (index, item) in list(spec, field).iter().enumerate() {
            let path = path.index(index).child(expression);
            let compiled = self.compile(text(item, expression), &path, authorizer);
            found.extend(compiled.map(|expression| Named {
                name: text(item, name).to_owned(),
                expression,
            }));
        }
        found
    }

    fn validation(&mut self, rule: &Value, path: &FieldPath) -> Option<Validation> {
        let expression = self.compile(text(rule, "expression"), &path.child("expression"), true);
        let field = path.child("messageExpression");
        let message_expression = self.compile(text(rule, "messageExpression"), &field, false);
        Some(Validation {
            expression: expression?,
            message: text(rule, "message").trim().to_owned(),
            message_expression,
            reason: text(rule, "reason").to_owned(),
        })
    }

    fn mutation(&mut self, mutation: &Value, path: &FieldPath) -> Option<Mutation> {
        let (field, make): (_, fn(Expression) -> Mutation) = match text(mutation, "patchType") {
            "ApplyConfiguration" => ("applyConfiguration", Mutation::ApplyConfiguration),
            "JSONPatch" => ("jsonPatch", Mutation::JsonPatch),
            _ => return None,
        };
        let stated = mutation.get(field)?;
        let path = path.child(field).child("expression");
        let expression = self.compile_with(text(stated, "expression"), &path, true, true)?;
        Some(make(expression))
    }
}

fn list<'a>(owner: &'a Value, field: &str) -> &'a [Value] {
    let items = owner.get(field).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

fn text<'a>(owner: &'a Value, field: &str) -> &'a str {
    owner.get(field).and_then(Value::as_str).unwrap_or_default()
}
