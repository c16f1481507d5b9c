//! What goes where: from BindingPolicies to Bindings.
