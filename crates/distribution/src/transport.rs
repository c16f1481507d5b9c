//! How it travels: from Bindings to works in the mailboxes of an ITS.
