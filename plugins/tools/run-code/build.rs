//! The manifest of the tool that runs code.

#[path = "src/arguments.rs"]
mod arguments;

fn main() -> std::io::Result<()> {
    vivarium_manifest::Plugin::new("vivarium/run-code", "Runs JavaScript, Python and WebAssembly in the sandbox.")
        .tool::<arguments::RunCode>(
            "run_code",
            "Run code",
            "Runs a program and tells its exit code, its output and the files that it has changed. Python: CPython with its \
             standard library, and pytest where the operator has it; no pip packages, so no numpy; asyncio without sockets; no \
             threads, no subprocess, no sockets. JavaScript: ECMAScript modules or CommonJS, with console, fs, path, process, \
             timers, assert, readline and files of the workspace to import; no npm packages. Tests: for Python module `pytest` or \
             `unittest` with the test files in args, such as module `pytest`, args [\"two_fer_test.py\"]; for JavaScript run the \
             test file by its path, or all with module `test`: describe, test, it and expect are there, as of @jest/globals, \
             vitest and node:test. wasm: a WASI command (.wasm) of the workspace. There is no network and no shell, and Rust, \
             Go, C, TypeScript and Node packages can not be run: write it in JavaScript or Python instead. All calls of a \
             session share the workspace, which is the program's `/`: what one call writes the next can read. Nothing else \
             outlives a call. Print what you want to know; a result is no output.",
            |tool| tool,
        )
        .files("write")
        .programs()
        .limits(&[
            ("wallMs", 120_000),
            ("cpuMs", 60_000),
            ("memoryBytes", 512 << 20),
            ("tableElements", 100_000),
            ("hostCalls", 200_000),
            ("handles", 1024),
        ])
        .emit()
}
