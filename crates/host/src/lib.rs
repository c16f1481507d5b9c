//! Serves many spaces on one TLS port, from one data folder.
