//! The contract's types and traits, generated from `wit/`. One world holds the imports of both kinds of plugin, so that
//! one linker serves every component; of the exports we use the interfaces one by one.

#![allow(missing_docs, reason = "generated; the docs are in wit/")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit/0.1.0",
    inline: "
        package vivarium:host;
        world everything {
            include vivarium:plugin/tool-plugin@0.1.0;
            include vivarium:plugin/mode-plugin@0.1.0;
        }
    ",
    world: "vivarium:host/everything",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
    },
    require_store_data_send: true,
});
