//! Types that are no resources: bodies of requests and answers, and the lists of every kind.

use super::Kind;
use crate::types::ArrayShape;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::PatchStrategy;
use crate::types::ProtoField;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const PARTIAL_OBJECT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata";
const PARTIAL_OBJECT_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList";

/// Bodies that belong to one group and version: group, version, kind, type.
const BODIES: &[(&str, &str, &str, &str)] = &[
    (
        "authentication.k8s.io",
        "v1",
        "TokenRequest",
        "io.k8s.api.authentication.v1.TokenRequest",
    ),
    (
        "autoscaling",
        "v1",
        "Scale",
        "io.k8s.api.autoscaling.v1.Scale",
    ),
    ("policy", "v1", "Eviction", "io.k8s.api.policy.v1.Eviction"),
    ("meta.k8s.io", "v1", "PartialObjectMetadata", PARTIAL_OBJECT),
    (
        "meta.k8s.io",
        "v1",
        "PartialObjectMetadataList",
        PARTIAL_OBJECT_LIST,
    ),
];

/// Bodies that clients send and expect under the `apiVersion` of whatever resource they speak of.
const COMMON_BODIES: &[(&str, &str)] = &[
    (
        "DeleteOptions",
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    ),
    ("Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
];

/// The names of the types that requests and answers need besides the kinds themselves and what
/// those refer to.
pub(super) fn root_type_names() -> impl Iterator<Item = &'static str> {
    let own = BODIES.iter().map(|(_, _, _, name)| *name);
    let common = COMMON_BODIES.iter().map(|(_, name)| *name);
    own.chain(common)
        .chain([OBJECT_META, LIST_META])
        .filter(|name| !name.starts_with(PARTIAL_OBJECT))
}

pub(super) fn body_type_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    let own = BODIES
        .iter()
        .find(|(g, v, k, _)| (*g, *v, *k) == (group, version, kind))
        .map(|(_, _, _, name)| *name);
    own.or_else(|| {
        COMMON_BODIES
            .iter()
            .find(|(common, _)| *common == kind)
            .map(|(_, name)| *name)
    })
}

/// Adds what follows from the kinds and needs no row in the table: their lists, and the
/// metadata-only views.
pub(super) fn add_derived_types(pool: &mut TypePool, kinds: &[Kind]) {
    let base = Base {
        string: pool.add(Type {
            shape: Shape::String,
            ..Type::default()
        }),
        object_meta: pool.by_name[OBJECT_META],
        list_meta: pool.by_name[LIST_META],
    };
    let partial = base.add_object(
        pool,
        PARTIAL_OBJECT,
        vec![field("metadata", base.object_meta, Some(1))],
    );
    base.add_list(pool, PARTIAL_OBJECT_LIST, partial);
    for kind in kinds.iter().filter(|kind| kind.verbs.contains(&"list")) {
        let item = pool.by_name[kind.type_name];
        base.add_list(pool, &format!("{}List", kind.type_name), item);
    }
}

struct Base {
    string: TypeId,
    object_meta: TypeId,
    list_meta: TypeId,
}

impl Base {
    fn add_list(&self, pool: &mut TypePool, name: &str, items: TypeId) {
        let items = pool.add(Type {
            shape: Shape::Array(ArrayShape {
                items,
                list: ListType::Atomic,
            }),
            ..Type::default()
        });
        let items = Field {
            required: true,
            ..field("items", items, Some(2))
        };
        let metadata = field("metadata", self.list_meta, Some(1));
        self.add_object(pool, name, vec![items, metadata]);
    }

    fn add_object(&self, pool: &mut TypePool, name: &str, mut fields: Vec<Field>) -> TypeId {
        fields.push(field("apiVersion", self.string, None));
        fields.push(field("kind", self.string, None));
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let id = pool.add(Type {
            name: Some(name.to_owned()),
            shape: Shape::Object(ObjectShape {
                fields,
                ..ObjectShape::default()
            }),
            ..Type::default()
        });
        pool.by_name.insert(name.to_owned(), id);
        id
    }
}

fn field(name: &str, ty: TypeId, number: Option<u16>) -> Field {
    Field {
        name: name.to_owned(),
        ty,
        required: false,
        default: None,
        proto: number.map(ProtoField::numbered),
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
    }
}
