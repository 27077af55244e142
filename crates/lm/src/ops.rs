//! Small functions of logits that several crates need.
