//! Keys, certificate requests, certificates, service-account tokens and kubeconfigs. No IO.
