//! The klusterlet: registration, works and status, for one WEC.
