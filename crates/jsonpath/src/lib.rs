//! The client-go dialect of JSONPath.
