//! The contract as Rust, generated from `wit/`: one module for each world. Only what a plugin calls ends up among its
//! component's imports, so depending on this crate asks for nothing.

#![allow(missing_docs, reason = "generated: the docs are in wit/")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(unsafe_code, reason = "generated: the canonical ABI is made of raw pointers")]
#![allow(clippy::all, reason = "generated")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "generated")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated")]

/// World `mode-plugin`.
pub mod mode {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "vivarium:plugin/mode-plugin",
        pub_export_macro: true,
        export_macro_name: "export_mode_world",
        additional_derives: [PartialEq],
    });
}

/// World `tool-plugin`.
pub mod tool {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "vivarium:plugin/tool-plugin",
        pub_export_macro: true,
        export_macro_name: "export_tool_world",
        generate_all,
    });
}

/// The files of the session, as WASI has them.
pub mod files {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "
            package vivarium:sdk;
            world files {
                import wasi:filesystem/types@0.2.12;
                import wasi:filesystem/preopens@0.2.12;
            }
        ",
        world: "vivarium:sdk/files",
        generate_all,
    });
}

/// The clocks that WASI gives to every guest; no interface of ours needs a grant for them.
pub mod clock {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "
            package vivarium:sdk;
            world clock {
                import wasi:clocks/wall-clock@0.2.12;
                import wasi:clocks/monotonic-clock@0.2.12;
            }
        ",
        world: "vivarium:sdk/clock",
        generate_all,
    });
}
