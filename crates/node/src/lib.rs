//! Runs the pods of a served space whose image is Hyades itself, as child processes.
