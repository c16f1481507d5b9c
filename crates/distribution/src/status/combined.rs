//! What a CombinedStatus is to say.

use super::answer;
use super::collector::Collector;
use super::collector::variables;
use super::model::AnswerName;
use super::model::Name;
use super::model::Report;
use super::model::Subject;
use super::row::Known;
use super::row::Row;
use crate::transport::wrap::label_value;
use hyades_api::control::CollectedResult;
use hyades_api::control::CombinedStatus;
use hyades_api::control::names;
use hyades_api::control::names::labels;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::kube::core::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Most bytes of the answers of one CombinedStatus: two thirds of the object that an API server
/// takes, so that there is room for names, errors and metadata.
const ANSWERS_BYTES_MAX: usize = 1_000_000;

/// How long one CombinedStatus may be evaluated at a time: ten thousand WECs take a second.
const EVALUATION_TIME_MAX: Duration = Duration::from_secs(5);

/// The rows of one question that are known already.
#[derive(Debug)]
struct Evaluated {
    collector: Arc<Collector>,
    content: Arc<Value>,
    rows: BTreeMap<Name, (Option<Arc<Report>>, Arc<Row>)>,
}

/// The rows of one CombinedStatus, by StatusCollector: a report costs the evaluation of its own row.
#[derive(Debug, Default)]
pub struct Rows(HashMap<String, Evaluated>);

impl Rows {
    /// Answers all questions about a subject. Takes long for many WECs, and no longer than a limit:
    /// what is not evaluated by then says so, and is evaluated the next time.
    pub fn answers(&mut self, subject: &Subject) -> Vec<CollectedResult> {
        let end = Instant::now() + EVALUATION_TIME_MAX;
        let is_asked = |name: &String| subject.collectors.iter().any(|(asked, _)| asked == name);
        self.0.retain(|name, _| is_asked(name));
        let collectors = subject.collectors.iter();
        let mut answers: Vec<_> = collectors
            .map(|(name, collector)| {
                let rows = self.rows(name, collector, subject, end);
                answer::answer(name, collector, &rows)
            })
            .collect();
        answer::shorten(&mut answers, ANSWERS_BYTES_MAX);
        answers
    }

    fn rows(
        &mut self,
        name: &str,
        collector: &Arc<Collector>,
        subject: &Subject,
        end: Instant,
    ) -> answer::Rows {
        let content = &subject.object.content;
        let reads_object = collector.does_read(variables::OBJECT);
        let known = self.0.remove(name).filter(|known| {
            let is_same_object = !reads_object || Arc::ptr_eq(&known.content, content);
            is_same_object && Arc::ptr_eq(&known.collector, collector)
        });
        let mut known = known.map(|known| known.rows).unwrap_or_default();
        let (mut rows, mut kept) = (answer::Rows::new(), BTreeMap::new());
        for (wec, report) in &subject.reports {
            let row = match known.remove(wec) {
                Some((of, row)) if is_same(&of, report) => row,
                _ if Instant::now() > end => {
                    let seconds = EVALUATION_TIME_MAX.as_secs();
                    let error = format!("not evaluated within {seconds} s");
                    rows.insert(wec.clone(), Arc::new(Row::Failed(error)));
                    continue;
                }
                _ => Arc::new(Row::ask(collector, &of_wec(subject, wec, report))),
            };
            kept.insert(wec.clone(), (report.clone(), row.clone()));
            rows.insert(wec.clone(), row);
        }
        let evaluated = Evaluated {
            collector: collector.clone(),
            content: content.clone(),
            rows: kept,
        };
        self.0.insert(name.to_owned(), evaluated);
        rows
    }
}

fn is_same(left: &Option<Arc<Report>>, right: &Option<Arc<Report>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => Arc::ptr_eq(left, right),
        (None, None) => true,
        _ => false,
    }
}

fn of_wec<'a>(subject: &'a Subject, wec: &'a str, report: &'a Option<Arc<Report>>) -> Known<'a> {
    let report = report.as_deref();
    Known {
        object: &subject.object.content,
        wec,
        status: report.and_then(Report::status),
        reported: report.and_then(|report| report.reported.as_deref()),
    }
}

/// The CombinedStatus about a subject.
pub fn desired(
    name: &AnswerName,
    subject: &Subject,
    results: Vec<CollectedResult>,
) -> CombinedStatus {
    let object = &subject.key;
    let said = [
        (labels::SUBJECT_GROUP, &*object.resource.group),
        (labels::SUBJECT_RESOURCE, &*object.resource.resource),
        (labels::SUBJECT_NAMESPACE, &*object.name.namespace),
        (labels::SUBJECT_NAME, &*object.name.name),
        (labels::BINDING_POLICY, &*subject.binding),
    ];
    let mut labels = BTreeMap::new();
    let mut annotations = BTreeMap::new();
    for (key, text) in said {
        let value = label_of(text);
        if value != text {
            annotations.insert(key.to_owned(), text.to_owned());
        }
        labels.insert(key.to_owned(), value);
    }
    let owner = OwnerReference {
        api_version: subject.object.api_version.clone(),
        kind: subject.object.kind.clone(),
        name: object.name.name.clone(),
        uid: subject.object.uid.clone(),
        ..OwnerReference::default()
    };
    CombinedStatus {
        metadata: ObjectMeta {
            name: Some(names::combined_status(&name.object, &name.policy)),
            namespace: Some(name.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            owner_references: Some(vec![owner]).filter(|_| !subject.object.kind.is_empty()),
            ..ObjectMeta::default()
        },
        results,
    }
}

/// A text as the value of a label: shortened by its digest if it is too long, and with `_` for what
/// labels may not contain, as the `:` in names of roles. The whole text stands in an annotation.
fn label_of(text: &str) -> String {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let allowed: String = text
        .chars()
        .map(|letter| if is_allowed(letter) { letter } else { '_' })
        .collect();
    let is_edge = |letter: char| !letter.is_ascii_alphanumeric();
    label_value(allowed.trim_matches(is_edge))
}

/// Whether a CombinedStatus says what it is to say.
pub fn says(present: &CombinedStatus, desired: &CombinedStatus) -> bool {
    let (is, shall) = (&present.metadata, &desired.metadata);
    let covers = |is: &Option<BTreeMap<_, _>>, shall: &Option<BTreeMap<String, String>>| {
        let mut wanted = shall.iter().flatten();
        wanted.all(|(key, value)| is.as_ref().and_then(|it| it.get(key)) == Some(value))
    };
    covers(&is.labels, &shall.labels)
        && covers(&is.annotations, &shall.annotations)
        && is.owner_references == shall.owner_references
        && present.results == desired.results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_labels_become_some() {
        assert_eq!(label_of("web"), "web");
        assert_eq!(label_of(""), "");
        assert_eq!(label_of("system:node:a"), "system_node_a");
        assert_eq!(label_of(&"a".repeat(253)).len(), 63);
    }
}
