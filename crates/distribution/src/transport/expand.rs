//! Templates in the strings of an object, and what becomes of them in each WEC.
//!
//! ```text
//!  object ─▶ Templates::of ─▶ once for each WEC: expand(properties) ─▶ the WEC's object
//! ```

use hyades_api::control::names::annotations;
use hyades_gotmpl::Budget;
use hyades_gotmpl::MissingKey;
use hyades_gotmpl::Template;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What every template begins with; a string without it is none.
const DELIMITER: &str = "{{";

/// Errors told of one object, at most. They end up in the status of a policy.
pub const MAX_ERRORS: usize = 10;

/// An object whose strings are templates.
#[derive(Clone, Debug)]
pub struct Templates {
    object: Value,
    leaves: Vec<Leaf>,
}

#[derive(Clone, Debug)]
struct Leaf {
    path: Vec<Step>,
    name: String,
    template: Template,
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Whether the object's author asks for expansion.
pub fn is_asked_for(object: &Value) -> bool {
    object["metadata"]["annotations"][annotations::EXPAND_TEMPLATES] == "true"
}

/// How errors name an object: `Kind[.group]([namespace/]name)`.
fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut name = text(&object["kind"]);
    if let Some((group, _)) = text(&object["apiVersion"]).split_once('/') {
        let _ = write!(name, ".{group}");
    }
    name.push('(');
    if let Some(namespace) = object["metadata"]["namespace"].as_str() {
        let _ = write!(name, "{namespace}/");
    }
    name + &text(&object["metadata"]["name"]) + ")"
}

impl Templates {
    /// Finds and parses the templates of an object; `Ok(None)` if it has none, because it does not
    /// ask for expansion or has no string with a template.
    ///
    /// # Errors
    /// A line for each string that is no template, with its place in the object.
    pub fn of(object: &Value) -> Result<Option<Self>, Vec<String>> {
        if !is_asked_for(object) {
            return Ok(None);
        }
        let mut found = Search::default();
        found.walk(object, &mut Vec::new(), &name_of(object));
        if !found.errors.is_empty() {
            return Err(shortened(found.errors));
        }
        if found.leaves.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            object: object.clone(),
            leaves: found.leaves,
        }))
    }

    /// The object of one WEC. All templates of the object share one budget.
    ///
    /// # Errors
    /// A line for each template that does not come to an end, with WEC, place and line.
    pub fn expand(
        &self,
        wec: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Value, Vec<String>> {
        let mut object = self.object.clone();
        let mut errors = Vec::new();
        let mut budget = Budget::default();
        for leaf in &self.leaves {
            match leaf.template.execute_strings(properties, &mut budget) {
                Ok(text) => {
                    if let Some(place) = at(&mut object, &leaf.path) {
                        *place = Value::String(text);
                    }
                }
                Err(error) => errors.push(format!(
                    "{wec}/{}:{}: {}",
                    leaf.name,
                    error.line(),
                    error.detail()
                )),
            }
        }
        if errors.is_empty() {
            Ok(object)
        } else {
            Err(shortened(errors))
        }
    }
}

