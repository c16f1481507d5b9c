//! Discovery and OpenAPI documents, made when first asked for and kept while the registry stays as
//! it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use bytes::Bytes;
use hyades_schema::openapi;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha512;

use crate::core::Core;
use crate::discovery;
use crate::engines;

/// See the module's documentation. Three documents are kept.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    documents: BTreeMap<String, (Bytes, String)>,
}

impl Documents {
    fn get(&self, core: &Core, name: &str, make: impl FnOnce() -> Value) -> (Bytes, String) {
        let generation = core.registry.generation();
        {
            let mut kept = self.lock();
            if kept.generation != generation {
                *kept = Kept {
                    generation,
                    documents: BTreeMap::new(),
                };
            }
            if let Some(document) = kept.documents.get(name) {
                return document.clone();
            }
        }
        let bytes = engines::to_json(&make());
        let etag = hash(&bytes);
        let mut kept = self.lock();
        // A document of an older registry is not kept.
        if kept.generation == generation {
            let document = (bytes.clone(), etag.clone());
            kept.documents.insert(name.to_owned(), document);
        }
        (bytes, etag)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Aggregated discovery and its ETag, quotes included.
    pub(crate) fn aggregated(&self, core: &Core, core_group: bool) -> (Bytes, String) {
        let name = if core_group {
            "aggregated/api"
        } else {
            "aggregated/apis"
        };
        let (bytes, etag) = self.get(core, name, || {
            discovery::aggregated(&core.registry, core_group)
        });
        (bytes, format!("\"{etag}\""))
    }

    /// The index of OpenAPI documents.
    pub(crate) fn openapi_index(&self, core: &Core) -> Bytes {
        let index = || {
            let paths = engines::openapi_paths(&core.registry);
            let hashes: Vec<(String, String)> = paths
                .into_iter()
                .map(|path| {
                    let hash = engines::openapi_hash(&core.registry, &path);
                    (path, hash)
                })
                .collect();
            openapi::v3_index(hashes.iter().map(|(path, hash)| (&**path, &**hash)))
        };
        self.get(core, "openapi", index).0
    }

    /// The OpenAPI document of `api/v1` or `apis/GROUP/VERSION`. Clients keep these documents by
    /// their hash, so each is made for the few who do not have it yet, and not kept here.
    pub(crate) fn openapi(core: &Core, path: &str) -> Option<Bytes> {
        engines::openapi_paths(&core.registry)
            .contains(path)
            .then(|| engines::to_json(&engines::openapi(&core.registry, path)))
    }
}

fn hash(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(128);
    for byte in Sha512::digest(bytes) {
        let _ = write!(text, "{byte:02X}");
    }
    text
}
