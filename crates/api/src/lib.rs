//! What the custom resources look like: types, CRD manifests, names, labels, conditions, typed identities.
