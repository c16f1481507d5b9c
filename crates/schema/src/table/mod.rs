//! The checked-in table of built-in types, `builtin.table`.
//!
//! ```text
//!  JSON schemas ──┐
//!  protobuf types ┼─▶ xtask distil ─▶ builtin.table ─▶ read ─▶ TypePool
//!  presence list ─┘                         ▲                     │
//!                                           └────── write ◀───────┘
//! ```
//!
//! One line a type, one line a field, sorted, so that a new Kubernetes release is a readable diff:
//!
//! ```text
//! io.k8s.api.core.v1.ServicePort
//!   appProtocol 6 string?
//!   port 3 int32!
//!   protocol 2 string default=TCP
//!   targetPort 4 io.k8s.apimachinery.pkg.util.intstr.IntOrString
//! ```
//!
//! A field is its JSON name, its protobuf number and its type. The number is `-` when protobuf does
//! not carry the field, and `2.1` when an embedded message with number 2 carries it. After the type,
//! `!` marks a required field and `?` a scalar whose zero value differs from its absence. The words
//! `patch=merge`, `patch=retainKeys` and `key=NAME` state how strategic merge treats it;
//! `default=TEXT` is what an absent string means, where it identifies list items.
//!
//! A type is a scalar (`string`, `bytes`, `boolean`, `int32`, `int64`, `double`, `any`), a named
//! type (without its package, when that is the package of the type it stands in), `[T]` (an atomic
//! list), `set[T]`, `map(key,key)[T]`, `{T}` (a map) or `atomic{T}`. A type's own line is its name,
//! followed by `atomic` when it is owned as a whole, or by `= SHAPE` when it is no object.

mod read;
mod write;

use crate::types::TypePool;

pub use read::TableError;
pub use read::read;
pub use write::write;

const BUILTIN: &str = include_str!("builtin.table");

/// The checked-in table.
pub(crate) fn builtin_text() -> &'static str {
    BUILTIN
}

/// The types of the checked-in table.
pub(crate) fn builtin_pool() -> TypePool {
    read(BUILTIN).expect("the checked-in table is read by this module's tests")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ListType;
    use crate::types::ProtoField;
    use crate::types::Shape;
    use crate::types::TypeRef;
    use std::sync::Arc;

    fn ty(pool: &Arc<TypePool>, name: &str) -> TypeRef {
        TypeRef {
            pool: Arc::clone(pool),
            id: pool.by_name[name],
        }
    }

    #[test]
    fn the_checked_in_table_prints_as_it_is_written() {
        let body = BUILTIN
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        let printed = write(&builtin_pool());
        let differing = printed.lines().zip(body.lines()).find(|(a, b)| a != b);
        assert_eq!(differing, None);
        assert_eq!(printed.len(), body.len());
    }

    #[test]
    fn ports_of_services_and_containers_are_maps_with_merge_keys() {
        let pool = Arc::new(builtin_pool());
        let spec = ty(&pool, "io.k8s.api.core.v1.ServiceSpec");
        let ports = spec.field("ports").unwrap();
        assert!(ports.patch_strategy.merge);
        assert_eq!(ports.patch_merge_key.as_deref(), Some("port"));
        let ports = spec.at(ports.ty);
        let Shape::Array(list) = &ports.get().shape else {
            panic!("ports are a list");
        };
        assert_eq!(
            list.list,
            ListType::Map(vec!["port".into(), "protocol".into()])
        );
        let port = spec.property("ports").unwrap().items().unwrap();
        let number = port.field("port").unwrap();
        assert!(number.required);
        assert_eq!(number.proto, Some(ProtoField::numbered(3)));
        let target = port.property("targetPort").unwrap();
        assert!(matches!(target.get().shape, Shape::IntOrString));
    }

    #[test]
    fn embedded_messages_are_part_of_the_number() {
        let pool = Arc::new(builtin_pool());
        let volume = ty(&pool, "io.k8s.api.core.v1.Volume");
        let host_path = volume.field("hostPath").unwrap().proto.unwrap();
        assert_eq!((host_path.within, host_path.number), ([2, 0], 1));
        let rule = ty(
            &pool,
            "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
        );
        let groups = rule.field("apiGroups").unwrap().proto.unwrap();
        assert_eq!((groups.within, groups.number), ([2, 2], 1));
    }

    #[test]
    fn object_metadata_is_complete() {
        let pool = Arc::new(builtin_pool());
        let meta = ty(&pool, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let numbers: Vec<_> = [
            "name",
            "generateName",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "managedFields",
        ]
        .map(|name| meta.field(name).unwrap().proto.unwrap().number)
        .into();
        assert_eq!(numbers, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17]);
        let fields = meta.property("managedFields").unwrap().items().unwrap();
        let set = fields.property("fieldsV1").unwrap();
        assert!(matches!(set.get().shape, Shape::Any));
        let created = meta.property("creationTimestamp").unwrap();
        assert!(matches!(created.get().shape, Shape::Time));
    }

    #[test]
    fn pointers_keep_their_zero_values() {
        let pool = Arc::new(builtin_pool());
        let presence = |name: &str, field: &str| {
            let field = ty(&pool, name).field(field).unwrap().proto.unwrap();
            field.presence
        };
        assert!(presence("io.k8s.api.apps.v1.DeploymentSpec", "replicas"));
        assert!(!presence("io.k8s.api.apps.v1.DeploymentStatus", "replicas"));
        assert!(presence(
            "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
            "storageClassName"
        ));
    }

    #[test]
    fn whole_objects_and_maps_may_be_atomic() {
        let pool = Arc::new(builtin_pool());
        let atomic = |ty: &TypeRef| match &ty.get().shape {
            Shape::Object(object) => object.atomic,
            _ => false,
        };
        let selector = ty(&pool, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector");
        assert!(atomic(&selector));
        let service = ty(&pool, "io.k8s.api.core.v1.ServiceSpec");
        assert!(atomic(&service.property("selector").unwrap()));
        let volume = ty(&pool, "io.k8s.api.core.v1.PersistentVolumeSpec");
        assert!(!atomic(&volume.property("claimRef").unwrap()));
    }
}
