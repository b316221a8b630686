//! How much a run and an agent may ask for, at whichever door: a run's request and an agent's configuration have the same fields,
//! and what one takes the other must not refuse. Made to be used with their module's name (`bounds::INPUT_CHARS`).

/// The longest question, in characters. What is longer comes as a file.
pub const INPUT_CHARS: usize = 200_000;
/// The longest instructions, in characters.
pub const INSTRUCTIONS_CHARS: usize = 200_000;
/// The most tools that are named.
pub const TOOLS: usize = 200;
/// The most turns of the session before that a run is shown.
pub const HISTORY_TURNS: u32 = 1_000;
/// The most tokens of one answer.
pub const OUTPUT_TOKENS: u32 = 1_000_000;
/// The most rounds.
pub const CYCLES: u32 = 100;
/// The longest run, in seconds.
pub const TIMEOUT_SECONDS: u32 = 24 * 3600;
/// With the one that is asked first, as many models as a run may ask.
pub const FALLBACK_MODELS: usize = 3;
/// The longest that one call of a model may take, in seconds.
pub const MODEL_TIMEOUT_SECONDS: u32 = 3600;
/// The largest JSON Schema, in bytes as it is written without white space.
pub const SCHEMA_BYTES: usize = 64 << 10;
/// The longest that a session is kept after it was last used, in seconds: some ten years.
pub const SESSION_TTL_SECONDS: u64 = 10 * 366 * 24 * 3600;