fn at<'o>(object: &'o mut Value, path: &[Step]) -> Option<&'o mut Value> {
    path.iter().try_fold(object, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn shortened(mut errors: Vec<String>) -> Vec<String> {
    let more = errors.len().saturating_sub(MAX_ERRORS);
    if more > 0 {
        errors.truncate(MAX_ERRORS);
        errors.push(format!("and {more} more like these"));
    }
    errors
}

#[derive(Default)]
struct Search {
    leaves: Vec<Leaf>,
    errors: Vec<String>,
}

impl Search {
    fn walk(&mut self, value: &Value, path: &mut Vec<Step>, name: &str) {
        match value {
            Value::String(text) if text.contains(DELIMITER) => match Template::parse(name, text) {
                Ok(template) => self.leaves.push(Leaf {
                    path: path.clone(),
                    name: name.to_owned(),
                    template: template.missing_key(MissingKey::Error),
                }),
                Err(error) => self.errors.push(error.to_string()),
            },
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.walk(item, path, &format!("{name}[{index}]"));
                    path.pop();
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    path.push(Step::Key(key.clone()));
                    self.walk(item, path, &format!("{name}.{key}"));
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::properties::Sources;
    use crate::transport::properties::properties;
    use serde_json::json;

    fn object(annotations: Value, spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "nginx", "name": "web", "annotations": annotations},
            "spec": spec})
    }

    fn asking(spec: Value) -> Value {
        object(
            json!({"control.kubestellar.io/expand-templates": "true"}),
            spec,
        )
    }

    fn expanded(object: &Value, wec: &str, data: &[(&str, &str)]) -> Result<Value, Vec<String>> {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let data = data.collect();
        let sources = Sources {
            data: Some(&data),
            ..Default::default()
        };
        let templates = Templates::of(object)?.ok_or(vec!["no templates".to_owned()])?;
        templates.expand(wec, &properties(wec, sources))
    }

    #[test]
    fn upstreams_example_reads_as_upstream_says() {
        let text = "cluster {{ .clusterName }} URL is {{ .clusterURL }}, region is {{ .region }}";
        let annotations = |test: &str| {
            json!({
            "control.kubestellar.io/expand-templates": "true", "customization-test": test})
        };
        for (wec, url, region) in [
            ("cluster1", "https://my.clusters/1001-abcd", "east"),
            ("cluster2", "https://my.clusters/2002-cdef", "west"),
        ] {
            let expected = format!("cluster {wec} URL is {url}, region is {region}");
            assert_eq!(
                expanded(
                    &object(annotations(text), json!({})),
                    wec,
                    &[("clusterURL", url), ("region", region)]
                ),
                Ok(object(annotations(&expected), json!({})))
            );
        }
    }

    #[test]
    fn leaf_strings_alone_are_expanded_wherever_they_stand() {
        let spec =
            json!({"{{.a}}": ["{{.a}}", 1, {"deep": "x{{.a}}"}], "n": 3, "b": true, "s": "plain"});
        assert_eq!(
            expanded(&asking(spec), "c", &[("a", "5")]),
            Ok(asking(
                json!({"{{.a}}": ["5", 1, {"deep": "x5"}], "n": 3, "b": true, "s": "plain"})
            ))
        );
    }

    #[test]
    fn objects_that_do_not_ask_or_have_no_templates_are_the_same_everywhere() {
        for object in [
            object(json!({}), json!({"a": "{{.x}}"})),
            object(
                json!({"control.kubestellar.io/expand-templates": "yes"}),
                json!({"a": "{{.x}}"}),
            ),
            asking(json!({"a": "plain } } {"})),
        ] {
            assert!(matches!(Templates::of(&object), Ok(None)), "{object}");
        }
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(
            Templates::of(&asking(json!({"list": ["a", "\n{{if}}"]}))).err(),
            Some(vec![
                "template: Deployment.apps(nginx/web).spec.list[1]:2: missing value for if"
                    .to_owned()
            ])
        );
        assert_eq!(
            expanded(
                &asking(json!({"a": "{{.foo}}", "b": "{{.clusterName.x}}"})),
                "c1",
                &[]
            )
            .err(),
            Some(vec![
                "c1/Deployment.apps(nginx/web).spec.a:1: map has no entry for key \"foo\""
                    .to_owned(),
                "c1/Deployment.apps(nginx/web).spec.b:1: can't evaluate field x in type string"
                    .to_owned(),
            ])
        );
    }

    #[test]
    fn many_templates_share_one_budget_and_few_errors_are_told() {
        let strings: Vec<Value> = (0..50).map(|_| json!("{{range 100000}}{{end}}")).collect();
        let errors = expanded(&asking(json!(strings)), "c1", &[])
            .err()
            .unwrap_or_default();
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        assert!(
            errors[0].contains("spec[1]:1: the template takes more than 200000 steps"),
            "{errors:?}"
        );
        assert_eq!(errors[MAX_ERRORS], "and 39 more like these");
    }
}
