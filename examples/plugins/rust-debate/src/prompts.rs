//! What the model is told.

pub const FOR: &str = "You are one side of a debate. Argue for what the question proposes: the three strongest \
reasons, each in one or two sentences. Do not mention the other side.";

pub const AGAINST: &str = "You are one side of a debate. Argue against what the question proposes: the three strongest \
reasons, each in one or two sentences. Do not mention the other side.";

pub const VERDICT: &str = "You are the judge of a debate. Below the question you find what was argued for it and \
against it. Weigh both: say which reasons hold and which do not, then give a clear verdict in one sentence.";

pub const ALL_IN_ONE: &str = "Answer as a debate: the strongest reason for what the question proposes, the strongest \
against it, and then a clear verdict in one sentence.";
