//! What a plugin of Vivarium is written with: a tool or a mode is one function and a manifest.
//!
//! ```ignore
//! // build.rs: the manifest
//! vivarium_manifest::Plugin::new("you/greeter", "Greets people.")
//!     .tool::<arguments::Greet>("greet", "Greet", "Greets a person by name.", |tool| tool.read_only())
//!     .emit();
//!
//! // src/lib.rs: the function
//! fn greet(arguments: arguments::Greet, _context: &Context) -> Result<Output, ToolError> {
//!     Ok(Output::text(format!("Hello, {}!", arguments.name)))
//! }
//! vivarium_sdk::export_tools! { "greet" => greet }
//! ```
//!
//! The reasoning loop of a mode is written against [`mode::Host`], so that it runs natively too, against
//! [`testing::ScriptedHost`]. A component imports only what its code reaches: a mode does not import `wasi:http`
//! because this crate has an HTTP client.

pub mod bindings;
pub mod charset;
pub mod clock;
pub mod excerpt;
pub mod files;
pub mod http;
pub mod log;
pub mod mode;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod tool;

/// Puts the manifest that `build.rs` has written into the core module, from where the builder takes it.
#[doc(hidden)]
#[macro_export]
macro_rules! manifest_section {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(link_section = "vivarium:manifest")]
        #[used]
        static MANIFEST: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/manifest.json")).len()] =
            *include_bytes!(concat!(env!("OUT_DIR"), "/manifest.json"));
    };
}
