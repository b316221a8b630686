//! What the reasoning loops of the shipped modes share: finding and reading documents through whichever tools the agent
//! has, citing them, and letting a model use tools. Plain code over [`vivarium_sdk::mode::Host`].

pub mod citing;
pub mod context;
pub mod conversation;
pub mod disagreement;
pub mod gauge;
pub mod grounded;
pub mod likeness;
pub mod location;
pub mod retrieval;
pub mod room;
pub mod tool_loop;
