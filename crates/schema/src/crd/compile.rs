//! What a definition defines, per version.

use serde_json::Value;

use super::schema;
use super::validate::validate;
use crate::types::TypeRef;
use crate::validate::FieldError;
use crate::validate::FieldPath;

/// A valid definition, ready to serve.
#[derive(Debug, Clone)]
pub struct CompiledCrd {
    /// The API group.
    pub group: String,
    /// Names of the resource.
    pub names: CustomNames,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The versions, in the definition's order.
    pub versions: Vec<CompiledVersion>,
}

impl CompiledCrd {
    /// The version that objects are stored in.
    pub fn storage(&self) -> &CompiledVersion {
        self.versions
            .iter()
            .find(|version| version.storage)
            .unwrap_or(&self.versions[0])
    }

    /// A version by name.
    pub fn version(&self, name: &str) -> Option<&CompiledVersion> {
        self.versions.iter().find(|version| version.name == name)
    }
}

/// Names of a custom resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomNames {
    /// Resource name in paths.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Kind of lists.
    pub list_kind: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
}

/// One version of a custom resource.
#[derive(Debug, Clone)]
pub struct CompiledVersion {
    /// The version (`v1alpha1`).
    pub name: String,
    /// Whether the version is served.
    pub served: bool,
    /// Whether objects are stored in this version.
    pub storage: bool,
    /// The warning that answers to requests carry, when the version is deprecated.
    pub deprecation_warning: Option<String>,
    /// The type of its objects.
    pub ty: TypeRef,
    /// The schema as it was written, for OpenAPI.
    pub schema: Value,
    /// Whether there is a status subresource.
    pub has_status: bool,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// Additional printer columns; without any, tables show the age.
    pub columns: Vec<PrinterColumn>,
    /// JSON paths of the fields that field selectors may use (`.spec.color`).
    pub selectable_fields: Vec<String>,
}

/// Where the scale subresource finds its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// JSON path of the wanted replicas.
    pub spec_replicas_path: String,
    /// JSON path of the observed replicas.
    pub status_replicas_path: String,
    /// JSON path of the selector in text form.
    pub label_selector_path: Option<String>,
}

/// A column of tables of a custom resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterColumn {
    /// Heading.
    pub name: String,
    /// OpenAPI type of the cells, or `date`.
    pub kind: String,
    /// OpenAPI format.
    pub format: String,
    /// Explanation.
    pub description: String,
    /// 0 for columns of the narrow table.
    pub priority: i32,
    /// Where the cells come from.
    pub json_path: String,
}

/// The place of a part of a version. While all versions agree on it, the server keeps the part once
/// for all of them, and its errors name that place.
pub(super) struct Hoisted<'a> {
    pub(super) versions: &'a [Value],
    pub(super) index: usize,
}

impl Hoisted<'_> {
    /// The path of the version's field `name`, which is `shared` when all versions have it alike.
    pub(super) fn path(&self, name: &str, shared: &str) -> FieldPath {
        let spec = FieldPath::new("spec");
        if self.is_shared(name) {
            return spec.child(shared);
        }
        spec.child("versions").index(self.index).child(name)
    }

    /// Whether all versions have the field alike.
    pub(super) fn is_shared(&self, name: &str) -> bool {
        let first = self.versions.first().and_then(|version| version.get(name));
        self.versions
            .iter()
            .all(|version| version.get(name) == first)
    }
}

/// Compiles a definition whose defaults are set.
///
/// # Errors
///
/// The definition is invalid; all reasons are listed.
pub fn compile(crd: &Value) -> Result<CompiledCrd, Vec<FieldError>> {
    let errors = validate(crd);
    if !errors.is_empty() {
        return Err(errors);
    }
    let spec = &crd["spec"];
    let group = text(spec, "group");
    let names = names(&spec["names"]);
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let compiled = versions
        .iter()
        .map(|version| compile_version(version, &group, &names.kind));
    Ok(CompiledCrd {
        versions: compiled.collect(),
        namespaced: text(spec, "scope") == "Namespaced",
        group,
        names,
    })
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = value.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn names(names: &Value) -> CustomNames {
    CustomNames {
        plural: text(names, "plural"),
        singular: text(names, "singular"),
        kind: text(names, "kind"),
        list_kind: text(names, "listKind"),
        short_names: texts(names, "shortNames"),
        categories: texts(names, "categories"),
    }
}

fn compile_version(version: &Value, group: &str, kind: &str) -> CompiledVersion {
    let flag = |key: &str| version.get(key).and_then(Value::as_bool) == Some(true);
    let name = text(version, "name");
    let warning = version.get("deprecationWarning").and_then(Value::as_str);
    let deprecation_warning = flag("deprecated").then(|| {
        warning.map_or_else(
            || format!("{group}/{name} {kind} is deprecated"),
            str::to_owned,
        )
    });
    let schema = version
        .pointer("/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_default();
    let list = |key: &str| version.get(key).and_then(Value::as_array);
    let scale = version
        .pointer("/subresources/scale")
        .filter(|scale| scale.is_object());
    CompiledVersion {
        served: flag("served"),
        storage: flag("storage"),
        deprecation_warning,
        ty: schema::root(&schema),
        schema,
        has_status: version
            .pointer("/subresources/status")
            .is_some_and(Value::is_object),
        scale: scale.map(|scale| Scale {
            spec_replicas_path: text(scale, "specReplicasPath"),
            status_replicas_path: text(scale, "statusReplicasPath"),
            label_selector_path: Some(text(scale, "labelSelectorPath"))
                .filter(|path| !path.is_empty()),
        }),
        columns: list("additionalPrinterColumns")
            .into_iter()
            .flatten()
            .map(column)
            .collect(),
        selectable_fields: list("selectableFields")
            .into_iter()
            .flatten()
            .map(|field| text(field, "jsonPath"))
            .collect(),
        name,
    }
}

fn column(column: &Value) -> PrinterColumn {
    let priority = column
        .get("priority")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    PrinterColumn {
        name: text(column, "name"),
        kind: text(column, "type"),
        format: text(column, "format"),
        description: text(column, "description"),
        priority: i32::try_from(priority).unwrap_or_default(),
        json_path: text(column, "jsonPath"),
    }
}
