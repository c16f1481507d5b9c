//! How a typed view of a custom resource is declared.

use serde::Deserialize;
use serde::Deserializer;

/// Reads `null` as the default: Go clients write absent lists and objects as `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares a kind: metadata, spec and status, or one of the two; with kube's and serde's traits.
///
/// The views leave unknown fields out. They are for reading, for creating, and for making patches
/// of the fields they know; never write one back over an object of another author.
macro_rules! kind {
    (
        $(#[$doc:meta])*
        $kind:ident, $group:expr, $version:literal, $plural:literal, $scope:ident,
        spec: $spec:ty $(, status: $status:ty)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        pub struct $kind {
            /// Name, labels, annotations and the rest of the common metadata.
            #[serde(default)]
            pub metadata: kube::core::ObjectMeta,
            /// What is wanted.
            #[serde(default, deserialize_with = "crate::kind::null_as_default")]
            pub spec: $spec,
            $(
                /// What was seen.
                #[serde(default, deserialize_with = "crate::kind::null_as_default")]
                pub status: $status,
            )?
        }

        impl $kind {
            /// An object with this name and spec, not yet in any server.
            pub fn new(name: impl Into<String>, spec: $spec) -> Self {
                Self {
                    metadata: kube::core::ObjectMeta {
                        name: Some(name.into()),
                        ..Default::default()
                    },
                    spec,
                    $( status: <$status>::default(), )?
                }
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
                map.serialize_entry("kind", stringify!($kind))?;
                map.serialize_entry("metadata", &self.metadata)?;
                map.serialize_entry("spec", &self.spec)?;
                $(
                    if self.status != <$status>::default() {
                        map.serialize_entry("status", &self.status)?;
                    }
                )?
                map.end()
            }
        }

        crate::kind::resource!($kind, $group, $version, $plural, $scope);
    };
    (
        $(#[$doc:meta])*
        $kind:ident, $group:expr, $version:literal, $plural:literal, $scope:ident,
        status: $status:ty
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        pub struct $kind {
            /// Name, labels, annotations and the rest of the common metadata.
            #[serde(default)]
            pub metadata: kube::core::ObjectMeta,
            /// What was seen.
            #[serde(default, deserialize_with = "crate::kind::null_as_default")]
            pub status: $status,
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
                map.serialize_entry("kind", stringify!($kind))?;
                map.serialize_entry("metadata", &self.metadata)?;
                if self.status != <$status>::default() {
                    map.serialize_entry("status", &self.status)?;
                }
                map.end()
            }
        }

        crate::kind::resource!($kind, $group, $version, $plural, $scope);
    };
}

/// Declares a kind whose fields beside the metadata are not only a spec and a status. Absent fields
/// are left out, and `null` is read as absent.
macro_rules! object {
    (
        $(#[$doc:meta])*
        $kind:ident, $group:expr, $version:literal, $plural:literal, $scope:ident,
        fields { $( $(#[$field_doc:meta])* $field:ident as $name:literal: $type:ty, )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        pub struct $kind {
            /// Name, labels, annotations and the rest of the common metadata.
            #[serde(default)]
            pub metadata: kube::core::ObjectMeta,
            $(
                $(#[$field_doc])*
                #[serde(
                    default,
                    rename = $name,
                    deserialize_with = "crate::kind::null_as_default"
                )]
                pub $field: $type,
            )*
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
                map.serialize_entry("kind", stringify!($kind))?;
                map.serialize_entry("metadata", &self.metadata)?;
                $(
                    if !crate::kind::is_default(&self.$field) {
                        map.serialize_entry($name, &self.$field)?;
                    }
                )*
                map.end()
            }
        }

        crate::kind::resource!($kind, $group, $version, $plural, $scope);
    };
}

/// Gives a kind its place in the API.
macro_rules! resource {
    ($kind:ident, $group:expr, $version:literal, $plural:literal, $scope:ident) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = k8s_openapi::$scope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// Declares a part of a kind: camelCase names, absent fields left out, `null` read as absent.
macro_rules! part {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$field_doc:meta])* $field:ident: $type:ty, )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(
                    default,
                    deserialize_with = "crate::kind::null_as_default",
                    skip_serializing_if = "crate::kind::is_default"
                )]
                pub $field: $type,
            )*
        }
    };
}

pub(crate) use kind;
pub(crate) use object;
pub(crate) use part;
pub(crate) use resource;

/// Whether a field equals its default and so needs no mention.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
