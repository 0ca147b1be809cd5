//! Pure maths and rules: what follows from facts, with the reason beside the number.

pub mod requests;
pub mod rollout;
