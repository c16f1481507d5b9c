//! The hub: acceptance, certificates, rights, mailboxes, liveness and clean-up on an ITS.
